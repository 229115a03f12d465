/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * How often a key is left free, and for how long: each turn in which this host's clock passes a full tenth of
 * a second ends with that, and lasts a 64th of the turn, but at least two milliseconds. Nothing has to be
 * remembered from turn to turn, and the passing loses a few parts in a hundred.
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

void turn_begin(struct broker *broker, struct key *key, bool others_wait, bool was_passed_on)
{
    key->lease->passed_at_ms = others_wait || was_passed_on ? broker->now_ms : -1;
    if (others_wait) {
        turn_recall(broker, key);
    }
}

int64_t turn_open_ms(const struct broker *broker, const struct key *key)
{
    int64_t since_ms = key->lease->passed_at_ms;
    if (since_ms < 0 || since_ms / TURN_OPEN_EVERY_MS == broker->now_ms / TURN_OPEN_EVERY_MS) {
        return 0;
    }
    int64_t open_ms = (broker->now_ms - since_ms) / TURN_OPEN_PART;
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
