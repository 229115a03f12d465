/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * `rlock hold`: for scripts that hold a lock over several commands. There is no command to end here, so the
 * script must watch for rlock's end itself.
 */

#include "proto/rlock_commands.h"
#include "proto/rlock_session.h"
#include "proto/rlock_text.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

enum { HOLD_PATIENCE_MS = 20 };

/* Reads what has come and forgets it. False: the end. */
static bool hold_read_stdin(void)
{
    char bytes[4096];
    ssize_t len = read(STDIN_FILENO, bytes, sizeof(bytes));
    return len > 0 || (len < 0 && (errno == EINTR || errno == EAGAIN));
}

static bool hold_has_signal(struct session *session)
{
    int signo;
    while ((signo = signals_next(&session->signals)) != 0) {
        if (signo != SIGCHLD) {
            return true;
        }
    }
    return false;
}

/* Until stdin ends, a signal comes, or the lock is no longer sure. */
static int hold_until_end(struct session *session)
{
    struct pollfd input = {.fd = STDIN_FILENO};
    while (session->state == SESSION_HELD) {
        session_turn(session, session->valid_until_ms, &input);
        if (!session->is_connected) {
            text_warn("the daemon has gone: %s is lost", session->args->operand);
            return EX_TEMPFAIL;
        }
        if (session->state == SESSION_HELD && session_now_ms() >= session->valid_until_ms) {
            session_ask(session, HOLD_PATIENCE_MS);
        }
        if (session->state == SESSION_HELD && session_now_ms() >= session->valid_until_ms) {
            text_warn("lost %s: the daemon does not answer", session->args->operand);
            return EX_TEMPFAIL;
        }
        if (session->state == SESSION_HELD &&
            (hold_has_signal(session) || (input.revents != 0 && !hold_read_stdin()))) {
            return 0;
        }
    }
    return EX_TEMPFAIL;
}

int hold_command(const struct args *args)
{
    struct session session;
    int status = session_open(&session, args);
    if (status == 0 && session_take(&session, &status)) {
        if (printf("%s %lld\n", args->operand, (long long)session.grant.fence) < 0 || fflush(stdout) != 0) {
            text_warn("cannot write: %s", strerror(errno));
            status = EX_IOERR;
        } else {
            status = hold_until_end(&session);
        }
        if (session_give_back(&session) != 0) {
            status = EX_TEMPFAIL;
        }
    }
    session_close(&session);
    return status;
}
