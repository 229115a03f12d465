/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * A daemon that says what the test likes: a socket on which the test itself hears and answers one client. For
 * what the real one never does, or not at a moment that a test could choose.
 */

#include "tests/lib/scratch.h"

#include <stdint.h>

struct fake_daemon {
    int listen_fd;
    int fd;              /* the connection with the client; -1: none */
    char request[70000]; /* the line that was heard last */
    char path[SCRATCH_PATH_CAP];
};

void fake_daemon_open(struct fake_daemon *fake);
void fake_daemon_accept(struct fake_daemon *fake); /* waits for the client */
void fake_daemon_hang_up(struct fake_daemon *fake);
void fake_daemon_close(struct fake_daemon *fake);

/* Waits for the client's next line. Its id; 0: it has none. */
int64_t fake_daemon_hear(struct fake_daemon *fake);

void fake_daemon_say(struct fake_daemon *fake, const char *text);
/* Answers the request with that id; `answer` begins with "result" or "error". */
void fake_daemon_answer(struct fake_daemon *fake, int64_t id, const char *answer);
