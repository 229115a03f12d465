/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * What can be seen of processes, sockets, clocks and Redis from outside.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The soak itself cannot go on: says why, by errno, and ends. */
_Noreturn void soak_fail(const char *what);

bool soak_can_connect(const char *socket_path);
long soak_rss_kib(pid_t pid);
int soak_n_fds(pid_t pid);

/* How many keys there are but the daemons' own; -1: Redis does not say. Prints them if asked to. */
int soak_n_keys(const char *redis_path, bool print);

/* The wall clock against the one that never steps; read again if we were held up in between. */
int64_t soak_wall_offset_ms(void);

void soak_remove_dir(const char *path);
