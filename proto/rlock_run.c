/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * `rlock run`: a command that runs only while the lock is held.
 *
 *     sent_at    60%         70%                       lost_at   valid_until
 *        |--------|-----------|----------------------------|---|---> ttl is over
 *               at_risk     TERM                        KILL
 *
 * These are counted back from the instant until which the daemon has vouched for the lock
 * (rlock_session.h), so it does not matter why it vouches no longer. A word that the lock is lost makes it
 * TERM at once. What was not yet done when the lock is safe again is not done.
 */

#include "proto/rlock_child.h"
#include "proto/rlock_commands.h"
#include "proto/rlock_session.h"
#include "proto/rlock_text.h"

#include <errno.h>
#include <string.h>
#include <sysexits.h>

enum {
    RUN_TERM_LEAD_PERCENT = 29, /* of the ttl, before valid_until, which is 1% before its end: at 70% */
    RUN_KILL_LEAD_MS_MIN = 20,
    RUN_PATIENCE_MS_MAX = 1000, /* with a daemon that may hang, while nothing else is seen to */
    RUN_GROUP_MS = 10, /* nothing tells when the last one of a group has gone: look again after that long */
};

struct run {
    struct session session;
    struct child child;
    bool is_ended;      /* the command; others may be left in its group */
    bool is_terminated; /* we have sent TERM, since the lock was at risk or lost */
    bool is_killed;
    bool must_continue; /* the command was stopped, and is to go on */
};

static int64_t run_earlier_ms(int64_t a_ms, int64_t b_ms)
{
    return a_ms < b_ms ? a_ms : b_ms;
}

static int64_t run_term_at_ms(const struct session *session)
{
    if (session->state == SESSION_LOST) {
        return session->lost_at_ms;
    }
    return session->valid_until_ms - session->grant.ttl_ms * RUN_TERM_LEAD_PERCENT / 100;
}

/* How much before valid_until the command must be dead: time for the kernel to end it. */
static int64_t run_kill_lead_ms(const struct session *session)
{
    int64_t lead_ms = session->grant.ttl_ms / 100;
    return lead_ms > RUN_KILL_LEAD_MS_MIN ? lead_ms : RUN_KILL_LEAD_MS_MIN;
}

/* How long to wait for the daemon's word before acting without it. */
static int64_t run_patience_ms(const struct session *session)
{
    return run_earlier_ms(run_kill_lead_ms(session) / 2, RUN_PATIENCE_MS_MAX);
}

static int64_t run_kill_at_ms(const struct session *session)
{
    int64_t sure_at_ms = session->valid_until_ms - run_kill_lead_ms(session);
    if (session->state != SESSION_LOST) {
        return sure_at_ms;
    }
    int64_t grace_at_ms = session->lost_at_ms + session->args->kill_after_ms;
    /* A lease that others may have already cannot be outrun; one that is about to run out can. */
    return session->is_lost_early ? grace_at_ms : run_earlier_ms(grace_at_ms, sure_at_ms);
}

static int64_t run_act_at_ms(const struct run *run)
{
    if (run->is_killed || (run->is_ended && !run->is_terminated)) {
        return INT64_MAX;
    }
    return run->is_terminated ? run_kill_at_ms(&run->session) : run_term_at_ms(&run->session);
}

/* Ends the command as far as it is time for that. */
static void run_settle(struct run *run)
{
    struct session *session = &run->session;
    const char *key = session->args->operand;
    if (session_now_ms() < run_act_at_ms(run)) {
        return;
    }
    session_ask(session, run_patience_ms(session));
    int64_t now_ms = session_now_ms();
    if (now_ms < run_act_at_ms(run)) {
        return;
    }
    if (now_ms >= run_kill_at_ms(session)) {
        child_signal(&run->child, SIGKILL);
        text_warn("killed the command, which had not ended in time for %s", key);
        run->is_killed = true;
    } else {
        child_terminate(&run->child);
        text_warn("told the command to end: %s %s", key,
                  session->state == SESSION_LOST ? "is lost" : "was not renewed in time");
    }
    run->is_terminated = true;
}

/* Stopped processes go on; but if the lock was lost while they slept, they find their end. */
static void run_continue(struct run *run)
{
    struct session *session = &run->session;
    /* One that is stopped does no harm meanwhile. */
    session_ask(session, run->child.is_stopped ? RUN_PATIENCE_MS_MAX : run_patience_ms(session));
    run_settle(run);
    child_signal(&run->child, SIGCONT);
    run->must_continue = false;
}

static int64_t run_wake_at_ms(const struct run *run)
{
    return run->is_ended ? session_now_ms() + RUN_GROUP_MS : run_act_at_ms(run);
}

static void run_look_at_child(struct run *run)
{
    if (run->is_ended) {
        return;
    }
    switch (child_look(&run->child)) {
    case CHILD_ENDED:
        run->is_ended = true;
        break;
    case CHILD_STOPPED:
        if (child_settle_stop(&run->child)) {
            run->must_continue = true;
        }
        break;
    case CHILD_RUNS:
        break;
    }
}

static void run_take_signals(struct run *run)
{
    int signo;
    while ((signo = signals_next(&run->session.signals)) != 0) {
        if (signo == SIGCHLD) {
            run_look_at_child(run);
        } else if (run->is_ended && !run->is_terminated) {
            continue; /* it has come too late: what the command has left behind is on its own */
        } else if (signo == SIGCONT) {
            run->must_continue = true;
        } else {
            child_signal(&run->child, signo);
        }
    }
}

/* Over when the command has ended; or, when we have ended it, as soon as nobody is left of its group. */
static bool run_is_over(const struct run *run)
{
    return run->is_ended && (!run->is_terminated || run->is_killed || !child_has_group(&run->child));
}

/* From the start of the command to its end. Returns its status, or EX_TEMPFAIL. */
static int run_child(struct run *run)
{
    struct session *session = &run->session;
    bool was_connected = session->is_connected;
    signals_take_terminal(&session->signals);
    if (!child_spawn(&run->child, session->args->rest, &session->signals, session->args->operand,
                     session->grant.fence)) {
        text_warn("fork: %s", strerror(errno));
        return EX_OSERR;
    }
    while (!run_is_over(run)) {
        session_turn(session, run_wake_at_ms(run), NULL);
        if (was_connected && !session->is_connected) {
            text_warn("the daemon has gone: %s is at risk", session->args->operand);
        }
        was_connected = session->is_connected;
        run_take_signals(run);
        if (run->must_continue) {
            run_continue(run);
        }
        run_settle(run);
    }
    child_close(&run->child);
    return run->is_terminated ? EX_TEMPFAIL : child_exit_status(&run->child);
}

int run_command(const struct args *args)
{
    struct run run = {0};
    int status = session_open(&run.session, args);
    if (status == 0 && session_take(&run.session, &status)) {
        status = run_child(&run);
        /* What was not renewed in time will not be released in time either: closing is enough, and the daemon
         * does what it can. */
        bool is_hopeless = run.is_terminated && run.session.state == SESSION_HELD;
        if (!is_hopeless && session_give_back(&run.session) != 0) {
            status = EX_TEMPFAIL;
        }
    }
    session_close(&run.session);
    return status;
}
