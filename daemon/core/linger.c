/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Both memories here are bounded, since nobody is connected whom they could be counted against: so many
 * leases linger, and of the keys that were recalled each is remembered until another takes its place in a
 * small table. To forget one costs a trip to Redis at the most.
 */

#include "daemon/core/linger.h"

enum { LINGER_LEASES_MAX = 10000 };

static uint64_t linger_hash(const struct key *key)
{
    return XXH3_64bits_withSeed(key->name, key->name_len, table_seed) | 1; /* 0: an empty place */
}

static uint64_t *linger_place(struct broker *broker, uint64_t hash)
{
    return &broker->recalled[hash / 2 % RECALLED_CAP];
}

void linger_note_recall(struct broker *broker, const struct key *key)
{
    if (broker->settings.linger_ms > 0) {
        uint64_t hash = linger_hash(key);
        *linger_place(broker, hash) = hash;
    }
}

/* Whether the key was recalled since this was last asked. */
static bool linger_was_recalled(struct broker *broker, const struct key *key)
{
    uint64_t hash = linger_hash(key), *place = linger_place(broker, hash);
    bool was_recalled = *place == hash;
    if (was_recalled) {
        *place = 0;
    }
    return was_recalled;
}

bool linger_stays(struct broker *broker, struct key *key)
{
    struct lease *lease = key->lease;
    int64_t linger_ms = broker->is_stopping ? 0 : broker->settings.linger_ms;
    if (linger_ms == 0 || lease->is_recalled) {
        return false;
    }
    if (!lease->is_idle) {
        if (broker->n_idle >= LINGER_LEASES_MAX || linger_was_recalled(broker, key)) {
            return false;
        }
        lease->is_idle = true;
        lease->idle_since_ms = broker->now_ms;
        broker->n_idle++;
    }
    return broker->now_ms < lease->idle_since_ms + linger_ms;
}

void linger_end(struct broker *broker, struct lease *lease)
{
    if (lease->is_idle) {
        lease->is_idle = false;
        broker->n_idle--;
    }
}
