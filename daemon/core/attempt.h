/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * Getting a lease: one lock command at a time for all who wait for the key.
 *
 * The claim at the head of the queue lends the attempt its ttl and its timeout; the outcome counts for
 * every claim that waits at that moment. All attempts carry the same value until one is answered with
 * yes, or nobody wants the key any more.
 */

#include "daemon/core/state.h"

/* An attempt whose time is over has failed; whether it was executed is not known. */
void attempt_settle(struct broker *broker, struct key *key);
/* Somebody waits and there is no lease: opens the next attempt when its time has come, and sends it. */
void attempt_pursue(struct broker *broker, struct key *key);
/* Nobody waits: what has been tried is forgotten, or given back if it may have worked. Does nothing
 * while an attempt is under way, since its answer tells more, and a new claim may take it over. */
void attempt_give_up(struct broker *broker, struct key *key);
/* The answer to a lock command of a lease that is still TRYING. */
void attempt_answered(struct broker *broker, struct lease *lease, const struct ev_outcome *outcome);
