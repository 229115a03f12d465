/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * One key: where one lease meets many claims.
 *
 *      waiting:  claim -> claim -> claim        in the order of asking
 *                  |
 *                  v  granted
 *      grant:    claim                          at most one
 *                  |  stands on
 *                  v
 *      lease:    TRYING or HELD                 at most one
 *                  |  given up
 *                  v
 *      leaving:  lease -> lease                 until Redis has confirmed their release
 *
 * Handlers of events (broker.c) change facts: a claim more, an answer more. Then key_settle() compares
 * what is wanted with what is there and asks for what is missing. It may be called at any time and as
 * often as you like; a second call in the same millisecond finds nothing to do.
 */

#include "daemon/base/heap.h"
#include "daemon/base/table.h"
#include "daemon/core/claim.h"
#include "daemon/core/lease.h"

struct broker;

/* The one lock command that may be under way for a key. */
struct attempt {
    bool is_open;
    bool is_sent;    /* false: it waits for the link, which is connecting */
    bool may_queue;  /* it leaves its value in the queue if another has the key */
    bool is_offered; /* it was made because the key was said to be passed on to this host */
    uint64_t op_id;
    int64_t due_ms; /* when it counts as timed out */
};

/* A `refresh` that waits for its answer. */
struct refresh {
    uint64_t peer_id, request_id;
    uint64_t op_id; /* the renewal that answers it; 0: not sent yet */
    int64_t due_ms;
    struct refresh *prev, *next;
};

struct key {
    struct claim *waiting;
    size_t n_waiting;
    struct claim *grant;
    struct lease *lease;
    struct lease *leaving;
    struct refresh *refreshes;  /* only while there is a grant */
    struct departure departure; /* an unlock that is answered when the next claim is granted */
    size_t n_tries;             /* waiting claims that do not want to wait */

    struct attempt attempt;
    int64_t attempt_at_ms;   /* the next attempt not before this: the earliest try_at_ms, or earlier */
    bool is_prompted;        /* an attempt is due at once, whatever the claims' intervals say ... */
    bool is_offered;         /* ... since the key was said to be passed on to this host */
    int64_t own_gone_at_ms;  /* when a lease of ours that ran out is gone: till then attempts only queue */
    int64_t other_until_ms;  /* when the lease of another host would end, as last heard; 0: not heard */
    int64_t vacant_since_ms; /* when the last grant on the present lease ended; -1: there was none */
    char last_error[65];     /* of the last attempt; "": it was answered, with yes or no */

    struct timer timer; /* the next instant at which key_settle() would find something to do */
    UT_hash_handle hh;  /* in broker->keys, by name */
    struct key *next;   /* in the graveyard */
    size_t name_len;
    char name[];
};

struct key *key_find(struct broker *broker, const char *name, size_t name_len);
struct key *key_get(struct broker *broker, const char *name, size_t name_len); /* made if there is none */
bool key_has_lease(const struct key *key);                                     /* one that is HELD */

/* Compares what is wanted with what is there, and asks for what is missing. A key that nobody wants any
 * more and that Redis owes no answer for ends here: the pointer is good until the end of the step. */
void key_settle(struct broker *broker, struct key *key);

/* Facts: none of these settles the key. */

void key_add_claim(struct broker *broker, struct key *key, struct claim *claim);
/* Answers a waiting claim with a refusal; the claim ends. */
void key_refuse_claim(struct broker *broker, struct claim *claim, enum refusal refusal);
/* Takes a waiting claim out of the queue without an answer; the claim ends. */
void key_drop_claim(struct broker *broker, struct claim *claim);

/* Answers the unlock that waits for the next grant, if there is one: it is done, or with a refusal. */
void key_answer_departure(struct broker *broker, struct key *key);
void key_refuse_departure(struct broker *broker, struct key *key, const char *last_error);
/* The grant ends and is remembered as `ending`; the lease stays, for the next grant or to be given back. */
void key_end_grant(struct broker *broker, struct key *key, enum ending ending);
/* The holder is told that it has lost the lock, while the lease lives on: nobody else gets it until the
 * holder is known to have heard of it, or the lease is over. */
void key_revoke(struct broker *broker, struct key *key, enum ending reason);
/* The lease is over: its holder, if it has not been told yet, is. It is forgotten, or given back if it may still
 * come to be known in Redis. */
void key_lose(struct broker *broker, struct key *key, enum ending reason);
