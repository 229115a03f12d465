/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * One loop for waiting, holding and giving back: poll(2) on the connection, the signals and a timer on the
 * clock that goes on while the machine sleeps.
 *
 *     daemon --> librlock --> session_on_event(): facts --.
 *     signals ------------------------------------------> the caller of session_turn() decides
 *     the clock ----------------------------------------'
 */

#include "proto/rlock_session.h"

#include "proto/rlock_look.h"
#include "proto/rlock_reach.h"
#include "proto/rlock_text.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum {
    SESSION_ANSWER_MS_MAX = 5000, /* beyond wait_ms: then the daemon hangs */
    SESSION_RETURN_MS_MAX = 3000,
    SESSION_PROGRESS_MS = 1000, /* until a person is told what rlock waits for, and between later looks */
    SESSION_LOOKS_PER_TTL = 10,
};

int64_t session_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t session_later_ms(int64_t a_ms, int64_t b_ms)
{
    return a_ms > b_ms ? a_ms : b_ms;
}

/* --- what the daemon says -------------------------------------------------------------------------- */

static void session_on_look(struct session *session, const struct rlock_event *event, int64_t now_ms)
{
    struct look look = {.holder = "and Redis cannot be asked who holds it", .remaining_ms = -1};
    int64_t asked_at_ms = session->look_at_ms;
    if (event->result != NULL) {
        look = look_parse(event->result);
    }
    session->look_id = 0;
    session->looked_at_ms = asked_at_ms;
    if (session->state == SESSION_HELD) {
        session->look_at_ms = asked_at_ms + session->grant.ttl_ms / SESSION_LOOKS_PER_TTL;
        if (look.fence == session->grant.fence && look.remaining_ms >= 0) {
            session->valid_until_ms =
                session_later_ms(session->valid_until_ms, asked_at_ms + look.remaining_ms);
        }
        return;
    }
    session->look_at_ms = now_ms + SESSION_PROGRESS_MS;
    if (session->state != SESSION_WAITING) {
        return; /* the answer has come too late for anything */
    }
    if (session->shown_holder == NULL || strcmp(session->shown_holder, look.holder) != 0) {
        text_warn("waiting for %s, %s", session->args->operand, look.holder);
        free(session->shown_holder);
        session->shown_holder = strdup(look.holder);
    }
}

static void session_on_lost(struct session *session, const struct rlock_event *event, int64_t now_ms)
{
    if (strcmp(event->reason, "disconnected") == 0) {
        return; /* session_on_event() hears of it once more, with the reason */
    }
    text_warn("lost %s: %s", session->args->operand, event->message);
    session->lost_at_ms = now_ms;
    session->is_returning = false;
    session->is_lost_early = strcmp(event->reason, "expired") != 0 && strcmp(event->reason, "shutdown") != 0;
    session->state = SESSION_LOST;
}

static void session_on_event(struct rlock_client *client, const struct rlock_event *event, void *ctx)
{
    struct session *session = ctx;
    int64_t now_ms = session_now_ms();
    (void)client;
    switch (event->type) {
    case RLOCK_EVENT_GRANTED:
        session->state = SESSION_HELD;
        session->grant = rlock_grant(session->lock);
        session->valid_until_ms = session->grant.valid_until_ms;
        session->look_at_ms = now_ms + session->grant.ttl_ms / SESSION_LOOKS_PER_TTL;
        break;
    case RLOCK_EVENT_REFUSED:
        session->state = SESSION_REFUSED;
        session->failure = *event->error;
        break;
    case RLOCK_EVENT_AT_RISK:
        text_warn("%s is at risk: its renewal has failed so far", session->args->operand);
        session->valid_until_ms = session_later_ms(session->valid_until_ms, event->lost_at_ms);
        break;
    case RLOCK_EVENT_SAFE:
        text_warn("%s is safe again", session->args->operand);
        session->valid_until_ms = session_later_ms(session->valid_until_ms, event->valid_until_ms);
        break;
    case RLOCK_EVENT_LOST:
        session_on_lost(session, event, now_ms);
        break;
    case RLOCK_EVENT_UNLOCKED:
        /* What else can go wrong does not concern us: the lock is over, and the daemon sees to the rest. */
        session->is_returning = false;
        if (session->state == SESSION_LOST) {
            break;
        }
        session->state = SESSION_RETURNED;
        if (event->error != NULL && event->error->code == RLOCK_E_NOT_HELD) {
            text_warn("lost %s: %s", session->args->operand, event->error->message);
            session->state = SESSION_LOST;
            session->is_lost_early = true;
        }
        break;
    case RLOCK_EVENT_ANSWER:
        session_on_look(session, event, now_ms);
        break;
    case RLOCK_EVENT_ENDED:
        session->is_connected = false;
        session->failure = *event->error;
        break;
    case RLOCK_EVENT_REFRESHED:
        break;
    }
}

/* --- one turn -------------------------------------------------------------------------------------- */

/* Only a person is told whom rlock waits for. */
static bool session_wants_looks(const struct session *session)
{
    return session->is_connected &&
           (session->state == SESSION_HELD || (session->state == SESSION_WAITING && isatty(STDERR_FILENO)));
}

static void session_arm(struct session *session, int64_t at_ms)
{
    /* All 0 would disarm it, so what is long over is put at the first millisecond. */
    int64_t due_ms = session_later_ms(at_ms, 1);
    struct itimerspec timer = {.it_value = {due_ms / 1000, due_ms % 1000 * 1000000}};
    if (at_ms == INT64_MAX) {
        timer = (struct itimerspec){0};
    }
    if (timerfd_settime(session->timer_fd, TFD_TIMER_ABSTIME, &timer, NULL) != 0) {
        abort(); /* it cannot fail with these arguments */
    }
}

static void session_look(struct session *session, int64_t now_ms)
{
    if (!session_wants_looks(session) || session->look_id != 0 || now_ms < session->look_at_ms) {
        return;
    }
    session->look_at_ms = now_ms;
    if (rlock_call_start(session->client, "inspect", session->look_params, &session->look_id) != 0) {
        session->look_id = 0; /* the connection has ended, and the next dispatch says so */
    }
}

/* `signals_fd`: -1 where nobody would read them, and one that has come would keep this awake. */
static void session_wait_for(struct session *session, int64_t until_ms, int signals_fd, struct pollfd *extra)
{
    struct pollfd fds[] = {
        {.fd = session->is_connected ? rlock_fd(session->client) : -1},
        {.fd = signals_fd, .events = POLLIN},
        {.fd = session->timer_fd, .events = POLLIN},
        {.fd = extra != NULL ? extra->fd : -1, .events = POLLIN},
    };
    if (session->is_connected) {
        fds[0].events = rlock_poll_events(session->client);
    }
    if (session_wants_looks(session) && session->look_id == 0 && session->look_at_ms < until_ms) {
        until_ms = session->look_at_ms;
    }
    session_arm(session, until_ms);
    if (poll(fds, sizeof(fds) / sizeof(fds[0]), -1) < 0 && errno != EINTR) {
        abort(); /* nothing but a mistake of ours */
    }
    if (extra != NULL) {
        extra->revents = fds[3].revents;
    }
    if (session->is_connected && fds[0].revents != 0) {
        (void)!rlock_dispatch(session->client); /* what failed has been told as an event */
    }
    session_look(session, session_now_ms());
}

void session_turn(struct session *session, int64_t until_ms, struct pollfd *extra)
{
    session_wait_for(session, until_ms, session->signals.fd, extra);
}

void session_ask(struct session *session, int64_t patience_ms)
{
    int64_t begin_ms = session_now_ms(), now_ms = begin_ms;
    while (session->is_connected && session->state == SESSION_HELD && session->looked_at_ms < begin_ms &&
           now_ms < begin_ms + patience_ms) {
        if (session->look_id == 0) {
            session->look_at_ms = now_ms;
        }
        session_wait_for(session, begin_ms + patience_ms, -1, NULL);
        now_ms = session_now_ms();
    }
}

/* --- from the beginning to the end ----------------------------------------------------------------- */

int session_open(struct session *session, const struct args *args)
{
    json_t *params = json_pack("{s:s}", "key", args->operand);
    *session = (struct session){.args = args, .timer_fd = -1, .signals.fd = -1, .state = SESSION_WAITING};
    if (params == NULL) {
        text_warn("the key is not UTF-8: %s", args->operand);
        return EX_USAGE;
    }
    session->look_params = json_dumps(params, JSON_COMPACT);
    json_decref(params);
    /* Signals still do what they always do: while nothing is asked for, there is nothing to withdraw. */
    int status = reach_open(&session->client);
    if (status != 0) {
        return status;
    }
    session->is_connected = true;
    rlock_on_event(session->client, session_on_event, session);
    signals_take(&session->signals);
    session->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (session->timer_fd < 0) {
        text_warn("timerfd: %s", strerror(errno));
        return EX_OSERR;
    }
    return 0;
}

/* Not to have got a lock that others hold is nothing to complain about: flock(1) is silent, too. */
static int session_explain_refusal(const struct session *session)
{
    const struct rlock_error *error = &session->failure;
    int status = 1;
    if (error->code != RLOCK_E_HELD && (error->code != RLOCK_E_TIMEOUT || error->last_error[0] != '\0')) {
        status = text_warn_failure(error->code, error, "");
    }
    return status == 1 ? session->args->conflict_status : status;
}

/* Until it is decided. 0, or why there is no more to wait for. */
static int session_wait(struct session *session, int64_t give_up_at_ms)
{
    int signo;
    while (session->state == SESSION_WAITING && session->is_connected) {
        session_turn(session, give_up_at_ms, NULL);
        while ((signo = signals_next(&session->signals)) != 0) {
            if (signo != SIGCHLD) {
                return 128 + signo; /* to close the connection withdraws the request, or the lock */
            }
        }
        if (session->state == SESSION_WAITING && session_now_ms() >= give_up_at_ms) {
            text_warn("the daemon does not answer");
            return EX_UNAVAILABLE;
        }
    }
    return 0;
}

bool session_take(struct session *session, int *ret_status)
{
    const struct args *args = session->args;
    struct rlock_options options = {.ttl_ms = args->ttl_ms, .wait_ms = args->wait_ms};
    int64_t begin_ms = session_now_ms(), give_up_at_ms = INT64_MAX;
    if (args->wait_ms > 0 || args->wait_ms == RLOCK_ZERO) {
        give_up_at_ms = begin_ms + session_later_ms(args->wait_ms, 0) + SESSION_ANSWER_MS_MAX;
    }
    session->look_at_ms = begin_ms + SESSION_PROGRESS_MS;
    int code = rlock_lock_start(session->client, args->operand, &options, &session->lock);
    if (code != 0) {
        *ret_status = text_warn_failure(code, rlock_error(session->client), "");
        return false;
    }
    int status = session_wait(session, give_up_at_ms);
    if (status == 0 && session->state == SESSION_REFUSED) {
        *ret_status = session_explain_refusal(session);
        return false;
    }
    if (status == 0 && !session->is_connected) {
        status = text_warn_failure(session->failure.code, &session->failure, "the daemon has gone: ");
    }
    /* One who was stopped while it waited may have got the lock long ago. */
    if (status == 0 && session_now_ms() >= session->valid_until_ms) {
        session_ask(session, SESSION_ANSWER_MS_MAX);
    }
    if (status == 0 && session_now_ms() >= session->valid_until_ms) {
        status = EX_TEMPFAIL;
    }
    if (status != 0) {
        *ret_status = status;
    }
    return status == 0;
}

int session_give_back(struct session *session)
{
    int64_t give_up_at_ms = session_now_ms() + SESSION_RETURN_MS_MAX;
    int signo;
    /* It fails if there is nothing to give back, or nobody to give it to. A daemon that stops still takes back
     * what it has called lost, so that others need not wait until the lease has run out. */
    session->is_returning = rlock_unlock_start(session->lock) == 0;
    while (session->is_returning && session->is_connected && session_now_ms() < give_up_at_ms) {
        session_turn(session, give_up_at_ms, NULL);
        while ((signo = signals_next(&session->signals)) != 0) {
            if (signo == SIGINT || signo == SIGTERM || signo == SIGHUP || signo == SIGQUIT) {
                session->is_returning = false;
            }
        }
    }
    return session->state == SESSION_LOST ? EX_TEMPFAIL : 0;
}

void session_close(struct session *session)
{
    if (session->client != NULL) {
        rlock_close(session->client);
    }
    if (session->timer_fd >= 0) {
        close(session->timer_fd);
    }
    if (session->signals.fd >= 0) {
        signals_close(&session->signals);
    }
    free(session->look_params);
    free(session->shown_holder);
}
