/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * The connection to Redis: a libuv stream, with resp.h as the protocol's reader and writer.
 *
 * It connects, introduces itself (AUTH, CLIENT ID, KILL of its own former connection, SELECT, ROLE,
 * INFO, the scripts) and is up only when all of that has been answered well; a replica is refused. It
 * watches its own deadlines, and after a break comes back by itself, at first soon, then with a pause
 * that doubles and a random part, so that a thousand hosts do not come in the same millisecond.
 *
 * A link that listens to a channel is another connection of the same kind: it subscribes instead of loading
 * scripts, takes no commands, and hands on what is published there.
 *
 * Commands are answered in their order, each exactly once, by its reply or by a NULL when the
 * connection broke. A reply that fits no command, or is no RESP, breaks the connection.
 */

#include "daemon/base/err.h"
#include "daemon/redis/resp.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct link;
struct script;
struct stats;

struct link_config {
    const char *unix_path; /* NULL: TCP to host and port */
    const char *host;
    int port;
    int64_t db;
    const char *username, *password; /* NULL: none. Never logged */
    int64_t timeout_ms;              /* a connection that leaves a command unanswered that long is dropped */
    int64_t connect_timeout_ms;      /* for connecting and introducing */
    int64_t reconnect_min_ms, reconnect_max_ms;
    int64_t keepalive_ms;   /* after such a silence the server is asked whether it lives; 0: 15 s */
    bool strict;            /* refuse a server that may evict keys */
    const char *channel;    /* to listen to; NULL: the link is for commands */
    struct script *scripts; /* loaded at each introduction; their digests are filled in */
    size_t n_scripts;
};

/* The same numbers as enum link_state of core/event.h, which this side of the house does not know. */
enum { LINK_STATE_CONNECTING = 1, LINK_STATE_UP, LINK_STATE_DOWN };

/*
 * What the link tells its owner. on_state: whenever the state changes, or the reason for being down;
 * `text` says why it is down, printable and short, NULL otherwise. The first one, LINK_STATE_CONNECTING,
 * comes in the first turn of the loop. A broken connection is first "connecting" again, with a first try
 * at once or soon; when a try fails it is "down", and stays so until one succeeds. It is "down" too when one
 * broke that had been up for too short a time to be trusted, and the next try is a long pause away. When a
 * connection breaks, all commands are answered (NULL) before on_state.
 */
struct link_sinks {
    void (*on_state)(void *ctx, int link_state, const char *text);
    void (*on_message)(void *ctx, const char *text,
                       size_t len); /* of a link that listens; good until it returns */
    void *ctx;
};

/* `reply` NULL: the connection broke before the answer; `text` says how, printable. Called only from
 * the loop's callbacks and from link_close(), never from link_send() or link_flush(). A reply is good
 * until the callback that got it returns. */
typedef void (*link_reply_fn)(void *ctx, const struct reply *reply, const char *text);

enum {
    LINK_E_DOWN = 1, /* not up: nothing was queued, the callback will not be called */
    LINK_E_FULL,     /* of what was queued before the last link_flush(), over 8 MiB are left: likewise */
};

/* 0 or -errno. Config and its strings are copied; scripts, sinks' ctx and stats are borrowed. Connecting
 * begins in the first turn of the loop. */
int link_open(struct link **ret, uv_loop_t *loop, const struct link_config *config,
              const struct link_sinks *sinks, struct stats *stats);
/* Answers everything pending with NULL, then closes; on_state is not called any more. Memory goes
 * when the loop has closed its handles. NULL is allowed. */
void link_close(struct link *link);

/* Takes effect at the next connection (a new password), or at once (timeouts). */
void link_reconfigure(struct link *link, const struct link_config *config);

/* Queues one command; it leaves with the next link_flush(), or before if much is queued. 0 or an outcome
 * above. What is queued between two flushes is always taken. */
int link_send(struct link *link, int argc, const char **argv, const size_t *argv_len, link_reply_fn on_reply,
              void *ctx);
/* Writes what has been queued since the last call, in one write if the socket takes it. To be called once
 * a turn of the loop. */
void link_flush(struct link *link);

/* Which run of which server it is connected to; "" if it is not up, or may not ask. */
const char *link_run_id(const struct link *link);

/* The replies do not fit the commands: gives the connection up, soon, from the loop. Until then no
 * further reply is looked at, and link_send() says LINK_E_DOWN. */
void link_break(struct link *link, const char *text);
