/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * Everything the broker can ask for.
 *
 * Effects are data, to be carried out in their order by whoever stands outside: those up to
 * FX_FORCE by the store, the others by the peer that they name. A peer or request that has gone
 * meanwhile is simply not found. Text and keys are good as long as the event of this step stays, and
 * until the next one.
 *
 * Commands for one key must reach Redis in the order of their effects. Where a command has set a lease to
 * waiting in Redis, only its FX_RELEASE takes it out of the queue.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum effect_kind {
    /* for the store */
    FX_ACQUIRE = 1, /* run lock.lua; the first one with a lease_id makes a fresh value for it */
    FX_RENEW,       /* run refresh.lua */
    FX_RELEASE,     /* run unlock.lua */
    FX_FORGET,      /* this lease_id will not be heard of again: drop its value */
    FX_QUERY,       /* ask who has the key (answered by EV_QUERIED) */
    FX_FORCE,       /* delete the key whoever has it (answered by EV_QUERIED) */
    /* for a peer: replies, exactly one for each request with a request_id */
    FX_GRANTED,
    FX_UNLOCKED,
    FX_REFRESHED,
    FX_CANCELLED,
    FX_INSPECTED,
    FX_FORCED,
    FX_ECHOED,
    FX_REFUSED,
    /* for a peer: notices about a grant */
    FX_AT_RISK,
    FX_SAFE,
    FX_LOST,
};

/* A command for Redis. */
struct fx_command {
    uint64_t lease_id; /* one acquisition; never reused */
    uint64_t op_id;    /* one command; comes back in its outcome */
    const char *key;
    size_t key_len;
    int64_t ttl_ms;
    int64_t fence_count; /* fences to reserve with it; 0: none */
    bool may_queue;      /* ACQUIRE: if the key is another's, wait for it in Redis */
    int64_t offer_ms; /* ACQUIRE, RELEASE: how long a free key is kept for the host that has waited longest;
                            0: RELEASE leaves it free for anybody */
};

/* A question about a key, or an order to delete it, on behalf of a request. */
struct fx_query {
    uint64_t peer_id, request_id;
    const char *key;
    size_t key_len;
};

/* Why a request was refused. The numbers are the wire's error codes. */
enum refusal {
    REFUSED_HELD = 1,
    REFUSED_NOT_HELD = 2,
    REFUSED_TIMEOUT = 3,
    REFUSED_UNAVAILABLE = 4,
    REFUSED_ALREADY_HELD = 5,
    REFUSED_LIMIT = 7,
    REFUSED_CANCELLED = 8,
    REFUSED_SHUTTING_DOWN = 9,
};

/* How a grant ended, or why there was none: `data.why` of not_held and `reason` of lost. */
enum ending {
    ENDING_NEVER = 1,   /* only as why */
    ENDING_RELEASED,    /* only as why */
    ENDING_STALE_FENCE, /* only as why */
    ENDING_EXPIRED,     /* could not be renewed in time */
    ENDING_TAKEN,       /* Redis has another's value */
    ENDING_DELETED,     /* Redis has none */
    ENDING_MAX_HOLD,
    ENDING_TTL, /* no auto refresh */
    ENDING_FORCED,
    ENDING_SHUTDOWN, /* only as reason */
};

struct fx_reply {
    uint64_t peer_id, request_id;
    const char *key;
    size_t key_len;
    int64_t fence;
    int64_t ttl_ms;         /* GRANTED, REFRESHED */
    int64_t valid_until_ms; /* GRANTED, REFRESHED */
    int64_t waited_ms;      /* GRANTED */
    int64_t held_ms;        /* UNLOCKED */
    int cancelled;          /* CANCELLED: whether there was such a claim */
    int elsewhere;          /* INSPECTED: Redis has the key, and not from this daemon */
    int64_t remaining_ms;   /* INSPECTED: elsewhere; REFUSED: held; -1: not known */
    enum refusal refusal;   /* REFUSED */
    enum ending why;        /* REFUSED: not_held */
    const char *limit;      /* REFUSED: limit: its name in the configuration */
    const char *last_error; /* REFUSED: unavailable, timeout; NULL: none */
};

struct fx_notice {
    uint64_t peer_id;
    const char *key;
    size_t key_len;
    int64_t fence;
    int64_t lost_at_ms;     /* AT_RISK */
    int64_t valid_until_ms; /* SAFE */
    enum ending reason;     /* LOST */
};

struct effect {
    enum effect_kind kind;
    union {
        struct fx_command command;
        struct fx_query query;
        struct fx_reply reply;
        struct fx_notice notice;
    };
};

/* What one step asked for, in order. Owned by the broker, good until its next step. */
struct effects {
    struct effect *list;
    size_t len, cap;
};
