/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * One acquisition of a key in Redis, from the first attempt until nothing more can be heard of it.
 *
 *      first attempt                 confirmed in time
 *   o ---------------> LEASE_TRYING --------------------> LEASE_HELD --------> over, taken, deleted: o
 *                        |      |                             |
 *      certainly not     |      | nobody wants it any more,   | nobody wants it
 *      set: o <----------+      | and it may be set           | any more
 *                               v                             v
 *                             LEASE_LEAVING <-----------------+
 *                               |
 *                               +--> Redis has answered the release, or nothing can be left there: o
 *
 * One that was held and is lost goes the same way if a lock command of it is still to be answered.
 *
 * A lease has one value in Redis, which the store knows by the lease's id. All attempts of a lease use
 * that value, so that an attempt whose answer was lost is recognised by the next one. Once a release
 * was sent the value is spent: a LEAVING lease never comes back, the key gets a new one.
 */

#include "daemon/base/table.h"
#include "daemon/core/timing.h"

#include <stdbool.h>

struct ev_outcome;
struct key;

enum lease_state { LEASE_TRYING = 1, LEASE_HELD, LEASE_LEAVING };

/* A command under way. */
struct op {
    uint64_t id;         /* 0: none */
    int64_t due_ms;      /* when it counts as unanswered */
    int64_t fence_count; /* a renewal's: how many fences it asked for */
};

/* The unlock that a LEAVING lease answers when Redis has; request_id 0: nobody waits. */
struct departure {
    uint64_t peer_id, request_id;
    int64_t fence, held_ms;
    int64_t answer_by_ms;
    bool is_forced; /* by force_unlock, which has a reply of its own */
};

struct lease {
    uint64_t id;
    struct key *key;
    enum lease_state state;
    int64_t ttl_ms;         /* that the next command carries */
    int64_t longest_ttl_ms; /* that any has carried: Redis's expiry is only ever lengthened */

    /* TRYING, and known of it later */
    bool may_be_set;          /* an attempt of it went unanswered, or its answer came too late */
    size_t n_attempts;        /* lock commands of it that are still to be answered */
    uint64_t last_attempt_id; /* the op_id of the last of them */
    bool may_queue;           /* an attempt was to leave its value in Redis's queue ... */
    bool is_queued;           /* ... and one was answered since: it may wait there */
    bool is_wanted; /* another host was heard to wait for it, maybe before the answer that we have it */

    /* HELD */
    struct lease_times times;
    bool risk_told;                /* its holder has been told at_risk */
    int64_t fence_next, fence_end; /* the fences reserved for its grants, end excluded */
    int64_t fence_block;           /* size of that block when it was new */
    int64_t passed_at_ms;  /* since when it is ours, if another host passed it on or waits; -1: else */
    bool is_recalled;      /* another host waits for the key: claims that were made later than ... */
    uint64_t serve_to_id;  /* ... this one come after it */
    bool is_idle;          /* nobody here wants it, and it lingers ... */
    int64_t idle_since_ms; /* ... since then */

    /* HELD: the renewal; LEAVING: the release */
    struct op op;
    int64_t again_at_ms; /* not before: the next renewal or release after one that failed */

    /* LEAVING */
    int64_t
        believed_until_ms; /* it ran out, and somebody may believe in it till then: not to be released before */
    int64_t over_at_ms;    /* nothing of it can be left in Redis; INT64_MAX if that cannot be known */
    int64_t open_ms;  /* the key is left free for so long before it is offered to another host; 0: is not */
    bool is_free;     /* open_ms > 0: it has been deleted, and that moment passes */
    int64_t pause_ms; /* after the last release that failed; 0: none has */
    uint64_t first_release_id; /* the op_id of the first release; 0: none was sent */
    struct departure departure;

    struct lease *prev, *next; /* in key->leaving */
    UT_hash_handle hh;         /* in broker->leases, by id */
};

/* The size of the block of fences that goes with an acquisition, and the largest one. A busy Redis runs
 * about 100,000 lock scripts a second; at 64 fences each they stay behind the 8,192 that a
 * millisecond of the fence clock brings, so that fences grow even if Redis forgets the counter. */
enum { LEASE_FENCES_MIN = 64, LEASE_FENCES_MAX = 1 << 20 };

/* How many fences the next renewal should reserve: 0 while more than half of the block is left, else
 * four times as many as last time. */
int64_t lease_fences_wanted(const struct lease *lease);

/* Takes in a block that came with a confirmation; an older one than we have is ignored. */
void lease_take_fences(struct lease *lease, int64_t first, int64_t count);

/* Takes in Redis's word that the key is ours, by a command sent and with a ttl as given. */
void lease_confirm(struct lease *lease, const struct broker_settings *settings, int64_t sent_at_ms,
                   int64_t ttl_ms);

/* Takes in that a command with ttl_ms is about to leave. */
void lease_note_ttl(struct lease *lease);

/* The ttl by which a held lease times its retries: the one it stands on, or what is asked for next if that is
 * shorter. */
int64_t lease_pace_ms(const struct lease *lease);

/* Takes in that a command was answered, in whichever state the lease is by now. */
void lease_note_answer(struct lease *lease, const struct ev_outcome *outcome);

/* Whether a lock command of it may still set the key: then its release must not be forgotten. */
bool lease_may_be_set(const struct lease *lease);
/* Whether anything of it may be in Redis, be it only its place in the queue: then it must be released. */
bool lease_may_be_known(const struct lease *lease);
