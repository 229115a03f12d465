/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * What the daemons read and write: each answer and each notice is held against what was asked, what was
 * promised, and what lies in Redis at that moment.
 */

#include "daemon/base/alloc.h"
#include "tests/sim/oracle_state.h"
#include "tests/sim/tell.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

/* --- what a daemon reads --------------------------------------------------------------------------- */

static bool oracle_is_waited_for(const struct oracle *oracle, const struct host *host, int key)
{
    for (size_t i = 0; i < oracle->n_asks; i++) {
        const struct ask *ask = &oracle->asks[i];
        if (ask->kind == EV_CLAIM && ask->host == host && ask->key == key) {
            return true;
        }
    }
    return false;
}

static void oracle_asked(struct oracle *oracle, struct host *host, const struct event *event,
                         const struct ev_request *from)
{
    assert(oracle->n_asks < ORACLE_LIST_MAX);
    bool was_waited_for =
        event->kind == EV_UNLOCK && oracle_is_waited_for(oracle, host, oracle_key(from->key));
    oracle->asks[oracle->n_asks++] = (struct ask){
        .request_id = from->request_id,
        .peer_id = from->peer_id,
        .seq = ++oracle->last_seq,
        .kind = event->kind,
        .host = host,
        .key = oracle_key(from->key),
        .asked_at_ms = event->now_ms,
        .wait_ms = event->kind == EV_CLAIM ? event->claim.wait_ms : FOREVER,
        .max_hold_ms = event->kind == EV_CLAIM ? event->claim.max_hold_ms : FOREVER,
        .is_unrenewed = event->kind == EV_CLAIM && !event->claim.auto_refresh,
        .was_waited_for = was_waited_for,
        .asked_at_us = oracle->world->now_us,
    };
    oracle_note_kept(oracle, host, oracle_key(from->key), ORPHAN_US);
    if (event->kind == EV_CLAIM) {
        oracle->claimed_seq[host->idx][oracle_key(from->key)] = oracle->last_seq;
    }
}

void oracle_read(struct oracle *oracle, struct host *host, const struct event *event)
{
    switch (event->kind) {
    case EV_CLAIM:
        oracle_asked(oracle, host, event, &event->claim.from);
        return;
    case EV_UNLOCK:
        oracle_asked(oracle, host, event, &event->unlock.from);
        return;
    case EV_REFRESH:
        oracle_asked(oracle, host, event, &event->refresh.from);
        return;
    case EV_CANCEL:
        oracle_asked(oracle, host, event, &event->cancel.from);
        return;
    case EV_INSPECT:
        oracle_asked(oracle, host, event, &event->inspect);
        return;
    case EV_FORCE:
        oracle_asked(oracle, host, event, &event->force);
        oracle_excuse(oracle); /* it asks nobody whether he has heard */
        return;
    case EV_ECHO:
        oracle_asked(oracle, host, event, &event->echo);
        return;
    case EV_PEER_GONE:
        oracle_peer_gone(oracle, event->gone_peer_id);
        return;
    default:
        return;
    }
}

/* --- what a daemon writes: grants ------------------------------------------------------------------ */

static void oracle_judge_order(struct oracle *oracle, const struct ask *granted)
{
    for (size_t i = 0; i < oracle->n_asks; i++) {
        const struct ask *ask = &oracle->asks[i];
        if (ask->kind == EV_CLAIM && ask->host == granted->host && ask->key == granted->key &&
            ask->seq < granted->seq) {
            world_judge(oracle->world,
                        "order: request #%" PRIu64 " is granted before #%" PRIu64
                        ", which asked for %s earlier",
                        granted->request_id, ask->request_id, client_key_name(ask->key));
        }
    }
}

static void oracle_judge_fence(struct oracle *oracle, int key, int64_t fence)
{
    int64_t now_us = oracle->world->now_us;
    bool may_fall = now_us < oracle->excused_until_us;
    if (oracle->world->plan.trouble == TROUBLE_FAST_CLOCK) {
        may_fall = now_us - oracle->fence_max_at_us[key] < oracle_bound_us(oracle);
    }
    if (fence <= 0 || fence >= INT64_C(1) << 53) {
        world_judge(oracle->world, "fences: %" PRId64 " is no fence", fence);
    }
    for (size_t i = 0; i < oracle->n_fences[key] && i < FENCES_KEPT; i++) {
        if (oracle->fences[key][i] == fence) {
            world_judge(oracle->world, "fences: %s is granted with fence %" PRId64 " twice",
                        client_key_name(key), fence);
        }
    }
    if (fence < oracle->fence_max[key] && !may_fall) {
        world_judge(oracle->world, "fences: %s is granted with fence %" PRId64 " after one with %" PRId64,
                    client_key_name(key), fence, oracle->fence_max[key]);
    }
    oracle->fences[key][oracle->n_fences[key]++ % FENCES_KEPT] = fence;
    if (fence > oracle->fence_max[key]) {
        oracle->fence_max[key] = fence;
        oracle->fence_max_at_us[key] = now_us;
    }
}

/* What Redis has at the key, if it is of that daemon. */
const struct model_entry *oracle_has_in_redis(const struct oracle *oracle, const struct host *host, int key)
{
    const struct server *server = oracle->world->server;
    const char *name = client_key_name(key);
    redis_model_set_clock(server->model, server_wall_us(server));
    const struct model_entry *entry = redis_model_find(server->model, name, strlen(name));
    bool is_ours =
        entry != NULL && entry->value_len > INSTANCE_LEN &&
        memcmp(entry->value + entry->value_len - INSTANCE_LEN, host->instance_name, INSTANCE_LEN) == 0;
    return is_ours ? entry : NULL;
}

/* Until then the holder may be sure; so the key must be there, be this host's, and stay that long. */
static void oracle_judge_promise(struct oracle *oracle, const struct host *host, int key, int64_t until_ms)
{
    const struct server *server = oracle->world->server;
    if (oracle_is_excused(oracle)) {
        return;
    }
    const struct model_entry *entry = oracle_has_in_redis(oracle, host, key);
    if (entry == NULL) {
        world_judge(oracle->world, "expiry: host %d promises %s, which it has not got in Redis", host->idx,
                    client_key_name(key));
    } else if (entry->expire_at_ms != -1 &&
               clock_when_us(&host->clock, until_ms) > clock_when_us(&server->wall, entry->expire_at_ms)) {
        world_judge(oracle->world, "expiry: host %d promises %s for longer than Redis keeps it", host->idx,
                    client_key_name(key));
    }
}

static void oracle_granted(struct oracle *oracle, const struct ask *ask, const struct fx_reply *reply)
{
    struct host *host = ask->host;
    const struct plan *plan = &oracle->world->plan;
    int64_t now_ms = host_now_ms(host);
    oracle_judge_order(oracle, ask);
    oracle_judge_turns(oracle, ask);
    oracle_judge_fence(oracle, ask->key, reply->fence);
    oracle_judge_promise(oracle, host, ask->key, reply->valid_until_ms);
    /* No grant on a lease at risk: when it is given, less than 60% of a ttl have passed. */
    if (reply->valid_until_ms - now_ms < plan->ttl_ms_min * 39 / 100 - 4) {
        world_judge(oracle->world, "risk: %s is granted when its lease is valid for %" PRId64 " ms only",
                    client_key_name(ask->key), reply->valid_until_ms - now_ms);
    }
    assert(oracle->n_tenures < ORACLE_LIST_MAX);
    oracle->tenures[oracle->n_tenures++] = (struct tenure){
        .host = host,
        .client = oracle->peers[ask->peer_id].client,
        .peer_id = ask->peer_id,
        .instance = host->instance,
        .key = ask->key,
        .fence = reply->fence,
        .granted_at_ms = now_ms,
        .written_until_ms = reply->valid_until_ms,
        .max_hold_ms = ask->max_hold_ms,
        .is_unrenewed = ask->is_unrenewed,
    };
}

static struct tenure *oracle_find_held(struct oracle *oracle, uint64_t peer_id, int key)
{
    for (size_t i = 0; i < oracle->n_tenures; i++) {
        struct tenure *tenure = &oracle->tenures[i];
        if (tenure->host != NULL && tenure->peer_id == peer_id && tenure->key == key &&
            !tenure->is_unlocked && !(tenure->is_lost && tenure->is_over)) {
            return tenure;
        }
    }
    return NULL;
}

/* Whether anybody on the host has, or waits for, or gives back the key just now; or was told that he lost it,
 * and may not have heard: such a lease runs out by itself. */
static bool oracle_is_wanted(const struct oracle *oracle, const struct host *host, int key)
{
    for (size_t i = 0; i < oracle->n_asks; i++) {
        const struct ask *ask = &oracle->asks[i];
        if (ask->host == host && ask->key == key && (ask->kind == EV_CLAIM || ask->kind == EV_UNLOCK)) {
            return true;
        }
    }
    for (size_t i = 0; i < oracle->n_tenures; i++) {
        const struct tenure *tenure = &oracle->tenures[i];
        if (tenure->host == host && tenure->instance == host->instance && tenure->key == key &&
            !tenure->is_unlocked && !oracle->peers[tenure->peer_id].is_gone) {
            return true;
        }
    }
    return false;
}

static void oracle_judge_release(struct oracle *oracle, const struct ask *unlock)
{
    const struct host *host = unlock->host;
    /* Where no CLIENT KILL is allowed, late commands may bring the key back. And who asked after the unlock
     * may have been answered before it, and its attempt be there still. */
    if (!oracle->world->plan.may_kill || oracle_is_excused(oracle) ||
        oracle_is_wanted(oracle, host, unlock->key) || unlock->was_waited_for ||
        oracle->world->plan.linger_ms > 0 || oracle->claimed_seq[host->idx][unlock->key] > unlock->seq) {
        return;
    }
    if (oracle_has_in_redis(oracle, host, unlock->key) != NULL) {
        world_judge(oracle->world, "release: host %d says that %s is unlocked, but Redis still has it",
                    host->idx, client_key_name(unlock->key));
    }
}

/* Some peer has gone a moment ago: what it held is given back, unless others want it or leases linger. In a
 * world that is not disturbed, that is. */
void oracle_on_orphan(void *ctx)
{
    struct oracle *oracle = ctx;
    struct world *world = oracle->world;
    if (oracle->orphaned_at_us + ORPHAN_US >= world->now_us) {
        oracle_look_for_orphans(oracle); /* another has gone since */
    }
    /* A replica may bring back places in the queue that had been given up; each is offered the key once. */
    if (world->disturbed_until_us > world->now_us || !world->plan.may_kill || world->plan.linger_ms > 0 ||
        world->plan.trouble == TROUBLE_FAILOVER || oracle_is_excused(oracle)) {
        return;
    }
    for (int i = 0; i < world->plan.n_hosts; i++) {
        const struct host *host = &world->hosts[i];
        for (int key = 0; key < world->plan.n_keys && host_is_running(host); key++) {
            if (!host->is_stopping && !oracle_is_wanted(oracle, host, key) &&
                oracle->kept_until_us[i][key] < world->now_us &&
                oracle_has_in_redis(oracle, host, key) != NULL) {
                world_judge(world, "release: nobody on host %d wants %s, but Redis still has it", i,
                            client_key_name(key));
            }
        }
    }
}

/* max_hold_ms is kept, neither shorter nor longer; `reason` is why it ends. */
static void oracle_judge_hold(struct oracle *oracle, const struct tenure *tenure, int64_t ended_at_ms,
                              enum ending reason)
{
    int64_t held_ms = ended_at_ms - tenure->granted_at_ms;
    if (reason == ENDING_MAX_HOLD && (tenure->max_hold_ms == FOREVER || held_ms < tenure->max_hold_ms)) {
        world_judge(oracle->world, "notices: fence %" PRId64 " is taken away before its max_hold",
                    tenure->fence);
    }
    if (tenure->max_hold_ms != FOREVER && held_ms > tenure->max_hold_ms + GRACE_MS && !tenure->is_lost &&
        !oracle_has_paused(oracle, tenure->host, tenure->granted_at_ms)) {
        world_judge(oracle->world, "notices: fence %" PRId64 " is held for longer than its max_hold",
                    tenure->fence);
    }
    if (tenure->is_unrenewed && ended_at_ms > tenure->written_until_ms && !tenure->is_lost &&
        !oracle_has_paused(oracle, tenure->host, tenure->granted_at_ms)) {
        world_judge(oracle->world, "notices: fence %" PRId64 " is held for longer than its ttl",
                    tenure->fence);
    }
}

static void oracle_unlocked(struct oracle *oracle, const struct ask *ask, const struct fx_reply *reply)
{
    struct tenure *tenure = oracle_find_tenure(oracle, ask->peer_id, ask->key, reply->fence);
    if (tenure == NULL || tenure->is_unlocked) {
        world_judge(oracle->world, "answers: #%" PRIu64 " is told that it unlocked what it did not hold",
                    ask->request_id);
        return;
    }
    oracle_judge_hold(oracle, tenure, ask->asked_at_ms, ENDING_RELEASED);
    tenure->is_unlocked = true;
    oracle_judge_release(oracle, ask);
    oracle_sweep(oracle);
}

/* --- what a daemon writes: answers ----------------------------------------------------------------- */

static bool ask_fits(const struct ask *ask, enum effect_kind kind)
{
    switch (ask->kind) {
    case EV_CLAIM:
        return kind == FX_GRANTED || kind == FX_REFUSED;
    case EV_UNLOCK:
        return kind == FX_UNLOCKED || kind == FX_REFUSED;
    case EV_REFRESH:
        return kind == FX_REFRESHED || kind == FX_REFUSED;
    case EV_CANCEL:
        return kind == FX_CANCELLED;
    case EV_INSPECT:
        return kind == FX_INSPECTED || kind == FX_REFUSED;
    case EV_FORCE:
        return kind == FX_FORCED || kind == FX_REFUSED;
    default:
        return kind == FX_ECHOED;
    }
}

static void oracle_judge_waited(struct oracle *oracle, const struct ask *ask, enum effect_kind kind,
                                const struct fx_reply *reply)
{
    int64_t waited_ms = host_now_ms(ask->host) - ask->asked_at_ms;
    bool has_paused = oracle_has_paused(oracle, ask->host, ask->asked_at_ms);
    if (kind == FX_REFUSED && reply->refusal == REFUSED_TIMEOUT && waited_ms < ask->wait_ms) {
        world_judge(oracle->world, "answers: #%" PRIu64 " timed out before its time", ask->request_id);
    }
    if (ask->kind == EV_CLAIM && ask->wait_ms > 0 && !has_paused && waited_ms > ask->wait_ms + GRACE_MS) {
        world_judge(oracle->world, "answers: #%" PRIu64 " waited longer than it was willing to",
                    ask->request_id);
    }
    if ((ask->kind == EV_UNLOCK || ask->kind == EV_REFRESH) && !has_paused &&
        waited_ms > oracle->world->plan.redis_timeout_ms + GRACE_MS) {
        world_judge(oracle->world, "answers: #%" PRIu64 " waited longer than Redis may take",
                    ask->request_id);
    }
}

/* A refusal to unlock or refresh must not be said to who holds it. */
static void oracle_refused(struct oracle *oracle, const struct ask *ask, const struct fx_reply *reply)
{
    struct tenure *tenure = oracle_find_held(oracle, ask->peer_id, ask->key);
    if (ask->kind != EV_UNLOCK && ask->kind != EV_REFRESH) {
        return;
    }
    if (reply->refusal == REFUSED_NOT_HELD && reply->why == ENDING_NEVER && tenure != NULL &&
        !tenure->is_lost) {
        world_judge(oracle->world, "answers: #%" PRIu64 " is told that it never held what it holds",
                    ask->request_id);
    }
    if (ask->kind == EV_UNLOCK && tenure != NULL && reply->refusal != REFUSED_SHUTTING_DOWN) {
        tenure->is_unlocked = true; /* given up all the same */
        oracle_sweep(oracle);
    }
}

static void oracle_refreshed(struct oracle *oracle, const struct ask *ask, const struct fx_reply *reply)
{
    struct tenure *tenure = oracle_find_tenure(oracle, ask->peer_id, ask->key, reply->fence);
    oracle_judge_promise(oracle, ask->host, ask->key, reply->valid_until_ms);
    if (tenure != NULL && tenure->written_until_ms < reply->valid_until_ms) {
        tenure->written_until_ms = reply->valid_until_ms;
    }
}

static void oracle_answered(struct oracle *oracle, struct host *host, enum effect_kind kind,
                            const struct fx_reply *reply)
{
    struct ask ask = {0};
    for (size_t i = 0; i < oracle->n_asks; i++) {
        if (oracle->asks[i].request_id == reply->request_id) {
            ask = oracle->asks[i];
            oracle->asks[i] = oracle->asks[--oracle->n_asks];
            break;
        }
    }
    if (ask.request_id == 0) {
        if (!oracle->peers[reply->peer_id].is_gone) {
            world_judge(oracle->world, "answers: #%" PRIu64 " is answered twice", reply->request_id);
        }
        return;
    }
    if (!ask_fits(&ask, kind) || ask.host != host || ask.peer_id != reply->peer_id) {
        world_judge(oracle->world, "answers: #%" PRIu64 " gets an answer to another question",
                    reply->request_id);
        return;
    }
    oracle_judge_waited(oracle, &ask, kind, reply);
    if (kind == FX_GRANTED) {
        oracle_granted(oracle, &ask, reply);
    } else if (kind == FX_UNLOCKED) {
        oracle_unlocked(oracle, &ask, reply);
    } else if (kind == FX_FORCED) {
        oracle_excuse(oracle);
    } else if (kind == FX_REFUSED) {
        oracle_refused(oracle, &ask, reply);
    } else if (kind == FX_REFRESHED) {
        oracle_refreshed(oracle, &ask, reply);
    }
}

/* --- what a daemon writes: notices ----------------------------------------------------------------- */

/* How much before its end a holder is told, at the most. */
enum { LEAD_MS = 160 };

static void oracle_lost(struct oracle *oracle, struct host *host, struct tenure *tenure, enum ending reason)
{
    const struct plan *plan = &oracle->world->plan;
    int64_t now_ms = host_now_ms(host);
    bool by_other = reason == ENDING_TAKEN || reason == ENDING_DELETED || reason == ENDING_FORCED;
    if (by_other && plan->trouble == TROUBLE_NONE) {
        world_judge(oracle->world, "notices: fence %" PRId64 " is lost as %s, which cannot be", tenure->fence,
                    tell_ending(reason));
    }
    if (reason == ENDING_EXPIRED && now_ms < tenure->written_until_ms - LEAD_MS) {
        world_judge(oracle->world, "notices: fence %" PRId64 " is said to have expired before its time",
                    tenure->fence);
    }
    if (reason == ENDING_TTL && now_ms < tenure->written_until_ms - LEAD_MS) {
        world_judge(oracle->world, "notices: fence %" PRId64 " is taken away before its ttl", tenure->fence);
    }
    if (reason == ENDING_EXPIRED && plan->trouble == TROUBLE_NONE && !tenure->is_unrenewed &&
        oracle->world->disturbed_until_us + plan->ttl_ms_max * 100 < oracle->world->now_us) {
        world_judge(oracle->world, "notices: fence %" PRId64 " has expired, and nothing was wrong",
                    tenure->fence);
    }
    bool has_paused = oracle_has_paused(oracle, host, now_ms - plan->ttl_ms_max);
    if (reason == ENDING_EXPIRED && !tenure->is_unrenewed && !tenure->is_warned && !has_paused) {
        world_judge(oracle->world, "notices: fence %" PRId64 " has expired without a warning", tenure->fence);
    }
    oracle_judge_hold(oracle, tenure, now_ms, reason);
    /* Its holder may not have heard of it: then the lease runs out by itself. */
    if (reason == ENDING_MAX_HOLD || reason == ENDING_TTL || reason == ENDING_SHUTDOWN) {
        oracle_note_kept(oracle, host, tenure->key, plan->ttl_ms_max * 2000);
    }
    tenure->is_lost = true;
    tenure->may_unlock = reason == ENDING_SHUTDOWN;
    oracle_sweep(oracle);
}

static void oracle_noticed(struct oracle *oracle, struct host *host, enum effect_kind kind,
                           const struct fx_notice *notice)
{
    struct tenure *tenure =
        oracle_find_tenure(oracle, notice->peer_id, oracle_key(notice->key), notice->fence);
    if (tenure == NULL || tenure->is_lost || tenure->is_unlocked) {
        if (!oracle->peers[notice->peer_id].is_gone) {
            world_judge(oracle->world, "notices: a notice about fence %" PRId64 ", which is over",
                        notice->fence);
        }
        return;
    }
    tenure->is_warned = kind == FX_AT_RISK || (kind == FX_LOST && tenure->is_warned);
    if (kind == FX_LOST) {
        oracle_lost(oracle, host, tenure, notice->reason);
    } else if (kind == FX_SAFE) {
        oracle_judge_promise(oracle, host, tenure->key, notice->valid_until_ms);
        if (tenure->written_until_ms < notice->valid_until_ms) {
            tenure->written_until_ms = notice->valid_until_ms;
        }
    }
}

void oracle_wrote(struct oracle *oracle, struct host *host, const struct effect *effect)
{
    if (effect->kind >= FX_AT_RISK) {
        oracle_noticed(oracle, host, effect->kind, &effect->notice);
    } else {
        oracle_answered(oracle, host, effect->kind, &effect->reply);
    }
}
