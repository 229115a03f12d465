/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * The listening socket: who may have its path, with which rights, and when it goes away.
 *
 * A lock on PATH.lock decides which daemon owns the path; only its owner removes a socket that an
 * earlier run left behind, and only the very socket that it made itself when it ends. Rights are in
 * place before anybody can connect.
 */

#include "daemon/base/err.h"

#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

struct listener;

struct listener_config {
    const char *path;
    mode_t mode;
    gid_t group; /* (gid_t)-1: the process's */
    int backlog;
};

#define LISTENER_ERROR_CAP 256

/* `on_connection` is to accept from the stream. 0, or -errno with a sentence in ret_error. */
int listener_open(struct listener **ret, uv_loop_t *loop, const struct listener_config *config,
                  void (*on_connection)(void *ctx, uv_stream_t *server), void *ctx,
                  char ret_error[LISTENER_ERROR_CAP]) MUST_CHECK;

/* No more connections from here on; the path is removed. Memory goes when the loop has closed the handle. */
void listener_close(struct listener *listener);
