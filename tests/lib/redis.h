/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * A real redis-server of the test's own, on a Unix socket in the test's directory. It dies with the
 * test.
 */

#include <sys/types.h>

struct redis_server;

/*
 * Starts one and waits until it takes connections. More arguments for it may follow, as on its command
 * line; NULL ends them: redis_server_start("--requirepass", "secret", NULL).
 */
struct redis_server *redis_server_start(const char *arg, ...);
void redis_server_stop(struct redis_server *server); /* kill -9 if it still runs; NULL is allowed */

/* kill -9, and the same again at the same place, without any data. */
void redis_server_kill(struct redis_server *server);
void redis_server_restart(struct redis_server *server);

const char *redis_server_socket(const struct redis_server *server);
pid_t redis_server_pid(const struct redis_server *server);
