/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * Lingering: a lease that nobody here wants any more is kept for a while, so that the next local lock costs
 * no trip to Redis. It is renewed meanwhile, and given up at once when another host asks for it.
 *
 * A lease that was recalled by another host does not linger the next time, and earns it back with that: a
 * key that hosts take turns with is of more use in Redis.
 */

#include "daemon/core/state.h"

/* Whether the lease, HELD, without a grant and wanted by nobody, stays; asked at every settling. */
bool linger_stays(struct broker *broker, struct key *key);

/* It is wanted again, or it ends. Does nothing to a lease that does not linger. */
void linger_end(struct broker *broker, struct lease *lease);

/* It is given up because another host asked for it. */
void linger_note_recall(struct broker *broker, const struct key *key);
