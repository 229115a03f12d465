/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * All arithmetic on the life of a lease, from one confirmed command: when it was about to leave, and
 * the ttl that it carried. With ttl 30 s, drift 1% and renew_fraction 3:
 *
 *      0 ms     sent_at        the clock was read, then the command left
 *  7.5 - 10 s   renew_at       a third of the ttl, spread by up to a quarter of that over the leases,
 *                              rounded down to a tick, so that many leave in one write
 *   18.0 s      risk_at        60%: no grant on it from here on, and its holder is told
 *   29.548 s    lost_at        the holder is told that it is over, a moment before ...
 *   29.698 s    valid_until    sent_at + ttl - (1% + 2 ms): nobody may believe in it from here on
 *   30.0 s                     Redis can drop the key at the earliest
 *   30.3 s      gone_at        Redis has dropped it, whichever clock is the slower one
 *
 * A command that Redis got later than it was sent only moves the real expiry to the right of all this.
 */

#include <stdint.h>

struct broker_settings;

struct lease_times {
    int64_t sent_at_ms; /* of the last confirmed command */
    int64_t ttl_ms;     /* that it carried */
    int64_t renew_at_ms;
    int64_t risk_at_ms;
    int64_t lost_at_ms;
    int64_t valid_until_ms;
    int64_t gone_at_ms;
};

/* `spread` is any number, the lease's own: it decides where in the window its renewals fall. */
struct lease_times timing_confirmed(const struct broker_settings *settings, int64_t sent_at_ms,
                                    int64_t ttl_ms, uint64_t spread);

/* Takes in a later confirmation. Redis's expiry is only ever lengthened, so of each instant the later
 * one counts, whatever ttl the commands carried; the next renewal goes by the newer command alone. */
void timing_extend(struct lease_times *times, const struct lease_times *with);

/* How much before the end of a lock its holder is told, so that it hears of it before. */
int64_t timing_lead(int64_t ttl_ms);

/* How long one renewal may stay unanswered before it is sent again. */
int64_t timing_renew_timeout(const struct broker_settings *settings, int64_t ttl_ms);

/* How long to wait after Redis said that it cannot just now, before the next try of that lease. */
int64_t timing_renew_pause(int64_t ttl_ms);
