/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * What kind of world a seed makes: how many of what, how fast, and what may go wrong in it.
 */

#include <stdbool.h>
#include <stdint.h>

struct dice;

/* Faults that nobody may notice but by waiting, or by being told in time. */
enum fault {
    FAULT_CLIENT_DIES = 1,
    FAULT_CLIENT_STALLS,
    FAULT_HOST_PAUSED,    /* the daemon is stopped and continued */
    FAULT_HOST_SUSPENDED, /* with all its clients */
    FAULT_DAEMON_KILLED,
    FAULT_DAEMON_STOPPED, /* as asked to, and started again */
    FAULT_LINK_CUT,
    FAULT_LINK_BLOCKED, /* nothing comes through, in one direction or both; later it does */
    FAULT_LINK_SLOW,
    FAULT_REDIS_PAUSED,
    FAULT_REDIS_RESTARTED, /* with its data, to the last write */
    FAULT_REDIS_REFUSES,   /* LOADING, BUSY, OOM and the like for a while */
    FAULT_REDIS_READONLY,  /* a replica for a while */
    FAULT_SCRIPTS_FLUSHED,
    FAULT_EAR_CUT,       /* the connection that listens breaks */
    FAULT_MESSAGES_LOST, /* what other hosts say does not arrive */
    N_FAULTS,
};

/* What no lock in one Redis can stand: exclusion and the order of fences may break, for a bounded time. */
enum trouble {
    TROUBLE_NONE = 1,
    TROUBLE_EMPTIED,      /* Redis restarts without its data */
    TROUBLE_FAILOVER,     /* a replica takes over that lacks the last writes */
    TROUBLE_FORCED,       /* an operator deletes locks */
    TROUBLE_STEP_FORWARD, /* of Redis's wall clock */
    TROUBLE_STEP_BACK,
    TROUBLE_FAST_CLOCK, /* Redis's clock runs faster than the margin allows */
    N_TROUBLES,
};

struct plan {
    uint64_t seed;
    int n_hosts, n_clients, n_keys; /* clients: on each host */
    int64_t ttl_ms_min, ttl_ms_max; /* that are asked for */
    int64_t renew_fraction;
    int64_t redis_timeout_ms, retry_ms_max, hold_ms_max, think_ms_max;
    int64_t step_back_ms_max;
    int64_t linger_ms;
    bool may_kill;     /* CLIENT KILL is allowed */
    bool has_stranger; /* another program locks the same keys with SET NX PX */
    uint32_t faults;   /* a bit for each enum fault */
    enum trouble trouble;
    int64_t fault_every_ms;
    int64_t run_ms; /* with faults; calm comes after */
};

struct plan plan_draw(uint64_t seed, int64_t run_ms, struct dice *dice);

const char *plan_fault_name(enum fault fault);
const char *plan_trouble_name(enum trouble trouble);
