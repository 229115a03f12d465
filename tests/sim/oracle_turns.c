/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * What hosts owe each other, in a world where they hear each other and nothing else is wrong: turns, and that
 * nobody waits for a key that nobody has.
 */

#include "tests/sim/oracle_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/*
 * A release that was refused for the moment is repeated after a second at the latest. In a fair world a
 * key that nobody has is a waiter's within the grace: a wake-up is fast enough for that, the longer
 * ones of the worlds' retry intervals are not, so that polling cannot cover for a wake-up that is missing.
 */
enum { IDLE_EVERY_US = 20000, IDLE_GRACE_MS = 150, REPEAT_MS = 1000, DEAD_MS = 100 };

static int64_t oracle_later(int64_t a_us, int64_t b_us)
{
    return a_us > b_us ? a_us : b_us;
}

/* Since when nothing is wrong; INT64_MAX: something always is. */
static int64_t oracle_fair_since_us(const struct oracle *oracle)
{
    const struct world *world = oracle->world;
    if (!world->plan.may_kill || world->plan.has_stranger || world->plan.trouble != TROUBLE_NONE) {
        return INT64_MAX;
    }
    return oracle_later(world->disturbed_until_us + REPEAT_MS * 1000, oracle->unheard_until_us);
}

/*
 * A claim waits for those that were made before it, give or take one host's batch. Between its asking and its
 * being granted, each other host has two turns at the most: one that was under way or next when it was made,
 * and one more if its own host's turn was under way and not for it. In a turn, as many claims are served as
 * the host has slots.
 */
void oracle_judge_turns(struct oracle *oracle, const struct ask *granted)
{
    const struct plan *plan = &oracle->world->plan;
    uint64_t n_max = 2 * (uint64_t)((plan->n_hosts - 1) * plan->n_clients * CLIENT_SLOTS);
    int64_t fair_since_us = oracle_fair_since_us(oracle);
    for (size_t i = 0; i < oracle->n_asks; i++) {
        struct ask *ask = &oracle->asks[i];
        if (ask->kind != EV_CLAIM || ask->key != granted->key || ask->host == granted->host ||
            ask->wait_ms == 0 || ask->seq > granted->seq || ask->asked_at_us <= fair_since_us ||
            oracle_has_paused(oracle, ask->host, ask->asked_at_ms)) {
            continue;
        }
        if (++ask->n_overtakers > n_max) {
            world_judge(oracle->world,
                        "turns: #%" PRIu64 " waits for %s while %" PRIu64 " later ones are served",
                        ask->request_id, client_key_name(ask->key), ask->n_overtakers);
        }
    }
}

/* Somebody has the key, or may have it, or a daemon that has died left it to run out, or one whose link is down
 * cannot give it back: it may not even know of a command that was executed late. */
static bool oracle_is_taken(struct oracle *oracle, int key)
{
    const struct world *world = oracle->world;
    for (size_t i = 0; i < oracle->n_tenures; i++) {
        if (oracle->tenures[i].key == key) {
            return true;
        }
    }
    const struct host *owner = NULL;
    for (int i = 0; i < world->plan.n_hosts; i++) {
        const struct host *host = &world->hosts[i];
        if (oracle->kept_until_us[i][key] > world->now_us + ORPHAN_US) {
            return true;
        }
        if (host->instance != 0 && oracle_has_in_redis(oracle, host, key) != NULL) {
            owner = host;
        }
    }
    const char *name = client_key_name(key);
    return redis_model_find(world->server->model, name, strlen(name)) != NULL &&
           (owner == NULL || !sim_link_is_up(&owner->link));
}

/* Whether that value of a lock is a daemon's that runs; true for what is no daemon's. */
static bool oracle_is_of_the_living(const struct world *world, const char *value)
{
    const char *instance = strchr(value, '/');
    if (instance == NULL) {
        return true;
    }
    for (int i = 0; i < world->plan.n_hosts; i++) {
        if (world->hosts[i].instance != 0 && strcmp(world->hosts[i].instance_name, instance + 1) == 0) {
            return true;
        }
    }
    return false;
}

/* Nobody passes a key on to a daemon that has been dead for a while. Not so where commands may lie about for
 * longer: it may have sent one before. */
static void oracle_judge_heir(struct oracle *oracle, int key)
{
    const uint32_t slow_faults = UINT32_C(1) << FAULT_LINK_CUT | UINT32_C(1) << FAULT_LINK_BLOCKED |
                                 UINT32_C(1) << FAULT_LINK_SLOW | UINT32_C(1) << FAULT_REDIS_PAUSED |
                                 UINT32_C(1) << FAULT_REDIS_RESTARTED | UINT32_C(1) << FAULT_REDIS_REFUSES |
                                 UINT32_C(1) << FAULT_REDIS_READONLY;
    const struct world *world = oracle->world;
    const char *name = client_key_name(key);
    const struct model_entry *entry = redis_model_find(world->server->model, name, strlen(name));
    const char *value = entry != NULL ? entry->value : "";
    bool is_new = strcmp(oracle->values[key], value) != 0;
    snprintf(oracle->values[key], sizeof(oracle->values[key]), "%s", value);
    if (is_new && (world->plan.faults & slow_faults) == 0 && world->plan.trouble == TROUBLE_NONE &&
        world->now_us - oracle->host_gone_at_us > DEAD_MS * 1000 && !oracle_is_of_the_living(world, value)) {
        world_judge(oracle->world, "turns: %s is passed on to a daemon that is dead", name);
    }
}

static void oracle_on_idle(void *ctx)
{
    struct oracle *oracle = ctx;
    struct world *world = oracle->world;
    int64_t fair_since_us = oracle_fair_since_us(oracle);
    for (int key = 0; key < world->plan.n_keys; key++) {
        oracle_judge_heir(oracle, key);
        if (oracle_is_taken(oracle, key)) {
            oracle->taken_at_us[key] = world->now_us;
        }
    }
    for (int i = 0; i < world->plan.n_hosts; i++) {
        if (!sim_link_is_up(&world->hosts[i].link)) {
            oracle->unlinked_at_us[i] = world->now_us;
        }
    }
    for (size_t i = 0; i < oracle->n_asks && fair_since_us != INT64_MAX; i++) {
        const struct ask *ask = &oracle->asks[i];
        int64_t since_us = oracle_later(ask->asked_at_us, fair_since_us);
        since_us = oracle_later(since_us, oracle->taken_at_us[ask->key]);
        since_us = oracle_later(since_us, oracle->unlinked_at_us[ask->host->idx]);
        if (ask->kind == EV_CLAIM && world->now_us - since_us > IDLE_GRACE_MS * 1000 &&
            !oracle_has_paused(oracle, ask->host, host_now_ms(ask->host) - IDLE_GRACE_MS)) {
            world_judge(world, "turns: #%" PRIu64 " waits for %s, which nobody has", ask->request_id,
                        client_key_name(ask->key));
        }
    }
    world_at(world, &oracle->idle_task, world->now_us + IDLE_EVERY_US);
}

void oracle_turns_begin(struct oracle *oracle)
{
    oracle->unheard_until_us = 0;
    memset(oracle->taken_at_us, 0, sizeof(oracle->taken_at_us));
    memset(oracle->unlinked_at_us, 0, sizeof(oracle->unlinked_at_us));
    memset(oracle->values, 0, sizeof(oracle->values));
    oracle->host_gone_at_us = 0;
    oracle->idle_task = (struct task){.run = oracle_on_idle, .ctx = oracle};
    world_at(oracle->world, &oracle->idle_task, IDLE_EVERY_US);
}

void oracle_unheard(struct oracle *oracle, int64_t until_us)
{
    if (oracle->unheard_until_us < until_us) {
        oracle->unheard_until_us = until_us;
    }
}
