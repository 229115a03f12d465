/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * A store with its link, on a loop of its own: before a fake Redis that answers every command of the
 * store's with what the test has put down, or before a real one. The events are kept.
 */

#include "daemon/base/stats.h"
#include "daemon/redis/link.h"
#include "daemon/redis/script.h"
#include "daemon/redis/store.h"
#include "tests/lib/fake_redis.h"
#include "tests/lib/scratch.h"

#include <check.h>
#include <stdbool.h>

#define STORE_STAGE_INSTANCE "01234567-89ab-cdef-0123-456789abcdef"
#define STORE_STAGE_DIGEST "0123456789abcdef0123456789abcdef01234567"
enum { STORE_STAGE_EVENTS_MAX = 2000, STORE_STAGE_COMMANDS_MAX = 16, STORE_STAGE_TEXT_CAP = 96 };

/* An event, its text kept. */
struct store_stage_seen {
    struct event event;
    char text[STORE_STAGE_TEXT_CAP], key[STORE_STAGE_TEXT_CAP];
};

struct store_stage_command {
    int argc;
    char argv[12][STORE_STAGE_TEXT_CAP];
};

extern struct store_stage {
    uv_loop_t loop;
    uv_timer_t guard;
    char path[SCRATCH_PATH_CAP];
    struct fake_redis *fake;
    struct link *link;
    struct store *store;
    struct script scripts[N_SCRIPTS];
    struct stats stats;
    const char *reply, *second_reply; /* to what the store sends; to EVAL, NULL: the same. "": none */
    struct store_stage_command commands[STORE_STAGE_COMMANDS_MAX];
    int n_commands;
    enum link_state state;
    struct store_stage_seen seen[STORE_STAGE_EVENTS_MAX]; /* but those about the link */
    int n_seen;
} store_stage;

#define STORE_STAGE_UNTIL(condition)                  \
    while (!(condition)) {                            \
        (void)uv_run(&store_stage.loop, UV_RUN_ONCE); \
    }

/* Fixture: the fake Redis, and the link is up. */
void store_stage_open_fake(void);
void store_stage_close(void);

/* Or in steps, with another Redis. */
void store_stage_open_loop(void);
void store_stage_open_link(const char *socket_path);

/* Has the store carry out an effect with usual values, and the link flushed. */
void store_stage_order(enum effect_kind kind, uint64_t lease_id, uint64_t op_id);
void store_stage_order_key(enum effect_kind kind, uint64_t lease_id, uint64_t op_id, const char *key);

const struct ev_outcome *store_stage_outcome(int i); /* seen as number i; fails if that is another event */
