/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * Bridge two: the broker's effects become calls of the scripts, and Redis's replies become events.
 *
 * The store keeps, per lease_id, the one secret of the system: the value that lies at the key in
 * Redis, a fresh random UUID per acquisition from the kernel, "/", the instance's UUID. The core and
 * the clients never see it. The clock is read before a command leaves, and that instant comes back in
 * the outcome. Each reply is sorted here into the few answers that the core knows (event.h).
 *
 * Every effect is answered by exactly one event, but for FX_FORGET. That event may be posted while
 * store_carry_out() still runs (the link is not up); so posting must not call back.
 */

#include "daemon/core/effect.h"
#include "daemon/core/event.h"

struct link;
struct script;
struct stats;
struct store;

struct store_config {
    const char *prefix;                                 /* put before every key; "" for none; copied */
    const char *instance;                               /* this run's UUID, 36 characters; copied */
    void (*post)(void *ctx, const struct event *event); /* where events go: engine_post() and the engine */
    void *post_ctx;
};

/* A name that the daemon uses itself in Redis, whatever the prefix. */
#define STORE_OWN_NAMES "rlockd:"
/* The channel of an instance is this and its UUID. */
#define STORE_CHANNEL STORE_OWN_NAMES

struct store *store_new(const struct store_config *config, struct stats *stats);
struct store *store_free(struct store *store); /* after the link is closed; takes NULL; returns NULL */

/* Both are borrowed. To be called before the first effect: the store's callbacks are the link's sinks. */
void store_use_link(struct store *store, struct link *link, const struct script *scripts);

/* Carries out one effect of the first kind (FX_ACQUIRE ... FX_FORCE). The command leaves with the
 * next link_flush(). */
void store_carry_out(struct store *store, const struct effect *effect);

/* A message of another host, from this daemon's channel: posts EV_OFFERED or EV_RECALLED; what it does not
 * understand it ignores. */
void store_on_message(void *store, const char *text, size_t len);
/* From now on messages come through (again): posts EV_HEARING. */
void store_on_hearing(void *store);

/* link_sinks.on_state, with the store as its context: posts EV_LINK. */
void store_on_link_state(void *store, int link_state, const char *text);
