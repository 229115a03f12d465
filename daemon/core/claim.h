/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * The local side: claims, and the claimants that make them.
 *
 * A claim waits in its key's queue, in the order of asking, until it becomes the key's grant or is
 * refused. A claimant is a peer as the core sees it: it has at most one claim on a key, and remembers how
 * its last grants ended, so that a late unlock can be told why there is nothing to unlock.
 *
 *                      granted                 told lost, may not have heard it
 *      CLAIM_WAITING -----------> CLAIM_GRANTED -------------------------------> CLAIM_REVOKED
 *            |                         |                                             |
 *            +--- refused, left: o     +--- unlocked, lost with its lease: o         +--- heard it, or
 *                                                                                         lease over: o
 */

#include "daemon/base/heap.h"
#include "daemon/base/table.h"
#include "daemon/core/effect.h"
#include "daemon/core/event.h"

struct key;
struct claimant;

enum claim_state { CLAIM_WAITING = 1, CLAIM_GRANTED, CLAIM_REVOKED };

struct claim {
    uint64_t id; /* ascending in the order of asking */
    struct key *key;
    struct claimant *claimant;
    uint32_t user_id;
    uint64_t request_id;
    enum claim_state state;

    int64_t asked_at_ms;
    int64_t ttl_ms, wait_ms, retry_interval_ms, retry_max, attempt_timeout_ms,
        max_hold_ms; /* as in ev_claim */
    bool fail_fast, auto_refresh;
    int64_t try_at_ms;  /* WAITING: an attempt is due for it from here on */
    int64_t n_attempts; /* that were due for it and failed */
    struct timer timer; /* WAITING: when wait_ms is over */

    int64_t granted_at_ms, fence; /* GRANTED, REVOKED */
    int64_t hold_until_ms;        /* GRANTED: by max_hold_ms; INT64_MAX: no end */
    int64_t ttl_lost_at_ms;       /* without auto_refresh: when it is lost, a little before ... */
    int64_t ttl_until_ms; /* without auto_refresh: ... the end that its peer was told; INT64_MAX: none */
    enum ending ending;   /* REVOKED: what its peer was told */

    struct claim *prev, *next; /* in key->waiting */
    UT_hash_handle hh;         /* in claimant->claims, by key */
    size_t note_len;
    char note[];
};

/* Whose claims count against one limit, whatever connections they come by. */
struct user {
    uint32_t id;
    size_t n_claims;
    UT_hash_handle hh; /* in broker->users, by id; gone with the last claim */
};

struct claimant {
    uint64_t id;
    struct claim *claims; /* all of it, by key */
    size_t n_waiting, n_held;
    uint64_t *endings; /* ring of the last ones: hash of the key, its low four bits replaced by the ending */
    uint32_t endings_cap, n_endings, endings_at;
    UT_hash_handle hh; /* in broker->claimants, by id */
};

/* The new claim is in the claimant's table, not yet in the key's queue. */
struct claim *claim_new(struct claimant *claimant, struct key *key, const struct ev_claim *asked, uint64_t id,
                        int64_t now_ms);
/* Takes it out of its claimant's table; must be in no queue and have no timer set. Returns NULL. */
struct claim *claim_free(struct claim *claim);

struct claim *claimant_find_claim(struct claimant *claimant, const struct key *key);
void claimant_remember(struct claimant *claimant, const char *key, size_t key_len, enum ending ending);
enum ending claimant_recall(const struct claimant *claimant, const char *key,
                            size_t key_len); /* ENDING_NEVER if nothing */
