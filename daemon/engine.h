/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * The engine: the only caller of broker_step().
 *
 * Everybody else turns what happened into an event and posts it. Twice in a turn of the loop (in a
 * check handle, after the sockets were read, and in a prepare handle, after timers and close
 * callbacks) the engine lets the broker settle what has run out, feeds it the events posted so far in
 * their order, routes the effects, and then has everything written that came of it: one write per
 * client and one to Redis. A sink that fails at once posts an event, for the next turn; nothing recurses,
 * so that no object goes away under its caller.
 */

#include "daemon/core/effect.h"
#include "daemon/core/event.h"

#include <uv.h>

struct broker;
struct engine;

/* Where effects go, and who is told to write; filled in by daemon.c. None may call the engine back
 * but for engine_post(). */
struct engine_sinks {
    void (*to_store)(void *ctx, const struct effect *effect);
    void *store_ctx;
    void (*to_peer)(void *ctx, const struct effect *effect);
    void *peer_ctx;
    void (*flush)(void *ctx);
    void *flush_ctx;
};

/* 0 or -errno. The loop, the broker and what the sinks point to must outlive the engine. */
int engine_open(struct engine **ret, uv_loop_t *loop, struct broker *broker,
                const struct engine_sinks *sinks);

/* Begins to close the engine's handles; the memory goes when the loop has closed them. */
void engine_close(struct engine *engine);

/* Queues an event for the next drain. Text and keys in it are copied; now_ms is filled in by the
 * drain. Never calls back. */
void engine_post(struct engine *engine, const struct event *event);
