/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 *     resolver ----> address 1 ----> address 2 ----> ... ----> on_done
 *                              close             close
 *
 * One stream at a time, in the same memory, so the next address waits until the last stream is closed.
 * The time that is left is shared out evenly among the addresses that are left, so that one into
 * which packets only vanish does not use up all of it. The resolver runs in a thread of libuv's and
 * cannot be stopped; on_closed waits for it.
 */

#include "daemon/redis/dial.h"

#include "daemon/base/clock.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

static void dial_next(struct dial *dial);

void dial_init(struct dial *dial, uv_loop_t *loop, const struct dial_sinks *sinks)
{
    *dial = (struct dial){.loop = loop, .sinks = *sinks};
}

uv_stream_t *dial_stream(struct dial *dial)
{
    assert(dial->has_conn && dial->is_done);
    return &dial->conn.stream;
}

static void dial_arm(struct dial *dial, int64_t in_ms, uv_timer_cb on_timer)
{
    uv_update_time(dial->loop); /* timers count from the loop's idea of now, which may be old */
    uv_timer_start(&dial->timer, on_timer, in_ms > 0 ? (uint64_t)in_ms : 0, /* repeat= */ 0);
}

static void dial_report(struct dial *dial, const char *reason)
{
    dial->is_done = true;
    uv_timer_stop(&dial->timer);
    dial->sinks.on_done(dial->sinks.ctx, reason);
}

/* One of the things that were open is not any more. */
static void dial_let_go(struct dial *dial)
{
    assert(dial->n_open > 0);
    if (--dial->n_open == 0) {
        assert(dial->is_ending);
        uv_freeaddrinfo(dial->addresses);
        dial->addresses = dial->next = NULL;
        dial->is_ending = false;
        dial->sinks.on_closed(dial->sinks.ctx);
    }
}

static void dial_on_timer_closed(uv_handle_t *handle)
{
    dial_let_go(handle->data);
}

static void dial_on_conn_closed(uv_handle_t *handle)
{
    struct dial *dial = handle->data;

    dial->has_conn = false;
    if (!dial->is_ending) {
        dial_next(dial);
    }
    dial_let_go(dial);
}

static void dial_close_conn(struct dial *dial)
{
    if (dial->has_conn && !uv_is_closing(&dial->conn.handle)) {
        dial->conn.handle.data = dial;
        uv_close(&dial->conn.handle, dial_on_conn_closed);
    }
}

static void dial_on_timer(uv_timer_t *timer)
{
    struct dial *dial = timer->data;

    if (dial->reason[0] == '\0') {
        snprintf(dial->reason, sizeof(dial->reason), "no connection in time");
    }
    if (dial->next != NULL && dial->has_conn) {
        dial_close_conn(dial);
    } else {
        dial_report(dial, dial->reason);
    }
}

/* Says what is already known to be wrong, but not to a caller who is still calling. */
static void dial_fail_soon(struct dial *dial, const char *reason)
{
    snprintf(dial->reason, sizeof(dial->reason), "%s", reason);
    dial_arm(dial, 0, dial_on_timer);
}

static void dial_on_connected(uv_connect_t *connect, int status)
{
    struct dial *dial = connect->data;

    if (status == UV_ECANCELED || dial->is_ending || dial->is_done) {
        return; /* it is being closed, by the timer or by the owner */
    }
    if (status == 0) {
        dial_report(dial, NULL);
        return;
    }
    snprintf(dial->reason, sizeof(dial->reason), "%s", uv_strerror(status));
    if (dial->next != NULL) {
        dial_close_conn(dial);
    } else {
        dial_report(dial, dial->reason);
    }
}

/* The share of the time left for this address. */
static int64_t dial_share(const struct dial *dial)
{
    int64_t n_left = 1;

    for (const struct addrinfo *left = dial->next; left != NULL; left = left->ai_next) {
        n_left++;
    }
    return (dial->until_ms - clock_now_ms()) / n_left;
}

static void dial_next(struct dial *dial)
{
    const struct addrinfo *address = dial->next;

    assert(address != NULL && !dial->has_conn);
    dial->next = address->ai_next;
    dial->connect.data = dial;
    int r = uv_tcp_init(dial->loop, &dial->conn.tcp);
    if (r == 0) {
        dial->has_conn = true;
        dial->n_open++;
        dial->conn.handle.data = dial;
        r = uv_tcp_connect(&dial->connect, &dial->conn.tcp, address->ai_addr, dial_on_connected);
    }
    if (r == 0) {
        uv_tcp_nodelay(&dial->conn.tcp, /* enable= */ 1);
        dial_arm(dial, dial_share(dial), dial_on_timer);
    } else {
        dial_fail_soon(dial, uv_strerror(r));
    }
}

static void dial_on_resolved(uv_getaddrinfo_t *resolve, int status, struct addrinfo *addresses)
{
    struct dial *dial = resolve->data;

    dial->addresses = addresses;
    dial->is_resolving = false;
    if (!dial->is_ending && !dial->is_done) {
        if (status == 0 && addresses != NULL) {
            dial->next = addresses;
            dial_next(dial);
        } else {
            snprintf(dial->reason, sizeof(dial->reason), "its name cannot be resolved: %s",
                     uv_strerror(status));
            dial_report(dial, dial->reason);
        }
    }
    dial_let_go(dial);
}

static void dial_start_tcp(struct dial *dial, const char *host, int port)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char service[16];

    snprintf(service, sizeof(service), "%d", port);
    dial->resolve.data = dial;
    int r = uv_getaddrinfo(dial->loop, &dial->resolve, dial_on_resolved, host, service, &hints);
    if (r == 0) {
        dial->is_resolving = true;
        dial->n_open++;
    } else {
        dial_fail_soon(dial, uv_strerror(r));
    }
}

static void dial_start_unix(struct dial *dial, const char *path)
{
    if (strlen(path) >= sizeof(((struct sockaddr_un){0}).sun_path)) {
        dial_fail_soon(dial, "the path of its socket is too long"); /* libuv would cut it silently */
        return;
    }
    int r = uv_pipe_init(dial->loop, &dial->conn.pipe, /* ipc= */ 0);
    if (r < 0) {
        dial_fail_soon(dial, uv_strerror(r));
        return;
    }
    dial->has_conn = true;
    dial->n_open++;
    dial->conn.handle.data = dial;
    dial->connect.data = dial;
    uv_pipe_connect(&dial->connect, &dial->conn.pipe, path, dial_on_connected);
}

void dial_start(struct dial *dial, const char *unix_path, const char *host, int port, int64_t timeout_ms)
{
    assert(dial->n_open == 0 && !dial->has_conn);
    int r = uv_timer_init(dial->loop, &dial->timer);
    assert(r == 0); /* it cannot fail */
    dial->timer.data = dial;
    dial->n_open = 1;
    dial->is_done = false;
    dial->reason[0] = '\0';
    dial->until_ms = clock_now_ms() + timeout_ms;
    dial_arm(dial, timeout_ms, dial_on_timer);
    if (unix_path != NULL) {
        dial_start_unix(dial, unix_path);
    } else {
        dial_start_tcp(dial, host, port);
    }
}

void dial_end(struct dial *dial)
{
    assert(dial->n_open > 0 && !dial->is_ending);
    dial->is_ending = true;
    dial_close_conn(dial);
    uv_close((uv_handle_t *)&dial->timer, dial_on_timer_closed);
    if (dial->is_resolving) {
        (void)uv_cancel((uv_req_t *)&dial->resolve); /* works only while it waits for its thread */
    }
}
