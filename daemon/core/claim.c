/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Claims in their claimant's table, and the claimant's memory of endings. Queues are the key's business.
 */

#include "daemon/core/claim.h"

#include <assert.h>
#include <string.h>

enum {
    ENDINGS_CAP_MIN = 8,
    ENDINGS_CAP_MAX = 1024, /* 8 KiB for a peer that has had that many different locks */
    ENDING_BITS = 15,
};

static_assert((int)ENDING_SHUTDOWN <= (int)ENDING_BITS, "an ending must fit its four bits");

struct claim *claim_new(struct claimant *claimant, struct key *key, const struct ev_claim *asked, uint64_t id,
                        int64_t now_ms)
{
    struct claim *claim = alloc_bytes(sizeof(*claim) + asked->note_len);
    *claim = (struct claim){
        .id = id,
        .key = key,
        .claimant = claimant,
        .user_id = asked->user_id,
        .request_id = asked->from.request_id,
        .state = CLAIM_WAITING,
        .asked_at_ms = now_ms,
        .try_at_ms = now_ms,
        .ttl_ms = asked->ttl_ms,
        .wait_ms = asked->wait_ms,
        .retry_interval_ms = asked->retry_interval_ms,
        .retry_max = asked->retry_max,
        .attempt_timeout_ms = asked->attempt_timeout_ms,
        .max_hold_ms = asked->max_hold_ms,
        .fail_fast = asked->fail_fast,
        .auto_refresh = asked->auto_refresh,
        .note_len = asked->note_len,
    };
    if (asked->note_len > 0) {
        memcpy(claim->note, asked->note, asked->note_len);
    }
    HASH_ADD_PTR(claimant->claims, key, claim);
    return claim;
}

struct claim *claim_free(struct claim *claim)
{
    assert(!timer_is_set(&claim->timer));
    HASH_DEL(claim->claimant->claims, claim);
    free(claim);
    return NULL;
}

struct claim *claimant_find_claim(struct claimant *claimant, const struct key *key)
{
    struct claim *claim;
    HASH_FIND_PTR(claimant->claims, &key, claim);
    return claim;
}

static uint64_t claimant_key_mark(const char *key, size_t key_len)
{
    return XXH3_64bits_withSeed(key, key_len, table_seed) & ~(uint64_t)ENDING_BITS;
}

/* A full ring grows until it may not any more, and from then on forgets the oldest ending. */
static void claimant_make_room(struct claimant *claimant)
{
    if (claimant->n_endings < claimant->endings_cap || claimant->endings_cap == ENDINGS_CAP_MAX) {
        return;
    }
    uint32_t cap = claimant->endings_cap == 0 ? ENDINGS_CAP_MIN : claimant->endings_cap * 2;
    claimant->endings = alloc_resize(claimant->endings, cap * sizeof(*claimant->endings));
    /* It never wrapped before it was full, and it is in order: the newest stands last. */
    claimant->endings_at = claimant->endings_cap;
    claimant->endings_cap = cap;
}

void claimant_remember(struct claimant *claimant, const char *key, size_t key_len, enum ending ending)
{
    uint64_t mark = claimant_key_mark(key, key_len);
    if (claimant->n_endings > 0) {
        uint64_t *newest =
            &claimant->endings[(claimant->endings_at + claimant->endings_cap - 1) % claimant->endings_cap];
        if ((*newest & ~(uint64_t)ENDING_BITS) == mark) { /* the loop that locks one key again and again */
            *newest = mark | (uint64_t)ending;
            return;
        }
    }
    claimant_make_room(claimant);
    claimant->endings[claimant->endings_at] = mark | (uint64_t)ending;
    claimant->endings_at = (claimant->endings_at + 1) % claimant->endings_cap;
    if (claimant->n_endings < claimant->endings_cap) {
        claimant->n_endings++;
    }
}

enum ending claimant_recall(const struct claimant *claimant, const char *key, size_t key_len)
{
    uint64_t mark = claimant_key_mark(key, key_len);
    for (uint32_t back = 1; back <= claimant->n_endings; back++) {
        uint64_t entry =
            claimant->endings[(claimant->endings_at + claimant->endings_cap - back) % claimant->endings_cap];
        if ((entry & ~(uint64_t)ENDING_BITS) == mark) {
            return (enum ending)(entry & ENDING_BITS);
        }
    }
    return ENDING_NEVER;
}
