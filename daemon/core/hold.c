/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * A held lease in time (the instants are timing.h's):
 *
 *      renew_at      a renewal is sent, and again at once if it is not answered in its time
 *      risk_at       still no good renewal: the holder is told at_risk; if one succeeds later, safe
 *      lost_at       the holder is told lost; the lease is over
 *
 * Only Redis's word that the key is another's, or gone, ends a lease before that. That Redis cannot be
 * reached, or will not answer, ends nothing: time does.
 */

#include "daemon/core/hold.h"

#include "daemon/core/emit.h"
#include "daemon/core/leave.h"
#include "daemon/core/turn.h"

#include <assert.h>
#include <string.h>

static const char hold_no_answer[] = "no answer in time";

static bool hold_is_active(const struct key *key)
{
    return key->grant != NULL && key->grant->state == CLAIM_GRANTED;
}

bool hold_is_sound(const struct broker *broker, const struct key *key)
{
    const struct lease *lease = key->lease;
    if (broker->now_ms >= lease->times.risk_at_ms || lease->fence_next >= lease->fence_end) {
        return false;
    }
    const struct claim *head = key->waiting;
    return head->auto_refresh ||
           (lease->times.sent_at_ms >= key->vacant_since_ms && lease->times.ttl_ms >= head->ttl_ms);
}

/* --- refresh requests ------------------------------------------------------------------------------ */

static void hold_refuse_refresh(struct broker *broker, struct key *key, struct refresh *refresh,
                                enum refusal refusal, enum ending why, const char *last_error)
{
    struct fx_reply *reply =
        emit_refused(broker, refresh->peer_id, refresh->request_id, refusal, key->name, key->name_len);
    reply->why = why;
    reply->last_error = last_error;
    DL_DELETE(key->refreshes, refresh);
    free(refresh);
}

void hold_refuse_refreshes(struct broker *broker, struct key *key, enum refusal refusal, enum ending why,
                           const char *last_error)
{
    while (key->refreshes != NULL) {
        hold_refuse_refresh(broker, key, key->refreshes, refusal, why, last_error);
    }
}

/* Whether some refresh has not been sent along with a renewal yet. They are sent in order, so the last
 * one tells. */
static bool hold_has_unsent_refresh(const struct key *key)
{
    return key->refreshes != NULL && key->refreshes->prev->op_id == 0;
}

void hold_add_refresh(struct broker *broker, struct key *key, const struct ev_refresh *asked)
{
    if (asked->ttl_ms != 0) {
        key->grant->ttl_ms = asked->ttl_ms;
        key->lease->ttl_ms = asked->ttl_ms;
    }
    if (asked->from.request_id == 0 && hold_has_unsent_refresh(key)) {
        return; /* a notification: nobody waits for its answer, and a renewal is to be sent anyway */
    }
    struct refresh *refresh = alloc_zeroed(1, sizeof(*refresh));
    refresh->peer_id = asked->from.peer_id;
    refresh->request_id = asked->from.request_id;
    refresh->due_ms = broker->now_ms + broker->settings.redis_timeout_ms;
    DL_APPEND(key->refreshes, refresh);
}

static void hold_settle_refreshes(struct broker *broker, struct key *key)
{
    if (broker->link == LINK_DOWN) {
        hold_refuse_refreshes(broker, key, REFUSED_UNAVAILABLE, 0, broker->link_error);
    }
    while (key->refreshes != NULL && broker->now_ms >= key->refreshes->due_ms) {
        hold_refuse_refresh(broker, key, key->refreshes, REFUSED_UNAVAILABLE, 0, hold_no_answer);
    }
}

/* --- renewals -------------------------------------------------------------------------------------- */

/* Whether a renewal is due now. Why it may be wanted before renew_at: somebody asked by `refresh`; the
 * next grant needs it; waiters use up the fences, and a fresh block should be there before they are out. */
static bool hold_wants_renewal(const struct broker *broker, const struct key *key)
{
    const struct lease *lease = key->lease;
    if (hold_has_unsent_refresh(key)) {
        return true;
    }
    if (broker->now_ms < lease->again_at_ms) {
        return false;
    }
    if (lease->is_idle) {
        return broker->now_ms >= lease->times.renew_at_ms;
    }
    if (key->grant == NULL) {
        return key->waiting != NULL && !hold_is_sound(broker, key);
    }
    if (!hold_is_active(key) || !key->grant->auto_refresh) {
        return false;
    }
    return broker->now_ms >= lease->times.renew_at_ms ||
           (key->waiting != NULL && lease_fences_wanted(lease) > 0);
}

void hold_pursue(struct broker *broker, struct key *key)
{
    struct lease *lease = key->lease;
    if (lease->op.id != 0 || broker->link != LINK_UP || !hold_wants_renewal(broker, key)) {
        return;
    }
    if (key->grant == NULL && key->waiting != NULL) {
        lease->ttl_ms = key->waiting->ttl_ms;
    }
    lease_note_ttl(lease);
    lease->op = (struct op){
        .id = ++broker->last_op_id,
        .due_ms = broker->now_ms + timing_renew_timeout(&broker->settings, lease_pace_ms(lease)),
        .fence_count = lease_fences_wanted(lease),
    };
    emit_command(broker, FX_RENEW, lease, lease->op.id, lease->op.fence_count);

    struct refresh *refresh;
    DL_FOREACH (key->refreshes, refresh) {
        if (refresh->op_id == 0) {
            refresh->op_id = lease->op.id;
        }
    }
}

/* The renewal under way has gone unanswered: those who wait for it wait for the next one. */
static void hold_settle_op(struct broker *broker, struct key *key)
{
    struct lease *lease = key->lease;
    if (lease->op.id == 0 || broker->now_ms < lease->op.due_ms) {
        return;
    }
    lease->op.id = 0;
    lease->times.renew_at_ms = broker->now_ms;
    struct refresh *refresh;
    DL_FOREACH (key->refreshes, refresh) {
        refresh->op_id = 0;
    }
}

/* --- time ------------------------------------------------------------------------------------------ */

static void hold_settle_grant(struct broker *broker, struct key *key)
{
    struct claim *claim = key->grant;
    if (claim == NULL) {
        return;
    }
    if (claim->state == CLAIM_REVOKED) {
        /* Without auto_refresh it was told until when it may believe: from there on nobody does. */
        if (broker->now_ms >= claim->ttl_until_ms) {
            key_end_grant(broker, key, claim->ending);
        }
    } else if (broker->now_ms >= claim->hold_until_ms) {
        key_revoke(broker, key, ENDING_MAX_HOLD);
    } else if (broker->now_ms >= claim->ttl_lost_at_ms) {
        key_revoke(broker, key, ENDING_TTL);
    } else if (claim->auto_refresh && !key->lease->risk_told &&
               broker->now_ms >= key->lease->times.risk_at_ms) {
        key->lease->risk_told = true;
        emit_notice(broker, FX_AT_RISK, claim, 0);
    }
}

/* An unlock that waits for the next grant waits no longer than Redis may take to answer. */
static void hold_settle_departure(struct broker *broker, struct key *key)
{
    if (broker->link == LINK_DOWN) {
        key_refuse_departure(broker, key, broker->link_error);
    } else if (broker->now_ms >= key->departure.answer_by_ms) {
        key_refuse_departure(broker, key, hold_no_answer);
    }
}

/* The lease is over, but nobody believed in it at the end. A renewal may be on its way, and keep the key in
 * Redis for another ttl: so it is given back, which a lease that somebody may believe in never is. */
static void hold_let_go(struct broker *broker, struct key *key)
{
    key_refuse_departure(broker, key, hold_no_answer);
    key->is_prompted = true; /* for those who wait here, behind the release */
    leave_begin(broker, key, NULL);
}

void hold_settle(struct broker *broker, struct key *key)
{
    if (broker->now_ms >= key->lease->times.lost_at_ms && key->grant == NULL) {
        hold_let_go(broker, key);
        return;
    }
    if (broker->now_ms >= key->lease->times.lost_at_ms) {
        bool by_ttl = hold_is_active(key) && !key->grant->auto_refresh;
        key_lose(broker, key, by_ttl ? ENDING_TTL : ENDING_EXPIRED);
        return;
    }
    hold_settle_grant(broker, key);
    hold_settle_op(broker, key);
    hold_settle_refreshes(broker, key);
    hold_settle_departure(broker, key);
}

static int64_t hold_earlier(int64_t a_ms, int64_t b_ms)
{
    return a_ms < b_ms ? a_ms : b_ms;
}

/* When hold_wants_renewal() would next say yes, as far as time alone decides that. */
static int64_t hold_renewal_deadline(const struct broker *broker, const struct key *key)
{
    const struct lease *lease = key->lease;
    int64_t due_ms = broker->now_ms;
    if (lease->op.id != 0) {
        return lease->op.due_ms;
    }
    if (broker->link != LINK_UP) {
        return DEADLINE_NEVER;
    }
    if (lease->is_idle) {
        due_ms = lease->times.renew_at_ms;
    } else if (key->grant != NULL) {
        if (!hold_is_active(key) || !key->grant->auto_refresh) {
            return DEADLINE_NEVER;
        }
        if (key->waiting == NULL || lease_fences_wanted(lease) == 0) {
            due_ms = lease->times.renew_at_ms;
        }
    }
    return due_ms > lease->again_at_ms ? due_ms : lease->again_at_ms;
}

int64_t hold_deadline(const struct broker *broker, const struct key *key)
{
    const struct lease *lease = key->lease;
    int64_t deadline_ms = hold_earlier(lease->times.lost_at_ms, hold_renewal_deadline(broker, key));
    if (lease->is_idle) {
        deadline_ms = hold_earlier(deadline_ms, lease->idle_since_ms + broker->settings.linger_ms);
    }
    if (hold_is_active(key)) {
        deadline_ms = hold_earlier(deadline_ms, key->grant->hold_until_ms);
        deadline_ms = hold_earlier(deadline_ms, key->grant->ttl_lost_at_ms);
        if (key->grant->auto_refresh && !lease->risk_told) {
            deadline_ms = hold_earlier(deadline_ms, lease->times.risk_at_ms);
        }
    }
    if (key->grant != NULL && key->grant->state == CLAIM_REVOKED) {
        deadline_ms = hold_earlier(deadline_ms, key->grant->ttl_until_ms);
    }
    if (key->refreshes != NULL) {
        deadline_ms = hold_earlier(deadline_ms, key->refreshes->due_ms);
    }
    if (key->departure.request_id != 0) {
        deadline_ms = hold_earlier(deadline_ms, key->departure.answer_by_ms);
    }
    return deadline_ms;
}

/* --- answers --------------------------------------------------------------------------------------- */

/* The grant was asked to last from that command on: what its peer is told now. */
static void hold_prolong(struct key *key, const struct ev_outcome *outcome)
{
    struct claim *claim = key->grant;
    int64_t until_ms = hold_earlier(outcome->sent_at_ms + outcome->ttl_ms, key->lease->times.valid_until_ms);
    if (!claim->auto_refresh && claim->ttl_until_ms < until_ms) {
        claim->ttl_until_ms = until_ms;
        claim->ttl_lost_at_ms = until_ms - timing_lead(outcome->ttl_ms);
    }
}

static void hold_answer_refreshes(struct broker *broker, struct key *key, const struct ev_outcome *outcome)
{
    struct refresh *refresh, *next;
    DL_FOREACH_SAFE (key->refreshes, refresh, next) {
        if (refresh->op_id != outcome->op_id) {
            continue;
        }
        hold_prolong(key, outcome);
        emit_refreshed(broker, key, refresh);
        DL_DELETE(key->refreshes, refresh);
        free(refresh);
    }
}

static void hold_confirmed(struct broker *broker, struct key *key, const struct ev_outcome *outcome,
                           bool without_fences)
{
    static const char no_fences[] = "Redis gives no fences";
    struct lease *lease = key->lease;
    lease_confirm(lease, &broker->settings, outcome->sent_at_ms, outcome->ttl_ms);
    lease_take_fences(lease, outcome->fence_first, outcome->fence_count);
    lease->again_at_ms = broker->now_ms;
    if (without_fences) {
        lease->again_at_ms += timing_renew_pause(lease_pace_ms(lease));
        memcpy(key->last_error, no_fences, sizeof(no_fences));
    }
    if (outcome->others_wait) {
        turn_recall(broker, key); /* the message about it may have got lost */
    }
    if (!hold_is_active(key)) {
        return;
    }
    if (lease->risk_told && broker->now_ms < lease->times.risk_at_ms) {
        lease->risk_told = false;
        emit_notice(broker, FX_SAFE, key->grant, 0);
    }
    hold_answer_refreshes(broker, key, outcome);
}

/* The renewal failed without saying that the lease is over. */
static void hold_failed(struct broker *broker, struct key *key, const struct ev_outcome *outcome)
{
    key->lease->again_at_ms = broker->now_ms + timing_renew_pause(lease_pace_ms(key->lease));
    struct refresh *refresh, *next;
    DL_FOREACH_SAFE (key->refreshes, refresh, next) {
        if (refresh->op_id == outcome->op_id) {
            hold_refuse_refresh(broker, key, refresh, REFUSED_UNAVAILABLE, 0, outcome->text);
        }
    }
}

void hold_answered(struct broker *broker, struct lease *lease, const struct ev_outcome *outcome)
{
    struct key *key = lease->key;
    bool is_current = lease->op.id != 0 && outcome->op_id == lease->op.id;
    bool without_fences = is_current && lease->op.fence_count > 0 && outcome->fence_count == 0;
    if (is_current) {
        lease->op.id = 0;
    }
    switch (outcome->answer) {
    case ANSWER_OURS: /* also of a renewal that had been given up as unanswered: it is as true as any */
        hold_confirmed(broker, key, outcome, without_fences);
        return;
    case ANSWER_TAKEN:
    case ANSWER_GONE:
        /* An attempt that was overtaken by the one that succeeded speaks of the time before it. */
        if (outcome->sent_at_ms >= lease->times.sent_at_ms) {
            key_lose(broker, key, outcome->answer == ANSWER_TAKEN ? ENDING_TAKEN : ENDING_DELETED);
        }
        return;
    case ANSWER_TRANSIENT:
    case ANSWER_REFUSED:
    case ANSWER_UNKNOWN:
    case ANSWER_UNSENT:
        if (is_current) {
            hold_failed(broker, key, outcome);
        }
        return;
    }
    assert(false && "an answer that the store knows and we do not");
}
