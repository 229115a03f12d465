/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * The usual stage of a system test: a private Redis, the daemon, and between them, if asked for,
 * the proxy.
 *
 *     client ... daemon ( ... proxy ) ... redis-server ... probe
 */

#include "tests/lib/await.h"
#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/probe.h"
#include "tests/lib/proxy.h"
#include "tests/lib/redis.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

extern struct scene {
    struct redis_server *redis;
    struct proxy *proxy; /* NULL: the daemon speaks with Redis directly */
    struct rlockd *rlockd;
    struct redisContext *probe;
    char proxy_path[SCRATCH_PATH_CAP];
} scene;

/* `extra`: see rlockd_start(). The link to Redis is up when these return. */
void scene_open(const char *extra);
void scene_open_with_proxy(const char *extra);
void scene_open_default(void); /* scene_open(""), as a fixture */

/* Ends all clients, and the daemon in good order: it must exit with 0. As a fixture. */
void scene_close(void);

struct client *scene_client(void);    /* connected to the daemon */
int64_t scene_stat(const char *name); /* asked over a connection of its own */
void scene_stop_redis(void);          /* SIGSTOP; it has stopped when this returns */
void scene_continue_redis(void);

/* A test case around one fixture, with time enough. */
TCase *scene_case(Suite *suite, const char *name, void (*open)(void));
