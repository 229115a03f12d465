/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Finds the key or the lease that something is about, notes it there, and settles the key.
 */

#include "daemon/core/heard.h"

#include "daemon/core/attempt.h"
#include "daemon/core/emit.h"
#include "daemon/core/hold.h"
#include "daemon/core/leave.h"
#include "daemon/core/turn.h"

#include <string.h>

/* --- Redis ----------------------------------------------------------------------------------------- */

void heard_outcome(struct broker *broker, const struct ev_outcome *outcome)
{
    struct lease *lease;
    HASH_FIND(hh, broker->leases, &outcome->lease_id, sizeof(outcome->lease_id), lease);
    if (lease == NULL) {
        return; /* the lease ended before its last answer came */
    }
    struct key *key = lease->key;
    lease_note_answer(lease, outcome);
    switch (lease->state) {
    case LEASE_TRYING:
        attempt_answered(broker, lease, outcome);
        break;
    case LEASE_HELD:
        hold_answered(broker, lease, outcome);
        break;
    case LEASE_LEAVING:
        leave_answered(broker, lease, outcome);
        break;
    }
    key_settle(broker, key);
}

/* The key has been deleted behind the command that made this daemon's lease, if there is one: commands
 * are answered in their order, so a lease that is held by now was got before. */
static void heard_note_forced(struct broker *broker, const struct ev_request *from)
{
    struct key *key = key_find(broker, from->key, from->key_len);
    if (key == NULL) {
        return;
    }
    if (key_has_lease(key)) {
        key_lose(broker, key, ENDING_FORCED);
    }
    key->is_prompted = true; /* it is free for those who wait */
    key_settle(broker, key);
}

static struct fx_reply *heard_refuse(struct broker *broker, const struct ev_request *from,
                                     enum refusal refusal)
{
    return emit_refused(broker, from->peer_id, from->request_id, refusal, from->key, from->key_len);
}

void heard_queried(struct broker *broker, const struct ev_queried *queried)
{
    switch (queried->answer) {
    case ANSWER_OURS:
        heard_note_forced(broker, &queried->from);
        emit_forced(broker, &queried->from);
        break;
    case ANSWER_TAKEN:
        emit_inspected(broker, &queried->from, /* elsewhere= */ true, queried->remaining_ms);
        break;
    case ANSWER_GONE:
        if (queried->was_force) {
            heard_refuse(broker, &queried->from, REFUSED_NOT_HELD)->why = ENDING_DELETED;
        } else {
            emit_inspected(broker, &queried->from, /* elsewhere= */ false, -1);
        }
        break;
    case ANSWER_TRANSIENT:
    case ANSWER_REFUSED:
    case ANSWER_UNKNOWN:
    case ANSWER_UNSENT:
        heard_refuse(broker, &queried->from, REFUSED_UNAVAILABLE)->last_error = queried->text;
        break;
    }
}

/* After a break everything is due at once: every lease is renewed, every release repeated, every key
 * that is waited for tried. That many hosts do not do so in the same millisecond, the link sees to. */
static void heard_make_due(struct broker *broker, struct key *key)
{
    struct lease *lease;
    key->attempt_at_ms = broker->now_ms;
    struct claim *claim;
    DL_FOREACH (key->waiting, claim) {
        claim->try_at_ms = broker->now_ms;
    }
    if (key->lease != NULL) {
        key->lease->times.renew_at_ms = broker->now_ms;
        key->lease->again_at_ms = broker->now_ms;
    }
    DL_FOREACH (key->leaving, lease) {
        lease->pause_ms = 0;
        lease->again_at_ms = broker->now_ms;
    }
}

void heard_link(struct broker *broker, const struct ev_link *link)
{
    broker->link = link->state;
    broker->stats->redis_up = link->state == LINK_UP;
    size_t len = link->text != NULL ? strnlen(link->text, LAST_ERROR_CAP - 1) : 0;
    memcpy(broker->link_error, len > 0 ? link->text : "", len);
    broker->link_error[len] = '\0';

    struct key *key, *next;
    HASH_ITER (hh, broker->keys, key, next) {
        if (link->state == LINK_UP) {
            heard_make_due(broker, key);
        }
        key_settle(broker, key);
    }
}

/* --- other hosts ----------------------------------------------------------------------------------- */

/* Somebody here waits for the key, or may before the answer to the attempt that is under way. */
static bool heard_matters(const struct key *key)
{
    return !key_has_lease(key) && (key->waiting != NULL || key->attempt.is_open);
}

/* The key is said to be passed on to this host. The attempt that finds out is made at once. One that is under
 * way may have come too early: then another follows. */
void heard_offered(struct broker *broker, const struct ev_hint *hint)
{
    struct key *key = key_find(broker, hint->key, hint->key_len);
    broker->stats->offers++;
    if (key == NULL || !heard_matters(key)) {
        return;
    }
    key->is_prompted = key->is_offered = true;
    key_settle(broker, key);
}

void heard_recalled(struct broker *broker, const struct ev_hint *hint)
{
    struct key *key = key_find(broker, hint->key, hint->key_len);
    broker->stats->recalls++;
    if (key == NULL || key->lease == NULL) {
        return;
    }
    key->lease->is_wanted = true; /* the answer to an attempt may be on its way still */
    if (key_has_lease(key)) {
        turn_recall(broker, key);
        key_settle(broker, key);
    }
}

/* Offers may have been missed: every key that is waited for is looked at. */
void heard_hearing(struct broker *broker)
{
    struct key *key, *next;
    HASH_ITER (hh, broker->keys, key, next) {
        if (heard_matters(key)) {
            key->is_prompted = true;
            key_settle(broker, key);
        }
    }
}
