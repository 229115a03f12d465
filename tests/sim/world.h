/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * A world in virtual time: one queue of things to come, ordered by their instant and, where that is the
 * same, by the order in which they were set; one source of chance; one trace.
 *
 *      nemesis ---- cuts, stops, kills, delays ----+-------------------+
 *                                                  v                   v
 *      client ==letters==> host: broker, store, link ===calls===> server: model, lua/ scripts
 *             <==letters==                            <==replies==
 *                  |  what is asked, written, read      |  what runs out
 *                  +------------> oracle <--------------+
 *
 * True time is counted in microseconds since the world began; nobody in it knows that. Each host and
 * Redis have a clock of their own.
 */

#include "daemon/base/buf.h"
#include "daemon/base/heap.h"
#include "tests/sim/dice.h"
#include "tests/sim/plan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client;
struct host;
struct nemesis;
struct oracle;
struct server;

/* Something to come. Set and moved by world_at(); the memory is its owner's. */
struct task {
    struct timer timer;
    void (*run)(void *ctx);
    void *ctx;
};

/* A clock that runs at its own rate. */
struct rate_clock {
    int64_t offset_us;
    int64_t rate_ppm; /* how much faster than true time */
};

struct world_tally {
    uint64_t n_grants, n_handovers, n_lost, n_at_risk, n_attempts, n_faults, n_events, n_overlaps;
};

struct world {
    struct plan plan;
    int64_t now_us;
    struct heap queue;
    struct dice dice;
    struct buf trace;
    bool is_traced, is_unaudited;
    char verdict[256]; /* the first thing that must not be; "": none */
    struct world_tally tally;

    struct host *hosts;
    struct client *clients;
    struct server *server;
    struct oracle *oracle;
    struct nemesis *nemesis;

    bool is_calm;               /* faults have ended, and nobody asks for anything new */
    int64_t disturbed_until_us; /* when what is wrong with Redis, links and daemons will have been mended */
    uint64_t last_peer_id, last_request_id;
    struct world_block *blocks;
    size_t block_used;
};

/* One world for many seeds, one after the other; memory is kept. */
struct world *world_new(void);
struct world *world_free(struct world *world);
void world_begin(struct world *world, uint64_t seed);
void world_end(struct world *world);

void world_at(struct world *world, struct task *task, int64_t at_us);
void world_cancel(struct world *world, struct task *task);
/* Lets everything come that is due until then, unless the oracle has spoken. */
void world_run(struct world *world, int64_t until_us);

/* Memory that lives until world_end(). */
void *world_alloc(struct world *world, size_t len);

/* One line, with the time before it. Costs nothing when nobody reads it. */
void world_print(struct world *world, const char *fmt, ...) PRINTF_LIKE(2, 3);
#define TRACE(world, ...)                    \
    do {                                     \
        if ((world)->is_traced)              \
            world_print(world, __VA_ARGS__); \
    } while (0)

/* The oracle's word: the world stops. */
void world_judge(struct world *world, const char *fmt, ...) PRINTF_LIKE(2, 3);

int64_t clock_at_us(const struct rate_clock *clock, int64_t true_us);
/* The first true instant at which the clock shows that millisecond. */
int64_t clock_when_us(const struct rate_clock *clock, int64_t shown_ms);
