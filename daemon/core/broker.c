/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Events in, effects out: finds whom a request is about, changes the facts, settles the key. What comes from
 * Redis and from other hosts is heard.c's; the decisions are in key.c and below.
 */

#include "daemon/core/broker.h"

#include "daemon/core/emit.h"
#include "daemon/core/heard.h"
#include "daemon/core/hold.h"
#include "daemon/core/leave.h"
#include "daemon/core/state.h"

#include <assert.h>
#include <string.h>

#define CONTAINER_OF(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

struct broker *broker_new(const struct broker_settings *settings, struct stats *stats)
{
    struct broker *broker = alloc_zeroed(1, sizeof(*broker));
    broker->settings = *settings;
    broker->stats = stats;
    broker->link = LINK_CONNECTING;
    heap_init(&broker->timers);
    return broker;
}

static void broker_empty_graveyard(struct broker *broker)
{
    struct key *key;
    while ((key = broker->graveyard) != NULL) {
        broker->graveyard = key->next;
        free(key);
    }
}

/* --- requests -------------------------------------------------------------------------------------- */

static struct claimant *broker_find_claimant(struct broker *broker, uint64_t peer_id)
{
    struct claimant *claimant;
    HASH_FIND(hh, broker->claimants, &peer_id, sizeof(peer_id), claimant);
    return claimant;
}

static struct claimant *broker_get_claimant(struct broker *broker, uint64_t peer_id)
{
    struct claimant *claimant = broker_find_claimant(broker, peer_id);
    if (claimant == NULL) {
        claimant = alloc_zeroed(1, sizeof(*claimant));
        claimant->id = peer_id;
        HASH_ADD(hh, broker->claimants, id, sizeof(claimant->id), claimant);
    }
    return claimant;
}

static struct fx_reply *broker_refuse(struct broker *broker, const struct ev_request *from,
                                      enum refusal refusal)
{
    return emit_refused(broker, from->peer_id, from->request_id, refusal, from->key, from->key_len);
}

/* Why the limits do not allow another claim; NULL if they do. */
static const char *broker_limit_for(const struct broker *broker, const struct claimant *claimant,
                                    uint32_t user_id)
{
    const struct user *user;
    HASH_FIND(hh, broker->users, &user_id, sizeof(user_id), user);
    if (user != NULL && user->n_claims >= broker->settings.locks_per_user_max) {
        return "locks_per_user";
    }
    if (claimant->n_waiting >= broker->settings.waiting_per_peer_max) {
        return "waiting_per_connection";
    }
    if (claimant->n_waiting + claimant->n_held >= broker->settings.held_per_peer_max) {
        return "held_per_connection";
    }
    return NULL;
}

/* Somebody here holds the key, or will in a moment. */
static bool broker_is_taken(const struct key *key)
{
    return key_has_lease(key) && (key->grant != NULL || key->waiting != NULL);
}

/* A claim that does not want to wait, on a key that is held here: Redis is not asked. */
static void broker_refuse_try(struct broker *broker, const struct key *key, const struct ev_request *from)
{
    broker_refuse(broker, from, REFUSED_HELD)->remaining_ms =
        key->lease->times.valid_until_ms - broker->now_ms;
}

static void broker_on_claim(struct broker *broker, const struct ev_claim *asked)
{
    const struct ev_request *from = &asked->from;
    if (broker->is_stopping) {
        broker_refuse(broker, from, REFUSED_SHUTTING_DOWN);
        return;
    }
    struct claimant *claimant = broker_get_claimant(broker, from->peer_id);
    struct key *key = key_get(broker, from->key, from->key_len);
    struct claim *mine = claimant_find_claim(claimant, key);
    if (mine != NULL && mine->state == CLAIM_REVOKED) {
        key_end_grant(broker, key, ENDING_RELEASED); /* it asks anew, so it has heard of the loss */
        mine = NULL;
    }
    const char *limit = broker_limit_for(broker, claimant, asked->user_id);
    if (mine != NULL) {
        broker_refuse(broker, from, REFUSED_ALREADY_HELD);
    } else if (limit != NULL) {
        broker_refuse(broker, from, REFUSED_LIMIT)->limit = limit;
    } else if (asked->wait_ms == 0 && broker_is_taken(key)) {
        broker_refuse_try(broker, key, from);
    } else {
        key_add_claim(broker, key, claim_new(claimant, key, asked, ++broker->last_claim_id, broker->now_ms));
    }
    key_settle(broker, key);
}

static void broker_refuse_not_held(struct broker *broker, const struct ev_request *from, enum ending why)
{
    broker_refuse(broker, from, REFUSED_NOT_HELD)->why = why;
}

/* The key, if this very peer holds it and the fence, unless 0, is the grant's; otherwise refuses. A holder
 * that was told of the shutdown holds it still, for the time it has to unlock. */
static struct key *broker_find_grant(struct broker *broker, const struct ev_request *from, int64_t fence)
{
    struct claimant *claimant = broker_find_claimant(broker, from->peer_id);
    struct key *key = key_find(broker, from->key, from->key_len);
    struct claim *claim = key != NULL ? key->grant : NULL;
    bool is_mine = claim != NULL && claim->claimant == claimant &&
                   (claim->state == CLAIM_GRANTED || claim->ending == ENDING_SHUTDOWN);
    if (is_mine && (fence == 0 || fence == claim->fence)) {
        return key;
    }
    if (is_mine) {
        broker_refuse_not_held(broker, from, ENDING_STALE_FENCE);
    } else {
        broker_refuse_not_held(broker, from,
                               claimant == NULL ? ENDING_NEVER
                                                : claimant_recall(claimant, from->key, from->key_len));
    }
    return NULL;
}

/* An unlock of a lock that was taken away tells that its holder has heard of that. */
static void broker_note_heard(struct broker *broker, const struct ev_request *from, int64_t fence)
{
    struct key *key = key_find(broker, from->key, from->key_len);
    if (key == NULL || key->grant == NULL || key->grant->claimant->id != from->peer_id ||
        key->grant->state != CLAIM_REVOKED || (fence != 0 && fence != key->grant->fence)) {
        return;
    }
    key_end_grant(broker, key, ENDING_RELEASED);
    key_settle(broker, key);
}

/* A request that is answered when the lock has been passed on or given back. */
static struct departure broker_departure(const struct broker *broker, const struct ev_request *from)
{
    return (struct departure){
        .peer_id = from->peer_id,
        .request_id = from->request_id,
        .answer_by_ms = broker->now_ms + broker->settings.redis_timeout_ms,
    };
}

static void broker_on_unlock(struct broker *broker, const struct ev_unlock *asked)
{
    const struct ev_request *from = &asked->from;
    struct key *key = broker_find_grant(broker, from, asked->fence);
    if (key == NULL) {
        broker_note_heard(broker, from, asked->fence);
        return;
    }
    struct departure departure = broker_departure(broker, from);
    departure.fence = key->grant->fence;
    departure.held_ms = broker->now_ms - key->grant->granted_at_ms;
    broker->stats->unlocks++;
    key_end_grant(broker, key, ENDING_RELEASED);
    key->departure = departure; /* answered by the next grant, or by the release */
    key_settle(broker, key);
}

static void broker_on_refresh(struct broker *broker, const struct ev_refresh *asked)
{
    if (broker->is_stopping) {
        broker_refuse(broker, &asked->from, REFUSED_SHUTTING_DOWN);
        return;
    }
    struct key *key = broker_find_grant(broker, &asked->from, asked->fence);
    if (key == NULL) {
        return;
    }
    hold_add_refresh(broker, key, asked);
    key_settle(broker, key);
}

static void broker_on_cancel(struct broker *broker, const struct ev_cancel *asked)
{
    struct claimant *claimant = broker_find_claimant(broker, asked->from.peer_id);
    struct key *key = key_find(broker, asked->from.key, asked->from.key_len);
    struct claim *claim = claimant != NULL && key != NULL ? claimant_find_claim(claimant, key) : NULL;
    bool is_there =
        claim != NULL && claim->state == CLAIM_WAITING && claim->request_id == asked->target_request_id;
    if (is_there) {
        key_refuse_claim(broker, claim, REFUSED_CANCELLED);
    }
    emit_cancelled(broker, &asked->from, is_there);
    if (is_there) {
        key_settle(broker, key);
    }
}

static void broker_on_inspect(struct broker *broker, const struct ev_request *from)
{
    struct key *key = key_find(broker, from->key, from->key_len);
    if (key != NULL && key_has_lease(key)) {
        emit_inspected(broker, from, /* elsewhere= */ false, -1);
    } else {
        emit_query(broker, FX_QUERY, from);
    }
}

static void broker_on_force(struct broker *broker, const struct ev_request *from)
{
    struct key *key = key_find(broker, from->key, from->key_len);
    if (key == NULL || !key_has_lease(key)) {
        emit_query(broker, FX_FORCE, from);
        return;
    }
    struct departure departure = broker_departure(broker, from);
    departure.is_forced = true;
    if (key->grant != NULL) {
        if (key->grant->state == CLAIM_GRANTED) {
            emit_notice(broker, FX_LOST, key->grant, ENDING_FORCED);
        }
        key_end_grant(broker, key, ENDING_FORCED);
    }
    key_answer_departure(broker, key);
    key->is_prompted = true;
    leave_begin(broker, key, &departure);
    key_settle(broker, key);
}

static void broker_on_peer_gone(struct broker *broker, uint64_t peer_id)
{
    struct claimant *claimant = broker_find_claimant(broker, peer_id);
    if (claimant == NULL) {
        return;
    }
    struct claim *claim, *next;
    HASH_ITER (hh, claimant->claims, claim, next) {
        struct key *key = claim->key;
        if (claim->state == CLAIM_WAITING) {
            key_drop_claim(broker, claim);
        } else {
            broker->stats->abandoned++;
            key_end_grant(broker, key, ENDING_RELEASED);
        }
        key_settle(broker, key);
    }
    HASH_DEL(broker->claimants, claimant);
    free(claimant->endings);
    free(claimant);
}

/* --- the daemon ------------------------------------------------------------------------------------ */

static void broker_on_stop(struct broker *broker)
{
    broker->is_stopping = true;
    struct key *key, *next;
    HASH_ITER (hh, broker->keys, key, next) {
        while (key->waiting != NULL) {
            key_refuse_claim(broker, key->waiting, REFUSED_SHUTTING_DOWN);
        }
        if (key->grant != NULL && key->grant->state == CLAIM_GRANTED) {
            key_revoke(broker, key, ENDING_SHUTDOWN);
        }
        key_settle(broker, key);
    }
}

static void broker_on_claim_timer(struct broker *broker, struct claim *claim)
{
    struct key *key = claim->key;
    key_refuse_claim(broker, claim, claim->wait_ms == 0 ? REFUSED_UNAVAILABLE : REFUSED_TIMEOUT);
    key_settle(broker, key);
}

/* Settles all that has run out, in the order in which it did. */
static void broker_expire(struct broker *broker)
{
    struct timer *timer;
    while ((timer = heap_peek(&broker->timers)) != NULL && timer->at_ms <= broker->now_ms) {
        if (timer->kind == TIMER_CLAIM) {
            broker_on_claim_timer(broker, CONTAINER_OF(timer, struct claim, timer));
        } else {
            key_settle(broker, CONTAINER_OF(timer, struct key, timer));
        }
    }
}

/* Leases linger for as long as is said now. */
static void broker_on_settings(struct broker *broker, const struct broker_settings *settings)
{
    struct key *key, *next;
    broker->settings = *settings;
    HASH_ITER (hh, broker->keys, key, next) {
        if (key->lease != NULL && key->lease->is_idle) {
            key_settle(broker, key);
        }
    }
}

static void broker_dispatch(struct broker *broker, const struct event *event)
{
    switch (event->kind) {
    case EV_TIME:
        break;
    case EV_CLAIM:
        broker_on_claim(broker, &event->claim);
        break;
    case EV_UNLOCK:
        broker_on_unlock(broker, &event->unlock);
        break;
    case EV_REFRESH:
        broker_on_refresh(broker, &event->refresh);
        break;
    case EV_CANCEL:
        broker_on_cancel(broker, &event->cancel);
        break;
    case EV_INSPECT:
        broker_on_inspect(broker, &event->inspect);
        break;
    case EV_FORCE:
        broker_on_force(broker, &event->force);
        break;
    case EV_ECHO:
        emit_echoed(broker, &event->echo);
        break;
    case EV_PEER_GONE:
        broker_on_peer_gone(broker, event->gone_peer_id);
        break;
    case EV_OUTCOME:
        heard_outcome(broker, &event->outcome);
        break;
    case EV_QUERIED:
        heard_queried(broker, &event->queried);
        break;
    case EV_LINK:
        heard_link(broker, &event->link);
        break;
    case EV_OFFERED:
        heard_offered(broker, &event->hint);
        break;
    case EV_RECALLED:
        heard_recalled(broker, &event->hint);
        break;
    case EV_HEARING:
        heard_hearing(broker);
        break;
    case EV_STOP:
        broker_on_stop(broker);
        break;
    case EV_SETTINGS:
        broker_on_settings(broker, &event->settings);
        break;
    }
}

const struct effects *broker_step(struct broker *broker, const struct event *event)
{
    assert(event->now_ms >= broker->now_ms);
    broker->now_ms = event->now_ms;
    broker->effects.len = 0;
    broker_empty_graveyard(broker);
    broker_expire(broker);
    broker_dispatch(broker, event);
    return &broker->effects;
}

int64_t broker_deadline(const struct broker *broker)
{
    const struct timer *timer = heap_peek(&broker->timers);
    return timer != NULL ? timer->at_ms : DEADLINE_NEVER;
}

const struct key *broker_find(const struct broker *broker, const char *name, size_t name_len)
{
    const struct key *key;
    HASH_FIND(hh, broker->keys, name, name_len, key);
    return key;
}

const struct key *broker_next(const struct broker *broker, const struct key *after)
{
    return after != NULL ? after->hh.next : broker->keys;
}

bool broker_is_idle(const struct broker *broker)
{
    return broker->keys == NULL;
}

/* --- the end --------------------------------------------------------------------------------------- */

struct broker *broker_free(struct broker *broker)
{
    if (broker == NULL) {
        return NULL;
    }
    struct claimant *claimant, *next_claimant;
    HASH_ITER (hh, broker->claimants, claimant, next_claimant) {
        struct claim *claim, *next_claim;
        HASH_ITER (hh, claimant->claims, claim, next_claim) {
            heap_clear(&broker->timers, &claim->timer);
            claim_free(claim);
        }
        HASH_DEL(broker->claimants, claimant);
        free(claimant->endings);
        free(claimant);
    }
    heap_deinit(&broker->timers); /* while those whose timers it lets go are there */
    struct user *user, *next_user;
    HASH_ITER (hh, broker->users, user, next_user) {
        HASH_DEL(broker->users, user);
        free(user);
    }
    struct lease *lease, *next_lease;
    HASH_ITER (hh, broker->leases, lease, next_lease) {
        HASH_DEL(broker->leases, lease);
        free(lease);
    }
    struct key *key, *next_key;
    HASH_ITER (hh, broker->keys, key, next_key) {
        struct refresh *refresh, *next_refresh;
        DL_FOREACH_SAFE (key->refreshes, refresh, next_refresh) {
            free(refresh);
        }
        HASH_DEL(broker->keys, key);
        free(key);
    }
    broker_empty_graveyard(broker);
    free(broker->effects.list);
    free(broker);
    return NULL;
}
