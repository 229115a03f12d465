/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Any sequence of events into the broker, its invariants proved after each. Three bytes make an event:
 * what, who, how. The world around the broker keeps to the rules of event.h: time goes forward, and
 * each command is answered at most once. Checked besides the audit: no two grants of a key at once, growing
 * fences, and one answer to each request.
 */

#include "daemon/base/alloc.h"
#include "daemon/base/stats.h"
#include "daemon/core/broker.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { N_PEERS = 5, N_KEYS = 3, N_OPS = 64, N_REQUESTS = 8192 };

struct world {
    struct stats stats;
    struct broker_settings settings;
    struct broker *broker;
    int64_t now_ms;
    uint64_t peer_ids[N_PEERS], last_peer_id;
    struct world_op {
        struct fx_command command;
        enum effect_kind kind;
        int64_t sent_at_ms;
        int key;
    } ops[N_OPS]; /* op_id 0: free */
    uint64_t last_request_id;
    uint8_t n_answers[N_REQUESTS];
    int64_t last_fence[N_KEYS];
    uint64_t holder[N_KEYS]; /* peer_id; 0: nobody was granted it */
    int64_t next_fence;
};

static const char *const key_names[N_KEYS] = {"a", "b", "cc"};

static int key_index(const char *key, size_t len)
{
    for (int i = 0; i < N_KEYS; i++) {
        if (len == strlen(key_names[i]) && memcmp(key, key_names[i], len) == 0) {
            return i;
        }
    }
    assert(0 && "a key that nobody named");
    return 0;
}

static void world_take_reply(struct world *world, const struct effect *effect)
{
    const struct fx_reply *reply = &effect->reply;
    assert(reply->request_id > 0 && reply->request_id <= world->last_request_id);
    assert(++world->n_answers[reply->request_id] == 1);
    if (effect->kind == FX_UNLOCKED || effect->kind == FX_GRANTED) {
        int key = key_index(reply->key, reply->key_len);
        if (effect->kind == FX_UNLOCKED) {
            return;
        }
        assert(world->holder[key] == 0);
        assert(reply->fence > world->last_fence[key]);
        world->holder[key] = reply->peer_id;
        world->last_fence[key] = reply->fence;
    }
}

static void world_take(struct world *world, const struct effect *effect)
{
    switch (effect->kind) {
    case FX_ACQUIRE:
    case FX_RENEW:
    case FX_RELEASE:
        for (int i = 0; i < N_OPS; i++) {
            struct world_op *op = &world->ops[i];
            if (op->command.op_id == 0 || i == N_OPS - 1) { /* the last one stands for all that get lost */
                *op = (struct world_op){
                    .command = effect->command, .kind = effect->kind, .sent_at_ms = world->now_ms};
                op->key = key_index(effect->command.key, effect->command.key_len);
                break;
            }
        }
        break;
    case FX_FORGET:
    case FX_QUERY:
    case FX_FORCE:
    case FX_AT_RISK:
    case FX_SAFE:
        break;
    case FX_LOST: {
        int key = key_index(effect->notice.key, effect->notice.key_len);
        /* A holder who is told of the shutdown holds on, to unlock. */
        if (effect->notice.reason != ENDING_SHUTDOWN) {
            assert(world->holder[key] == effect->notice.peer_id);
            world->holder[key] = 0;
        }
        break;
    }
    default:
        world_take_reply(world, effect);
    }
}

static void world_step(struct world *world, struct event event)
{
    event.now_ms = world->now_ms;
    const struct effects *effects = broker_step(world->broker, &event);
    for (size_t i = 0; i < effects->len; i++) {
        world_take(world, &effects->list[i]);
    }
    broker_audit(world->broker);
    assert(broker_deadline(world->broker) > world->now_ms);
}

static struct ev_request world_request(struct world *world, int who, const char *key)
{
    return (struct ev_request){
        .peer_id = world->peer_ids[who],
        .request_id = ++world->last_request_id,
        .key = key,
        .key_len = strlen(key),
    };
}

static void world_claim(struct world *world, struct ev_request from, uint8_t how)
{
    struct ev_claim claim = {
        .from = from,
        .user_id = how & 1,
        .ttl_ms = how & 2 ? 100 : 1000,
        .wait_ms = how & 4   ? 0
                   : how & 8 ? 50
                             : FOREVER,
        .retry_interval_ms = how & 16 ? 1 : 100,
        .retry_max = how & 32 ? 1 : FOREVER,
        .attempt_timeout_ms = how & 64 ? 5 : 500,
        .max_hold_ms = how & 128 ? 70 : FOREVER,
        .fail_fast = (how & 48) == 48,
        .auto_refresh = (how & 3) != 3,
    };
    world_step(world, (struct event){.kind = EV_CLAIM, .claim = claim});
}

/* What the client knows the moment that it says so: the lock is not its own any more. */
static void world_unlock(struct world *world, struct ev_request from, int key, uint8_t how)
{
    int64_t fence = how & 1 ? world->last_fence[key] : how & 2 ? 7 : 0;
    bool is_stale = fence != 0 && fence != world->last_fence[key];
    if (world->holder[key] == from.peer_id && !is_stale) {
        world->holder[key] = 0;
    }
    world_step(world, (struct event){.kind = EV_UNLOCK, .unlock = {.from = from, .fence = fence}});
}

static void world_leave(struct world *world, int who)
{
    for (int key = 0; key < N_KEYS; key++) {
        if (world->holder[key] == world->peer_ids[who]) {
            world->holder[key] = 0;
        }
    }
    world_step(world, (struct event){.kind = EV_PEER_GONE, .gone_peer_id = world->peer_ids[who]});
    world->peer_ids[who] = ++world->last_peer_id;
}

static void world_answer(struct world *world, uint8_t which, uint8_t how)
{
    struct world_op *op = &world->ops[which % N_OPS];
    if (op->command.op_id == 0) {
        return;
    }
    struct ev_outcome outcome = {
        .lease_id = op->command.lease_id,
        .op_id = op->command.op_id,
        .answer = (enum answer)(how % 7 + 1),
        .sent_at_ms = op->sent_at_ms,
        .ttl_ms = op->command.ttl_ms,
        .remaining_ms = how & 64 ? 30 : -1,
        .text = "no",
    };
    if (outcome.answer == ANSWER_OURS) {
        outcome.is_found = op->kind == FX_ACQUIRE && (how & 32) != 0;
        outcome.others_wait = (how & 128) != 0;
    }
    if (outcome.answer == ANSWER_GONE && op->kind == FX_ACQUIRE) {
        outcome.answer = ANSWER_TAKEN;
    }
    if (outcome.answer == ANSWER_OURS && op->command.fence_count > 0 && op->kind != FX_RELEASE) {
        outcome.fence_first = world->next_fence;
        outcome.fence_count = op->command.fence_count;
        world->next_fence += op->command.fence_count;
    }
    op->command.op_id = 0;
    world_step(world, (struct event){.kind = EV_OUTCOME, .outcome = outcome});
}

/* What other hosts say, true or not; what an operator says of lingering; the link. */
static void world_hear(struct world *world, const struct ev_request *from, uint8_t how)
{
    struct ev_hint hint = {.key = from->key, .key_len = from->key_len};
    if (how >= 240) {
        world_step(world, (struct event){.kind = EV_HEARING});
    } else if (how >= 200) {
        world_step(world, (struct event){.kind = how % 2 == 0 ? EV_OFFERED : EV_RECALLED, .hint = hint});
    } else if (how >= 190) {
        world->settings.linger_ms = how % 2 == 0 ? 40 : 0;
        world_step(world, (struct event){.kind = EV_SETTINGS, .settings = world->settings});
    } else {
        world_step(world, (struct event){.kind = EV_LINK,
                                         .link = {.state = (enum link_state)(how % 3 + 1), .text = "no"}});
    }
}

static void world_event(struct world *world, const uint8_t *bytes)
{
    int who = bytes[1] % N_PEERS, key = bytes[1] / N_PEERS % N_KEYS;
    uint8_t how = bytes[2];
    struct ev_request from = world_request(world, who, key_names[key]);
    switch (bytes[0] % 12) {
    case 0:
    case 1:
    case 2:
        world_claim(world, from, how);
        break;
    case 3:
    case 4:
        world_unlock(world, from, key, how);
        break;
    case 5:
        world_step(world, (struct event){.kind = EV_REFRESH,
                                         .refresh = {.from = from, .ttl_ms = how & 1 ? 300 : 0}});
        break;
    case 6:
        world_step(world, (struct event){
                              .kind = EV_CANCEL,
                              .cancel = {.from = from, .target_request_id = from.request_id - 1 - how % 8}});
        break;
    case 7:
        world_leave(world, who);
        break;
    case 8:
    case 9:
        world_answer(world, bytes[1], how);
        break;
    case 10:
        world->now_ms += how & 128 ? (how & 127) * 20 : how;
        world_step(world, (struct event){.kind = EV_TIME});
        break;
    default:
        if (how == 255) {
            world_step(world, (struct event){.kind = EV_STOP});
        } else if (how >= 250) {
            world_step(world, (struct event){.kind = EV_FORCE, .force = from});
        } else {
            world_hear(world, &from, how);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct broker_settings settings = {
        .renew_fraction = 3,
        .drift_per_10k = 100,
        .redis_timeout_ms = 100,
        .held_per_peer_max = 3,
        .waiting_per_peer_max = 2,
        .locks_per_user_max = 6,
    };
    if (len / 3 >= N_REQUESTS) {
        return 0;
    }
    struct world *world = alloc_zeroed(1, sizeof(*world));
    world->settings = settings;
    world->broker = broker_new(&settings, &world->stats);
    world->next_fence = 1;
    for (int i = 0; i < N_PEERS; i++) {
        world->peer_ids[i] = ++world->last_peer_id;
    }
    for (size_t at = 0; at + 3 <= len; at += 3) {
        world_event(world, data + at);
    }
    broker_free(world->broker);
    free(world);
    return 0;
}
