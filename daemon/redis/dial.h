/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * From a name to a connected stream: resolves it, and tries each of its addresses in turn. A Unix
 * socket is a name with one address. Says nothing over the stream and does not read from it.
 *
 * The struct is embedded in its owner. After dial_start() comes exactly one on_done, unless dial_end()
 * is called first; after dial_end() comes exactly one on_closed, and then dial_start() may be called
 * again. Both come from the loop, never from inside dial_start() or dial_end().
 */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct dial_sinks {
    void (*on_done)(void *ctx, const char *reason); /* NULL: connected; otherwise why not */
    void (*on_closed)(void *ctx);
    void *ctx;
};

struct dial {
    uv_loop_t *loop;
    struct dial_sinks sinks;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_pipe_t pipe;
        uv_tcp_t tcp;
    } conn;
    uv_timer_t timer;
    uv_getaddrinfo_t resolve;
    uv_connect_t connect;
    struct addrinfo *addresses, *next;
    int64_t until_ms;
    char reason[96];
    int n_open; /* handles, and the resolver's request */
    bool has_conn, is_resolving, is_done, is_ending;
};

void dial_init(struct dial *dial, uv_loop_t *loop, const struct dial_sinks *sinks);

/* `unix_path`, or NULL and a host and port. Nothing of them is kept. `timeout_ms` is for all of it. */
void dial_start(struct dial *dial, const char *unix_path, const char *host, int port, int64_t timeout_ms);

/* The connected stream; its data pointer is the caller's to set. */
uv_stream_t *dial_stream(struct dial *dial);

/* Gives up what is under way, and closes the stream. */
void dial_end(struct dial *dial);
