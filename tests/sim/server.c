/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 *      link ---- delay, block ----> run the model ---- delay, block ----> link, if it still listens
 */

#include "tests/sim/server.h"

#include "daemon/base/alloc.h"
#include "tests/sim/host.h"
#include "tests/sim/oracle.h"
#include "tests/sim/sim_link.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct server *server_new(struct redis_model *model)
{
    struct server *server = alloc_zeroed(1, sizeof(*server));
    server->model = model;
    return server;
}

struct server *server_free(struct server *server)
{
    free(server);
    return NULL;
}

static void server_on_expiry(void *ctx)
{
    server_settle(ctx);
}

void server_begin(struct server *server, struct world *world)
{
    struct redis_model *model = server->model;
    redis_model_reset(model);
    redis_model_set_publish(model, host_publish, world);
    *server = (struct server){.world = world, .model = model};
    server->expiry = (struct task){.run = server_on_expiry, .ctx = server};
    /* Somewhere in 2026; within the margin, unless the world is to be one beyond it. */
    server->wall.offset_us = INT64_C(1770000000000000) + dice_between(&world->dice, 0, 100000000);
    server->wall.rate_ppm = dice_between(&world->dice, -4400, 4400);
    if (world->plan.trouble == TROUBLE_FAST_CLOCK) {
        server->wall.rate_ppm = dice_between(&world->dice, 20000, 60000);
    }
}

int64_t server_wall_us(const struct server *server)
{
    return clock_at_us(&server->wall, server->world->now_us);
}

static void server_set_clock(struct server *server)
{
    redis_model_set_clock(server->model, server_wall_us(server));
}

void server_settle(struct server *server)
{
    const struct model_entry *entry;
    server_set_clock(server);
    while ((entry = redis_model_find_expired(server->model)) != NULL) {
        struct model_entry copy = *entry;
        TRACE(server->world, "redis: %.*s has run out", (int)copy.key_len, copy.key);
        redis_model_delete(server->model, copy.key, copy.key_len);
        oracle_ran_out(server->world->oracle, copy.key, copy.key_len);
    }
    int64_t next_ms = redis_model_next_expiry_ms(server->model);
    if (next_ms == INT64_MAX) {
        world_cancel(server->world, &server->expiry);
    } else {
        world_at(server->world, &server->expiry, clock_when_us(&server->wall, next_ms));
    }
}

/* --- the way there and back ------------------------------------------------------------------------ */

int64_t server_delay_us(struct server *server, int host)
{
    struct world *world = server->world;
    if (server->paths[host].slow_until_us > world->now_us) {
        return dice_small(&world->dice, 500, world->plan.redis_timeout_ms * 1500);
    }
    return dice_small(&world->dice, 30, 600);
}

/* The latest of three instants. Arrivals are even and pauses end at odd microseconds, so that what comes
 * after a pause does not overtake what waited for its end. */
static int64_t server_later(int64_t a_us, int64_t b_us, int64_t c_us)
{
    int64_t later_us = a_us > b_us ? a_us : b_us;
    return ((later_us > c_us ? later_us : c_us) + 1) & ~INT64_C(1);
}

struct sim_call *server_new_call(struct server *server, struct sim_conn *conn)
{
    struct sim_call *call = server->free_calls;
    if (call != NULL) {
        server->free_calls = call->next;
    } else {
        call = world_alloc(server->world, sizeof(*call));
    }
    call->conn = conn;
    call->is_back = call->is_orphan = false;
    call->bytes_len = 0;
    call->next = NULL;
    return call;
}

void server_free_call(struct server *server, struct sim_call *call)
{
    assert(!timer_is_set(&call->task.timer));
    call->next = server->free_calls;
    server->free_calls = call;
}

/* The reply as the call keeps it: the model's own is good for a moment only. */
static void server_keep_reply(struct sim_call *call, const struct reply *reply)
{
    call->reply = *reply;
    if (reply->text != NULL) {
        size_t len = reply->len < CALL_TEXT_CAP - 1 ? reply->len : CALL_TEXT_CAP - 1;
        memcpy(call->text, reply->text, len);
        call->text[len] = '\0';
        call->reply.text = call->text;
        call->reply.len = len;
    }
    if (reply->kind == REPLY_LIST) {
        assert(reply->n_items <= 3);
        memcpy(call->items, reply->items, reply->n_items * sizeof(*reply->items));
        call->reply.items = call->items;
    }
}

static void server_trace_call(const struct server *server, const struct sim_call *call)
{
    const struct reply *reply = &call->reply;
    char said[64];
    if (!server->world->is_traced) {
        return;
    }
    if (reply->kind == REPLY_LIST) {
        snprintf(said, sizeof(said), "%" PRId64 ", %" PRId64, reply->items[0].integer,
                 reply->items[1].integer);
    } else if (reply->kind == REPLY_INTEGER) {
        snprintf(said, sizeof(said), "%" PRId64, reply->integer);
    } else {
        snprintf(said, sizeof(said), "%.60s", reply->text);
    }
    world_print(server->world, "redis: host %d%s, %s: %s", call->conn->host,
                call->is_orphan ? " (that has closed the connection)" : "", call->word, said);
}

static void server_execute(struct server *server, struct sim_call *call)
{
    struct world *world = server->world;
    server_set_clock(server);
    if (server->refuses_until_us > world->now_us && dice_chance(&world->dice, server->refuses_per_mille)) {
        struct reply refusal = {.kind = REPLY_ERROR, .text = server->refusal, .len = strlen(server->refusal)};
        server_keep_reply(call, &refusal);
    } else {
        redis_model_set_replica(server->model, server->readonly_until_us > world->now_us);
        server_keep_reply(call, redis_model_run(server->model, call->argc, call->argv, call->argv_len));
    }
    if (server->world->plan.trouble == TROUBLE_FORCED && call->argc == 2) {
        oracle_excuse(world->oracle); /* a DEL, or a PTTL, which does no harm */
    }
    server_trace_call(server, call);
    server_settle(server);
}

static void server_send_back(struct server *server, struct sim_call *call)
{
    struct sim_conn *conn = call->conn;
    int64_t at_us = server->world->now_us + server_delay_us(server, conn->host);
    call->is_back = true;
    conn->out_us = server_later(at_us, conn->out_us, conn->out_blocked_until_us);
    world_at(server->world, &call->task, conn->out_us);
}

static void server_on_call(void *ctx)
{
    struct sim_call *call = ctx;
    struct sim_conn *conn = call->conn;
    struct server *server = conn->server;
    bool is_lost = call->is_back ? conn->link == NULL : conn->is_dead || conn->epoch != server->epoch;
    if (is_lost) {
        if (call->is_orphan) {
            server_free_call(server, call);
        }
        return; /* whoever waits for it will learn from the connection's end */
    }
    if (call->is_back) {
        struct host *host = &server->world->hosts[conn->host];
        if (host_is_running(host)) {
            sim_link_take(conn->link, call);
        } else {
            world_at(server->world, &call->task, host->paused_until_us);
        }
        return;
    }
    if (server->paused_until_us > server->world->now_us) {
        world_at(server->world, &call->task, server->paused_until_us);
        return;
    }
    server_execute(server, call);
    if (call->is_orphan) {
        server_free_call(server, call);
    } else {
        server_send_back(server, call);
    }
}

void server_take(struct server *server, struct sim_call *call)
{
    struct sim_conn *conn = call->conn;
    int64_t at_us = server->world->now_us + server_delay_us(server, conn->host);
    call->task.run = server_on_call;
    call->task.ctx = call;
    conn->in_us = server_later(at_us, conn->in_us, conn->in_blocked_until_us);
    world_at(server->world, &call->task, conn->in_us);
}

/* --- connections ----------------------------------------------------------------------------------- */

struct sim_conn *server_connect(struct server *server, int host, struct link *link)
{
    struct sim_conn *conn = world_alloc(server->world, sizeof(*conn));
    conn->server = server;
    conn->host = host;
    conn->link = link;
    conn->epoch = server->epoch;
    conn->next = server->conns;
    server->conns = conn;
    return conn;
}

void server_kill_former(struct server *server, const struct sim_conn *conn)
{
    for (struct sim_conn *other = server->conns; other != NULL; other = other->next) {
        if (other != conn && other->host == conn->host) {
            other->is_dead = true;
        }
    }
}

void server_cut(struct server *server, struct sim_conn *conn)
{
    if (dice_chance(&server->world->dice, 500)) {
        conn->is_dead = true;
    }
    if (conn->link != NULL) {
        sim_link_break(conn->link, "connection reset by peer");
    }
}

void server_restart(struct server *server, const struct model_data *data, int64_t up_at_us)
{
    struct model_data *now = redis_model_data(server->model);
    server->epoch++;
    server->down_until_us = up_at_us;
    if (data == NULL) {
        now->n_entries = now->n_members = 0;
    } else if (data != now) {
        *now = *data;
    }
    const char *const flush[] = {"SCRIPT", "FLUSH"};
    redis_model_run(server->model, 2, flush, (const size_t[]){6, 5});
    server_settle(server);
    for (struct sim_conn *conn = server->conns; conn != NULL; conn = conn->next) {
        if (conn->link != NULL && conn->epoch != server->epoch) {
            sim_link_break(conn->link, "connection reset by peer");
        }
    }
    for (int i = 0; i < server->world->plan.n_hosts; i++) {
        host_cut_ear(&server->world->hosts[i], dice_small(&server->world->dice, 1000, 2000000));
    }
    server->conns = NULL;
}
