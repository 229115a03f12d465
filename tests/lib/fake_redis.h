/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * A Redis that says what the test wants: on the test's own loop, on a Unix socket or, for what only TCP
 * can do, on a port of the loopback address. What the test does not answer itself is answered as a
 * well-behaved master would. A daemon's other connection, which only listens to other hosts, is treated well
 * and neither counted nor shown.
 */

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct fake_redis;
struct fake_client;

/* Each command, NUL-terminated arguments. True: the test has seen to the answer, or there shall be none. */
typedef bool (*fake_redis_fn)(void *ctx, struct fake_client *client, int argc, char **argv);

/* `unix_path` NULL: TCP, see fake_redis_port(). */
struct fake_redis *fake_redis_open(uv_loop_t *loop, const char *unix_path, fake_redis_fn on_command,
                                   void *ctx);
void fake_redis_on_client(struct fake_redis *fake, void (*on_client)(void *ctx, struct fake_client *client));
void fake_redis_close(struct fake_redis *fake); /* with all its connections; memory goes with the handles */
int fake_redis_port(const struct fake_redis *fake);
int fake_redis_n_clients(const struct fake_redis *fake); /* connections that have said something so far */
void fake_redis_set_run_id(struct fake_redis *fake, const char *run_id);
/* Appended to INFO's reply, lines with \r\n. */
void fake_redis_set_info(struct fake_redis *fake, const char *lines);

int fake_client_number(
    const struct fake_client *client); /* 1: the first connection; also its CLIENT ID, plus 100 */
void fake_reply(struct fake_client *client, const char *text);
void fake_reply_bytes(struct fake_client *client, const char *bytes, size_t len);
void fake_client_close(struct fake_client *client);
void fake_client_reset(struct fake_client *client); /* TCP only: RST */
void fake_client_stop_reading(struct fake_client *client);
void fake_client_read_on(struct fake_client *client);
