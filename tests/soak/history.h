/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * The oracle: what all clients have believed, and whether that goes together. It knows clients, keys, fences
 * and instants, and nothing of daemons or Redis.
 *
 * - No two clients hold a key at the same time.
 * - Whoever holds a key later than another has the larger fence.
 */

#include <stdint.h>

struct history;

struct history *history_new(void);
struct history *history_free(struct history *history);

/* The client held the key at that instant. 0, or 1: that contradicts what is known, and was printed. */
int history_note(struct history *history, int client, int key, int64_t fence, int64_t at_ms);

/*
 * The machine's wall clock, which is Redis's, went ahead at that instant by more than what is allowed for, as
 * when a virtual machine is stopped and goes on: what was held then, Redis may have given to others. Leases
 * are no longer than ttl_ms_max.
 */
void history_note_step(struct history *history, int64_t at_ms, int64_t ttl_ms_max);

/* So many grants have been looked at. */
uint64_t history_n_grants(const struct history *history);
