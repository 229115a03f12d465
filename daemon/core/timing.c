/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The timeline of timing.h as arithmetic. Nothing else in the core computes an instant of a lease.
 */

#include "daemon/core/timing.h"

#include "daemon/core/event.h"

/* What two clocks may have drifted apart over the ttl, and the grain of both. */
static int64_t timing_margin(const struct broker_settings *settings, int64_t ttl_ms)
{
    return ttl_ms * settings->drift_per_10k / 10000 + 2;
}

int64_t timing_lead(int64_t ttl_ms)
{
    const int64_t lead_ms_max = 150;
    int64_t lead_ms = ttl_ms / 200 + 2;
    return lead_ms < lead_ms_max ? lead_ms : lead_ms_max;
}

/* Renewals that fall into the same tick leave in one write: 10 ms for a ttl of 10 s. */
static int64_t timing_tick(int64_t ttl_ms)
{
    const int64_t tick_ms_max = 100;
    int64_t tick_ms = ttl_ms / 1000;
    return tick_ms < 1 ? 1 : tick_ms < tick_ms_max ? tick_ms : tick_ms_max;
}

struct lease_times timing_confirmed(const struct broker_settings *settings, int64_t sent_at_ms,
                                    int64_t ttl_ms, uint64_t spread)
{
    int64_t margin_ms = timing_margin(settings, ttl_ms);
    int64_t period_ms = ttl_ms / settings->renew_fraction;
    int64_t window_ms = period_ms / 4;
    int64_t earlier_ms = window_ms > 0 ? (int64_t)(spread % (uint64_t)window_ms) : 0;
    int64_t renew_at_ms = sent_at_ms + period_ms - earlier_ms;
    struct lease_times times = {
        .sent_at_ms = sent_at_ms,
        .ttl_ms = ttl_ms,
        .renew_at_ms = renew_at_ms - renew_at_ms % timing_tick(ttl_ms),
        .risk_at_ms = sent_at_ms + ttl_ms * 6 / 10,
        .valid_until_ms = sent_at_ms + ttl_ms - margin_ms,
        .gone_at_ms = sent_at_ms + ttl_ms + margin_ms,
    };
    times.lost_at_ms = times.valid_until_ms - timing_lead(ttl_ms);
    return times;
}

static void timing_raise(int64_t *instant_ms, int64_t to_ms)
{
    if (*instant_ms < to_ms) {
        *instant_ms = to_ms;
    }
}

void timing_extend(struct lease_times *times, const struct lease_times *with)
{
    if (times->sent_at_ms <= with->sent_at_ms) {
        times->sent_at_ms = with->sent_at_ms;
        times->ttl_ms = with->ttl_ms;
        times->renew_at_ms = with->renew_at_ms;
    }
    timing_raise(&times->risk_at_ms, with->risk_at_ms);
    timing_raise(&times->lost_at_ms, with->lost_at_ms);
    timing_raise(&times->valid_until_ms, with->valid_until_ms);
    timing_raise(&times->gone_at_ms, with->gone_at_ms);
}

int64_t timing_renew_timeout(const struct broker_settings *settings, int64_t ttl_ms)
{
    const int64_t timeout_ms_min = 10;
    int64_t timeout_ms = ttl_ms / 6;
    if (timeout_ms > settings->redis_timeout_ms) {
        timeout_ms = settings->redis_timeout_ms;
    }
    return timeout_ms > timeout_ms_min ? timeout_ms : timeout_ms_min;
}

int64_t timing_renew_pause(int64_t ttl_ms)
{
    const int64_t pause_ms_min = 10, pause_ms_max = 1000;
    int64_t pause_ms = ttl_ms / 30;
    return pause_ms < pause_ms_min ? pause_ms_min : pause_ms < pause_ms_max ? pause_ms : pause_ms_max;
}
