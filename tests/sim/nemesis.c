/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * One fault at a time is begun; they overlap as they like.
 */

#include "tests/sim/nemesis.h"

#include "tests/sim/client.h"
#include "tests/sim/host.h"
#include "tests/sim/oracle.h"
#include "tests/sim/server.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { NEMESIS_RECOVERY_MS = 4000, FORCES_AT_ONCE = 8 };

static const char stranger_value[] = "a program of another make";

static struct host *nemesis_host(struct nemesis *nemesis)
{
    struct world *world = nemesis->world;
    return &world->hosts[dice_between(&world->dice, 0, world->plan.n_hosts - 1)];
}

static struct client *nemesis_client(struct nemesis *nemesis)
{
    struct world *world = nemesis->world;
    return &world->clients[dice_between(&world->dice, 0, world->plan.n_hosts * world->plan.n_clients - 1)];
}

/* How long something lasts: mostly shorter than a ttl, sometimes longer. */
static int64_t nemesis_span_ms(struct nemesis *nemesis)
{
    int64_t span_ms = dice_small(&nemesis->world->dice, 1, nemesis->world->plan.ttl_ms_max * 2);
    nemesis->span_us = span_ms * 1000;
    return span_ms;
}

static int64_t nemesis_until_us(struct nemesis *nemesis)
{
    return (nemesis->world->now_us + nemesis_span_ms(nemesis) * 1000) | 1;
}

/* When what has just been done will be over, and links have come back. */
static void nemesis_note_disturbance(struct nemesis *nemesis, enum fault fault)
{
    struct world *world = nemesis->world;
    bool is_link_kept =
        fault == FAULT_REDIS_REFUSES || fault == FAULT_HOST_PAUSED || fault == FAULT_SCRIPTS_FLUSHED;
    int64_t until_us = world->now_us + nemesis->span_us + (is_link_kept ? 50 : NEMESIS_RECOVERY_MS) * 1000;
    if (fault != FAULT_CLIENT_DIES && fault != FAULT_CLIENT_STALLS && world->disturbed_until_us < until_us) {
        world->disturbed_until_us = until_us;
    }
}

static void nemesis_block(struct nemesis *nemesis, const struct host *host)
{
    struct server *server = nemesis->world->server;
    struct dice *dice = &nemesis->world->dice;
    struct sim_conn *conn = host->instance != 0 ? host->link.conn : NULL;
    int64_t until_us = nemesis_until_us(nemesis);
    int way = (int)dice_between(dice, 1, 3);
    if (dice_chance(dice, 500)) {
        server->paths[host->idx].blocked_until_us = until_us; /* for new connections too */
    }
    if (conn != NULL && (way & 1) != 0) {
        conn->in_blocked_until_us = until_us;
    }
    if (conn != NULL && (way & 2) != 0) {
        conn->out_blocked_until_us = until_us;
    }
}

static void nemesis_refuse(struct nemesis *nemesis)
{
    static const char *const refusals[] = {
        "LOADING Redis is loading the dataset in memory",
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
        "NOREPLICAS Not enough good replicas to write.",
        "NOPERM this user has no permissions to run the 'evalsha' command",
    };
    struct server *server = nemesis->world->server;
    int which = (int)dice_between(&nemesis->world->dice, 0, 5);
    server->refusal = refusals[which];
    server->refuses_until_us = nemesis_until_us(nemesis);
    server->refuses_per_mille = which == 5 ? 1000 : 700; /* rights do not come and go */
    if (which == 5) { /* a release that was refused for good is left to its ttl */
        nemesis->span_us += nemesis->world->plan.ttl_ms_max * 1100;
    }
}

static void nemesis_do(struct nemesis *nemesis, enum fault fault)
{
    struct world *world = nemesis->world;
    struct server *server = world->server;
    struct host *host = nemesis_host(nemesis);
    struct client *client = nemesis_client(nemesis);
    struct sim_conn *conn = host->instance != 0 ? host->link.conn : NULL;
    switch (fault) {
    case FAULT_CLIENT_DIES:
        client_kill(client);
        return;
    case FAULT_CLIENT_STALLS:
        client_stall(client, nemesis_until_us(nemesis));
        return;
    case FAULT_HOST_PAUSED:
        host_pause(host, nemesis_span_ms(nemesis), /* sleeps= */ false);
        return;
    case FAULT_HOST_SUSPENDED:
        host_pause(host, nemesis_span_ms(nemesis), /* sleeps= */ true);
        return;
    case FAULT_DAEMON_KILLED:
        host_kill(host, dice_small(&world->dice, 1, 2000));
        return;
    case FAULT_DAEMON_STOPPED:
        host_stop(host);
        return;
    case FAULT_LINK_CUT:
        if (conn != NULL) {
            server_cut(server, conn);
        }
        return;
    case FAULT_LINK_BLOCKED:
        nemesis_block(nemesis, host);
        return;
    case FAULT_LINK_SLOW:
        server->paths[host->idx].slow_until_us = nemesis_until_us(nemesis);
        return;
    case FAULT_REDIS_PAUSED:
        if (server->paused_until_us <= world->now_us) {
            server->paused_until_us = nemesis_until_us(nemesis);
        }
        return;
    case FAULT_REDIS_RESTARTED:
        server_restart(server, redis_model_data(server->model), nemesis_until_us(nemesis));
        return;
    case FAULT_REDIS_REFUSES:
        nemesis_refuse(nemesis);
        return;
    case FAULT_REDIS_READONLY:
        server->readonly_until_us = nemesis_until_us(nemesis);
        return;
    case FAULT_SCRIPTS_FLUSHED:
        redis_model_run(server->model, 2, (const char *[]){"SCRIPT", "FLUSH"}, (const size_t[]){6, 5});
        return;
    case FAULT_EAR_CUT:
        host_cut_ear(host, nemesis_span_ms(nemesis) * 1000);
        return;
    case FAULT_MESSAGES_LOST:
        host_deafen(host, nemesis_until_us(nemesis));
        return;
    case N_FAULTS:
        return;
    }
}

static void nemesis_on_failover(void *ctx)
{
    struct nemesis *nemesis = ctx;
    struct server *server = nemesis->world->server;
    TRACE(nemesis->world, "nemesis: a replica takes over");
    oracle_excuse(nemesis->world->oracle);
    server_restart(server, &server->saved, nemesis->world->now_us + 1000);
}

static void nemesis_step_clock(struct nemesis *nemesis, int64_t by_ms)
{
    struct server *server = nemesis->world->server;
    server->wall.offset_us += by_ms * 1000;
    if (by_ms > 0) {
        oracle_excuse(nemesis->world->oracle);
    }
    server_settle(server);
}

/* Once: each further step would lengthen what is left of all leases again. What nobody believes in any more
 * and was left to its ttl stays for the step and the ttl; until then hosts wait for a key that nobody has. */
static void nemesis_step_back(struct nemesis *nemesis)
{
    struct plan *plan = &nemesis->world->plan;
    int64_t by_ms = dice_small(&nemesis->world->dice, 1, plan->step_back_ms_max);
    nemesis_step_clock(nemesis, -by_ms);
    nemesis->span_us = (by_ms + plan->ttl_ms_max) * 1000;
    plan->trouble = TROUBLE_NONE;
}

static void nemesis_trouble(struct nemesis *nemesis)
{
    struct world *world = nemesis->world;
    struct server *server = world->server;
    TRACE(world, "nemesis: %s", plan_trouble_name(world->plan.trouble));
    switch (world->plan.trouble) {
    case TROUBLE_EMPTIED:
        oracle_excuse(world->oracle);
        server_restart(server, NULL, nemesis_until_us(nemesis));
        return;
    case TROUBLE_FAILOVER:
        /* The replica has what is there now, and gets nothing any more. */
        server_settle(server);
        server->saved = *redis_model_data(server->model);
        world_at(world, &nemesis->failover, world->now_us + dice_small(&world->dice, 100, 1000000));
        return;
    case TROUBLE_FORCED:
        for (int i = 0; i < FORCES_AT_ONCE;
             i++) { /* an operator with a loop: some meet an unlock under way */
            client_force(nemesis_client(nemesis), (int)dice_between(&world->dice, 0, world->plan.n_keys - 1));
        }
        return;
    case TROUBLE_STEP_FORWARD:
        nemesis_step_clock(nemesis, nemesis_span_ms(nemesis));
        return;
    case TROUBLE_STEP_BACK:
        nemesis_step_back(nemesis);
        return;
    default:
        return;
    }
}

static void nemesis_on_task(void *ctx)
{
    struct nemesis *nemesis = ctx;
    struct world *world = nemesis->world;
    uint32_t faults = world->plan.faults;
    if (world->is_calm) {
        return;
    }
    bool has_trouble = world->plan.trouble != TROUBLE_NONE && world->plan.trouble != TROUBLE_FAST_CLOCK;
    if (has_trouble && (faults == 0 || dice_chance(&world->dice, 200))) {
        nemesis->span_us = 0;
        nemesis_trouble(nemesis);
        nemesis_note_disturbance(nemesis, N_FAULTS);
        world->tally.n_faults++;
    } else if (faults != 0) {
        enum fault fault;
        do {
            fault = (enum fault)dice_between(&world->dice, 1, N_FAULTS - 1);
        } while ((faults >> fault & 1) == 0);
        TRACE(world, "nemesis: %s", plan_fault_name(fault));
        nemesis->span_us = 0;
        nemesis_do(nemesis, fault);
        nemesis_note_disturbance(nemesis, fault);
        world->tally.n_faults++;
    }
    int64_t every_us = world->plan.fault_every_ms * 1000;
    world_at(world, &nemesis->task,
             (world->now_us + dice_between(&world->dice, 1, every_us * 2)) & ~INT64_C(1));
}

/* --- the stranger ---------------------------------------------------------------------------------- */

static const struct reply *stranger_run(struct nemesis *nemesis, int argc, const char *const *argv)
{
    struct server *server = nemesis->world->server;
    size_t argv_len[8];
    for (int i = 0; i < argc; i++) {
        argv_len[i] = strlen(argv[i]);
    }
    redis_model_set_clock(server->model, server_wall_us(server));
    const struct reply *reply = redis_model_run(server->model, argc, argv, argv_len);
    server_settle(server);
    return reply;
}

static void stranger_lock(struct nemesis *nemesis)
{
    struct world *world = nemesis->world;
    int64_t ttl_ms = world->plan.ttl_ms_max;
    char ttl[24];
    int key = (int)dice_between(&world->dice, 0, world->plan.n_keys - 1);
    snprintf(ttl, sizeof(ttl), "%" PRId64, ttl_ms);
    const char *const set[] = {"SET", client_key_name(key), stranger_value, "NX", "PX", ttl};
    const struct reply *reply = stranger_run(nemesis, 6, set);
    int64_t next_us = dice_small(&world->dice, 1000, 3000000);
    if (reply->kind == REPLY_STATUS) {
        TRACE(world, "stranger: locks %s", client_key_name(key));
        nemesis->stranger_key = key;
        oracle_stranger_begins(world->oracle, key);
        next_us = dice_small(&world->dice, 0, ttl_ms * 900); /* well before it runs out */
    }
    world_at(world, &nemesis->stranger, world->now_us + next_us);
}

/* As such programs do it: compare, then delete. */
static void stranger_unlock(struct nemesis *nemesis)
{
    struct world *world = nemesis->world;
    const char *name = client_key_name(nemesis->stranger_key);
    TRACE(world, "stranger: unlocks %s", name);
    oracle_stranger_ends(world->oracle, nemesis->stranger_key);
    nemesis->stranger_key = -1;
    const struct reply *reply = stranger_run(nemesis, 2, (const char *const[]){"GET", name});
    if (reply->kind == REPLY_TEXT && strcmp(reply->text, stranger_value) == 0) {
        stranger_run(nemesis, 2, (const char *const[]){"DEL", name});
    }
    world_at(world, &nemesis->stranger, world->now_us + dice_small(&world->dice, 1000, 3000000));
}

static void nemesis_on_stranger(void *ctx)
{
    struct nemesis *nemesis = ctx;
    const struct server *server = nemesis->world->server;
    if (nemesis->stranger_key >= 0) {
        stranger_unlock(nemesis);
    } else if (!nemesis->world->is_calm && server->down_until_us <= nemesis->world->now_us) {
        stranger_lock(nemesis);
    } else if (!nemesis->world->is_calm) {
        world_at(nemesis->world, &nemesis->stranger, server->down_until_us);
    }
}

/* --- beginning and end ----------------------------------------------------------------------------- */

void nemesis_begin(struct nemesis *nemesis, struct world *world)
{
    *nemesis = (struct nemesis){.world = world, .stranger_key = -1};
    nemesis->task = (struct task){.run = nemesis_on_task, .ctx = nemesis};
    nemesis->failover = (struct task){.run = nemesis_on_failover, .ctx = nemesis};
    nemesis->stranger = (struct task){.run = nemesis_on_stranger, .ctx = nemesis};
    world_at(world, &nemesis->task, 1000000);
    if (world->plan.has_stranger) {
        world_at(world, &nemesis->stranger, 500000);
    }
}

static void nemesis_open_path(struct sim_path *path)
{
    path->blocked_until_us = path->slow_until_us = 0;
}

void nemesis_end(struct nemesis *nemesis)
{
    struct world *world = nemesis->world;
    struct server *server = world->server;
    TRACE(world, "nemesis: no more faults");
    /* What stands still at this moment goes on when it would have: never later than in two ttl. */
    world_cancel(world, &nemesis->failover);
    server->refuses_until_us = server->readonly_until_us = 0;
    for (int i = 0; i < HOSTS_MAX; i++) {
        nemesis_open_path(&server->paths[i]);
    }
    for (int i = 0; i < world->plan.n_hosts; i++) {
        if (world->hosts[i].instance == 0) {
            host_start(&world->hosts[i]);
        }
    }
}
