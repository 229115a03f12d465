/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * signalfd(2): a signal waits in the kernel until the loop reads it, so there is no handler, and no
 * moment in which one could be missed.
 */

#include "proto/rlock_signals.h"

#include "proto/rlock_text.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

static bool signals_is_ignored(int signo)
{
    struct sigaction action;
    return sigaction(signo, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

static void signals_add(struct signals *signals, const int *list, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (list[i] == SIGCHLD || !signals_is_ignored(list[i])) {
            sigaddset(&signals->taken, list[i]);
        }
    }
    sigprocmask(SIG_BLOCK, &signals->taken, NULL);
    signals->fd = signalfd(signals->fd, &signals->taken, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals->fd < 0) {
        text_warn("signalfd: %s", strerror(errno));
        exit(EX_OSERR);
    }
}

void signals_take(struct signals *signals)
{
    static const int list[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD};
    struct sigaction usual = {.sa_handler = SIG_DFL}, ignore = {.sa_handler = SIG_IGN};
    sigset_t ttou;
    *signals = (struct signals){.fd = -1};
    sigemptyset(&signals->taken);
    sigemptyset(&ttou);
    sigaddset(&ttou, SIGTTOU);
    sigprocmask(SIG_BLOCK, &ttou, &signals->mask_before);
    /* Whoever ignores CHLD has its children's statuses thrown away. */
    sigaction(SIGCHLD, &usual, &signals->chld_before);
    sigaction(SIGPIPE, &ignore, &signals->pipe_before);
    signals_add(signals, list, sizeof(list) / sizeof(list[0]));
}

void signals_take_terminal(struct signals *signals)
{
    static const int list[] = {SIGTSTP, SIGCONT, SIGWINCH};
    signals_add(signals, list, sizeof(list) / sizeof(list[0]));
}

void signals_close(struct signals *signals)
{
    close(signals->fd);
    signals->fd = -1;
}

int signals_next(struct signals *signals)
{
    struct signalfd_siginfo info;
    return read(signals->fd, &info, sizeof(info)) == sizeof(info) ? (int)info.ssi_signo : 0;
}

void signals_restore(const struct signals *signals)
{
    sigaction(SIGCHLD, &signals->chld_before, NULL);
    sigaction(SIGPIPE, &signals->pipe_before, NULL);
    sigprocmask(SIG_SETMASK, &signals->mask_before, NULL);
}

void signals_stop_group(int signo)
{
    sigset_t one, before;
    sigemptyset(&one);
    sigaddset(&one, signo);
    sigprocmask(SIG_UNBLOCK, &one, &before);
    (void)kill(0, signo);
    sigprocmask(SIG_SETMASK, &before, NULL);
}
