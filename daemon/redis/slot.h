/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * Hash slots of a Redis Cluster: of the keys of one call all must lie in the same. Whatever name a user
 * has chosen for a lock, with braces or without, slot_tag() gives a hash tag for the names that belong
 * to it: "rlockd:queue:{TAG}:NAME" lies where "NAME" does. (The counter of fences is one for all keys, as long as
 * there is one Redis; a cluster would need one for each slot, by the same tag.)
 */

#include <stddef.h>
#include <stdint.h>

enum { SLOT_COUNT = 16384 };

/* The slot of a key, by Redis's rule: where there is text between its first `{` and the next `}`, only that
 * counts. Below SLOT_COUNT. */
unsigned slot_of(const char *key, size_t len);

/* A number whose decimal digits, as a key, lie in that slot. The first call makes a table of all. */
uint32_t slot_tag(unsigned slot);
