/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * Clients: processes that lock, hold, refresh, unlock, cancel, ask this and that, stall and die. Each has
 * one connection to its host's daemon, and two things to do at a time.
 *
 * A letter is what stands on the connection: an event on its way to the daemon, an effect on its way
 * back. Letters arrive in their order.
 */

#include "daemon/core/effect.h"
#include "daemon/core/event.h"
#include "tests/sim/world.h"

enum { CLIENTS_MAX = 5, CLIENT_SLOTS = 2, CLIENT_KEYS_MAX = 3 };

struct client;
struct host;

struct slot {
    struct client *client;
    struct task task;
    enum { SLOT_IDLE = 1, SLOT_WAITING, SLOT_HOLDING, SLOT_UNLOCKING } state;
    int key;
    uint64_t lock_id, unlock_id; /* requests */
    int64_t fence;
    bool will_refresh, will_cancel;
};

struct client {
    struct world *world;
    struct host *host;
    int idx;
    uint64_t peer_id; /* 0: not connected */
    int64_t stalled_until_us;
    int64_t to_us, from_us; /* when the last letter arrives */
    struct slot slots[CLIENT_SLOTS];
};

/* The names of the keys; text that stays. */
const char *client_key_name(int key);

void client_begin(struct client *client, struct world *world, struct host *host, int idx);
void client_kill(struct client *client);
void client_stall(struct client *client, int64_t until_us);
void client_stall_all(struct host *host, int64_t until_us);
void client_leave(struct client *client);          /* closes its connection */
void client_force(struct client *client, int key); /* force_unlock */
bool client_is_stalled(const struct client *client);

/* From the daemon: one more letter; the end of the connection. */
void client_write(struct host *host, const struct effect *effect);
void client_end_of_stream(struct host *host);
