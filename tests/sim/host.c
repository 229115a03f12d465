/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * As in daemon/engine.c: clock, what has run out, the inbox, effects, flush, and the deadline again.
 */

#include "tests/sim/host.h"

#include "daemon/redis/store.h"
#include "tests/sim/client.h"
#include "tests/sim/kernel.h"
#include "tests/sim/oracle.h"
#include "tests/sim/tell.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { HOST_STOP_MS = 2000, HOST_LATE_US_MAX = 400, EAR_CATCH_UP_US = 50000 };

bool host_is_running(const struct host *host)
{
    return host->instance != 0 && host->paused_until_us <= host->world->now_us;
}

int64_t host_now_ms(const struct host *host)
{
    return clock_at_us(&host->clock, host->world->now_us) / 1000;
}

void host_wake(struct host *host)
{
    kernel_show_ms(host_now_ms(host));
}

/* --- the inbox ------------------------------------------------------------------------------------- */

static void host_keep_key(struct host_event *entry, struct ev_request *from)
{
    assert(from->key_len < sizeof(entry->key));
    memcpy(entry->key, from->key, from->key_len);
    from->key = entry->key;
}

static void host_keep_text(struct host_event *entry, const char **text)
{
    if (*text == NULL) {
        return;
    }
    snprintf(entry->text, sizeof(entry->text), "%s", *text);
    *text = entry->text;
}

void host_post(void *ctx, const struct event *event)
{
    struct host *host = ctx;
    assert(host->inbox_len < HOST_INBOX_CAP);
    struct host_event *entry = &host->inbox[host->inbox_len++];
    entry->event = *event;
    if (event->kind == EV_OUTCOME) {
        host_keep_text(entry, &entry->event.outcome.text);
    } else if (event->kind == EV_QUERIED) {
        host_keep_key(entry, &entry->event.queried.from);
        host_keep_text(entry, &entry->event.queried.text);
    } else if (event->kind == EV_LINK) {
        host_keep_text(entry, &entry->event.link.text);
    } else if (event->kind == EV_OFFERED || event->kind == EV_RECALLED) {
        assert(event->hint.key_len < sizeof(entry->key));
        memcpy(entry->key, event->hint.key, event->hint.key_len);
        entry->event.hint.key = entry->key;
    }
}

/* --- the loop -------------------------------------------------------------------------------------- */

static void host_step(struct host *host, const struct event *event)
{
    struct world *world = host->world;
    tell_event(host, event);
    oracle_read(world->oracle, host, event);
    const struct effects *effects = broker_step(host->broker, event);
    for (size_t i = 0; i < effects->len; i++) {
        const struct effect *effect = &effects->list[i];
        tell_effect(host, effect);
        if (effect->kind <= FX_FORCE) {
            store_carry_out(host->store, effect);
        } else {
            oracle_wrote(world->oracle, host, effect);
            client_write(host, effect);
        }
    }
    if (!world->is_unaudited) {
        broker_audit(host->broker);
    }
}

static void host_arm(struct host *host)
{
    int64_t at_ms = broker_deadline(host->broker);
    if (at_ms == DEADLINE_NEVER) {
        world_cancel(host->world, &host->turn);
    } else {
        world_at(host->world, &host->turn,
                 clock_when_us(&host->clock, at_ms) + dice_small(&host->world->dice, 0, HOST_LATE_US_MAX));
    }
}

void host_drain(struct host *host)
{
    if (host->instance == 0 || host->is_draining) {
        return;
    }
    int64_t now_ms = host_now_ms(host);
    host_wake(host);
    host->is_draining = true;
    if (broker_deadline(host->broker) <= now_ms) {
        host_step(host, &(struct event){.kind = EV_TIME, .now_ms = now_ms});
    }
    for (size_t i = 0; i < host->inbox_len; i++) {
        host->inbox[i].event.now_ms = now_ms;
        host_step(host, &host->inbox[i].event);
    }
    host->inbox_len = 0;
    host->is_draining = false;
    link_flush(&host->link);
    host_arm(host);
    if (host->is_stopping && broker_is_idle(host->broker)) {
        world_at(host->world, &host->watch, host->world->now_us);
    }
}

static void host_on_turn(void *ctx)
{
    struct host *host = ctx;
    if (!host_is_running(host)) {
        world_at(host->world, &host->turn, host->paused_until_us);
    } else {
        host_drain(host);
    }
}

/* --- the ear --------------------------------------------------------------------------------------- */

static void host_on_ear_open(void *ctx)
{
    struct host *host = ctx;
    const struct server *server = host->world->server;
    int64_t busy_until_us =
        server->down_until_us > server->paused_until_us ? server->down_until_us : server->paused_until_us;
    if (!host_is_running(host)) {
        busy_until_us = host->paused_until_us;
    }
    if (busy_until_us > host->world->now_us) {
        oracle_unheard(host->world->oracle, busy_until_us + 1000);
        world_at(host->world, &host->ear.task, busy_until_us + 1000);
        return;
    }
    host->ear.is_open = true;
    oracle_unheard(host->world->oracle, host->world->now_us + EAR_CATCH_UP_US);
    host_wake(host);
    store_on_hearing(host->store);
    host_drain(host);
}

void host_cut_ear(struct host *host, int64_t for_us)
{
    if (host->instance == 0) {
        return;
    }
    host->ear.is_open = false;
    host->ear.in_us = 0;
    oracle_unheard(host->world->oracle, host->world->now_us + for_us);
    world_at(host->world, &host->ear.task, host->world->now_us + for_us);
}

void host_deafen(struct host *host, int64_t until_us)
{
    host->ear.deaf_until_us = until_us;
    oracle_unheard(host->world->oracle, until_us);
}

/* A message on its way. */
struct whisper {
    struct task task;
    struct host *host;
    uint64_t instance;
    size_t len;
    char text[MODEL_VALUE_CAP];
};

static void whisper_arrives(void *ctx)
{
    struct whisper *whisper = ctx;
    struct host *host = whisper->host;
    if (host->instance != whisper->instance || !host->ear.is_open) {
        return;
    }
    if (!host_is_running(host)) {
        world_at(host->world, &whisper->task, host->paused_until_us);
        return;
    }
    host_wake(host);
    store_on_message(host->store, whisper->text, whisper->len);
    host_drain(host);
}

static void host_whisper(struct host *host, const struct reply *message)
{
    struct world *world = host->world;
    struct whisper *whisper = world_alloc(world, sizeof(*whisper));
    int64_t at_us = world->now_us + server_delay_us(world->server, host->idx);
    int64_t blocked_until_us = world->server->paths[host->idx].blocked_until_us;
    assert(message->len < sizeof(whisper->text));
    *whisper = (struct whisper){.host = host, .instance = host->instance, .len = message->len};
    whisper->task = (struct task){.run = whisper_arrives, .ctx = whisper};
    memcpy(whisper->text, message->text, message->len);
    at_us = at_us > blocked_until_us ? at_us : blocked_until_us;
    at_us = at_us > host->ear.in_us ? at_us : host->ear.in_us;
    host->ear.in_us = (at_us + 1) & ~INT64_C(1);
    world_at(world, &whisper->task, host->ear.in_us);
}

int64_t host_publish(void *ctx, const struct reply *channel, const struct reply *message)
{
    struct world *world = ctx;
    const size_t head_len = strlen(STORE_CHANNEL);
    for (int i = 0; i < world->plan.n_hosts; i++) {
        struct host *host = &world->hosts[i];
        if (host->instance == 0 || !host->ear.is_open ||
            channel->len != head_len + strlen(host->instance_name) ||
            memcmp(channel->text + head_len, host->instance_name, channel->len - head_len) != 0) {
            continue;
        }
        if (host->ear.deaf_until_us <= world->now_us) {
            host_whisper(host, message);
        }
        return 1;
    }
    return 0;
}

/* --- the daemon's life ----------------------------------------------------------------------------- */

void host_start(struct host *host)
{
    host->instance = ++host->last_instance * HOSTS_MAX + (uint64_t)host->idx;
    snprintf(host->instance_name, sizeof(host->instance_name), "00000000-0000-4000-8000-%012llu",
             (unsigned long long)host->instance);
    TRACE(host->world, "host %d: the daemon starts", host->idx);
    host->is_stopping = false;
    host->paused_until_us = 0;
    host->inbox_len = 0;
    host->stats = (struct stats){0};
    host->broker = broker_new(&host->settings, &host->stats);
    host->store = store_new(
        &(struct store_config){
            .prefix = "", .instance = host->instance_name, .post = host_post, .post_ctx = host},
        &host->stats);
    store_use_link(host->store, &host->link, host->scripts);
    host_wake(host);
    sim_link_open(&host->link, host, host->scripts,
                  &(struct link_sinks){.on_state = store_on_link_state, .ctx = host->store});
    host_drain(host);
    host->ear.deaf_until_us = 0;
    host_cut_ear(host, dice_small(&host->world->dice, 100, 20000));
}

void host_pause(struct host *host, int64_t for_ms, bool sleeps)
{
    if (!host_is_running(host)) {
        return;
    }
    host->paused_until_us = (host->world->now_us + for_ms * 1000) | 1;
    oracle_paused(host->world->oracle, host);
    if (sleeps) {
        client_stall_all(host, host->paused_until_us);
    }
}

/* The process is gone, and with it everything but what is on its way already. */
static void host_go(struct host *host)
{
    struct world_tally *tally = &host->world->tally;
    tally->n_grants += host->stats.grants;
    tally->n_handovers += host->stats.handovers;
    tally->n_lost += host->stats.lost;
    tally->n_at_risk += host->stats.at_risk;
    tally->n_attempts += host->stats.attempts;
    world_cancel(host->world, &host->turn);
    world_cancel(host->world, &host->ear.task);
    host->ear.is_open = false;
    host->instance = 0;
    host->broker = broker_free(host->broker);
    host->store = store_free(host->store);
    oracle_host_gone(host->world->oracle, host);
    client_end_of_stream(host);
}

static void host_restart_in(struct host *host, int64_t restart_after_ms)
{
    world_at(host->world, &host->watch, host->world->now_us + restart_after_ms * 1000);
}

void host_kill(struct host *host, int64_t restart_after_ms)
{
    if (host->instance == 0) {
        return;
    }
    TRACE(host->world, "host %d: the daemon is killed", host->idx);
    /* What it had queued for Redis but not flushed never left; the answers do not matter any more. */
    sim_link_close(&host->link);
    host->inbox_len = 0;
    host_go(host);
    host_restart_in(host, restart_after_ms);
}

void host_stop(struct host *host)
{
    if (!host_is_running(host) || host->is_stopping) {
        return;
    }
    host->is_stopping = true;
    host_post(host, &(struct event){.kind = EV_STOP});
    host_drain(host);
    world_at(host->world, &host->watch, host->world->now_us + HOST_STOP_MS * 1000);
}

static void host_on_watch(void *ctx)
{
    struct host *host = ctx;
    if (host->instance == 0) {
        host_start(host);
    } else if (host->paused_until_us > host->world->now_us) {
        world_at(host->world, &host->watch, host->paused_until_us);
    } else {
        host_kill(host, dice_between(&host->world->dice, 1, 1000));
    }
}

void host_begin(struct host *host, struct world *world, int idx)
{
    const struct plan *plan = &world->plan;
    static const int64_t ages_us[] = {0, 86400000000, 4294967296000, 2147483648000, 31536000000000};
    host->world = world;
    host->idx = idx;
    host->instance = host->last_instance = 0;
    host->is_draining = false;
    host->turn = (struct task){.run = host_on_turn, .ctx = host};
    host->ear = (struct ear){.task = {.run = host_on_ear_open, .ctx = host}};
    host->watch = (struct task){.run = host_on_watch, .ctx = host};
    /* Some clocks are about to pass 2^31 or 2^32 ms. */
    host->clock.offset_us = 60000000 + ages_us[dice_between(&world->dice, 0, 4)];
    host->clock.offset_us -= dice_between(&world->dice, 0, 60000000);
    host->clock.rate_ppm = dice_between(&world->dice, -4400, 4400);
    host->settings = (struct broker_settings){
        .renew_fraction = plan->renew_fraction,
        .drift_per_10k = 100,
        .linger_ms = plan->linger_ms,
        .redis_timeout_ms = plan->redis_timeout_ms,
        .held_per_peer_max = 100,
        .waiting_per_peer_max = 100,
        .locks_per_user_max = 1000,
    };
    script_table(host->scripts);
    host_start(host);
}

void host_end(struct host *host)
{
    world_cancel(host->world, &host->watch);
    if (host->instance == 0) {
        return;
    }
    sim_link_close(&host->link);
    host->inbox_len = 0;
    host_go(host);
}
