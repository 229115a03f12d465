/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * One client connection as a stream of lines: read into a frame, written from one buffer. Knows
 * nothing of what the lines mean.
 *
 * Output is gathered and leaves once in a turn of the loop, by conn_set_flush(). What a turn reads of one
 * client, and of all, is bounded; but reading is never paused beyond that turn, since a paused read would
 * hide the end of the client. A client that does not read its replies is cut off when they exceed the
 * limit, and one that has left does not get long to read them.
 *
 *      conn_open --> open --- conn_finish, or the client half-closed ---> finishing: output only
 *                      |                                                     |
 *                      +--- conn_abort, error, overflow ---> closing <-------+ all written, or 2 s
 *                                                              |
 *                                                              +--> on_closed: the memory is the owner's again
 */

#include "daemon/base/buf.h"
#include "proto/frame.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

/* Why a connection ended. */
enum conn_end {
    CONN_END_EOF = 1,  /* the client closed its side: what is printed for it now is still sent */
    CONN_END_ERROR,    /* the stream broke */
    CONN_END_DIED,     /* the process that connected is dead, whoever else has the socket */
    CONN_END_TOO_LONG, /* a line exceeded the limit; the owner may print and then finish or abort */
    CONN_END_OVERFLOW, /* it does not read what we write */
};

/* Each gets the ctx of conn_open(). on_end is called at most once, and not for conn_finish() or
 * conn_abort(), which the owner asked for; then, or after those, comes on_closed, once. */
struct conn_sinks {
    void (*on_line)(void *ctx, const char *line, size_t len); /* the line is good until it returns */
    void (*on_end)(void *ctx, enum conn_end why);
    void (*on_closed)(void *ctx);
};

/* Who connected, as the kernel says; it was so at connect() and does not change. */
struct conn_creds {
    pid_t pid; /* 0: not visible from here */
    uid_t uid;
    gid_t gid;
};

/* What all connections of a listener share. */
struct conn_set {
    uv_loop_t *loop;
    struct conn_sinks sinks;
    size_t line_max, output_max;
    struct conn *dirty;     /* have output to be written, or an end to be made */
    struct conn *paused;    /* have read their share of this turn */
    struct conn *finishing; /* those whose time is over first */
    uv_timer_t finish_timer;
    size_t read_left; /* what may still be read in this turn, in bytes */
    char read_room[64 * 1024];
};

struct conn {
    struct conn_set *set;
    void *ctx;
    uv_pipe_t pipe;
    uv_poll_t death; /* of the process that connected */
    int death_fd;    /* -1: not watched */
    int n_handles;
    bool is_finishing, is_closing, is_dirty, is_paused;
    struct conn *prev_dirty, *next_dirty, *prev_paused, *next_paused, *prev_finishing, *next_finishing;
    int64_t finish_by_ms; /* finishing: then it ends, whatever has not been written */
    struct conn_creds creds;
    struct frame frame;
    struct buf out;     /* printed, not handed to the kernel yet */
    struct buf writing; /* handed to libuv, since the socket was full */
    uv_write_t write;
};

void conn_set_init(struct conn_set *set, uv_loop_t *loop, const struct conn_sinks *sinks, size_t line_max,
                   size_t output_max);
/* Closes the set's own handle. Its connections may still be closing then. */
void conn_set_close(struct conn_set *set);
/* Writes what was printed in this turn, at most one write per client; the next turn begins. */
void conn_set_flush(struct conn_set *set);
/* What was read in this turn has come to need that many bytes more than it had: less is read of all the
 * others in it. */
void conn_set_spend(struct conn_set *set, size_t n_bytes);

/* Takes the next connection off a listening pipe, into memory that stays the owner's, zeroed. 0, or
 * -errno, in which case on_closed comes if and only if ret_closing is set. */
int conn_open(struct conn *conn, struct conn_set *set, uv_stream_t *server, void *ctx,
              bool *ret_closing) MUST_CHECK;

/* The buffer to print to; conn_printed() afterwards. Printing to a connection that is closing is
 * allowed, and lost. */
struct buf *conn_out(struct conn *conn);
void conn_printed(struct conn *conn);

/* No more lines; ends when what was printed has been written. */
void conn_finish(struct conn *conn);
/* Ends now. */
void conn_abort(struct conn *conn);
