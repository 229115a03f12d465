/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Leases that nobody wants any more.
 *
 * A release may be retried freely: it deletes the key only if it still has this lease's value, which is never
 * used again. It is not forgotten while it may do good, which is until Redis has answered it, or
 *
 *     the lease was answered            until the key must have run out
 *     a lock command was not            a stopped Redis may execute it much later: for ever
 *     it has a place in the queue       other hosts would wait for nothing: for ever, too, unless Redis says that
 *                                       this daemon has no right to give it up
 */

#include "daemon/core/leave.h"

#include "daemon/core/emit.h"
#include "daemon/core/linger.h"

#include <assert.h>

enum { LEAVE_PAUSE_MS_MAX = 1000 };

static const char leave_no_answer[] = "no answer in time";

void leave_forget(struct broker *broker, struct lease *lease)
{
    struct key *key = lease->key;
    emit_forget(broker, lease);
    if (lease->state == LEASE_LEAVING) {
        DL_DELETE(key->leaving, lease);
    } else {
        key->lease = NULL;
    }
    if (lease->state == LEASE_HELD) {
        broker->stats->leases_held--;
    }
    linger_end(broker, lease);
    HASH_DEL(broker->leases, lease);
    free(lease);
}

/* Answers the unlock that waits for this lease, if there is one, with a refusal. */
static void leave_refuse(struct broker *broker, struct lease *lease, enum refusal refusal, enum ending why,
                         const char *last_error)
{
    struct departure *departure = &lease->departure;
    if (departure->request_id == 0) {
        return;
    }
    struct fx_reply *reply = emit_refused(broker, departure->peer_id, departure->request_id, refusal,
                                          lease->key->name, lease->key->name_len);
    reply->why = why;
    reply->last_error = last_error;
    departure->request_id = 0;
}

/* When the next release is due. */
static int64_t leave_due_at(const struct lease *lease)
{
    return lease->again_at_ms > lease->believed_until_ms ? lease->again_at_ms : lease->believed_until_ms;
}

static void leave_pursue(struct broker *broker, struct lease *lease)
{
    if (lease->op.id != 0 || broker->link != LINK_UP || broker->now_ms < leave_due_at(lease)) {
        return;
    }
    lease->op = (struct op){
        .id = ++broker->last_op_id,
        .due_ms = broker->now_ms + broker->settings.redis_timeout_ms,
    };
    if (lease->first_release_id == 0) {
        lease->first_release_id = lease->op.id;
    }
    if (lease->is_free) {
        lease->is_free = false;
        lease->open_ms = 0;
    }
    emit_command(broker, FX_RELEASE, lease, lease->op.id, 0);
}

/* When the key can be there no longer: a renewal that comes late cannot bring it back, and lengthens it once
 * more at the most. */
static int64_t leave_key_gone_at(const struct broker *broker, const struct lease *lease)
{
    return timing_confirmed(&broker->settings, broker->now_ms, 2 * lease->longest_ttl_ms, 0).gone_at_ms;
}

/* When nothing of the lease can be left in Redis. A lock command that was never answered may set the key at any
 * time, and a place in the queue lasts for as long as any host waits there. */
static int64_t leave_over_at(const struct broker *broker, const struct lease *lease)
{
    return lease_may_be_known(lease) ? INT64_MAX : leave_key_gone_at(broker, lease);
}

void leave_begin(struct broker *broker, struct key *key, const struct departure *departure)
{
    struct lease *lease = key->lease;
    if (lease->state == LEASE_HELD) {
        broker->stats->leases_held--;
    }
    linger_end(broker, lease);
    key->lease = NULL;
    lease->state = LEASE_LEAVING;
    lease->op = (struct op){0};
    lease->again_at_ms = broker->now_ms;
    lease->over_at_ms = leave_over_at(broker, lease);
    if (departure != NULL) {
        lease->departure = *departure;
    }
    DL_APPEND(key->leaving, lease);
    leave_pursue(broker, lease);
}

/* The release has failed: it is sent again, less and less often, for Redis may say no for long. */
static void leave_put_off(struct broker *broker, struct lease *lease)
{
    int64_t pause_ms = lease->pause_ms == 0 ? timing_renew_pause(lease->ttl_ms) : lease->pause_ms * 2;
    lease->pause_ms = pause_ms < LEAVE_PAUSE_MS_MAX ? pause_ms : LEAVE_PAUSE_MS_MAX;
    lease->again_at_ms = broker->now_ms + lease->pause_ms;
    lease->open_ms = 0; /* it may be free by now, or not: the next release offers it */
}

static void leave_settle_one(struct broker *broker, struct lease *lease)
{
    if (broker->now_ms >= lease->over_at_ms) {
        leave_refuse(broker, lease, REFUSED_UNAVAILABLE, 0, leave_no_answer);
        leave_forget(broker, lease);
        return;
    }
    if (lease->op.id != 0 && broker->now_ms >= lease->op.due_ms) {
        lease->op.id = 0;
        leave_put_off(broker, lease);
    }
    if (broker->link == LINK_DOWN) {
        leave_refuse(broker, lease, REFUSED_UNAVAILABLE, 0, broker->link_error);
    } else if (lease->departure.request_id != 0 && broker->now_ms >= lease->departure.answer_by_ms) {
        leave_refuse(broker, lease, REFUSED_UNAVAILABLE, 0, leave_no_answer);
    }
    leave_pursue(broker, lease);
}

void leave_settle(struct broker *broker, struct key *key)
{
    struct lease *lease, *next;
    DL_FOREACH_SAFE (key->leaving, lease, next) {
        leave_settle_one(broker, lease);
    }
}

int64_t leave_deadline(const struct broker *broker, const struct key *key)
{
    int64_t deadline_ms = DEADLINE_NEVER;
    const struct lease *lease;
    DL_FOREACH (key->leaving, lease) {
        int64_t next_ms = lease->over_at_ms;
        if (lease->op.id != 0 && lease->op.due_ms < next_ms) {
            next_ms = lease->op.due_ms;
        }
        if (lease->op.id == 0 && broker->link == LINK_UP && leave_due_at(lease) < next_ms) {
            next_ms = leave_due_at(lease);
        }
        if (lease->departure.request_id != 0 && lease->departure.answer_by_ms < next_ms) {
            next_ms = lease->departure.answer_by_ms;
        }
        if (next_ms < deadline_ms) {
            deadline_ms = next_ms;
        }
    }
    return deadline_ms;
}

/* The key is free now. After a moment it is offered to the host that has waited longest, if nobody has
 * taken it: that is what a release of a key that nobody has does. */
static void leave_close(struct broker *broker, struct lease *lease)
{
    lease->is_free = true;
    lease->again_at_ms = broker->now_ms + lease->open_ms;
}

void leave_answered(struct broker *broker, struct lease *lease, const struct ev_outcome *outcome)
{
    /* A renewal or an attempt that was under way when the lease was given up says nothing here: the
     * release was sent behind it. The answer to a release that had been given up is as good as any. */
    bool is_current = lease->op.id != 0 && outcome->op_id == lease->op.id;
    if (lease->first_release_id == 0 || outcome->op_id < lease->first_release_id) {
        return;
    }
    if (is_current) {
        lease->op.id = 0;
    }
    switch (outcome->answer) {
    case ANSWER_OURS:
        broker->stats->handoffs += outcome->others_wait;
        emit_departed(broker, lease->key, &lease->departure);
        lease->departure.request_id = 0;
        if (lease->open_ms > 0) {
            leave_close(broker, lease);
        } else {
            leave_forget(broker, lease);
        }
        return;
    case ANSWER_TAKEN:
    case ANSWER_GONE:
        broker->stats->handoffs += outcome->others_wait;
        leave_refuse(broker, lease, REFUSED_NOT_HELD,
                     outcome->answer == ANSWER_TAKEN ? ENDING_TAKEN : ENDING_DELETED, NULL);
        leave_forget(broker, lease);
        return;
    case ANSWER_REFUSED: /* for now: rights may come back; but not for ever for a place in the queue */
        if (!lease_may_be_set(lease) && lease->over_at_ms == INT64_MAX) {
            lease->over_at_ms = leave_key_gone_at(broker, lease);
        }
        /* fall through */
    case ANSWER_TRANSIENT:
    case ANSWER_UNSENT:
    case ANSWER_UNKNOWN:
        if (is_current) {
            leave_put_off(broker, lease);
            leave_refuse(broker, lease, REFUSED_UNAVAILABLE, 0, outcome->text);
        }
        return;
    }
    assert(false && "an answer that the store knows and we do not");
}
