/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * One thread, one poll, two streams for each connection. Bytes are moved, never looked at.
 *
 *     daemon -- inner --> requests --> outer -- Redis
 *               <--  replies   <--
 *
 * Whoever gives an order takes the lock, changes a flag, and wakes the thread; connections are only
 * closed by the thread, between two polls. Orders wait until the thread has gone round once.
 */

#include "tests/lib/proxy.h"

#include "tests/lib/await.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PROXY_CONNECTIONS = 16, PROXY_ROOM = 1 << 20 };

struct stream { /* one direction of a connection */
    int from_fd, to_fd;
    size_t start, len;
    int64_t due_ms; /* nothing goes on before */
    char *bytes;    /* PROXY_ROOM of them */
};

struct connection {
    bool is_open, is_orphan;
    struct stream requests, replies;
};

struct proxy {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t turned;
    uint64_t turns; /* how often the thread has carried out orders */
    int wake_fd, listen_fd;
    struct sockaddr_un listen_address, redis_address;
    bool hold_requests, hold_replies, refuse, cut, orphan, deliver, stop;
    int delay_ms; /* of replies */
    struct connection connections[PROXY_CONNECTIONS];
};

static void proxy_listen(struct proxy *proxy)
{
    proxy->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(proxy->listen_fd, 0);
    ck_assert_int_eq(
        bind(proxy->listen_fd, (struct sockaddr *)&proxy->listen_address, sizeof(struct sockaddr_un)), 0);
    ck_assert_int_eq(listen(proxy->listen_fd, 64), 0);
}

static void proxy_unlisten(struct proxy *proxy)
{
    close(proxy->listen_fd);
    unlink(proxy->listen_address.sun_path);
    proxy->listen_fd = -1;
}

static void connection_close(struct connection *connection)
{
    close(connection->requests.from_fd);
    close(connection->requests.to_fd);
    free(connection->requests.bytes);
    free(connection->replies.bytes);
    memset(connection, 0, sizeof(*connection));
}

static void proxy_accept(struct proxy *proxy)
{
    int inner = accept4(proxy->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    int outer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct connection *connection = NULL;

    for (int i = 0; i < PROXY_CONNECTIONS && !connection; i++) {
        connection = proxy->connections[i].is_open ? NULL : &proxy->connections[i];
    }
    if (inner < 0 || outer < 0 || !connection ||
        connect(outer, (struct sockaddr *)&proxy->redis_address, sizeof(struct sockaddr_un)) != 0) {
        close(inner);
        close(outer);
        return;
    }
    connection->is_open = true;
    connection->requests = (struct stream){.from_fd = inner, .to_fd = outer, .bytes = malloc(PROXY_ROOM)};
    connection->replies = (struct stream){.from_fd = outer, .to_fd = inner, .bytes = malloc(PROXY_ROOM)};
}

/* Moves what can be moved without waiting; false: one end has gone. */
static bool stream_move(struct stream *stream, bool hold, int delay_ms)
{
    char *end = stream->bytes + stream->start + stream->len;
    size_t room = PROXY_ROOM - stream->start - stream->len;
    ssize_t n = room ? recv(stream->from_fd, end, room, MSG_DONTWAIT) : -1;

    if (n == 0 || (n < 0 && room && errno != EAGAIN)) {
        return false;
    }
    if (n > 0 && stream->len == 0) {
        stream->due_ms = await_now_ms() + delay_ms;
    }
    stream->len += n > 0 ? (size_t)n : 0;
    if (hold || stream->len == 0 || (delay_ms > 0 && await_now_ms() < stream->due_ms)) {
        return true;
    }
    n = send(stream->to_fd, stream->bytes + stream->start, stream->len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0) {
        return errno == EAGAIN;
    }
    stream->start += (size_t)n;
    stream->len -= (size_t)n;
    if (stream->len == 0) {
        stream->start = 0;
    }
    return true;
}

/* The daemon sees the end, Redis does not. */
static void connection_orphan(struct connection *connection)
{
    close(connection->requests.from_fd);
    connection->requests.from_fd = connection->replies.to_fd = -1;
    connection->is_orphan = true;
}

/* The last of an orphan; Redis may have closed it. */
static void connection_deliver(struct connection *connection)
{
    const struct stream *requests = &connection->requests;

    (void)!send(requests->to_fd, requests->bytes + requests->start, requests->len, MSG_NOSIGNAL);
    connection_close(connection);
}

/* Carries out the orders and moves bytes, with the lock held. */
static void proxy_turn(struct proxy *proxy)
{
    if (proxy->refuse && proxy->listen_fd >= 0) {
        proxy_unlisten(proxy);
    } else if (!proxy->refuse && proxy->listen_fd < 0) {
        proxy_listen(proxy);
    }
    for (int i = 0; i < PROXY_CONNECTIONS; i++) {
        struct connection *connection = &proxy->connections[i];

        if (connection->is_orphan) {
            if (proxy->deliver) {
                connection_deliver(connection);
            }
        } else if (connection->is_open && proxy->orphan) {
            connection_orphan(connection);
        } else if (connection->is_open &&
                   (proxy->cut || proxy->refuse ||
                    !stream_move(&connection->requests, proxy->hold_requests, /* delay_ms= */ 0) ||
                    !stream_move(&connection->replies, proxy->hold_replies, proxy->delay_ms))) {
            connection_close(connection);
        }
    }
    proxy->cut = proxy->orphan = proxy->deliver = false;
    proxy->turns++;
    pthread_cond_broadcast(&proxy->turned);
}

/* Fills in what to wait for; returns how many. */
static nfds_t proxy_pollfds(struct proxy *proxy, struct pollfd *fds)
{
    nfds_t n = 0;

    fds[n++] = (struct pollfd){.fd = proxy->wake_fd, .events = POLLIN};
    fds[n++] = (struct pollfd){.fd = proxy->listen_fd, .events = POLLIN}; /* -1 is passed over */
    for (int i = 0; i < PROXY_CONNECTIONS; i++) {
        struct connection *connection = &proxy->connections[i];
        short to_redis = connection->requests.len && !proxy->hold_requests ? POLLOUT : 0;
        short to_daemon =
            connection->replies.len && !proxy->hold_replies && proxy->delay_ms == 0 ? POLLOUT : 0;

        if (connection->is_open && !connection->is_orphan) {
            fds[n++] =
                (struct pollfd){.fd = connection->requests.from_fd, .events = (short)(POLLIN | to_daemon)};
            fds[n++] =
                (struct pollfd){.fd = connection->replies.from_fd, .events = (short)(POLLIN | to_redis)};
        }
    }
    return n;
}

static void *proxy_run(void *ctx)
{
    struct proxy *proxy = ctx;

    pthread_mutex_lock(&proxy->lock);
    while (!proxy->stop) {
        struct pollfd fds[2 + 2 * PROXY_CONNECTIONS];
        nfds_t n = proxy_pollfds(proxy, fds);
        uint64_t wakes;

        int timeout_ms = proxy->delay_ms > 0 ? 1 : -1;

        pthread_mutex_unlock(&proxy->lock);
        (void)poll(fds, n, timeout_ms);
        pthread_mutex_lock(&proxy->lock);
        if (fds[0].revents) {
            (void)!read(proxy->wake_fd, &wakes, sizeof(wakes));
        }
        if ((fds[1].revents & POLLIN) && proxy->listen_fd >= 0 && !proxy->refuse) {
            proxy_accept(proxy);
        }
        proxy_turn(proxy);
    }
    for (int i = 0; i < PROXY_CONNECTIONS; i++) {
        if (proxy->connections[i].is_open) {
            connection_close(&proxy->connections[i]);
        }
    }
    pthread_mutex_unlock(&proxy->lock);
    return NULL;
}

struct proxy *proxy_start(const char *listen_path, const char *redis_path)
{
    struct proxy *proxy = calloc(1, sizeof(*proxy));

    ck_assert_ptr_nonnull(proxy);
    proxy->listen_address.sun_family = proxy->redis_address.sun_family = AF_UNIX;
    strncpy(proxy->listen_address.sun_path, listen_path, sizeof(proxy->listen_address.sun_path) - 1);
    strncpy(proxy->redis_address.sun_path, redis_path, sizeof(proxy->redis_address.sun_path) - 1);
    proxy->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ck_assert_int_ge(proxy->wake_fd, 0);
    proxy_listen(proxy);
    pthread_mutex_init(&proxy->lock, NULL);
    pthread_cond_init(&proxy->turned, NULL);
    ck_assert_int_eq(pthread_create(&proxy->thread, NULL, proxy_run, proxy), 0);
    return proxy;
}

static void proxy_wake(struct proxy *proxy)
{
    uint64_t one = 1;

    ck_assert_int_eq(write(proxy->wake_fd, &one, sizeof(one)), sizeof(one));
}

void proxy_stop(struct proxy *proxy)
{
    pthread_mutex_lock(&proxy->lock);
    proxy->stop = true;
    pthread_mutex_unlock(&proxy->lock);
    proxy_wake(proxy);
    pthread_join(proxy->thread, NULL);
    if (proxy->listen_fd >= 0) {
        proxy_unlisten(proxy);
    }
    close(proxy->wake_fd);
    free(proxy);
}

/* Sets a flag, and waits until the thread has heeded it. */
static void proxy_order(struct proxy *proxy, bool *flag, bool value)
{
    uint64_t turns;

    pthread_mutex_lock(&proxy->lock);
    *flag = value;
    turns = proxy->turns;
    proxy_wake(proxy);
    while (proxy->turns == turns) {
        pthread_cond_wait(&proxy->turned, &proxy->lock);
    }
    pthread_mutex_unlock(&proxy->lock);
}

void proxy_hold_requests(struct proxy *proxy, bool hold)
{
    proxy_order(proxy, &proxy->hold_requests, hold);
}

void proxy_hold_replies(struct proxy *proxy, bool hold)
{
    proxy_order(proxy, &proxy->hold_replies, hold);
}

void proxy_refuse(struct proxy *proxy, bool refuse)
{
    proxy_order(proxy, &proxy->refuse, refuse);
}

void proxy_cut(struct proxy *proxy)
{
    proxy_order(proxy, &proxy->cut, true);
}

void proxy_orphan(struct proxy *proxy)
{
    proxy_order(proxy, &proxy->orphan, true);
}

void proxy_deliver_orphans(struct proxy *proxy)
{
    proxy_order(proxy, &proxy->deliver, true);
}

void proxy_delay_replies(struct proxy *proxy, int delay_ms)
{
    pthread_mutex_lock(&proxy->lock);
    proxy->delay_ms = delay_ms;
    pthread_mutex_unlock(&proxy->lock);
    proxy_wake(proxy);
}

static size_t proxy_held(struct proxy *proxy, bool requests)
{
    size_t held = 0;

    pthread_mutex_lock(&proxy->lock);
    for (int i = 0; i < PROXY_CONNECTIONS; i++) {
        held += requests ? proxy->connections[i].requests.len : proxy->connections[i].replies.len;
    }
    pthread_mutex_unlock(&proxy->lock);
    return held;
}

size_t proxy_held_requests(struct proxy *proxy)
{
    return proxy_held(proxy, true);
}

size_t proxy_held_replies(struct proxy *proxy)
{
    return proxy_held(proxy, false);
}
