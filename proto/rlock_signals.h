/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * Signals as something to read, for as long as rlock holds a lock or waits for one, and the way back to
 * what they were, for the command.
 */

#include <signal.h>

struct signals {
    int fd; /* readable when one has come */
    sigset_t taken;
    sigset_t mask_before;
    struct sigaction chld_before;
    struct sigaction pipe_before;
};

/*
 * From here on INT, TERM, HUP, QUIT and CHLD are read; but one that was ignored when rlock was started stays
 * ignored, as nohup(1) wants it. PIPE is ignored, and TTOU is held back, so that rlock may use its terminal in
 * the background.
 */
void signals_take(struct signals *signals);
/* The same for TSTP, CONT and WINCH, which mean something once a command runs. */
void signals_take_terminal(struct signals *signals);
void signals_close(struct signals *signals);

int signals_next(struct signals *signals); /* the next one that has come; 0: none */

/* In the command's process: everything as rlock found it. */
void signals_restore(const struct signals *signals);

/* Does to our own process group what `signo` does by default: a stop returns when we are continued. */
void signals_stop_group(int signo);
