/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * The link of a simulated host: daemon/redis/link.h as far as the store uses it, on the server of
 * this world. Its states, time-outs and pauses are those of the real one.
 */

#include "daemon/redis/link.h"
#include "daemon/redis/script.h"
#include "tests/sim/server.h"

struct host;

struct link {
    struct host *host;
    struct server *server;
    struct link_sinks sinks;
    struct script *scripts;
    int64_t timeout_ms;
    enum { SIM_LINK_PAUSE = 1, SIM_LINK_TRY, SIM_LINK_READY, SIM_LINK_END } phase;
    bool is_broken, has_looked_twice;
    const char *reason;
    int64_t pause_ms;   /* before the next try; 0: the first after a break */
    uint64_t try_epoch; /* the server's when the try began */
    bool try_is_vain;
    struct task task;
    struct sim_conn *conn;
    struct sim_call *first, **end; /* sent or queued, not answered */
    struct sim_call *unsent;       /* the first of them that waits for link_flush() */
};

void sim_link_open(struct link *link, struct host *host, struct script *scripts,
                   const struct link_sinks *sinks);
/* Everything pending is answered with NULL; on_state is not called. */
bool sim_link_is_up(const struct link *link);
void sim_link_close(struct link *link);

/* From the network: a reply; the end of the connection. */
void sim_link_take(struct link *link, struct sim_call *call);
void sim_link_break(struct link *link, const char *reason);
