/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * usage: client_no_memory
 *
 * Goes through the same scene again and again with librlock, each time with the next allocation failing:
 * the first, the second, the third, until none is left to fail. Every call must end in success, or in an
 * error that tells of it; none may crash, hang, or leave a lock that is believed to be held. Says how
 * many allocations there were. It is linked against librlock.a, since it brings its own malloc().
 */

#include <rlock.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

void *__libc_malloc(size_t len);
void *__libc_calloc(size_t n, size_t len);
void *__libc_realloc(void *old, size_t len);

static int countdown; /* 0: nothing fails */

static int fails(void)
{
    return countdown > 0 && --countdown == 0;
}

void *malloc(size_t len)
{
    return fails() ? NULL : __libc_malloc(len);
}

void *calloc(size_t n, size_t len)
{
    return fails() ? NULL : __libc_calloc(n, len);
}

void *realloc(void *old, size_t len)
{
    return fails() ? NULL : __libc_realloc(old, len);
}

/* An answer that could not be parsed for want of memory looks like one that makes no sense. */
static void expect_tolerable(const char *what, int r)
{
    if (r != 0 && r != -ENOMEM && r != -EPROTO && r != -EINVAL && r != RLOCK_E_NOT_HELD) {
        fprintf(stderr, "%s: %d: %s\n", what, r, rlock_strerror(r));
        exit(1);
    }
}

static void count_event(struct rlock_client *client, const struct rlock_event *event, void *ctx)
{
    int *n_ended = ctx;

    (void)client;
    *n_ended += event->type == RLOCK_EVENT_ENDED;
}

static void scene_on_lock(struct rlock_client *client, struct rlock *lock)
{
    struct rlock_list *list = NULL;
    struct rlock *other = NULL;
    char *result = NULL;
    int64_t id;

    expect_tolerable("refresh", rlock_refresh(lock, 0, 10000));
    expect_tolerable("list", rlock_list(client, NULL, NULL, 10, 10000, &list));
    rlock_list_free(list);
    list = NULL;
    expect_tolerable("inspect", rlock_inspect(client, "k", 10000, &list));
    rlock_list_free(list);
    expect_tolerable("call", rlock_call(client, "hello", "{}", 10000, &result));
    free(result);
    expect_tolerable("lock_start", rlock_lock_start(client, "m", NULL, &other));
    expect_tolerable("call_start", rlock_call_start(client, "ping", NULL, &id));
    expect_tolerable("wait", rlock_wait(client, 10000));
    rlock_free(other);
    expect_tolerable("unlock", rlock_unlock(lock, 10000));
}

static void scene(void)
{
    struct rlock_client *client = NULL;
    struct rlock *lock = NULL;
    int n_ended = 0;
    int r = rlock_open(NULL, 10000, &client);

    expect_tolerable("open", r);
    if (r != 0) {
        return;
    }
    rlock_on_event(client, count_event, &n_ended);
    r = rlock_lock(client, "k", NULL, 10000, &lock);
    expect_tolerable("lock", r);
    if (r == 0) {
        scene_on_lock(client, lock);
        if (rlock_valid(lock) && (n_ended > 0 || rlock_state(lock) == RLOCK_UNLOCKED)) {
            fprintf(stderr, "valid, but the connection has ended, or the lock was given back\n");
            exit(1);
        }
    }
    rlock_close(client);
}

int main(void)
{
    int n = 0;

    do {
        countdown = ++n;
        scene();
    } while (countdown == 0);
    printf("%d allocations\n", n - 1);
    return n > 10 ? 0 : 1;
}
