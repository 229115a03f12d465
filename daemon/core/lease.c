/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Facts about one lease. What follows from them is decided in key.c.
 */

#include "daemon/core/lease.h"

#include "daemon/core/event.h"

int64_t lease_fences_wanted(const struct lease *lease)
{
    int64_t left = lease->fence_end - lease->fence_next;
    if (left * 2 > lease->fence_block) {
        return 0;
    }
    int64_t wanted = lease->fence_block * 4;
    return wanted < LEASE_FENCES_MAX ? wanted : LEASE_FENCES_MAX;
}

void lease_take_fences(struct lease *lease, int64_t first, int64_t count)
{
    /* The answer to an earlier command may come after that to a later one was taken in; what has been
     * granted meanwhile has fences from the later block, and fences only grow. */
    if (count <= 0 || first < lease->fence_end) {
        return;
    }
    lease->fence_next = first;
    lease->fence_end = first + count;
    lease->fence_block = count;
}

void lease_confirm(struct lease *lease, const struct broker_settings *settings, int64_t sent_at_ms,
                   int64_t ttl_ms)
{
    /* Spreads neighbouring ids far apart (Knuth's multiplier), so that leases that were taken together are
     * not renewed together. */
    uint64_t spread = lease->id * UINT64_C(11400714819323198485) >> 32;
    struct lease_times times = timing_confirmed(settings, sent_at_ms, ttl_ms, spread);
    if (lease->state == LEASE_HELD) {
        timing_extend(&lease->times, &times);
    } else {
        lease->times = times;
    }
}

void lease_note_ttl(struct lease *lease)
{
    if (lease->longest_ttl_ms < lease->ttl_ms) {
        lease->longest_ttl_ms = lease->ttl_ms;
    }
}

int64_t lease_pace_ms(const struct lease *lease)
{
    return lease->ttl_ms < lease->times.ttl_ms ? lease->ttl_ms : lease->times.ttl_ms;
}

void lease_note_answer(struct lease *lease, const struct ev_outcome *outcome)
{
    if (outcome->op_id > lease->last_attempt_id) {
        return; /* a renewal or a release */
    }
    lease->n_attempts--;
    lease->is_queued |= lease->may_queue && outcome->answer == ANSWER_TAKEN;
    if (outcome->answer == ANSWER_UNKNOWN) {
        lease->may_be_set = true;
    }
}

bool lease_may_be_set(const struct lease *lease)
{
    return lease->may_be_set || lease->n_attempts > 0;
}

bool lease_may_be_known(const struct lease *lease)
{
    return lease_may_be_set(lease) || lease->is_queued;
}
