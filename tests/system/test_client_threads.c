/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * librlock in a program with threads: eight with a client each, and eight that ask whether one lock is
 * valid while another thread works with it. Meant to be run under the sanitizers as well.
 */

#include "proto/rlock.h"
#include "tests/lib/scene.h"

#include <pthread.h>
#include <stdatomic.h>

Suite *test_client_threads_suite(void);

enum { N_THREADS = 8, N_ROUNDS = 50, N_WATCHES = 20000 };

/* What the lock guards. Not atomic: the lock is what keeps the threads apart. */
static struct guarded {
    int64_t n, fence;
} guarded;

/*
 * The sanitizer for threads cannot see that the daemon orders them, so an atomic flag says so, and shows
 * by itself that no two threads are inside.
 */
static atomic_flag guarded_inside = ATOMIC_FLAG_INIT;

static void guarded_work(struct rlock *lock)
{
    ck_assert(!atomic_flag_test_and_set(&guarded_inside));
    ck_assert(rlock_valid(lock));
    ck_assert_int_gt(rlock_fence(lock), guarded.fence);
    guarded.fence = rlock_fence(lock);
    guarded.n++;
    atomic_flag_clear(&guarded_inside);
}

static void *threads_contend(void *ctx)
{
    struct rlock_client *client = NULL;

    (void)ctx;
    ck_assert_int_eq(rlock_open(scene.rlockd->socket_path, AWAIT_MS_MAX, &client), 0);
    for (int i = 0; i < N_ROUNDS; i++) {
        struct rlock *lock = NULL;
        int r = rlock_lock(client, "k", NULL, RLOCK_FOREVER, &lock);

        ck_assert_msg(r == 0, "%d: %s", r, rlock_error_text(client));
        guarded_work(lock);
        if (i % 2 == 0) {
            ck_assert_int_eq(rlock_unlock(lock, AWAIT_MS_MAX), 0);
        }
        rlock_free(lock);
    }
    rlock_close(client);
    return NULL;
}

static void threads_start(pthread_t threads[N_THREADS], void *(*fn)(void *), void *ctx)
{
    for (int i = 0; i < N_THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, fn, ctx), 0);
    }
}

static void threads_join(pthread_t threads[N_THREADS])
{
    for (int i = 0; i < N_THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
}

START_TEST(test_a_client_each)
{
    pthread_t threads[N_THREADS];

    threads_start(threads, threads_contend, NULL);
    threads_join(threads);
    ck_assert_int_eq(guarded.n, N_THREADS * N_ROUNDS);
}
END_TEST

static void *threads_watch(void *ctx)
{
    const struct rlock *lock = ctx;
    int64_t fence = rlock_fence(lock);
    bool was_valid = true;

    for (int i = 0; i < N_WATCHES; i++) {
        bool is_valid = rlock_valid(lock);

        ck_assert_int_eq(rlock_fence(lock), fence);
        ck_assert(was_valid || !is_valid); /* once given up, it is over */
        was_valid = is_valid;
    }
    while (rlock_valid(lock)) {
        (void)poll(NULL, 0, 1);
    }
    return NULL;
}

START_TEST(test_one_lock_for_all)
{
    struct rlock_client *client = NULL;
    struct rlock *lock = NULL;
    pthread_t threads[N_THREADS];

    ck_assert_int_eq(rlock_open(scene.rlockd->socket_path, AWAIT_MS_MAX, &client), 0);
    ck_assert_int_eq(rlock_lock(client, "k", NULL, AWAIT_MS_MAX, &lock), 0);
    threads_start(threads, threads_watch, lock);
    for (int i = 0; i < N_ROUNDS; i++) {
        ck_assert_int_eq(rlock_refresh(lock, 0, AWAIT_MS_MAX), 0);
    }
    ck_assert_int_eq(rlock_unlock(lock, AWAIT_MS_MAX), 0);
    threads_join(threads);
    rlock_free(lock);
    rlock_close(client);
}
END_TEST

Suite *test_client_threads_suite(void)
{
    Suite *suite = suite_create("client_threads");
    TCase *tcase = scene_case(suite, "threads", scene_open_default);

    tcase_add_test(tcase, test_a_client_each);
    tcase_add_test(tcase, test_one_lock_for_all);
    return suite;
}
