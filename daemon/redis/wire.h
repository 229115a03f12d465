/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * Commands and replies over one connected stream at a time: commands are gathered and leave together,
 * replies are handed to their commands in order, each command being answered exactly once, by its reply
 * or, when the owner stops the wire, by NULL. Watches no clock; only notes when something happened.
 *
 * The struct is embedded in its owner. Callbacks come from the loop and from wire_stop() only.
 */

#include "daemon/base/buf.h"
#include "daemon/redis/link.h"

struct wire_command {
    link_reply_fn on_reply;
    void *ctx;
    int64_t sent_at_ms;
};

enum { WIRE_READ_CAP = 16384 };

struct wire {
    struct stats *stats;
    void (*on_broken)(void *ctx, const char *reason);
    void (*on_message)(void *ctx, const char *text, size_t len);
    void *ctx;
    uv_stream_t *stream; /* NULL: stopped */
    uv_write_t write;
    bool is_writing, is_halted;
    struct resp *resp;
    struct buf out, writing;    /* to be written; in the hands of uv_write() */
    size_t fresh_len;           /* bytes queued since wire_mark() */
    struct wire_command *slots; /* sent and not answered: a ring, so that a command costs no allocation */
    size_t head, len;
    size_t cap; /* 0 or a power of two */
    int64_t heard_at_ms;
    uint64_t n_answered;
    char room[WIRE_READ_CAP];
};

/* on_broken: the stream ended or makes no sense; `reason` is not escaped. The owner stops the wire. on_message,
 * which the owner sets afterwards if the stream is to subscribe: what was published. */
void wire_init(struct wire *wire, struct stats *stats, void (*on_broken)(void *ctx, const char *reason),
               void *ctx);
void wire_deinit(struct wire *wire);

/* 0 or -errno. The stream is borrowed until wire_stop(); its data pointer is the wire's. */
int wire_start(struct wire *wire, uv_stream_t *stream) MUST_CHECK;
/* Answers what is pending with NULL and `reason`. The owner then closes the stream. */
void wire_stop(struct wire *wire, const char *reason);
/* From now on, until it is stopped, no reply is looked at and nothing is written. */
void wire_halt(struct wire *wire);

/* Queues a command; it leaves with the next flush. */
void wire_queue(struct wire *wire, int argc, const char **argv, const size_t *argv_len,
                const struct wire_command *command);
/* Writes what is queued, in one write if the socket takes it. 0 or -errno: the stream is no good. */
int wire_flush(struct wire *wire) MUST_CHECK;

const struct wire_command *wire_oldest(const struct wire *wire); /* without an answer; NULL: none */

size_t wire_gathered_len(const struct wire *wire); /* bytes that no flush has seen yet, or none could write */
/* Bytes that were queued before the last wire_mark(), and that the socket has still not taken. */
size_t wire_late_len(const struct wire *wire);
void wire_mark(struct wire *wire);
