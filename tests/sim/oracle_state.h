/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * The oracle's insides, for its files: oracle.c, which knows who believes what, oracle_wire.c, which reads
 * along on the daemons' sockets, and oracle_turns.c, which compares hosts.
 */

#include "tests/sim/client.h"
#include "tests/sim/host.h"
#include "tests/sim/oracle.h"
#include "tests/sim/server.h"

enum {
    ORACLE_LIST_MAX = 2048,
    FENCES_KEPT = 64,
    GRACE_MS = 5,
    ORPHAN_US = 10000,
    FIRST_TURN_US = 1000,
    INSTANCE_LEN = 36,
};

struct peer_note {
    struct host *host;
    struct client *client;
    uint64_t instance;
    bool is_gone, has_left; /* the daemon has seen it go; it has gone */
};

struct ask {
    uint64_t request_id, peer_id, seq;
    enum event_kind kind;
    struct host *host;
    int key;
    int64_t asked_at_ms;          /* by the host's clock */
    int64_t wait_ms, max_hold_ms; /* of a claim */
    bool is_unrenewed;
    bool was_waited_for; /* an unlock: others on the host waited */
    int64_t asked_at_us; /* true time */
    uint64_t
        n_overtakers; /* a claim: how many that were made later, on other hosts, were granted before it */
};

struct tenure {
    struct host *host; /* NULL: a stranger's */
    struct client *client;
    uint64_t peer_id, instance;
    int key;
    int64_t fence, granted_at_ms;
    int64_t written_until_ms, read_until_ms; /* the latest valid_until_ms */
    int64_t max_hold_ms;
    bool is_read, is_over, is_lost, is_unlocked;
    bool is_unrenewed; /* its claim wants no renewal */
    bool is_warned;    /* at_risk, and not safe since */
    bool may_unlock;   /* lost by a shutdown: there is a moment left to unlock */
};

struct overlap {
    int64_t fence_a, fence_b, due_us;
};

struct oracle {
    struct world *world;
    struct peer_note *peers; /* by peer_id */
    size_t peers_cap;
    struct ask asks[ORACLE_LIST_MAX];
    size_t n_asks;
    uint64_t last_seq, n_strangers;
    struct tenure tenures[ORACLE_LIST_MAX];
    size_t n_tenures;
    struct overlap overlaps[ORACLE_LIST_MAX];
    size_t n_overlaps;
    struct task overlap_task, orphan_task;
    int64_t orphaned_at_us; /* when a peer went, the last time */
    struct task idle_task;
    int64_t unheard_until_us;                      /* until then hints may have been missed */
    int64_t taken_at_us[CLIENT_KEYS_MAX];          /* when the key was last seen to be somebody's */
    int64_t unlinked_at_us[HOSTS_MAX];             /* when the host was last seen without a link to Redis */
    int64_t host_gone_at_us;                       /* when a daemon died or ended, the last time */
    char values[CLIENT_KEYS_MAX][MODEL_VALUE_CAP]; /* what was in Redis at the last look; "": nothing */
    int64_t excused_until_us;
    int64_t fence_max[CLIENT_KEYS_MAX], fence_max_at_us[CLIENT_KEYS_MAX];
    int64_t fences[CLIENT_KEYS_MAX][FENCES_KEPT];
    size_t n_fences[CLIENT_KEYS_MAX];
    int64_t paused_until_us[HOSTS_MAX]; /* the end of the last pause */
    uint64_t claimed_seq[HOSTS_MAX][CLIENT_KEYS_MAX];
    int64_t kept_until_us[HOSTS_MAX][CLIENT_KEYS_MAX]; /* a lease that nobody wants may be there so long */
};

/* Whether its holder believes, at this moment. */
bool tenure_is_believed(const struct tenure *tenure);
struct tenure *oracle_find_tenure(struct oracle *oracle, uint64_t peer_id, int key, int64_t fence);
/* Drops those of whom nothing can be said or believed any more. */
void oracle_sweep(struct oracle *oracle);
/* For how long a trouble may show. */
int64_t oracle_bound_us(const struct oracle *oracle);
bool oracle_is_excused(const struct oracle *oracle);
int oracle_key(const char *name);
/* The daemon has seen the end of the connection. */
void oracle_peer_gone(struct oracle *oracle, uint64_t peer_id);
/* Whether the daemon has stood still since that instant of its clock. */
bool oracle_has_paused(const struct oracle *oracle, const struct host *host, int64_t since_ms);
/* A lease that nobody wants may be there for so long. */
void oracle_note_kept(struct oracle *oracle, const struct host *host, int key, int64_t for_us);
/* The lease of the key in Redis, if it is that host's. */
const struct model_entry *oracle_has_in_redis(const struct oracle *oracle, const struct host *host, int key);
void oracle_turns_begin(struct oracle *oracle);
void oracle_judge_turns(struct oracle *oracle, const struct ask *granted);
/* A task: looks for leases of peers that have gone. */
void oracle_on_orphan(void *ctx);
/* Sets the look at what the last one that went has left behind. */
void oracle_look_for_orphans(struct oracle *oracle);
