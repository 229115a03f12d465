/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * Redis as the network knows it: connections, calls on their way there and back, and what may happen to
 * them. A call that was sent arrives, whatever becomes of its sender, unless its connection was killed or
 * Redis went down before.
 */

#include "daemon/redis/link.h"
#include "tests/sim/redis_model.h"
#include "tests/sim/world.h"

enum { HOSTS_MAX = 4, CALL_ARGS_MAX = 12, CALL_BYTES_CAP = 384, CALL_TEXT_CAP = 160 };

struct sim_call;

/* One connection from a host. It may outlive the host's end of it. */
struct sim_conn {
    struct server *server;
    int host;
    struct link *link; /* NULL: the host's end is closed */
    bool is_dead;      /* killed or reset: nothing of it is executed any more */
    uint64_t epoch;
    int64_t in_us, out_us; /* when the last thing sent arrives: what is sent later comes later */
    int64_t in_blocked_until_us, out_blocked_until_us;
    struct sim_conn *next;
};

/* One command and its reply. */
struct sim_call {
    struct task task;
    struct sim_conn *conn;
    bool is_back, is_orphan; /* on its way back; nobody waits for it */
    int64_t sent_at_ms;
    link_reply_fn on_reply;
    void *on_reply_ctx;
    const char *word; /* for the trace */
    int argc;
    const char *argv[CALL_ARGS_MAX];
    size_t argv_len[CALL_ARGS_MAX];
    size_t bytes_len;
    char bytes[CALL_BYTES_CAP];
    struct reply reply, items[3];
    char text[CALL_TEXT_CAP];
    struct sim_call *next; /* in the link's queue, or free */
};

/* What the way between one host and Redis is like just now. */
struct sim_path {
    int64_t blocked_until_us, slow_until_us;
};

struct server {
    struct world *world;
    struct redis_model *model;
    struct rate_clock wall;
    uint64_t epoch; /* counts restarts: connections of an earlier one are gone */
    int64_t paused_until_us, down_until_us, readonly_until_us, refuses_until_us;
    const char *refusal;
    int refuses_per_mille;
    struct sim_path paths[HOSTS_MAX];
    struct task expiry;
    struct model_data saved; /* what a replica has got */
    struct sim_conn *conns;
    struct sim_call *free_calls;
};

struct server *server_new(struct redis_model *model);
struct server *server_free(struct server *server);
void server_begin(struct server *server, struct world *world);

int64_t server_wall_us(const struct server *server);
int64_t server_delay_us(struct server *server, int host);
/* Lets run out what has; to be called after the clock or the data were changed from outside. */
void server_settle(struct server *server);

struct sim_conn *server_connect(struct server *server, int host, struct link *link);
/* CLIENT KILL of whatever connections the host had before this one. */
void server_kill_former(struct server *server, const struct sim_conn *conn);
/* The connection is reset on its way. What was sent is executed, or not. */
void server_cut(struct server *server, struct sim_conn *conn);
/* All connections end; `data` NULL: nothing is left of it. It takes connections again at up_at_us. */
void server_restart(struct server *server, const struct model_data *data, int64_t up_at_us);

struct sim_call *server_new_call(struct server *server, struct sim_conn *conn);
void server_free_call(struct server *server, struct sim_call *call);
void server_take(struct server *server, struct sim_call *call);
