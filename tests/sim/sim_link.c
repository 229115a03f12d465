/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * PAUSE ---> TRY (connects and introduces itself) ---> READY ---> PAUSE; see daemon/redis/link.c, whose
 * promises these are.
 */

#include "tests/sim/sim_link.h"

#include "tests/sim/host.h"
#include "tests/sim/world.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { SIM_LINK_PAUSE_MIN_MS = 50, SIM_LINK_PAUSE_MAX_MS = 2000, SIM_LINK_HELLO_TRIPS = 9 };

static struct world *link_world(const struct link *link)
{
    return link->server->world;
}

static void link_wait(struct link *link, int64_t in_us)
{
    world_at(link_world(link), &link->task, link_world(link)->now_us + in_us);
}

static void link_pause(struct link *link)
{
    struct dice *dice = &link_world(link)->dice;
    int64_t pause_ms = link->pause_ms;
    link->phase = SIM_LINK_PAUSE;
    if (pause_ms == 0) {
        link->pause_ms = SIM_LINK_PAUSE_MIN_MS;
        link_wait(link, dice_between(dice, 0, SIM_LINK_PAUSE_MIN_MS * 1000));
        return;
    }
    link->pause_ms = pause_ms * 2 < SIM_LINK_PAUSE_MAX_MS ? pause_ms * 2 : SIM_LINK_PAUSE_MAX_MS;
    link_wait(link, dice_between(dice, pause_ms * 750, pause_ms * 1250));
}

/* The host's end is closed: what was flushed may still arrive. */
static void link_close_conn(struct link *link)
{
    struct server *server = link->server;
    struct sim_call *call = link->first;
    if (link->conn != NULL) {
        link->conn->link = NULL;
    }
    link->conn = NULL;
    link->first = link->unsent = NULL;
    link->end = &link->first;
    while (call != NULL) {
        struct sim_call *next = call->next;
        call->is_orphan = true;
        call->on_reply(call->on_reply_ctx, NULL, link->reason);
        if (!timer_is_set(&call->task.timer)) {
            server_free_call(server, call);
        }
        call = next;
    }
}

static void link_drop(struct link *link)
{
    bool was_up = link->phase == SIM_LINK_READY;
    TRACE(link_world(link), "host %d: link: %s", link->host->idx, link->reason);
    link->is_broken = false;
    if (was_up) {
        link->pause_ms = 0;
    }
    link_close_conn(link);
    if (was_up) {
        link->sinks.on_state(link->sinks.ctx, LINK_STATE_CONNECTING, NULL);
    } else {
        link->sinks.on_state(link->sinks.ctx, LINK_STATE_DOWN, link->reason);
    }
    link_pause(link);
}

static void link_fail(struct link *link, const char *reason)
{
    link->reason = reason;
    link_drop(link);
}

/* --- connecting ------------------------------------------------------------------------------------ */

static void link_try(struct link *link)
{
    struct server *server = link->server;
    int64_t now_us = link_world(link)->now_us, limit_us = now_us + link->timeout_ms * 1000;
    int64_t done_us = now_us;
    link->phase = SIM_LINK_TRY;
    link->try_epoch = server->epoch;
    for (int i = 0; i < SIM_LINK_HELLO_TRIPS * 2; i++) {
        done_us += server_delay_us(server, link->host->idx);
    }
    if (server->paused_until_us > now_us) {
        done_us += server->paused_until_us - now_us;
    }
    link->reason = "cannot connect in time";
    link->try_is_vain = done_us > limit_us || server->paths[link->host->idx].blocked_until_us > now_us;
    if (link->try_is_vain) {
        done_us = limit_us;
    }
    if (server->down_until_us > now_us) {
        link->try_is_vain = true;
        link->reason = "connection refused";
        done_us = now_us + server_delay_us(server, link->host->idx);
    }
    world_at(link_world(link), &link->task, done_us);
}

static void link_up(struct link *link)
{
    struct server *server = link->server;
    link->conn = server_connect(server, link->host->idx, link);
    if (link_world(link)->plan.may_kill) {
        server_kill_former(server, link->conn);
    }
    for (int i = 0; i < N_SCRIPTS; i++) {
        const char *argv[] = {"SCRIPT", "LOAD", link->scripts[i].text};
        const size_t argv_len[] = {6, 4, link->scripts[i].text_len};
        const struct reply *reply = redis_model_run(server->model, 3, argv, argv_len);
        memcpy(link->scripts[i].digest, reply->text, sizeof(link->scripts[i].digest));
    }
    link->phase = SIM_LINK_READY;
    link->has_looked_twice = false;
    TRACE(link_world(link), "host %d: link: up", link->host->idx);
    link->sinks.on_state(link->sinks.ctx, LINK_STATE_UP, NULL);
}

static void link_on_tried(struct link *link)
{
    const struct server *server = link->server;
    int64_t now_us = link_world(link)->now_us;
    if (link->try_is_vain) {
        link_fail(link, link->reason);
    } else if (server->epoch != link->try_epoch || server->down_until_us > now_us) {
        link_fail(link, "connection reset by peer");
    } else if (server->readonly_until_us > now_us) {
        link_fail(link, "it is a replica");
    } else if (server->paused_until_us > now_us || server->paths[link->host->idx].blocked_until_us > now_us) {
        link_fail(link, "no answer in time");
    } else {
        link_up(link);
    }
}

/* --- watching -------------------------------------------------------------------------------------- */

static void link_watch(struct link *link)
{
    const struct sim_call *oldest = link->first;
    int64_t now_ms = host_now_ms(link->host);
    if (oldest == NULL) {
        return;
    }
    if (now_ms - oldest->sent_at_ms < link->timeout_ms) {
        link->has_looked_twice = false;
        link_wait(link, (oldest->sent_at_ms + link->timeout_ms - now_ms) * 1000);
    } else if (!link->has_looked_twice) {
        link->has_looked_twice = true; /* the answer may lie there since before we stood still */
        link_wait(link, 1000);
    } else {
        link_fail(link, "no answer from Redis in time");
    }
}

static void link_on_task(void *ctx)
{
    struct link *link = ctx;
    struct host *host = link->host;
    if (!host_is_running(host)) {
        world_at(link_world(link), &link->task, host->paused_until_us);
        return;
    }
    host_wake(host);
    if (link->is_broken) {
        link_drop(link);
    } else if (link->phase == SIM_LINK_PAUSE) {
        link_try(link);
    } else if (link->phase == SIM_LINK_TRY) {
        link_on_tried(link);
    } else if (link->phase == SIM_LINK_READY) {
        link_watch(link);
    }
    host_drain(host);
}

/* --- for the store --------------------------------------------------------------------------------- */

static void link_copy_args(struct link *link, struct sim_call *call, int argc, const char **argv,
                           const size_t *argv_len)
{
    assert(argc <= CALL_ARGS_MAX);
    call->argc = argc;
    call->word = argv_len[0] == 4 && memcmp(argv[0], "PTTL", 4) == 0 ? "pttl" : "del";
    for (int i = 0; i < argc; i++) {
        call->argv_len[i] = argv_len[i];
        call->argv[i] = NULL;
        for (int j = 0; j < N_SCRIPTS && i == 1; j++) {
            if (argv[i] == link->scripts[j].text) {
                call->argv[i] = argv[i]; /* too long to be copied, and stays */
            }
            if (argv[i] == link->scripts[j].text || argv[i] == link->scripts[j].digest) {
                call->word = link->scripts[j].name;
            }
        }
        if (call->argv[i] != NULL) {
            continue;
        }
        assert(call->bytes_len + argv_len[i] <= CALL_BYTES_CAP);
        call->argv[i] = memcpy(call->bytes + call->bytes_len, argv[i], argv_len[i]);
        call->bytes_len += argv_len[i];
    }
}

int link_send(struct link *link, int argc, const char **argv, const size_t *argv_len, link_reply_fn on_reply,
              void *ctx)
{
    if (link->phase != SIM_LINK_READY || link->is_broken) {
        return LINK_E_DOWN;
    }
    struct sim_call *call = server_new_call(link->server, link->conn);
    link_copy_args(link, call, argc, argv, argv_len);
    call->on_reply = on_reply;
    call->on_reply_ctx = ctx;
    call->sent_at_ms = host_now_ms(link->host);
    *link->end = call;
    link->end = &call->next;
    if (link->unsent == NULL) {
        link->unsent = call;
    }
    if (!timer_is_set(&link->task.timer)) {
        link_wait(link, link->timeout_ms * 1000);
    }
    return 0;
}

void link_flush(struct link *link)
{
    for (; link->unsent != NULL; link->unsent = link->unsent->next) {
        server_take(link->server, link->unsent);
    }
}

void link_break(struct link *link, const char *text)
{
    if (link->phase == SIM_LINK_READY) {
        sim_link_break(link, text);
    }
}

/* --- for the world --------------------------------------------------------------------------------- */

void sim_link_take(struct link *link, struct sim_call *call)
{
    if (link->is_broken) {
        return; /* nothing is looked at any more; its end will be told soon */
    }
    assert(link->first == call);
    link->first = call->next;
    if (link->first == NULL) {
        link->end = &link->first;
    }
    host_wake(link->host);
    call->on_reply(call->on_reply_ctx, &call->reply, NULL);
    server_free_call(link->server, call);
    host_drain(link->host);
}

void sim_link_break(struct link *link, const char *reason)
{
    if (link->is_broken || link->phase == SIM_LINK_END || link->phase == SIM_LINK_PAUSE) {
        return;
    }
    link->is_broken = true;
    link->reason = reason;
    link_wait(link, 0);
}

void sim_link_open(struct link *link, struct host *host, struct script *scripts,
                   const struct link_sinks *sinks)
{
    *link = (struct link){
        .host = host,
        .server = host->world->server,
        .sinks = *sinks,
        .scripts = scripts,
        .timeout_ms = host->world->plan.redis_timeout_ms,
        .phase = SIM_LINK_PAUSE,
        .pause_ms = SIM_LINK_PAUSE_MIN_MS,
        .task = {.run = link_on_task, .ctx = link},
    };
    link->end = &link->first;
    sinks->on_state(sinks->ctx, LINK_STATE_CONNECTING, NULL);
    link_wait(link, 0);
}

bool sim_link_is_up(const struct link *link)
{
    return link->phase == SIM_LINK_READY && !link->is_broken;
}

void sim_link_close(struct link *link)
{
    link->phase = SIM_LINK_END;
    link->reason = "the daemon is stopping";
    world_cancel(link_world(link), &link->task);
    link_close_conn(link);
}
