/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * The broker's insides, for the files of core/ alone.
 */

#include "daemon/base/heap.h"
#include "daemon/base/stats.h"
#include "daemon/core/broker.h"
#include "daemon/core/claim.h"
#include "daemon/core/key.h"
#include "daemon/core/lease.h"

enum { LAST_ERROR_CAP = 65, RECALLED_CAP = 4096 };

/* What a timer in the heap belongs to. */
enum timer_kind { TIMER_KEY = 1, TIMER_CLAIM };

struct broker {
    struct broker_settings settings;
    struct stats *stats;
    int64_t now_ms; /* of the event being looked at */

    struct key *keys;           /* by name */
    struct lease *leases;       /* by id, LEAVING ones too */
    struct claimant *claimants; /* by id; only those that have claimed something */
    struct user *users;         /* by id; only those that have claims */
    struct heap timers;

    struct effects effects;
    struct key *graveyard; /* keys that ended in this step: effects may still name them */

    enum link_state link;
    char link_error[LAST_ERROR_CAP]; /* while DOWN */
    bool is_stopping;
    uint64_t last_claim_id, last_lease_id, last_op_id;

    size_t n_idle;                   /* leases that linger */
    uint64_t recalled[RECALLED_CAP]; /* hashes of keys that other hosts asked for; see linger.c */
};
