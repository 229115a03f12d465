/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * A look into the private Redis, past the daemon: what lies there, and how many commands it has
 * served. Also the foreign program that uses the same keys.
 */

#include <stdbool.h>
#include <stdint.h>

struct redisContext;

struct redisContext *probe_open(const char *redis_socket);
void probe_close(struct redisContext *probe);

/* One command, as redisCommand() takes it; an error reply fails the test. An integer reply, or for
 * a status, text or nil 1, 1 or 0. */
int64_t probe_do(struct redisContext *probe, const char *fmt, ...);

/* Sends a command and does not wait for its reply: the last that this probe does. */
void probe_post(struct redisContext *probe, const char *command);

/* The text at a key; NULL: none. The caller frees it. */
char *probe_get(struct redisContext *probe, const char *key);
bool probe_has(struct redisContext *probe, const char *key);
int64_t probe_ttl_ms(struct redisContext *probe, const char *key);

/* How often scripts have been called since the server was started (or CONFIG RESETSTAT). */
int64_t probe_script_calls(struct redisContext *probe);
