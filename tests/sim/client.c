/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * A slot's day:
 *
 *      IDLE ---lock---> WAITING ---granted---> HOLDING ---unlock---> UNLOCKING ---answer---> IDLE
 *                          |                      |
 *                          +--- refused: IDLE     +--- lost: IDLE, or an unlock all the same
 */

#include "tests/sim/client.h"

#include "tests/sim/host.h"
#include "tests/sim/oracle.h"

#include <string.h>

enum { REST_US = 100000 }; /* between requests whose answer nobody waits for */

struct letter {
    struct task task;
    struct client *client;
    uint64_t peer_id;
    bool is_end; /* of the connection */
    int key;     /* of a notice */
    union {
        struct event event;
        struct effect effect;
    };
};

const char *client_key_name(int key)
{
    static const char *const names[CLIENT_KEYS_MAX] = {"a", "b", "c"};
    return names[key];
}

bool client_is_stalled(const struct client *client)
{
    return client->stalled_until_us > client->world->now_us;
}

/* --- letters to the daemon ------------------------------------------------------------------------- */

static int64_t client_delay_us(struct client *client)
{
    return dice_small(&client->world->dice, 10, 300);
}

/* The next arrival, in order; even, as in server.c. */
static int64_t client_arrival(struct client *client, int64_t *last_us)
{
    int64_t at_us = client->world->now_us + client_delay_us(client);
    if (at_us < *last_us) {
        at_us = *last_us;
    }
    return *last_us = (at_us + 1) & ~INT64_C(1);
}

static void letter_arrives_at_daemon(void *ctx)
{
    struct letter *letter = ctx;
    struct client *client = letter->client;
    struct host *host = client->host;
    /* The peer's number says which daemon it was for: after a restart there is nobody who knows it. */
    if (host->instance == 0 || !oracle_knows_peer(client->world->oracle, letter->peer_id)) {
        return;
    }
    if (!host_is_running(host)) {
        world_at(client->world, &letter->task, host->paused_until_us);
        return;
    }
    host_post(host, &letter->event);
    host_drain(host);
}

static struct letter *letter_new(struct client *client, void (*run)(void *ctx))
{
    struct letter *letter = world_alloc(client->world, sizeof(*letter));
    letter->task = (struct task){.run = run, .ctx = letter};
    letter->client = client;
    letter->peer_id = client->peer_id;
    return letter;
}

static void client_send(struct client *client, const struct event *event)
{
    struct letter *letter = letter_new(client, letter_arrives_at_daemon);
    letter->event = *event;
    world_at(client->world, &letter->task, client_arrival(client, &client->to_us));
}

static struct ev_request client_request(struct client *client, int key)
{
    return (struct ev_request){
        .peer_id = client->peer_id,
        .request_id = ++client->world->last_request_id,
        .key = client_key_name(key),
        .key_len = strlen(client_key_name(key)),
    };
}

/* --- what a slot does ------------------------------------------------------------------------------ */

static void slot_wait(struct slot *slot, int64_t low_us, int64_t high_us)
{
    struct world *world = slot->client->world;
    world_at(world, &slot->task, world->now_us + dice_small(&world->dice, low_us, high_us));
}

static void slot_rest(struct slot *slot)
{
    slot->state = SLOT_IDLE;
    slot_wait(slot, 0, slot->client->world->plan.think_ms_max * 1000);
}

/* Long and short ones, for a lease must bear the change. */
static int64_t slot_draw_ttl_ms(struct slot *slot)
{
    struct dice *dice = &slot->client->world->dice;
    const struct plan *plan = &slot->client->world->plan;
    bool is_short = dice_chance(dice, 500) && plan->ttl_ms_max > plan->ttl_ms_min * 2;
    return dice_between(dice, plan->ttl_ms_min, is_short ? plan->ttl_ms_min * 2 : plan->ttl_ms_max);
}

/* What is asked for: mostly the usual, sometimes not. One draw in each statement, so that their order is the
 * same for every compiler. */
static struct ev_claim slot_draw_claim(struct slot *slot)
{
    struct client *client = slot->client;
    struct dice *dice = &client->world->dice;
    const struct plan *plan = &client->world->plan;
    struct ev_claim claim = {
        .from = client_request(client, slot->key),
        .user_id = 1000,
        .wait_ms = FOREVER,
        .retry_max = FOREVER,
        .attempt_timeout_ms = plan->redis_timeout_ms,
        .max_hold_ms = FOREVER,
    };
    claim.ttl_ms = slot_draw_ttl_ms(slot);
    claim.retry_interval_ms = dice_between(dice, 10, plan->retry_ms_max);
    claim.fail_fast = dice_chance(dice, 50);
    claim.auto_refresh = !dice_chance(dice, 80);
    if (dice_chance(dice, 100)) {
        claim.wait_ms = 0;
    } else if (dice_chance(dice, 300)) {
        claim.wait_ms = dice_small(dice, 1, plan->ttl_ms_max * 2);
    }
    if (dice_chance(dice, 50)) {
        claim.retry_max = dice_between(dice, 0, 5);
    }
    if (dice_chance(dice, 200)) {
        claim.attempt_timeout_ms = dice_small(dice, 1, plan->redis_timeout_ms * 2);
    }
    if (dice_chance(dice, 80)) {
        claim.max_hold_ms = dice_small(dice, 1, plan->hold_ms_max);
    }
    return claim;
}

static void slot_lock(struct slot *slot)
{
    struct client *client = slot->client;
    struct dice *dice = &client->world->dice;
    const struct plan *plan = &client->world->plan;
    slot->key = (int)dice_between(dice, 0, plan->n_keys - 1);
    for (int i = 0; i < CLIENT_SLOTS; i++) {
        const struct slot *other = &client->slots[i];
        if (other != slot && other->state != SLOT_IDLE && other->key == slot->key) {
            slot_rest(slot); /* who has a lock already does not ask for it */
            return;
        }
    }
    struct ev_claim claim = slot_draw_claim(slot);
    slot->state = SLOT_WAITING;
    slot->lock_id = claim.from.request_id;
    slot->unlock_id = 0;
    slot->will_cancel = dice_chance(dice, 100);
    client_send(client, &(struct event){.kind = EV_CLAIM, .claim = claim});
    if (slot->will_cancel) {
        slot_wait(slot, 0, plan->hold_ms_max * 1000);
    }
}

/* Requests that hold nothing; each must be answered all the same. */
static void slot_ask_this_and_that(struct slot *slot)
{
    struct client *client = slot->client;
    struct dice *dice = &client->world->dice;
    struct ev_request from =
        client_request(client, (int)dice_between(dice, 0, client->world->plan.n_keys - 1));
    if (dice_chance(dice, 500)) {
        client_send(client, &(struct event){.kind = EV_INSPECT, .inspect = from});
    } else {
        client_send(client, &(struct event){.kind = EV_ECHO, .echo = from});
    }
    slot->state = SLOT_IDLE;
    slot_wait(slot, REST_US, REST_US + client->world->plan.think_ms_max * 1000);
}

static void slot_unlock(struct slot *slot)
{
    struct client *client = slot->client;
    struct dice *dice = &client->world->dice;
    struct ev_unlock unlock = {.from = client_request(client, slot->key)};
    if (dice_chance(dice, 300)) {
        unlock.fence = slot->fence;
    }
    slot->state = SLOT_UNLOCKING;
    slot->unlock_id = unlock.from.request_id;
    oracle_believes_no_more(client->world->oracle, client->peer_id, slot->key, slot->fence);
    client_send(client, &(struct event){.kind = EV_UNLOCK, .unlock = unlock});
}

static void slot_refresh(struct slot *slot)
{
    struct client *client = slot->client;
    struct dice *dice = &client->world->dice;
    const struct plan *plan = &client->world->plan;
    struct ev_refresh refresh = {.from = client_request(client, slot->key), .fence = slot->fence};
    if (dice_chance(dice, 300)) {
        refresh.ttl_ms = slot_draw_ttl_ms(slot);
    }
    client_send(client, &(struct event){.kind = EV_REFRESH, .refresh = refresh});
    slot->will_refresh = false;
    slot_wait(slot, 0, plan->hold_ms_max * 1000);
}

static void slot_cancel(struct slot *slot)
{
    struct client *client = slot->client;
    struct ev_cancel cancel = {.from = client_request(client, slot->key), .target_request_id = slot->lock_id};
    slot->will_cancel = false;
    client_send(client, &(struct event){.kind = EV_CANCEL, .cancel = cancel});
}

static bool client_connect(struct client *client)
{
    struct world *world = client->world;
    if (client->peer_id != 0) {
        return true;
    }
    if (client->host->instance == 0 || client->host->is_stopping) {
        return false;
    }
    client->peer_id = ++world->last_peer_id;
    oracle_connected(world->oracle, client->host, client->peer_id, client);
    return true;
}

static void slot_on_task(void *ctx)
{
    struct slot *slot = ctx;
    struct client *client = slot->client;
    struct world *world = client->world;
    if (client_is_stalled(client)) {
        world_at(world, &slot->task, client->stalled_until_us);
        return;
    }
    switch (slot->state) {
    case SLOT_IDLE:
        if (world->is_calm) {
            return;
        }
        if (!client_connect(client)) {
            slot_wait(slot, 1000, 500000);
        } else if (dice_chance(&world->dice, 50)) {
            slot_ask_this_and_that(slot);
        } else {
            slot_lock(slot);
        }
        return;
    case SLOT_WAITING:
        if (slot->will_cancel) {
            slot_cancel(slot);
        }
        return;
    case SLOT_HOLDING:
        if (slot->will_refresh && !world->is_calm) {
            slot_refresh(slot);
        } else {
            slot_unlock(slot);
        }
        return;
    case SLOT_UNLOCKING:
        return;
    }
}

/* --- letters from the daemon ----------------------------------------------------------------------- */

static void slot_granted(struct slot *slot, const struct fx_reply *reply)
{
    struct world *world = slot->client->world;
    slot->state = SLOT_HOLDING;
    slot->fence = reply->fence;
    slot->will_refresh = dice_chance(&world->dice, 150);
    oracle_believes(world->oracle, reply->peer_id, slot->key, reply->fence, reply->valid_until_ms);
    slot_wait(slot, 0, world->plan.hold_ms_max * 1000);
}

static void client_read_reply(struct client *client, enum effect_kind kind, const struct fx_reply *reply)
{
    for (int i = 0; i < CLIENT_SLOTS; i++) {
        struct slot *slot = &client->slots[i];
        if (slot->state == SLOT_WAITING && slot->lock_id == reply->request_id) {
            if (kind == FX_GRANTED) {
                slot_granted(slot, reply);
            } else {
                slot_rest(slot);
            }
        } else if (slot->state == SLOT_UNLOCKING && slot->unlock_id == reply->request_id) {
            slot_rest(slot);
        } else if (kind == FX_REFRESHED && slot->state == SLOT_HOLDING && slot->fence == reply->fence) {
            oracle_hears(client->world->oracle, client->peer_id, slot->key, reply->fence,
                         reply->valid_until_ms);
        }
    }
}

static void client_read_notice(struct client *client, int key, enum effect_kind kind,
                               const struct fx_notice *notice)
{
    struct world *world = client->world;
    for (int i = 0; i < CLIENT_SLOTS; i++) {
        struct slot *slot = &client->slots[i];
        if (slot->state != SLOT_HOLDING || slot->key != key || slot->fence != notice->fence) {
            continue;
        }
        if (kind == FX_SAFE) {
            oracle_hears(world->oracle, client->peer_id, slot->key, notice->fence, notice->valid_until_ms);
        }
        if (kind != FX_LOST) {
            continue;
        }
        oracle_believes_no_more(world->oracle, client->peer_id, slot->key, slot->fence);
        if (dice_chance(&world->dice, 500)) {
            slot_unlock(slot);
        } else {
            slot_rest(slot);
        }
    }
}

/* The connection is over, from either end. */
static void client_forget_all(struct client *client)
{
    oracle_peer_left(client->world->oracle, client->peer_id);
    client->peer_id = 0;
    for (int i = 0; i < CLIENT_SLOTS; i++) {
        slot_rest(&client->slots[i]);
    }
}

static void letter_arrives_at_client(void *ctx)
{
    struct letter *letter = ctx;
    struct client *client = letter->client;
    if (client->peer_id != letter->peer_id) {
        return; /* it has died, and was born again */
    }
    if (client_is_stalled(client)) {
        world_at(client->world, &letter->task, client->stalled_until_us);
        return;
    }
    if (letter->is_end) {
        client_forget_all(client);
    } else if (letter->effect.kind >= FX_AT_RISK) {
        client_read_notice(client, letter->key, letter->effect.kind, &letter->effect.notice);
    } else {
        client_read_reply(client, letter->effect.kind, &letter->effect.reply);
    }
}

static struct client *client_find(struct host *host, uint64_t peer_id)
{
    struct world *world = host->world;
    for (int i = 0; i < world->plan.n_clients; i++) {
        struct client *client = &world->clients[host->idx * world->plan.n_clients + i];
        if (client->peer_id == peer_id) {
            return client;
        }
    }
    return NULL;
}

void client_write(struct host *host, const struct effect *effect)
{
    uint64_t peer_id = effect->kind >= FX_AT_RISK ? effect->notice.peer_id : effect->reply.peer_id;
    struct client *client = client_find(host, peer_id);
    if (client == NULL) {
        return;
    }
    struct letter *letter = letter_new(client, letter_arrives_at_client);
    letter->effect = *effect; /* whose text is lent for a moment only */
    if (effect->kind >= FX_AT_RISK) {
        letter->key = effect->notice.key[0] - client_key_name(0)[0];
    }
    world_at(client->world, &letter->task, client_arrival(client, &client->from_us));
}

void client_end_of_stream(struct host *host)
{
    struct world *world = host->world;
    for (int i = 0; i < world->plan.n_clients; i++) {
        struct client *client = &world->clients[host->idx * world->plan.n_clients + i];
        if (client->peer_id == 0) {
            continue;
        }
        struct letter *letter = letter_new(client, letter_arrives_at_client);
        letter->is_end = true;
        world_at(world, &letter->task, client_arrival(client, &client->from_us));
    }
}

/* --- life ------------------------------------------------------------------------------------------ */

void client_leave(struct client *client)
{
    if (client->peer_id == 0) {
        return;
    }
    client_send(client, &(struct event){.kind = EV_PEER_GONE, .gone_peer_id = client->peer_id});
    client_forget_all(client);
}

void client_kill(struct client *client)
{
    TRACE(client->world, "host %d: client %d (peer %llu) dies", client->host->idx, client->idx,
          (unsigned long long)client->peer_id);
    client->stalled_until_us = 0;
    client_leave(client);
}

void client_stall(struct client *client, int64_t until_us)
{
    if (client_is_stalled(client)) {
        return;
    }
    TRACE(client->world, "host %d: client %d stalls", client->host->idx, client->idx);
    client->stalled_until_us = until_us | 1;
}

void client_stall_all(struct host *host, int64_t until_us)
{
    struct world *world = host->world;
    for (int i = 0; i < world->plan.n_clients; i++) {
        client_stall(&world->clients[host->idx * world->plan.n_clients + i], until_us);
    }
}

void client_force(struct client *client, int key)
{
    if (client->peer_id != 0) {
        client_send(client, &(struct event){.kind = EV_FORCE, .force = client_request(client, key)});
    }
}

void client_begin(struct client *client, struct world *world, struct host *host, int idx)
{
    *client = (struct client){.world = world, .host = host, .idx = idx};
    for (int i = 0; i < CLIENT_SLOTS; i++) {
        struct slot *slot = &client->slots[i];
        slot->client = client;
        slot->task = (struct task){.run = slot_on_task, .ctx = slot};
        slot_rest(slot);
    }
}
