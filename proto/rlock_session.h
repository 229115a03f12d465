/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * A connection, one lock on it, and the signals: what `run` and `hold` have in common. Everything happens
 * in session_turn(), which waits for whatever comes first.
 *
 * HOW LONG THE LOCK IS SURE. The daemon renews in silence, and a daemon that hangs is silent too. So rlock
 * asks it every tenth of the ttl how long the lease still is (`inspect` of a key that is held here asks nobody
 * else), and `valid_until_ms` is always the latest instant that the daemon has vouched for. It stands still
 * when Redis is away, when the daemon hangs, when it has died, and when the connection is broken: one rule is
 * enough for all of these.
 */

#include "proto/rlock.h"
#include "proto/rlock_args.h"
#include "proto/rlock_signals.h"

#include <stdbool.h>
#include <stdint.h>

struct pollfd;

enum session_state {
    SESSION_WAITING = 1,
    SESSION_REFUSED,
    SESSION_HELD,
    SESSION_LOST, /* the daemon said so. A connection that breaks says nothing, and changes no state */
    SESSION_RETURNED
};

struct session {
    const struct args *args;
    struct rlock_client *client;
    struct rlock *lock;
    struct signals signals;
    int timer_fd;
    enum session_state state;
    bool is_connected;
    struct rlock_error failure; /* why it was refused, or the connection has ended */

    struct rlock_grant grant;
    int64_t valid_until_ms;
    int64_t lost_at_ms; /* when the daemon's word came */
    bool is_lost_early; /* the lease is over, or given to others: not merely about to run out by itself */

    char *look_params;    /* the key, as inspect takes it */
    int64_t look_id;      /* of the question under way; 0: none */
    int64_t look_at_ms;   /* when it was sent, or when the next one will be */
    int64_t looked_at_ms; /* when the last one was sent that was answered */
    bool is_returning;    /* the daemon was asked to take it back, and has not answered */
    char *shown_holder;   /* what has last been said of the one who is waited for */
};

/* Connects, and takes the signals. Returns 0 or, having said why, an exit status. session_close() in any case. */
int session_open(struct session *session, const struct args *args);
/* Waits for the lock. False: it was not got, or a signal has come: an exit status. */
bool session_take(struct session *session, int *ret_status);
/* Gives it back and waits for the answer, but not for ever. Returns 0, or EX_TEMPFAIL if it was lost. */
int session_give_back(struct session *session);
void session_close(struct session *session);

/* Waits for the daemon, a signal, `extra` (NULL: none) or the time, and settles what the daemon has said. */
void session_turn(struct session *session, int64_t until_ms, struct pollfd *extra);

/*
 * Asks the daemon anew how long the lock is sure, and waits that long for the answer. For one who would act on
 * an old answer: that it is old may be our own fault, if this process was stopped or the machine slept. Signals
 * stay unread meanwhile.
 */
void session_ask(struct session *session, int64_t patience_ms);

int64_t session_now_ms(void); /* CLOCK_BOOTTIME, as all instants */
