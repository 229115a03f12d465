/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * Taking turns with other hosts that want the same key.
 *
 * As long as no other host waits, the lease goes from claim to claim without end. When one does, which
 * Redis tells with a lock or a renewal, and a message in between (EV_RECALLED), the claims that have been
 * made by then are still served, and the lease is then passed on:
 *
 *      recalled
 *         v
 *      A1 A2 A3 | A4 A5        here: A1 to A3 are served, A4 and A5 were asked for later
 *               |
 *               +--> the host that has waited longest: its claims of that moment --> the next host ...
 *
 * So a claim waits for those that were made before it, give or take the batch of one host. What is left
 * over here queues in Redis again, with a fresh value, behind the other hosts.
 *
 * A key that goes from host to host is never free, and programs that know of no queue would never get it.
 * So now and then it is left free for a moment, before it is offered to the next host.
 */

#include "daemon/core/state.h"

/* How long Redis keeps the key for the host that it is offered to. */
int64_t turn_offer_ms(const struct lease *lease);

/* Another host waits for the key, whose lease is HELD. A second recall of the same lease says nothing new. */
void turn_recall(struct broker *broker, struct key *key);

/* Whether the lease, HELD and without a grant, has served those whom it still had to serve. */
bool turn_is_over(const struct key *key);

/* The lease of the key is got: whether other hosts wait already, and whether it was not free before, but passed
 * on by another host. */
void turn_begin(struct broker *broker, struct key *key, bool others_wait, bool was_passed_on);

/* For how long the lease, which is about to be passed on, is to be left free before; 0: not this time. */
int64_t turn_open_ms(const struct broker *broker, const struct key *key);

/* While a key is left free for others, this host makes no attempt at it. */
bool turn_is_open(const struct broker *broker, const struct key *key);
