/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Worlds differ more between seeds than within one: some are quiet, some are crowded, some are cruel.
 */

#include "tests/sim/plan.h"

#include "tests/sim/dice.h"

enum { TTL_MS_MAX = 32000 };

static int64_t plan_pick(struct dice *dice, const int64_t *list, int len)
{
    return list[dice_between(dice, 0, len - 1)];
}

#define PICK(dice, ...)                             \
    plan_pick(dice, (const int64_t[]){__VA_ARGS__}, \
              (int)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))

static uint32_t plan_draw_faults(struct dice *dice)
{
    uint32_t faults = 0;
    int per_mille = (int)PICK(dice, 0, 150, 400, 1000);
    for (int fault = 1; fault < N_FAULTS; fault++) {
        if (dice_chance(dice, per_mille)) {
            faults |= UINT32_C(1) << fault;
        }
    }
    return faults;
}

struct plan plan_draw(uint64_t seed, int64_t run_ms, struct dice *dice)
{
    struct plan plan = {.seed = seed, .run_ms = run_ms};
    plan.n_hosts = (int)PICK(dice, 1, 2, 2, 3, 4);
    plan.n_clients = (int)PICK(dice, 1, 2, 3, 5);
    plan.n_keys = (int)PICK(dice, 1, 1, 2, 3);
    plan.ttl_ms_min = PICK(dice, 100, 300, 1000, 1000, 3000, 8000);
    plan.ttl_ms_max = plan.ttl_ms_min * PICK(dice, 1, 1, 4, 40);
    if (plan.ttl_ms_max > TTL_MS_MAX) {
        plan.ttl_ms_max = TTL_MS_MAX;
    }
    plan.renew_fraction = PICK(dice, 3, 3, 3, 2, 6);
    plan.redis_timeout_ms = PICK(dice, 100, 300, 1000);
    plan.retry_ms_max = PICK(dice, 20, 100, 300);
    plan.hold_ms_max = PICK(dice, 2, 50, 50, 300, 300, 1500, 4000);
    plan.think_ms_max = PICK(dice, 5, 100, 100, 1000, 1000, 3000);
    plan.linger_ms = PICK(dice, 0, 0, 20, 1000, 10000);
    plan.may_kill = dice_chance(dice, 700);
    plan.has_stranger = dice_chance(dice, 250);
    plan.faults = plan_draw_faults(dice);
    plan.trouble = TROUBLE_NONE;
    if (dice_chance(dice, 350)) {
        plan.trouble = (enum trouble)dice_between(dice, TROUBLE_NONE + 1, N_TROUBLES - 1);
    }
    plan.step_back_ms_max = plan.trouble == TROUBLE_STEP_BACK ? plan.ttl_ms_max * 2 : 0;
    plan.fault_every_ms = PICK(dice, 300, 1000, 5000);
    return plan;
}

const char *plan_fault_name(enum fault fault)
{
    static const char *const names[N_FAULTS] = {
        [FAULT_CLIENT_DIES] = "client dies",
        [FAULT_CLIENT_STALLS] = "client stalls",
        [FAULT_HOST_PAUSED] = "daemon paused",
        [FAULT_HOST_SUSPENDED] = "host suspended",
        [FAULT_DAEMON_KILLED] = "daemon killed",
        [FAULT_DAEMON_STOPPED] = "daemon stopped",
        [FAULT_LINK_CUT] = "link cut",
        [FAULT_LINK_BLOCKED] = "link blocked",
        [FAULT_LINK_SLOW] = "link slow",
        [FAULT_REDIS_PAUSED] = "redis paused",
        [FAULT_REDIS_RESTARTED] = "redis restarted",
        [FAULT_REDIS_REFUSES] = "redis refuses",
        [FAULT_REDIS_READONLY] = "redis readonly",
        [FAULT_SCRIPTS_FLUSHED] = "scripts flushed",
        [FAULT_EAR_CUT] = "ear cut",
        [FAULT_MESSAGES_LOST] = "messages lost",
    };
    return names[fault];
}

const char *plan_trouble_name(enum trouble trouble)
{
    static const char *const names[N_TROUBLES] = {
        [TROUBLE_NONE] = "none",
        [TROUBLE_EMPTIED] = "redis loses its data",
        [TROUBLE_FAILOVER] = "failover loses the last writes",
        [TROUBLE_FORCED] = "locks are deleted by an operator",
        [TROUBLE_STEP_FORWARD] = "redis's clock steps forward",
        [TROUBLE_STEP_BACK] = "redis's clock steps back",
        [TROUBLE_FAST_CLOCK] = "redis's clock is too fast",
    };
    return names[trouble];
}
