/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * The real daemon as a child process, with files of its own. It dies with the test.
 */

#include "tests/lib/scratch.h"

#include <stdbool.h>
#include <sys/types.h>

struct rlockd {
    pid_t pid; /* 0: has ended and was waited for */
    int notify_fd;
    char socket_path[SCRATCH_PATH_CAP];
    char conf_path[SCRATCH_PATH_CAP];
    char log_path[SCRATCH_PATH_CAP];
    char notify_path[SCRATCH_PATH_CAP];
};

/*
 * Starts a daemon on a fresh socket, with the Redis at `redis_socket`, and waits until it says that it
 * is ready. `extra` is more configuration: it begins in the section [redis] ("" for none).
 */
struct rlockd *rlockd_start(const char *redis_socket, const char *extra);
void rlockd_free(struct rlockd *rlockd); /* kill -9 if it still runs */

/* The same in steps. Prepared: no files but the configuration, no process. */
struct rlockd *rlockd_prepare(const char *redis_socket, const char *extra);
struct rlockd *rlockd_prepare_text(const char *conf_text); /* the whole configuration file */
void rlockd_configure(struct rlockd *rlockd, const char *redis_socket, const char *extra); /* anew */
void rlockd_spawn(struct rlockd *rlockd, const char *option); /* option: "-t", or NULL */
bool rlockd_await_ready(struct rlockd *rlockd);               /* false: it has ended instead */

/* After SIGSTOP it returns when the process has stopped. */
void rlockd_signal(struct rlockd *rlockd, int signo);

/* Waits for its end: exit status, or 128 + signal. */
int rlockd_wait(struct rlockd *rlockd);

/* Everything it has written to stderr since it was prepared; the caller frees it. */
char *rlockd_log(const struct rlockd *rlockd);
bool rlockd_log_has(const struct rlockd *rlockd, const char *text);

long rlockd_rss_kib(const struct rlockd *rlockd);
/* The most that it has had in memory since the other was called. */
long rlockd_peak_rss_kib(const struct rlockd *rlockd);
void rlockd_forget_peak(const struct rlockd *rlockd);
bool rlockd_is_asleep(const struct rlockd *rlockd); /* it waits; one that spins is never seen so */
int rlockd_n_fds(const struct rlockd *rlockd);
