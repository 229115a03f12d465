/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * One child, waited for by its pid: whoever else keeps its output open does not matter. Knows nothing of
 * locks.
 *
 *     Ctrl-Z --> TSTP to rlock's group --> passed on --> the command stops --> rlock stops its own group,
 *     so that the shell sees a stopped job; fg --> CONT to rlock's group --> passed on
 *
 *     the command reads the terminal --> TTIN stops it --> is rlock's group in the foreground?
 *         yes: the terminal is lent, the command continued     no: as with Ctrl-Z
 */

#include "proto/rlock_child.h"

#include "proto/rlock_text.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

enum { CHILD_NOT_FOUND = 127, CHILD_NOT_EXECUTABLE = 126 };

/* In the new process, which still has its parent's memory: nothing there may be changed. */
static _Noreturn void child_become(char **argv, const struct signals *signals, pid_t parent)
{
    const struct timespec now = {0};
    (void)setpgid(0, 0);
    /* What has come to the old group until then is passed on to this one. Let through here, a Ctrl-Z would
     * stop this process before it has executed anything, and its parent waits for that. */
    while (sigtimedwait(&signals->taken, NULL, &now) > 0) {
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) {
        _exit(128 + SIGTERM); /* it died before we asked to be told */
    }
    signals_restore(signals);
    execvp(argv[0], argv);
    bool is_missing = errno == ENOENT || errno == ENOTDIR;
    text_warn("%s: %s", argv[0], strerror(errno));
    _exit(is_missing ? CHILD_NOT_FOUND : CHILD_NOT_EXECUTABLE);
}

static bool child_set_environment(const char *key, int64_t fence)
{
    char number[32];
    snprintf(number, sizeof(number), "%lld", (long long)fence);
    return setenv("RLOCK_KEY", key, 1) == 0 && setenv("RLOCK_FENCE", number, 1) == 0;
}

bool child_spawn(struct child *child, char **argv, const struct signals *signals, const char *key,
                 int64_t fence)
{
    pid_t parent = getpid();
    *child = (struct child){.tty_fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC)};
    if (!child_set_environment(key, fence)) {
        return false;
    }
    /* Half the cost of fork() and exec. This process goes on when the child has executed, hence when it has its
     * process group; there is no signal handler that could run in both. */
    pid_t pid = vfork(); /* NOLINT(clang-analyzer-security.insecureAPI.vfork) */
    if (pid == 0) {
        child_become(argv, signals, parent); /* NOLINT(clang-analyzer-unix.Vfork) */
    }
    child->pid = pid;
    return child->pid > 0;
}

enum child_state child_look(struct child *child)
{
    enum child_state state = CHILD_RUNS;
    int status;
    while (waitpid(child->pid, &status, WNOHANG | WUNTRACED | WCONTINUED) == child->pid) {
        child->is_stopped = WIFSTOPPED(status);
        if (child->is_stopped) {
            child->stop_signo = WSTOPSIG(status);
            state = CHILD_STOPPED;
        } else if (WIFCONTINUED(status)) {
            state = CHILD_RUNS;
        } else {
            child->status = status;
            return CHILD_ENDED;
        }
    }
    return state;
}

void child_signal(const struct child *child, int signo)
{
    (void)kill(-child->pid, signo);
    if (signo == SIGTERM || signo == SIGHUP) {
        (void)kill(-child->pid, SIGCONT);
    }
}

void child_terminate(const struct child *child)
{
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    child_signal(child, SIGTERM);
}

bool child_has_group(const struct child *child)
{
    while (waitpid(-child->pid, NULL, WNOHANG) > 0) {
    }
    return kill(-child->pid, 0) == 0 || errno == EPERM;
}

/* --- the terminal ---------------------------------------------------------------------------------- */

static void child_take_terminal_back(struct child *child)
{
    if (child->is_lent) {
        (void)tcsetpgrp(child->tty_fd, getpgrp()); /* fails if the terminal has gone */
    }
    child->is_lent = false;
}

/* True: the command's group has the terminal now, if only since this call. */
static bool child_lend_terminal(struct child *child)
{
    pid_t foreground = tcgetpgrp(child->tty_fd);
    if (foreground == getpgrp() && tcsetpgrp(child->tty_fd, child->pid) == 0) {
        child->is_lent = true;
        return true;
    }
    return foreground == child->pid;
}

bool child_settle_stop(struct child *child)
{
    int signo = child->stop_signo;
    if (child->tty_fd < 0) {
        return false; /* no terminal, no job control: somebody wants it stopped */
    }
    if ((signo == SIGTTIN || signo == SIGTTOU) && child_lend_terminal(child)) {
        return true;
    }
    child_take_terminal_back(child);
    /* Where no shell controls jobs, the kernel ignores this; then the command is not to stay stopped either,
     * as it would not without us. By SIGSTOP somebody has stopped it on purpose. */
    signals_stop_group(signo == SIGSTOP ? SIGTSTP : signo);
    return signo != SIGSTOP;
}

void child_close(struct child *child)
{
    child_take_terminal_back(child);
    if (child->tty_fd >= 0) {
        close(child->tty_fd);
    }
    child->tty_fd = -1;
}

int child_exit_status(const struct child *child)
{
    return WIFSIGNALED(child->status) ? 128 + WTERMSIG(child->status) : WEXITSTATUS(child->status);
}
