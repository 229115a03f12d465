/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * How an attempt ends:
 *
 *      yes, in time        the lease is HELD; key.c grants it
 *      yes, too late       no success: it is given back, the next attempt has a fresh value
 *      no                  the claims whose attempts are used up are refused, the others wait for the next
 *      cannot just now     likewise, and those that want to fail fast are refused
 *      will not            all are refused
 *      no answer           it may have worked: the value is kept for the next attempt
 */

#include "daemon/core/attempt.h"

#include "daemon/core/emit.h"
#include "daemon/core/leave.h"
#include "daemon/core/turn.h"

#include <assert.h>
#include <string.h>

/* A Redis that does not answer is not sent the same for ever: so many lock commands of a lease may be
 * under way, and then the next one waits, as it would wait there. */
enum { ATTEMPTS_UNANSWERED_MAX = 8 };

static struct lease *attempt_new_lease(struct broker *broker, struct key *key)
{
    struct lease *lease = alloc_zeroed(1, sizeof(*lease));
    lease->id = ++broker->last_lease_id;
    lease->key = key;
    lease->state = LEASE_TRYING;
    HASH_ADD(hh, broker->leases, id, sizeof(lease->id), lease);
    key->lease = lease;
    return lease;
}

/* Why a claim gives up after an attempt that ended so; 0 if it goes on waiting. `was_due`: the attempt was
 * also for this claim, which had waited its interval. */
static enum refusal attempt_verdict(const struct claim *claim, enum answer answer, bool was_due)
{
    bool was_held = answer == ANSWER_TAKEN;
    enum refusal refusal = was_held ? REFUSED_HELD : REFUSED_UNAVAILABLE;
    if (answer == ANSWER_REFUSED || claim->wait_ms == 0) {
        return refusal;
    }
    if (!was_held && claim->fail_fast) {
        return refusal;
    }
    if (was_due && claim->retry_max != FOREVER && claim->n_attempts > claim->retry_max) {
        return refusal;
    }
    return 0;
}

static void attempt_note_error(struct key *key, enum answer answer, const char *text)
{
    size_t len = 0;
    if (answer != ANSWER_TAKEN && text != NULL) {
        len = strnlen(text, LAST_ERROR_CAP - 1);
    }
    memcpy(key->last_error, text != NULL ? text : "", len);
    key->last_error[len] = '\0';
}

/* How long a claim waits for its next attempt. Without a link an attempt costs nothing and tells nothing:
 * when it is up again, all are made at once. */
static int64_t attempt_pause(const struct claim *claim, enum answer answer)
{
    const int64_t pause_ms_min = 50;
    if (answer == ANSWER_UNSENT && claim->retry_interval_ms < pause_ms_min) {
        return pause_ms_min;
    }
    return claim->retry_interval_ms;
}

/* That instant, or the one at which the lease of the other host would end, so that a host which has crashed
 * costs its ttl and no interval more. */
static int64_t attempt_by(const struct key *key, int64_t at_ms)
{
    bool ends_before = key->other_until_ms > 0 && key->other_until_ms < at_ms;
    return ends_before ? key->other_until_ms + 1 : at_ms;
}

/* When the first claim has waited its interval. */
static int64_t attempt_due_at(const struct key *key)
{
    int64_t due_ms = INT64_MAX;
    const struct claim *claim;
    DL_FOREACH (key->waiting, claim) {
        if (claim->try_at_ms < due_ms) {
            due_ms = claim->try_at_ms;
        }
    }
    return attempt_by(key, due_ms);
}

static void attempt_failed(struct broker *broker, struct key *key, enum answer answer, int64_t remaining_ms,
                           const char *text)
{
    key->attempt.is_open = false;
    attempt_note_error(key, answer, text);
    key->other_until_ms = answer == ANSWER_TAKEN && remaining_ms >= 0 ? broker->now_ms + remaining_ms : 0;
    if (answer == ANSWER_TAKEN) {
        broker->stats->attempts_held++;
    }

    /* This one was for all of them, so the next is an interval away: the shortest that anybody wants. Who came
     * at another moment is due in between, and counts the next one; nobody waits for longer than his own
     * interval for an attempt, and many who wait cost Redis no more than one. */
    int64_t pause_ms = INT64_MAX;
    struct claim *claim, *next;
    DL_FOREACH_SAFE (key->waiting, claim, next) {
        int64_t own_pause_ms = attempt_pause(claim, answer);
        bool was_due = claim->try_at_ms <= broker->now_ms && key->own_gone_at_ms <= broker->now_ms;
        if (was_due) {
            claim->n_attempts++;
            claim->try_at_ms = broker->now_ms + own_pause_ms;
        }
        enum refusal refusal = attempt_verdict(claim, answer, was_due);
        if (refusal != 0) {
            key_refuse_claim(broker, claim, refusal);
        } else if (own_pause_ms < pause_ms) {
            pause_ms = own_pause_ms;
        }
    }
    key->attempt_at_ms = key->waiting != NULL ? attempt_by(key, broker->now_ms + pause_ms) : broker->now_ms;
    /* It was made for those who do not wait; by now somebody does, and is to queue. */
    if (key->attempt.is_sent && !key->attempt.may_queue && key->n_waiting > key->n_tries) {
        key->is_prompted = true;
    }
}

void attempt_settle(struct broker *broker, struct key *key)
{
    struct attempt *attempt = &key->attempt;
    if (!attempt->is_open || broker->now_ms < attempt->due_ms) {
        return;
    }
    if (attempt->is_sent) {
        broker->stats->attempts_timed_out++;
    }
    attempt_failed(broker, key, ANSWER_UNKNOWN, -1,
                   broker->link == LINK_UP ? "no answer in time" : "not connected in time");
}

static void attempt_send(struct broker *broker, struct key *key)
{
    struct lease *lease = key->lease != NULL ? key->lease : attempt_new_lease(broker, key);
    lease->ttl_ms = key->waiting->ttl_ms;
    lease_note_ttl(lease);
    lease->n_attempts++;
    lease->last_attempt_id = ++broker->last_op_id;
    key->attempt.is_sent = true;
    key->attempt.op_id = lease->last_attempt_id;
    key->attempt.may_queue = key->n_waiting > key->n_tries;
    key->attempt.is_offered = key->is_offered;
    key->is_prompted = key->is_offered = false;
    lease->may_queue |= key->attempt.may_queue;
    emit_command(broker, FX_ACQUIRE, lease, key->attempt.op_id, LEASE_FENCES_MIN);
}

/* Opens an attempt if it is time for one. The claim that attempt_at_ms was set for may have left
 * meanwhile; then it is put off to the first one that is due. */
static void attempt_open(struct broker *broker, struct key *key)
{
    if (turn_is_open(broker, key) || (broker->now_ms < key->attempt_at_ms && !key->is_prompted)) {
        return;
    }
    key->attempt_at_ms = attempt_due_at(key);
    if (broker->now_ms < key->attempt_at_ms && !key->is_prompted) {
        return;
    }
    key->is_prompted = false;
    key->attempt = (struct attempt){
        .is_open = true,
        .due_ms = broker->now_ms + key->waiting->attempt_timeout_ms,
    };
}

void attempt_pursue(struct broker *broker, struct key *key)
{
    struct attempt *attempt = &key->attempt;
    if (!attempt->is_open) {
        attempt_open(broker, key);
    }
    if (!attempt->is_open || attempt->is_sent) {
        return;
    }
    if (broker->link == LINK_DOWN) {
        attempt_failed(broker, key, ANSWER_UNSENT, -1, broker->link_error);
    } else if (broker->link == LINK_UP &&
               (key->lease == NULL || key->lease->n_attempts < ATTEMPTS_UNANSWERED_MAX)) {
        attempt_send(broker, key);
    }
}

void attempt_give_up(struct broker *broker, struct key *key)
{
    if (key->attempt.is_open && key->attempt.is_sent) {
        return;
    }
    key->attempt.is_open = false;
    if (key->lease == NULL) {
        return;
    }
    assert(key->lease->state == LEASE_TRYING);
    if (lease_may_be_known(key->lease)) {
        leave_begin(broker, key, NULL);
    } else {
        leave_forget(broker, key->lease);
    }
}

static void attempt_succeeded(struct broker *broker, struct lease *lease, const struct ev_outcome *outcome)
{
    struct key *key = lease->key;
    bool was_offered = key->attempt.is_offered && key->attempt.op_id == outcome->op_id;
    lease->state = LEASE_HELD;
    lease_take_fences(lease, outcome->fence_first, outcome->fence_count);
    key->attempt.is_open = false;
    key->is_prompted = key->is_offered = false;
    key->last_error[0] = '\0';
    key->other_until_ms = 0;
    key->vacant_since_ms = -1;
    broker->stats->leases_held++;
    /* Nothing of ours can have set it: so it was another host. */
    if (outcome->is_found && !lease_may_be_set(lease) && !was_offered) {
        broker->stats->offers_missed++;
    }
    lease->is_queued = false;
    turn_begin(broker, key, outcome->others_wait || lease->is_wanted, outcome->is_found);
}

void attempt_answered(struct broker *broker, struct lease *lease, const struct ev_outcome *outcome)
{
    struct key *key = lease->key;
    bool is_current = key->attempt.is_open && key->attempt.op_id == outcome->op_id;
    if (outcome->answer == ANSWER_OURS) {
        lease_confirm(lease, &broker->settings, outcome->sent_at_ms, outcome->ttl_ms);
        if (broker->now_ms < lease->times.lost_at_ms) {
            attempt_succeeded(broker, lease, outcome);
            return;
        }
        /* Rule: a reply that comes when the lease would be over is not a success. What it may have left
         * in Redis is given back, and with that the value is spent. */
        lease->may_be_set = true;
        leave_begin(broker, key, NULL);
        if (is_current) {
            attempt_failed(broker, key, ANSWER_UNKNOWN, -1, "the answer came too late");
        } else {
            key->attempt.is_open = false; /* it was with the value that is spent now */
        }
        return;
    }
    if (is_current) {
        lease->is_wanted = false;
        attempt_failed(broker, key, outcome->answer, outcome->remaining_ms, outcome->text);
    }
}
