/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * How often a key is left free, and for how long: once in a tenth of a second of uninterrupted passing,
 * for a 64th of the time since the last such moment. Whoever asks for the key at random instants then finds
 * it free once in 64 tries or so, and the passing loses one part in 64.
 */

#include "daemon/core/turn.h"

enum {
    TURN_OFFER_MS_MAX = 1000, /* enough to hear of it and to make it one's own */
    TURN_OPEN_EVERY_MS = 100,
    TURN_OPEN_PART = 64,
    TURN_OPEN_MS_MIN = 2,
    TURN_OPEN_MS_MAX = 16,
};

int64_t turn_offer_ms(const struct lease *lease)
{
    return lease->ttl_ms < TURN_OFFER_MS_MAX ? lease->ttl_ms : TURN_OFFER_MS_MAX;
}

void turn_recall(struct broker *broker, struct key *key)
{
    struct lease *lease = key->lease;
    if (lease->is_recalled) {
        return;
    }
    lease->is_recalled = true;
    lease->serve_to_id = broker->last_claim_id;
}

bool turn_is_over(const struct key *key)
{
    const struct lease *lease = key->lease;
    return lease->is_recalled && (key->waiting == NULL || key->waiting->id > lease->serve_to_id);
}

void turn_begin(struct broker *broker, struct key *key, bool others_wait)
{
    if (!others_wait) {
        key->passed_since_ms = -1;
        return;
    }
    if (key->passed_since_ms < 0) {
        key->passed_since_ms = broker->now_ms;
    }
    turn_recall(broker, key);
}

int64_t turn_open_ms(struct broker *broker, struct key *key)
{
    int64_t passed_ms = key->passed_since_ms >= 0 ? broker->now_ms - key->passed_since_ms : 0;
    if (passed_ms < TURN_OPEN_EVERY_MS) {
        return 0;
    }
    key->passed_since_ms = broker->now_ms;
    int64_t open_ms = passed_ms / TURN_OPEN_PART;
    if (open_ms < TURN_OPEN_MS_MIN) {
        return TURN_OPEN_MS_MIN;
    }
    return open_ms < TURN_OPEN_MS_MAX ? open_ms : TURN_OPEN_MS_MAX;
}

bool turn_is_open(const struct broker *broker, const struct key *key)
{
    const struct lease *lease;
    if (broker->link != LINK_UP) {
        return false;
    }
    DL_FOREACH (key->leaving, lease) {
        if (lease->open_ms > 0) {
            return true;
        }
    }
    return false;
}
