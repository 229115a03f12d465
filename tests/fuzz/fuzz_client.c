/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * What a daemon, or something in its place, may send to a program: librlock, with a lock that is held,
 * one that is waiting and a call in flight when the bytes arrive.
 */

#include "proto/rlock.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Ids of a client's first requests, in their order. */
#define FUZZ_GRANT                                                                                \
    "{\"jsonrpc\":\"2.0\",\"id\":1048576,\"result\":{\"key\":\"k\",\"fence\":7,\"ttl_ms\":30000," \
    "\"valid_until_ms\":4000000000000000,\"waited_ms\":0}}\n"

static struct sockaddr_un fuzz_address = {.sun_family = AF_UNIX};
static char fuzz_dir[] = "/tmp/fuzz_client.XXXXXX";

static void fuzz_clean(void)
{
    (void)unlink(fuzz_address.sun_path);
    (void)rmdir(fuzz_dir);
}

/* A listening socket, made once, in a directory of its own. */
static int fuzz_listen(void)
{
    const struct sockaddr_un *address = &fuzz_address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (mkdtemp(fuzz_dir) == NULL || atexit(fuzz_clean) != 0) {
        abort();
    }
    (void)snprintf(fuzz_address.sun_path, sizeof(fuzz_address.sun_path), "%s/s", fuzz_dir);
    if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) != 0 || listen(fd, 1) != 0) {
        abort();
    }
    return fd;
}

static void fuzz_on_event(struct rlock_client *client, const struct rlock_event *event, void *ctx)
{
    int *n_after_end = ctx;

    assert(event->type >= RLOCK_EVENT_GRANTED && event->type <= RLOCK_EVENT_ENDED);
    assert(*n_after_end == 0);
    *n_after_end += event->type == RLOCK_EVENT_ENDED;
    if (event->lock != NULL && event->fence % 2 == 0) {
        rlock_free(event->lock);
    }
    assert(rlock_dispatch(client) != 0);
}

/* Everything that was sent to the program, in pieces. */
static int fuzz_feed(struct rlock_client *client, int fd, const uint8_t *data, size_t len)
{
    size_t piece = data[0] * (size_t)16 + 1;
    int r = 0;

    for (size_t at = 1; at < len && r == 0; at += piece) {
        if (send(fd, data + at, len - at < piece ? len - at : piece, MSG_NOSIGNAL) < 0) {
            abort();
        }
        r = rlock_dispatch(client);
    }
    return r;
}

/* The same in one piece, and it lies there already when the program asks for what the blocking calls return:
 * requests 1048580 and 1048581. */
static int fuzz_ask(struct rlock_client *client, int fd, const uint8_t *data, size_t len)
{
    struct rlock_list *list = NULL;

    if (send(fd, data + 1, len - 1, MSG_NOSIGNAL) < 0) {
        abort();
    }
    if (rlock_inspect(client, "k", 0, &list) == 0) {
        assert(list->n_locks == 1);
        rlock_list_free(list);
    }
    if (rlock_list(client, NULL, NULL, 10, 0, &list) == 0) {
        for (size_t i = 0; i < list->n_locks; i++) {
            assert(list->locks[i].key != NULL);
        }
        rlock_list_free(list);
    }
    return rlock_dispatch(client);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static int listen_fd;
    struct rlock_client *client;
    struct rlock *held, *waiting;
    int n_after_end = 0;
    int64_t call_id;

    if (listen_fd == 0) {
        listen_fd = fuzz_listen();
    }
    if (len == 0 || rlock_open(fuzz_address.sun_path, RLOCK_FOREVER, &client) != 0) {
        return 0;
    }
    int fd = accept(listen_fd, NULL, NULL);
    if (rlock_lock_start(client, "k", NULL, &held) != 0 ||
        send(fd, FUZZ_GRANT, sizeof(FUZZ_GRANT) - 1, 0) < 0 || rlock_dispatch(client) != 0 ||
        !rlock_valid(held) || rlock_lock_start(client, "m", NULL, &waiting) != 0 ||
        rlock_call_start(client, "stats", NULL, &call_id) != 0 || rlock_refresh_start(held, 0) != 0) {
        abort();
    }
    rlock_on_event(client, fuzz_on_event, &n_after_end);
    int r = data[0] == 255 && len > 1 ? fuzz_ask(client, fd, data, len) : fuzz_feed(client, fd, data, len);
    assert((r != 0) == (n_after_end != 0));
    assert(r == 0 || rlock_dispatch(client) == r);
    rlock_close(client);
    close(fd);
    return 0;
}
