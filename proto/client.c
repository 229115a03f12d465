/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The connection of a program to its daemon. Knows bytes and lines, not what they say.
 *
 *     rlock_dispatch   rlock_wait   a blocking call
 *              \            |            /
 *               librlock_pump: send what waits, recv --> frame --> librlock_take_line --> events
 *                                    |
 *                     the end: every request is answered with why, every lock is lost, ENDED
 *
 * Only reading finds the end. A send that fails may still leave messages to be read, the last `lost`
 * among them, so its error counts when there is nothing more to read.
 */

#include "proto/client.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LIBRLOCK_SOCKET "/run/rlockd/rlockd.sock"

int64_t librlock_now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_BOOTTIME, &now); /* cannot fail for a clock that exists */
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The instant at which waiting ends; -1: never. */
static int64_t librlock_end_ms(int timeout_ms)
{
    return timeout_ms < 0 ? -1 : librlock_now_ms() + timeout_ms;
}

/* What is left until then, for poll(2). */
static int librlock_left_ms(int64_t end_ms)
{
    if (end_ms < 0) {
        return -1;
    }
    int64_t left_ms = end_ms - librlock_now_ms();
    return left_ms < 0 ? 0 : left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}

/* ---- opening and closing ---- */

const char *rlock_socket_path(void)
{
    const char *path = secure_getenv("RLOCK_SOCKET");

    return path != NULL && *path != '\0' ? path : LIBRLOCK_SOCKET;
}

static int librlock_address(const char *path, struct sockaddr_un *ret_address)
{
    if (path == NULL || *path == '\0') {
        path = rlock_socket_path();
    }
    if (strlen(path) >= sizeof(ret_address->sun_path)) {
        return -ENAMETOOLONG;
    }
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    strcpy(ret_address->sun_path, path);
    return 0;
}

/*
 * A Unix socket does not connect in the background: without blocking it would fail with EAGAIN while the
 * daemon's backlog is full, and nothing could be polled. The send timeout bounds a blocking connect.
 */
static int librlock_connect(int fd, const struct sockaddr_un *address, int timeout_ms)
{
    int64_t end_ms = librlock_end_ms(timeout_ms);
    struct timeval limit = {0};

    for (;;) {
        if (end_ms >= 0) {
            int left_ms = librlock_left_ms(end_ms);

            limit = (struct timeval){.tv_sec = left_ms / 1000, .tv_usec = left_ms % 1000 * 1000};
            limit.tv_usec += left_ms == 0 ? 1 : 0; /* 0 would mean for ever */
            if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0) {
                return -errno;
            }
        }
        if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0) {
            return 0;
        }
        if (errno == EAGAIN) {
            return -ETIMEDOUT;
        }
        if (errno != EINTR) {
            return -errno;
        }
    }
}

int rlock_open(const char *socket_path, int timeout_ms, struct rlock_client **ret_client)
{
    struct sockaddr_un address;
    int r = librlock_address(socket_path, &address);

    if (r != 0) {
        return r;
    }
    struct rlock_client *client = calloc(1, sizeof(*client));
    if (client == NULL) {
        return -ENOMEM;
    }
    client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    client->free_request = LIBRLOCK_NONE;
    frame_init(&client->frame, LIBRLOCK_LINE_MAX);
    r = client->fd < 0 ? -errno : librlock_connect(client->fd, &address, timeout_ms);
    if (r != 0) {
        rlock_close(client);
        return r;
    }
    *ret_client = client;
    return 0;
}

void rlock_close(struct rlock_client *client)
{
    if (client == NULL) {
        return;
    }
    assert(!client->is_delivering);
    if (client->fd >= 0) {
        (void)close(client->fd); /* there is no file behind it that could fail to be written */
    }
    librlock_lock_free_all(client);
    frame_deinit(&client->frame);
    free(client->requests);
    free(client->out);
    free(client);
}

int rlock_fd(const struct rlock_client *client)
{
    return client->fd;
}

/* After a failed send POLLOUT makes poll(2) return, so that the program comes to dispatch. */
short rlock_poll_events(const struct rlock_client *client)
{
    return client->out_len > 0 || client->send_error != 0 ? POLLIN | POLLOUT : POLLIN;
}

void rlock_on_event(struct rlock_client *client, rlock_event_fn fn, void *ctx)
{
    client->on_event = fn;
    client->ctx = ctx;
}

void librlock_deliver(struct rlock_client *client, const struct rlock_event *event)
{
    if (client->on_event == NULL) {
        return;
    }
    assert(!client->is_delivering);
    client->is_delivering = true;
    client->on_event(client, event, client->ctx);
    client->is_delivering = false;
    librlock_lock_bury(client);
}

/* ---- sending ---- */

static void librlock_flush(struct rlock_client *client)
{
    size_t n_sent = 0;

    while (n_sent < client->out_len && client->send_error == 0) {
        ssize_t n =
            send(client->fd, client->out + n_sent, client->out_len - n_sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n >= 0) {
            n_sent += (size_t)n;
        } else if (errno == EAGAIN) {
            break;
        } else if (errno != EINTR) {
            client->send_error = errno;
        }
    }
    client->out_len -= n_sent;
    if (n_sent > 0 && client->out_len > 0) {
        memmove(client->out, client->out + n_sent, client->out_len);
    }
}

int librlock_send(struct rlock_client *client, const char *bytes, size_t len)
{
    if (client->out_cap - client->out_len < len) {
        size_t cap = 2 * client->out_cap + len;
        char *out = realloc(client->out, cap);

        if (out == NULL) {
            return -ENOMEM;
        }
        client->out = out;
        client->out_cap = cap;
    }
    memcpy(client->out + client->out_len, bytes, len);
    client->out_len += len;
    librlock_flush(client);
    return 0;
}

/* ---- reading ---- */

/* Everything that hangs on the connection learns that it is over. */
static void librlock_end(struct rlock_client *client, const struct rlock_error *error)
{
    assert(client->end_error.code == 0);
    client->end_error = *error;
    if (error->code < 0) {
        strcpy(client->end_error.reason, "disconnected");
    }
    client->out_len = 0;
    client->send_error = 0;
    /* The descriptor stays open, so that a program that polls it does not poll somebody else's. */
    (void)shutdown(client->fd, SHUT_RDWR);

    librlock_request_fail_all(client, &client->end_error);
    librlock_lock_disconnect_all(client);
    librlock_deliver(client, &(struct rlock_event){.type = RLOCK_EVENT_ENDED, .error = &client->end_error});
}

/* What was read into the room. 0, or the connection cannot go on. */
static int librlock_take(struct rlock_client *client, size_t len, struct rlock_error *ret_end)
{
    const char *line;
    size_t line_len;
    int r;

    frame_feed(&client->frame, client->room, len);
    while ((r = frame_next(&client->frame, &line, &line_len)) == 0) {
        r = librlock_take_line(client, line, line_len, ret_end);
        if (r != 0) {
            return r;
        }
    }
    if (r == FRAME_E_MORE) {
        return 0;
    }
    return librlock_error_set(ret_end, r == FRAME_E_NO_MEMORY ? -ENOMEM : -EPROTO, NULL);
}

/* Reads all there is. 0, or the connection cannot go on. */
static int librlock_read(struct rlock_client *client, struct rlock_error *ret_end)
{
    for (;;) {
        ssize_t n = recv(client->fd, client->room, sizeof(client->room), MSG_DONTWAIT);

        if (n > 0) {
            int r = librlock_take(client, (size_t)n, ret_end);

            /* A short read has emptied the socket, as far as one can know without a failed send. */
            if (r != 0 || ((size_t)n < sizeof(client->room) && client->send_error == 0)) {
                return r;
            }
        } else if (n == 0) {
            return librlock_error_set(ret_end, -ECONNRESET, NULL);
        } else if (errno == EAGAIN) {
            return 0;
        } else if (errno != EINTR) {
            return librlock_error_set(ret_end, -errno, NULL);
        }
    }
}

/* 0, or the code with which the connection has ended. */
static int librlock_pump(struct rlock_client *client)
{
    struct rlock_error end;

    librlock_flush(client);
    int r = librlock_read(client, &end);
    if (r == 0 && client->send_error != 0) {
        r = librlock_error_set(&end, -client->send_error, NULL);
    }
    if (r != 0) {
        librlock_end(client, &end);
    }
    return r;
}

int librlock_check(struct rlock_client *client)
{
    if (client->end_error.code != 0) {
        client->error = client->end_error;
    }
    return client->end_error.code;
}

int librlock_check_waiting(struct rlock_client *client)
{
    return client->is_delivering ? librlock_fail(client, -EBUSY, NULL) : librlock_check(client);
}

int rlock_dispatch(struct rlock_client *client)
{
    int r = librlock_check_waiting(client);

    if (r == 0 && librlock_pump(client) != 0) {
        r = librlock_check(client);
    }
    return r;
}

/* Until something can be read or sent: 0 or -ETIMEDOUT, or what poll(2) says. */
static int librlock_poll(const struct rlock_client *client, int64_t end_ms)
{
    for (;;) {
        struct pollfd pollfd = {.fd = client->fd, .events = rlock_poll_events(client)};
        int n = poll(&pollfd, 1, librlock_left_ms(end_ms));

        if (n > 0) {
            return 0;
        }
        if (n == 0 && librlock_left_ms(end_ms) == 0) {
            return -ETIMEDOUT;
        }
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
    }
}

int rlock_wait(struct rlock_client *client, int timeout_ms)
{
    int r = librlock_check_waiting(client);

    if (r != 0) {
        return r;
    }
    r = librlock_poll(client, librlock_end_ms(timeout_ms));
    return r != 0 ? librlock_fail(client, r, NULL) : rlock_dispatch(client);
}

int librlock_await(struct rlock_client *client, struct librlock_wait *wait, int timeout_ms)
{
    int64_t end_ms = librlock_end_ms(timeout_ms);

    while (!wait->is_done) {
        int r = librlock_poll(client, end_ms);

        if (r != 0) {
            return librlock_fail(client, r, NULL);
        }
        (void)librlock_pump(client); /* at the end of the connection, the wait is done */
    }
    if (wait->error.code != 0) {
        client->error = wait->error;
    }
    return wait->error.code;
}
