/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * A link on a loop of its own, before a fake Redis that keeps a log of what it was sent and misbehaves
 * as the test's hook says.
 */

#include "daemon/base/stats.h"
#include "daemon/redis/link.h"
#include "daemon/redis/script.h"
#include "tests/lib/fake_redis.h"
#include "tests/lib/scratch.h"

#include <check.h>
#include <stdbool.h>

enum { LINK_STAGE_LOG_CAP = 4096 };

/* What a test has the fake Redis do with one command. */
struct link_stage_hook {
    const char *command; /* NULL: every one */
    int client;          /* of this connection; 0: of each */
    const char *reply;   /* NULL: no answer */
    enum { HOOK_REPLY, HOOK_CLOSE, HOOK_RESET, HOOK_DEAF } action;
};

extern struct link_stage {
    uv_loop_t loop;
    uv_timer_t guard;
    char path[SCRATCH_PATH_CAP];
    struct fake_redis *fake;
    struct link_stage_hook hook;
    struct fake_client *client; /* the last one that sent a command */
    struct link *link;
    struct link_config config;
    struct script scripts[N_SCRIPTS];
    struct stats stats;
    char log[LINK_STAGE_LOG_CAP]; /* commands as Redis got them, one a line: client number, arguments */
    int state, n_states;          /* as told last */
    int n_downs;
    char text[256]; /* why it is down */
    int n_replies, n_nulls;
    char last[256]; /* the last reply's or NULL's text */
    int64_t null_at_ms;
} link_stage;

#define LINK_STAGE_UNTIL(condition)                  \
    while (!(condition)) {                           \
        (void)uv_run(&link_stage.loop, UV_RUN_ONCE); \
    }

/* Fixture: a loop and a configuration; nothing is open yet. */
void link_stage_open(void);
/* Whatever the test did, everything can be closed, and nothing is left open. */
void link_stage_close(void);

void link_stage_open_fake(void); /* on link_stage.path */
void link_stage_open_tcp(void);  /* or on a port, and the configuration says so */
void link_stage_open_link(void);
void link_stage_open_up(void); /* and waits until it is up; the log is empty then */

int link_stage_ask(const char *name); /* link_send() of a command without arguments */
void link_stage_on_reply(void *ctx, const struct reply *reply, const char *text);
