/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * One directory for everything that a test makes: sockets, configuration, logs. It goes when the
 * test's process has gone, however that ended; with RLOCK_TEST_KEEP=1 in the environment it stays.
 */

#include <stddef.h>
#include <sys/types.h>

const char *scratch_dir(void);

/* A path in it that nobody has got before: DIR/NAME.NUMBER. Static memory of ret's caller. */
#define SCRATCH_PATH_CAP 100 /* fits a sockaddr_un */
const char *scratch_path(char ret[SCRATCH_PATH_CAP], const char *name);

/* Forks a process that dies with the one that forked it. As fork(2), but never fails. */
pid_t scratch_fork(void);
