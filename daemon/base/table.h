/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * uthash as this house uses it: include this header, never <uthash.h>.
 *
 * Keys come from strangers, so the hash function is seeded (XXH3, seed from the kernel, drawn once
 * at the start; tests and the simulator set a fixed one) and an allocation that fails ends the process.
 */

#include "daemon/base/alloc.h"

#include <stdint.h>
#include <xxhash.h>

extern uint64_t table_seed; /* set once, before the first table has its first element */

#define HASH_FUNCTION(keyptr, keylen, hashv) \
    ((hashv) = (unsigned)XXH3_64bits_withSeed((keyptr), (keylen), table_seed))
#define uthash_malloc(len) alloc_bytes(len)
#define uthash_fatal(text) alloc_failed(0)

#include <uthash.h>
#include <utlist.h>
