/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * The broker: every decision of the daemon, as a function of events and time.
 *
 * It knows keys, claims, grants and leases. It does no I/O, reads no clock and draws no random
 * number, so that a test or a simulator can be its whole world. The caller
 *
 *     1. fills an event, with the instant at which it looks at it,
 *     2. calls broker_step() and carries out the effects in their order,
 *     3. calls again with EV_TIME when broker_deadline() has come, early or late as may be.
 *
 * Whatever the event, what has run out by its now_ms is settled first: nothing is granted, renewed
 * or given back on a lease that is over. Time never goes back: an event's now_ms is at least that of
 * the one before.
 */

#include "daemon/core/effect.h"
#include "daemon/core/event.h"

#include <stdbool.h>

struct broker;
struct key;
struct stats;

#define DEADLINE_NEVER INT64_MAX

/* `stats` is borrowed for the broker's life. */
struct broker *broker_new(const struct broker_settings *settings, struct stats *stats);
struct broker *broker_free(struct broker *broker); /* returns NULL */

const struct effects *broker_step(struct broker *broker, const struct event *event);

/* The next instant at which EV_TIME would do something; DEADLINE_NEVER if there is none. */
int64_t broker_deadline(const struct broker *broker);

/* For the status methods, read only. Keys come in no particular order; NULL ends the walk. */
const struct key *broker_find(const struct broker *broker, const char *name, size_t name_len);
const struct key *broker_next(const struct broker *broker, const struct key *after);

/* Nothing is held, waited for, or being given back: after EV_STOP the daemon may go. */
bool broker_is_idle(const struct broker *broker);

/* Proves every invariant of the data structures, by assert; for tests (audit.c). Costs O(everything). */
void broker_audit(const struct broker *broker);
