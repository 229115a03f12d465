/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * The command that `rlock run` runs: a process group of its own, and its dealings with the terminal.
 *
 * The terminal stays with rlock's own group, as if there were only one, so that Ctrl-C and Ctrl-Z reach a
 * whole pipeline or script; rlock passes them on. Only when the command reads the terminal or changes its
 * settings, which the kernel answers by stopping a background group, is the terminal lent to it.
 */

#include "proto/rlock_signals.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct child {
    pid_t pid;    /* its process group has the same number */
    int tty_fd;   /* the controlling terminal; -1: there is none */
    bool is_lent; /* the terminal is with the command's group */
    bool is_stopped;
    int stop_signo; /* what has stopped it */
    int status;     /* of an ended one, as wait(2) has it */
};

enum child_state { CHILD_RUNS = 1, CHILD_STOPPED, CHILD_ENDED };

/*
 * Starts argv[0], searched in $PATH, with RLOCK_KEY and RLOCK_FENCE in its environment. If it cannot be executed the
 * process says so and ends with 127 or 126. When this process dies, it gets SIGTERM. False: there is no
 * process, errno says why.
 */
bool child_spawn(struct child *child, char **argv, const struct signals *signals, const char *key,
                 int64_t fence);

/* What has become of it since the last look. */
enum child_state child_look(struct child *child);

/* To its whole group. After TERM and HUP it is continued, since a stopped process would not act on them. */
void child_signal(const struct child *child, int signo);

/* TERM to its group, for good: from here on this process is the one that orphans of the group come to. The one
 * that they come to otherwise may let them stay as zombies, and then a dead group looks alive. */
void child_terminate(const struct child *child);
/* After that, and after the command itself has ended. False: nobody is left in its group. */
bool child_has_group(const struct child *child);

/* What follows on CHILD_STOPPED. True: it is to be continued at once. Otherwise somebody will do that; if it
 * is the shell, this process has been stopped and continued meanwhile. */
bool child_settle_stop(struct child *child);

/* When it has ended: the terminal comes back. */
void child_close(struct child *child);
/* 0 to 255: what it has returned, or 128 and the number of the signal that ended it. */
int child_exit_status(const struct child *child);
