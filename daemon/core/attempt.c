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

#include <assert.h>
#include <string.h>

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

/* Why a claim gives up after an attempt that ended so; 0 if it goes on waiting. */
static enum refusal attempt_verdict(const struct claim *claim, enum answer answer)
{
    bool was_held = answer == ANSWER_TAKEN;
    enum refusal refusal = was_held ? REFUSED_HELD : REFUSED_UNAVAILABLE;
    if (answer == ANSWER_REFUSED || claim->wait_ms == 0)
        return refusal;
    if (!was_held && claim->fail_fast)
        return refusal;
    if (claim->retry_max != FOREVER && claim->n_attempts > claim->retry_max)
        return refusal;
    return 0;
}

static void attempt_note_error(struct key *key, enum answer answer, const char *text)
{
    size_t len = 0;
    if (answer != ANSWER_TAKEN && text != NULL)
        len = strnlen(text, LAST_ERROR_CAP - 1);
    memcpy(key->last_error, text != NULL ? text : "", len);
    key->last_error[len] = '\0';
}

static void attempt_failed(struct broker *broker, struct key *key, enum answer answer, int64_t remaining_ms,
                           const char *text)
{
    key->attempt.is_open = false;
    attempt_note_error(key, answer, text);
    key->other_until_ms = answer == ANSWER_TAKEN && remaining_ms >= 0 ? broker->now_ms + remaining_ms : 0;
    if (answer == ANSWER_TAKEN)
        broker->stats->attempts_held++;

    int64_t pause_ms = INT64_MAX;
    struct claim *claim, *next;
    DL_FOREACH_SAFE (key->waiting, claim, next) {
        claim->n_attempts++;
        enum refusal refusal = attempt_verdict(claim, answer);
        if (refusal != 0)
            key_refuse_claim(broker, claim, refusal);
        else if (claim->retry_interval_ms < pause_ms)
            pause_ms = claim->retry_interval_ms;
    }
    key->attempt_at_ms = key->waiting != NULL ? broker->now_ms + pause_ms : broker->now_ms;
}

void attempt_settle(struct broker *broker, struct key *key)
{
    struct attempt *attempt = &key->attempt;
    if (!attempt->is_open || broker->now_ms < attempt->due_ms)
        return;
    if (attempt->is_sent) {
        key->lease->may_be_set = true;
        broker->stats->attempts_timed_out++;
    }
    attempt_failed(broker, key, ANSWER_UNKNOWN, -1,
                   attempt->is_sent ? "no answer in time" : "not connected in time");
}

static void attempt_send(struct broker *broker, struct key *key)
{
    struct lease *lease = key->lease != NULL ? key->lease : attempt_new_lease(broker, key);
    lease->ttl_ms = key->waiting->ttl_ms;
    key->attempt.is_sent = true;
    key->attempt.op_id = ++broker->last_op_id;
    emit_command(broker, FX_ACQUIRE, lease, key->attempt.op_id, LEASE_FENCES_MIN);
}

void attempt_pursue(struct broker *broker, struct key *key)
{
    struct attempt *attempt = &key->attempt;
    if (!attempt->is_open) {
        if (broker->now_ms < key->attempt_at_ms)
            return;
        *attempt = (struct attempt){
            .is_open = true,
            .due_ms = broker->now_ms + key->waiting->attempt_timeout_ms,
        };
    }
    if (attempt->is_sent)
        return;
    if (broker->link == LINK_UP)
        attempt_send(broker, key);
    else if (broker->link == LINK_DOWN)
        attempt_failed(broker, key, ANSWER_UNSENT, -1, broker->link_error);
}

void attempt_give_up(struct broker *broker, struct key *key)
{
    if (key->attempt.is_open && key->attempt.is_sent)
        return;
    key->attempt.is_open = false;
    if (key->lease == NULL)
        return;
    assert(key->lease->state == LEASE_TRYING);
    if (key->lease->may_be_set)
        leave_begin(broker, key, NULL);
    else
        leave_forget(broker, key->lease);
}

static void attempt_succeeded(struct broker *broker, struct lease *lease, const struct ev_outcome *outcome)
{
    struct key *key = lease->key;
    lease->state = LEASE_HELD;
    lease_take_fences(lease, outcome->fence_first, outcome->fence_count);
    key->attempt.is_open = false;
    key->last_error[0] = '\0';
    key->other_until_ms = 0;
    key->vacant_since_ms = -1;
    broker->stats->leases_held++;
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
        leave_begin(broker, key, NULL);
        if (is_current)
            attempt_failed(broker, key, ANSWER_UNKNOWN, -1, "the answer came too late");
        else
            key->attempt.is_open = false; /* it was with the value that is spent now */
        return;
    }
    if (outcome->answer == ANSWER_UNKNOWN)
        lease->may_be_set = true;
    if (is_current)
        attempt_failed(broker, key, outcome->answer, outcome->remaining_ms, outcome->text);
}
