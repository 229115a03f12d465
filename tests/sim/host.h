/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * A host with its daemon: the real broker and the real store, a simulated link, and the engine's loop in
 * a few lines. Peers are the clients of client.h.
 */

#include "daemon/base/stats.h"
#include "daemon/core/broker.h"
#include "daemon/redis/script.h"
#include "tests/sim/sim_link.h"
#include "tests/sim/world.h"

/* The host's ear: what other hosts tell it, through Redis. */
struct ear {
    bool is_open;          /* Redis knows it as a listener */
    int64_t in_us;         /* when the last message arrives: what is sent later comes later */
    int64_t deaf_until_us; /* until then messages get lost on their way */
    struct task task;      /* it opens */
};

enum { HOST_INBOX_CAP = 8192, HOST_TEXT_CAP = 80 };

struct store;

struct host_event {
    struct event event;
    char key[MODEL_KEY_CAP], text[HOST_TEXT_CAP];
};

struct host {
    struct world *world;
    int idx;
    struct rate_clock clock;
    uint64_t instance; /* of the daemon that runs; 0: none does */
    uint64_t last_instance;
    char instance_name[37];
    int64_t paused_until_us;
    bool is_stopping;
    struct broker_settings settings;
    struct stats stats;
    struct broker *broker;
    struct store *store;
    struct link link;
    struct ear ear;
    struct script scripts[N_SCRIPTS];
    struct host_event inbox[HOST_INBOX_CAP];
    size_t inbox_len;
    bool is_draining;
    struct task turn;  /* when the broker's deadline has come */
    struct task watch; /* a stop in time; the next start */
};

void host_begin(struct host *host, struct world *world, int idx);
void host_end(struct host *host); /* lets everything go */
/* The daemon stands still; with `sleeps`, so do the host's clients. Not while it does so already. */
void host_pause(struct host *host, int64_t for_ms, bool sleeps);

void host_start(struct host *host);
void host_kill(struct host *host, int64_t restart_after_ms);
void host_stop(struct host *host); /* and starts it again */

/* The listening connection breaks; it is made again after so long. */
void host_cut_ear(struct host *host, int64_t for_us);
/* Messages get lost for so long, and nobody notices. */
void host_deafen(struct host *host, int64_t until_us);
/* What Redis does with a message: returns how many listen on the channel. `ctx`: the world. */
int64_t host_publish(void *ctx, const struct reply *channel, const struct reply *message);

bool host_is_running(const struct host *host); /* there, and not paused */
int64_t host_now_ms(const struct host *host);  /* its clock, whether it runs or not */
void host_wake(struct host *host);             /* its code is about to run */
void host_post(void *host, const struct event *event);
void host_drain(struct host *host);
