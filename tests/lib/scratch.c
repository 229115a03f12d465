/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * A directory for each test, and a process in a session of its own that removes it. That one reads a
 * pipe on which nobody ever writes, so that it wakes when the last holder of the other end is gone:
 *
 *     test process ----(pipe, write end)----> cleaner: reads end of file, removes DIR
 *
 * A failed assertion ends a test without any teardown, so nothing less would do.
 */

#include "tests/lib/scratch.h"

#include <check.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { SCRATCH_TRIES = 50 };

static char scratch_name[32];
static unsigned scratch_n_paths;

static int scratch_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void scratch_clean(int pipe_fd)
{
    char byte;

    while (read(pipe_fd, &byte, 1) > 0) {
    }
    /* A server that was just starting when the test ended may still put its socket there as it dies. */
    for (int i = 0; i < SCRATCH_TRIES && !getenv("RLOCK_TEST_KEEP"); i++) {
        (void)nftw(scratch_name, scratch_remove, 8, FTW_DEPTH | FTW_PHYS);
        if (access(scratch_name, F_OK) != 0) {
            break;
        }
        (void)poll(NULL, 0, 20);
    }
    _exit(0);
}

const char *scratch_dir(void)
{
    int fds[2];
    pid_t pid;

    if (scratch_name[0]) {
        return scratch_name;
    }
    strcpy(scratch_name, "/tmp/rlockd-test.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(scratch_name));
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        /* Out of the process group, which the runner kills when the test is over. */
        (void)setsid();
        close(fds[1]);
        scratch_clean(fds[0]);
    }
    close(fds[0]); /* the other end stays open for as long as this process lives */
    return scratch_name;
}

const char *scratch_path(char ret[SCRATCH_PATH_CAP], const char *name)
{
    int len = snprintf(ret, SCRATCH_PATH_CAP, "%s/%s.%u", scratch_dir(), name, scratch_n_paths++);

    ck_assert_int_lt(len, SCRATCH_PATH_CAP);
    return ret;
}

pid_t scratch_fork(void)
{
    pid_t parent = getpid();
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
            _exit(1); /* it died before we asked to be told */
        }
    }
    return pid;
}
