/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The invariants of the core, each as one assertion. Tests call broker_audit() after every step.
 */

#include "daemon/core/attempt.h"
#include "daemon/core/hold.h"
#include "daemon/core/state.h"
#include "daemon/core/turn.h"

#include <assert.h>

static void audit_queue(const struct key *key)
{
    size_t n_waiting = 0, n_tries = 0;
    const struct claim *claim;
    DL_FOREACH (key->waiting, claim) {
        n_tries += claim->wait_ms == 0;
        assert(claim->state == CLAIM_WAITING && claim->key == key);
        assert(timer_is_set(&claim->timer) == (claim->wait_ms != FOREVER));
        assert(claim == key->waiting || claim->prev->id < claim->id);
        n_waiting++;
    }
    assert(n_waiting == key->n_waiting && n_tries == key->n_tries);
    /* An unlock waits only for a lease that is to be passed on. */
    if (key->departure.request_id != 0) {
        assert(key->grant == NULL && key->waiting != NULL && key->lease->state == LEASE_HELD);
    }
}

static void audit_grant(const struct broker *broker, const struct key *key)
{
    const struct claim *grant = key->grant;
    if (grant == NULL) {
        assert(key->refreshes == NULL);
        /* Demand that could be met is met. */
        assert(key->waiting == NULL || key->lease == NULL || key->lease->state != LEASE_HELD ||
               !hold_is_sound(broker, key));
        return;
    }
    assert(grant->key == key && (grant->state == CLAIM_GRANTED || grant->state == CLAIM_REVOKED));
    assert(!timer_is_set(&grant->timer));
    /* No grant without a lease, none on a lease that is over, each with a fence of the lease's own. */
    assert(key->lease != NULL && key->lease->state == LEASE_HELD);
    assert(broker->now_ms < key->lease->times.lost_at_ms);
    assert(grant->fence > 0 && grant->fence < key->lease->fence_end);
    assert(broker->now_ms < grant->ttl_until_ms && key->departure.request_id == 0 && key->n_tries == 0);
    if (grant->state == CLAIM_GRANTED) {
        assert(broker->now_ms < grant->hold_until_ms);
    }
}

static void audit_lease(const struct broker *broker, const struct key *key)
{
    const struct lease *lease = key->lease;
    if (lease == NULL) {
        return;
    }
    assert(lease->key == key && lease->state != LEASE_LEAVING);
    if (lease->state == LEASE_TRYING) {
        assert(key->grant == NULL && lease->op.id == 0);
        /* Nobody tries for nobody, but for an answer that is still to come. */
        assert(key->waiting != NULL || (key->attempt.is_open && key->attempt.is_sent));
        return;
    }
    assert(!key->attempt.is_open);
    /* Nothing is held for nobody, unless it lingers; and nothing beyond its turn. */
    assert((key->grant == NULL && key->waiting == NULL) == lease->is_idle);
    assert(key->grant != NULL || !turn_is_over(key));
    assert(lease->times.sent_at_ms <= broker->now_ms);
    assert(lease->times.risk_at_ms <= lease->times.lost_at_ms);
    assert(lease->times.lost_at_ms < lease->times.valid_until_ms);
    assert(lease->times.valid_until_ms < lease->times.gone_at_ms);
    assert(lease->fence_next <= lease->fence_end);
}

static void audit_key(const struct broker *broker, const struct key *key)
{
    audit_queue(key);
    audit_grant(broker, key);
    audit_lease(broker, key);
    const struct lease *lease;
    DL_FOREACH (key->leaving, lease) {
        assert(lease->state == LEASE_LEAVING && lease->key == key);
    }
    /* A key that nobody needs is not there; one that is there has its next instant ahead. */
    assert(key->waiting != NULL || key->lease != NULL || key->leaving != NULL);
    assert(!timer_is_set(&key->timer) || key->timer.at_ms > broker->now_ms);
}

static void audit_claimant(const struct claimant *claimant)
{
    size_t n_waiting = 0, n_held = 0;
    const struct claim *claim;
    for (claim = claimant->claims; claim != NULL; claim = claim->hh.next) {
        assert(claim->claimant == claimant);
        if (claim->state == CLAIM_WAITING) {
            n_waiting++;
        } else {
            n_held++;
            assert(claim->key->grant == claim);
        }
    }
    assert(n_waiting == claimant->n_waiting && n_held == claimant->n_held);
}

void broker_audit(const struct broker *broker)
{
    size_t n_claims = 0, n_keys = 0, n_leases = 0, n_held = 0, n_waiting = 0, n_idle = 0;
    const struct key *key;
    for (key = broker->keys; key != NULL; key = key->hh.next) {
        audit_key(broker, key);
        n_keys++;
        n_waiting += key->n_waiting;
        n_leases += key->lease != NULL;
        n_idle += key->lease != NULL && key->lease->is_idle;
        n_held += key->lease != NULL && key->lease->state == LEASE_HELD;
        const struct lease *lease;
        DL_FOREACH (key->leaving, lease) {
            n_leases++;
        }
    }
    assert(n_leases == HASH_COUNT(broker->leases));
    assert(n_keys == broker->stats->keys);
    assert(n_held == broker->stats->leases_held && n_idle == broker->n_idle);
    assert(n_waiting == broker->stats->claims_waiting);
    for (const struct claimant *claimant = broker->claimants; claimant != NULL;
         claimant = claimant->hh.next) {
        audit_claimant(claimant);
        n_claims += HASH_COUNT(claimant->claims);
    }
    for (const struct user *user = broker->users; user != NULL; user = user->hh.next) {
        n_claims -= user->n_claims;
    }
    assert(n_claims == 0);
}
