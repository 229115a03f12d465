/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * Everything that can happen to the broker.
 *
 * An event is data: ids, numbers and borrowed text, never a pointer into another layer. Its text must
 * stay until the effects of its step have been carried out, since they may lend it on; nothing of it
 * is kept beyond that. Instants are CLOCK_BOOTTIME in ms, durations ms.
 *
 *   from a client       EV_CLAIM EV_UNLOCK EV_REFRESH EV_CANCEL EV_INSPECT EV_FORCE EV_ECHO EV_PEER_GONE
 *   from Redis          EV_OUTCOME (exactly one for each ACQUIRE, RENEW, RELEASE effect), EV_QUERIED
 *                       (one for each QUERY, FORCE effect), EV_LINK
 *   from other hosts    EV_OFFERED EV_RECALLED, through Redis; EV_HEARING. Hints: any may get lost
 *   from the daemon     EV_TIME EV_STOP EV_SETTINGS
 *
 * A peer_id names one connection, a request_id one request of it; both are never reused, never 0.
 * request_id 0 means that nobody waits for a reply (the request was a notification).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FOREVER (-1) /* for durations and counts that may be unbounded */

enum event_kind {
    EV_TIME = 1, /* nothing but time */
    EV_CLAIM,
    EV_UNLOCK,
    EV_REFRESH,
    EV_CANCEL,
    EV_INSPECT,
    EV_FORCE,
    EV_ECHO, /* a request that needs no decision, but must not be answered before one that came earlier */
    EV_PEER_GONE,
    EV_OUTCOME,
    EV_QUERIED,
    EV_LINK,
    EV_OFFERED,  /* the key is to be passed on to this host */
    EV_RECALLED, /* another host waits for the key */
    EV_HEARING,  /* from here on messages of other hosts come through; earlier ones may have been missed */
    EV_STOP,
    EV_SETTINGS,
};

/* Who asks for what: the head of every event that comes from a client. */
struct ev_request {
    uint64_t peer_id;
    uint64_t request_id;
    const char *key;
    size_t key_len;
};

struct ev_claim {
    struct ev_request from;
    uint32_t user_id; /* whose limit it counts against */
    int64_t ttl_ms;
    int64_t wait_ms;           /* FOREVER; 0: one attempt */
    int64_t retry_interval_ms; /* between attempts while another host holds the key */
    int64_t retry_max;         /* further attempts after the first; FOREVER */
    int64_t attempt_timeout_ms;
    int64_t max_hold_ms; /* FOREVER */
    bool fail_fast;      /* an unreachable Redis ends the claim at once */
    bool auto_refresh;   /* the daemon renews while it is held */
    const char *note;    /* free text, shown by inspect */
    size_t note_len;
};

struct ev_unlock {
    struct ev_request from;
    int64_t fence; /* only that grant; 0: any */
};

struct ev_refresh {
    struct ev_request from;
    int64_t fence;  /* only that grant; 0: any */
    int64_t ttl_ms; /* from now on; 0: as it is */
};

struct ev_cancel {
    struct ev_request from;     /* the key is that of the claim */
    uint64_t target_request_id; /* the claim's request */
};

/* What Redis said, or did not say, to one command. */
enum answer {
    ANSWER_OURS = 1,  /* lock: it is ours; refresh: renewed; unlock: deleted */
    ANSWER_TAKEN,     /* the key holds another's value */
    ANSWER_GONE,      /* there is no such key (never the answer to a lock) */
    ANSWER_TRANSIENT, /* Redis cannot just now (LOADING, READONLY, ...): not executed */
    ANSWER_REFUSED,   /* Redis will not (NOAUTH, NOPERM, a script error): not executed */
    ANSWER_UNKNOWN,   /* sent and never answered: it may have been executed, or may yet be */
    ANSWER_UNSENT,    /* never sent: the link was not usable */
};

struct ev_outcome {
    uint64_t lease_id;
    uint64_t op_id; /* of the effect that this answers */
    enum answer answer;
    int64_t sent_at_ms;   /* read before the command left */
    int64_t ttl_ms;       /* that the command carried */
    int64_t remaining_ms; /* TAKEN in reply to a lock: of the other's lease; -1: not known */
    int64_t fence_first;  /* OURS: the first fence of a fresh block, 0: no block came with it */
    int64_t fence_count;
    bool is_found;    /* OURS in reply to a lock: the key had our value already */
    bool others_wait; /* OURS: hosts queue for the key; in reply to an unlock: it was passed on to one */
    const char *text; /* for TRANSIENT, REFUSED, UNKNOWN, UNSENT: what went wrong, printable */
};

struct ev_queried {
    struct ev_request from;
    bool was_force;       /* it answers FORCE, not QUERY */
    enum answer answer;   /* TAKEN: somebody has it; GONE; or a failure as above; OURS: FORCE deleted it */
    int64_t remaining_ms; /* TAKEN: -1 if the key has no expiry */
    const char *text;
};

enum link_state {
    LINK_CONNECTING = 1, /* first try, or first try after a break: attempts wait for the verdict */
    LINK_UP,
    LINK_DOWN, /* the last try failed */
};

struct ev_link {
    enum link_state state;
    const char *text; /* DOWN: what went wrong, printable */
};

/* What another host says about a key. */
struct ev_hint {
    const char *key;
    size_t key_len;
};

/* What the configuration says about the core; also applied while running. */
struct broker_settings {
    int64_t renew_fraction;   /* renew every ttl / this */
    int64_t drift_per_10k;    /* of the ttl, how far two clocks may drift apart meanwhile: 100 is 1% */
    int64_t linger_ms;        /* for how long a lease is kept that nobody here wants; 0: not at all */
    int64_t redis_timeout_ms; /* how long an unlock waits for Redis; bound for one renewal */
    size_t held_per_peer_max; /* grants and claims together */
    size_t waiting_per_peer_max;
    size_t locks_per_user_max; /* grants and claims of all its peers */
};

struct event {
    enum event_kind kind;
    int64_t now_ms;
    union {
        struct ev_claim claim;
        struct ev_unlock unlock;
        struct ev_refresh refresh;
        struct ev_cancel cancel;
        struct ev_request inspect;
        struct ev_request force;
        struct ev_request echo; /* without a key */
        uint64_t gone_peer_id;
        struct ev_outcome outcome;
        struct ev_queried queried;
        struct ev_link link;
        struct ev_hint hint; /* OFFERED, RECALLED */
        struct broker_settings settings;
    };
};
