/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * Holding a lease: renewals in time, warnings in time, the end in time. All of it concerns a key whose
 * lease is HELD.
 */

#include "daemon/core/state.h"

/* What has run out: the lease itself, the grant's own bounds, a renewal without an answer. The key may
 * have no lease any more when this returns. */
void hold_settle(struct broker *broker, struct key *key);
/* Sends a renewal if one is wanted and none is under way. */
void hold_pursue(struct broker *broker, struct key *key);
/* When one of the two would next find something to do. */
int64_t hold_deadline(const struct broker *broker, const struct key *key);

/* Whether the claim at the head of the queue may be granted on the lease as it is: not at risk, with a
 * fence left, and renewed for it if it will not be renewed later. */
bool hold_is_sound(const struct broker *broker, const struct key *key);

/* The answer to a command, while its lease is HELD. */
void hold_answered(struct broker *broker, struct lease *lease, const struct ev_outcome *outcome);

/* A `refresh` of the grant: sends a renewal and waits for its answer. */
void hold_add_refresh(struct broker *broker, struct key *key, const struct ev_refresh *asked);
/* Refuses all that wait for a renewal. */
void hold_refuse_refreshes(struct broker *broker, struct key *key, enum refusal refusal, enum ending why,
                           const char *last_error);
