/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The facts of a key, and the one decision: key_settle().
 */

#include "daemon/core/key.h"

#include "daemon/core/attempt.h"
#include "daemon/core/emit.h"
#include "daemon/core/hold.h"
#include "daemon/core/leave.h"
#include "daemon/core/linger.h"
#include "daemon/core/state.h"
#include "daemon/core/turn.h"

#include <assert.h>
#include <string.h>

struct key *key_find(struct broker *broker, const char *name, size_t name_len)
{
    struct key *key;
    HASH_FIND(hh, broker->keys, name, name_len, key);
    return key;
}

struct key *key_get(struct broker *broker, const char *name, size_t name_len)
{
    struct key *key = key_find(broker, name, name_len);
    if (key != NULL) {
        return key;
    }
    key = alloc_bytes(sizeof(*key) + name_len);
    *key = (struct key){.vacant_since_ms = -1, .name_len = name_len, .timer.kind = TIMER_KEY};
    memcpy(key->name, name, name_len);
    HASH_ADD_KEYPTR(hh, broker->keys, key->name, key->name_len, key);
    broker->stats->keys++;
    return key;
}

bool key_has_lease(const struct key *key)
{
    return key->lease != NULL && key->lease->state == LEASE_HELD;
}

/* --- claims ---------------------------------------------------------------------------------------- */

static void key_charge_user(struct broker *broker, uint32_t user_id)
{
    struct user *user;
    HASH_FIND(hh, broker->users, &user_id, sizeof(user_id), user);
    if (user == NULL) {
        user = alloc_zeroed(1, sizeof(*user));
        user->id = user_id;
        HASH_ADD(hh, broker->users, id, sizeof(user->id), user);
    }
    user->n_claims++;
}

/* The claim is over, however it came to its end. */
static void key_end_claim(struct broker *broker, struct claim *claim)
{
    struct user *user;
    HASH_FIND(hh, broker->users, &claim->user_id, sizeof(claim->user_id), user);
    assert(user != NULL);
    if (--user->n_claims == 0) {
        HASH_DEL(broker->users, user);
        free(user);
    }
    claim_free(claim);
}

void key_add_claim(struct broker *broker, struct key *key, struct claim *claim)
{
    DL_APPEND(key->waiting, claim);
    key->n_waiting++;
    claim->claimant->n_waiting++;
    key_charge_user(broker, claim->user_id);
    broker->stats->claims_waiting++;
    key->n_tries += claim->wait_ms == 0;
    if (key->attempt_at_ms > claim->try_at_ms) {
        key->attempt_at_ms = claim->try_at_ms;
    }
    claim->timer.kind = TIMER_CLAIM;
    /* A claim that does not wait is bounded all the same: by the one attempt that it is for. */
    int64_t bound_ms = claim->wait_ms != 0 ? claim->wait_ms : claim->attempt_timeout_ms;
    if (bound_ms != FOREVER) {
        heap_set(&broker->timers, &claim->timer, broker->now_ms + bound_ms);
    }
}

static void key_dequeue(struct broker *broker, struct claim *claim)
{
    heap_clear(&broker->timers, &claim->timer);
    DL_DELETE(claim->key->waiting, claim);
    claim->key->n_waiting--;
    claim->key->n_tries -= claim->wait_ms == 0;
    claim->claimant->n_waiting--;
    broker->stats->claims_waiting--;
}

void key_drop_claim(struct broker *broker, struct claim *claim)
{
    key_dequeue(broker, claim);
    key_end_claim(broker, claim);
}

/* For how long somebody else will have the key, as far as we know. */
static int64_t key_remaining(const struct broker *broker, const struct key *key)
{
    if (key_has_lease(key)) {
        return key->lease->times.valid_until_ms - broker->now_ms;
    }
    return key->other_until_ms > broker->now_ms ? key->other_until_ms - broker->now_ms : -1;
}

void key_refuse_claim(struct broker *broker, struct claim *claim, enum refusal refusal)
{
    struct key *key = claim->key;
    struct fx_reply *reply =
        emit_refused(broker, claim->claimant->id, claim->request_id, refusal, key->name, key->name_len);
    if (refusal == REFUSED_HELD) {
        reply->remaining_ms = key_remaining(broker, key);
    }
    if (refusal == REFUSED_TIMEOUT || refusal == REFUSED_UNAVAILABLE) {
        if (key->last_error[0] != '\0') {
            reply->last_error = key->last_error;
        } else if (key->grant == NULL && key->attempt.is_open && claim->n_attempts == 0) {
            reply->last_error = key->attempt.is_sent ? "no answer in time" : "not connected in time";
        }
    }
    key_drop_claim(broker, claim);
}

/* --- the grant ------------------------------------------------------------------------------------- */

/* The lock has gone to another: those who did not want to wait are told. */
static void key_refuse_tries(struct broker *broker, struct key *key)
{
    struct claim *claim, *next;
    if (key->n_tries == 0) {
        return;
    }
    DL_FOREACH_SAFE (key->waiting, claim, next) {
        if (claim->wait_ms == 0) {
            key_refuse_claim(broker, claim, REFUSED_HELD);
        }
    }
}

void key_refuse_departure(struct broker *broker, struct key *key, const char *last_error)
{
    struct departure *departure = &key->departure;
    if (departure->request_id == 0) {
        return;
    }
    emit_refused(broker, departure->peer_id, departure->request_id, REFUSED_UNAVAILABLE, key->name,
                 key->name_len)
        ->last_error = last_error;
    departure->request_id = 0;
}

void key_answer_departure(struct broker *broker, struct key *key)
{
    emit_departed(broker, key, &key->departure);
    key->departure.request_id = 0;
}

static int64_t key_earlier(int64_t a_ms, int64_t b_ms)
{
    return a_ms < b_ms ? a_ms : b_ms;
}

static void key_grant_head(struct broker *broker, struct key *key)
{
    struct claim *claim = key->waiting;
    struct lease *lease = key->lease;
    key_dequeue(broker, claim);
    key->grant = claim;
    claim->claimant->n_held++;
    claim->state = CLAIM_GRANTED;
    claim->fence = lease->fence_next++;
    claim->granted_at_ms = broker->now_ms;
    claim->hold_until_ms =
        claim->max_hold_ms == FOREVER ? DEADLINE_NEVER : broker->now_ms + claim->max_hold_ms;
    claim->ttl_lost_at_ms = claim->ttl_until_ms = DEADLINE_NEVER;
    if (!claim->auto_refresh) {
        claim->ttl_until_ms = key_earlier(broker->now_ms + claim->ttl_ms, lease->times.valid_until_ms);
        claim->ttl_lost_at_ms = claim->ttl_until_ms - timing_lead(claim->ttl_ms);
    }
    if (key->vacant_since_ms >= 0) {
        broker->stats->handovers++;
    }
    key->vacant_since_ms = -1;
    if (claim->ttl_ms > lease->ttl_ms) {
        lease->times.renew_at_ms = broker->now_ms; /* it asked for more than Redis has been told */
    }
    lease->ttl_ms = claim->ttl_ms;
    key_answer_departure(broker, key);
    emit_granted(broker, claim, lease);
    key_refuse_tries(broker, key);
}

static void key_drop_grant(struct broker *broker, struct key *key)
{
    key->grant->claimant->n_held--;
    key_end_claim(broker, key->grant);
    key->grant = NULL;
}

void key_end_grant(struct broker *broker, struct key *key, enum ending ending)
{
    struct claim *claim = key->grant;
    if (claim->state == CLAIM_GRANTED || claim->ending == ENDING_SHUTDOWN) {
        claimant_remember(claim->claimant, key->name, key->name_len, ending);
    }
    hold_refuse_refreshes(broker, key, REFUSED_NOT_HELD, ending, NULL);
    key_drop_grant(broker, key);
    key->vacant_since_ms = broker->now_ms;
    if (key->lease != NULL) {
        key->lease->risk_told = false;
    }
}

void key_revoke(struct broker *broker, struct key *key, enum ending reason)
{
    struct claim *claim = key->grant;
    assert(claim->state == CLAIM_GRANTED);
    emit_notice(broker, FX_LOST, claim, reason);
    claim->state = CLAIM_REVOKED;
    claim->ending = reason;
    if (reason == ENDING_SHUTDOWN) {
        hold_refuse_refreshes(broker, key, REFUSED_SHUTTING_DOWN, 0, NULL);
        return;
    }
    claimant_remember(claim->claimant, key->name, key->name_len, reason);
    hold_refuse_refreshes(broker, key, REFUSED_NOT_HELD, reason, NULL);
}

void key_lose(struct broker *broker, struct key *key, enum ending reason)
{
    struct claim *claim = key->grant;
    if (claim != NULL && claim->state == CLAIM_GRANTED) {
        emit_notice(broker, FX_LOST, claim, reason);
        claimant_remember(claim->claimant, key->name, key->name_len, reason);
        hold_refuse_refreshes(broker, key, REFUSED_NOT_HELD, reason, NULL);
    }
    if (claim != NULL && claim->state == CLAIM_REVOKED && claim->ending == ENDING_SHUTDOWN) {
        claimant_remember(claim->claimant, key->name, key->name_len, reason);
    }
    if (claim != NULL) {
        key_drop_grant(broker, key);
    }
    key_refuse_departure(broker, key, "no answer in time");
    key->is_prompted = true; /* those who wait here queue at once */
    if (reason == ENDING_EXPIRED || reason == ENDING_TTL) {
        key->own_gone_at_ms = key->other_until_ms = key->lease->times.gone_at_ms;
        key->lease->believed_until_ms = key->lease->times.valid_until_ms;
    }
    /* A lock command of it that is still to be answered may set the key again, or may have queued. */
    if (lease_may_be_known(key->lease)) {
        leave_begin(broker, key, NULL);
    } else {
        leave_forget(broker, key->lease);
    }
}

/* --- the decision ---------------------------------------------------------------------------------- */

/* Nobody here wants the lease any more, or its turn is over. */
static void key_give_back(struct broker *broker, struct key *key)
{
    struct departure departure = key->departure;
    key->departure.request_id = 0;
    if (key->lease->is_recalled) {
        linger_note_recall(broker, key);
        key->lease->open_ms = turn_open_ms(broker, key);
        key->is_prompted = true; /* those whose turn has not come yet queue at once */
    }
    leave_begin(broker, key, &departure);
}

/* Demand meets supply. */
static void key_match(struct broker *broker, struct key *key)
{
    bool is_held = key_has_lease(key);
    if (key->grant != NULL) {
        return;
    }
    if (is_held && turn_is_over(key)) {
        key_give_back(broker, key);
        is_held = false;
    }
    if (key->waiting != NULL && is_held) {
        linger_end(broker, key->lease);
        if (hold_is_sound(broker, key)) {
            key_grant_head(broker, key);
        }
    } else if (key->waiting != NULL) {
        attempt_pursue(broker, key);
    }
    if (key->grant != NULL || key->waiting != NULL) {
        return;
    }
    if (!is_held) {
        attempt_give_up(broker, key);
    } else if (linger_stays(broker, key)) {
        key_answer_departure(broker, key);
    } else {
        key_give_back(broker, key);
    }
}

static int64_t key_deadline(const struct broker *broker, const struct key *key)
{
    int64_t deadline_ms = leave_deadline(broker, key);
    int64_t next_ms = DEADLINE_NEVER;
    if (key_has_lease(key)) {
        next_ms = hold_deadline(broker, key);
    } else if (key->attempt.is_open) {
        next_ms = key->attempt.due_ms;
    } else if (key->waiting != NULL && !turn_is_open(broker, key)) {
        next_ms = key->attempt_at_ms;
    }
    return key_earlier(next_ms, deadline_ms);
}

static void key_bury(struct broker *broker, struct key *key)
{
    assert(key->grant == NULL && key->refreshes == NULL && !key->attempt.is_open);
    heap_clear(&broker->timers, &key->timer);
    HASH_DEL(broker->keys, key);
    broker->stats->keys--;
    key->next = broker->graveyard;
    broker->graveyard = key;
}

void key_settle(struct broker *broker, struct key *key)
{
    /* What has run out goes first, so that nothing below stands on it. */
    leave_settle(broker, key);
    attempt_settle(broker, key);
    if (key_has_lease(key)) {
        hold_settle(broker, key);
    }

    key_match(broker, key);
    if (key_has_lease(key)) {
        hold_pursue(broker, key);
    }

    if (key->waiting == NULL && key->lease == NULL && key->leaving == NULL) {
        key_bury(broker, key);
        return;
    }
    int64_t deadline_ms = key_deadline(broker, key);
    if (deadline_ms == DEADLINE_NEVER) {
        heap_clear(&broker->timers, &key->timer);
    } else {
        heap_set(&broker->timers, &key->timer, deadline_ms);
    }
}
