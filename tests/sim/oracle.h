/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * The outside observer. It sees what the daemons read and write on their sockets, what clients believe,
 * and what runs out in Redis; it knows what was promised, and nothing of how that is done.
 *
 * A client believes to hold a key from when it reads `granted` until it sends unlock, reads `lost`, or its
 * connection ends. One that does not read (it stands still) believes until the last valid_until_ms that it
 * has read, and beyond that for as long as its daemon runs and has not written `lost`.
 *
 *     exclusion    no two believers of a key
 *     expiry       no believer when the key runs out in Redis; no valid_until_ms beyond that
 *     fences       each grant's is larger than any before, of its key
 *     order        on one host, who asked earlier is granted earlier
 *     turns        nobody is overtaken by more claims of other hosts than two turns of each
 *     answers      each request gets one, of its kind, and not later than it was willing to wait
 *     notices      lost once, for a grant, and with a reason that is true
 *     release      what was unlocked, and nobody else on the host wants, is not in Redis any more
 *     progress     when faults have ended, all who wait are served, soon
 *     the end      nothing is left, in Redis and in the daemons
 *
 * Where the world has a trouble that no such lock can stand (plan.h), exclusion and the order of fences
 * may break, but only for a bounded time: oracle_excuse().
 */

#include "daemon/core/effect.h"
#include "daemon/core/event.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client;
struct host;
struct oracle;
struct world;

struct oracle *oracle_new(void);
struct oracle *oracle_free(struct oracle *oracle);
void oracle_begin(struct oracle *oracle, struct world *world);

/* The daemon: what it reads, what it writes, its end, its pauses. */
void oracle_read(struct oracle *oracle, struct host *host, const struct event *event);
void oracle_wrote(struct oracle *oracle, struct host *host, const struct effect *effect);
void oracle_host_gone(struct oracle *oracle, const struct host *host);
void oracle_paused(struct oracle *oracle, const struct host *host);
/* Hints of other hosts get lost until then. */
void oracle_unheard(struct oracle *oracle, int64_t until_us);

/* The clients. */
void oracle_connected(struct oracle *oracle, struct host *host, uint64_t peer_id, struct client *client);
bool oracle_knows_peer(const struct oracle *oracle,
                       uint64_t peer_id); /* its daemon runs, and has not seen it go */
void oracle_peer_left(struct oracle *oracle, uint64_t peer_id);
void oracle_believes(struct oracle *oracle, uint64_t peer_id, int key, int64_t fence, int64_t until_ms);
void oracle_hears(struct oracle *oracle, uint64_t peer_id, int key, int64_t fence, int64_t until_ms);
void oracle_believes_no_more(struct oracle *oracle, uint64_t peer_id, int key, int64_t fence);

/* A program of another make, which holds the key for certain. It has one at a time. */
void oracle_stranger_begins(struct oracle *oracle, int key);
void oracle_stranger_ends(struct oracle *oracle, int key);

/* Redis. */
void oracle_ran_out(struct oracle *oracle, const char *key, size_t key_len);
/* Something has happened that no lock can stand: what follows from it must be over within the bound. */
void oracle_excuse(struct oracle *oracle);

/* Nobody waits, nobody believes. */
bool oracle_is_quiet(const struct oracle *oracle);
/* Progress: what is still waiting after the bound (in ms) that the plan allows. */
int64_t oracle_patience_ms(const struct oracle *oracle);
void oracle_judge_waiting(struct oracle *oracle);
void oracle_judge_rest(struct oracle *oracle);
