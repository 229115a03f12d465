/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * librlock against the real daemon, through its header alone: the calls that wait, and how a program
 * without events sees its locks end.
 */

#include "proto/rlock.h"
#include "tests/lib/scene.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

Suite *test_client_suite(void);

enum { CLIENT_MS = AWAIT_MS_MAX };

static struct rlock_client *client_new(void)
{
    struct rlock_client *client = NULL;

    ck_assert_int_eq(rlock_open(scene.rlockd->socket_path, CLIENT_MS, &client), 0);
    return client;
}

static struct rlock *client_hold(struct rlock_client *client, const char *key, struct rlock_options options)
{
    struct rlock *lock = NULL;
    int r = rlock_lock(client, key, &options, CLIENT_MS, &lock);

    ck_assert_msg(r == 0, "%d: %s", r, rlock_error_text(client));
    return lock;
}

START_TEST(test_open)
{
    struct rlock_client *client = NULL;
    char long_path[200];

    memset(long_path, 'x', sizeof(long_path) - 1);
    long_path[sizeof(long_path) - 1] = '\0';
    ck_assert_int_eq(rlock_open(long_path, 0, &client), -ENAMETOOLONG);
    ck_assert_int_eq(rlock_open("/nonexistent/rlockd.sock", CLIENT_MS, &client), -ENOENT);
    ck_assert_ptr_null(client);
    ck_assert_str_eq(rlock_strerror(-ENOENT), "No such file or directory");

    setenv("RLOCK_SOCKET", scene.rlockd->socket_path, 1);
    ck_assert_int_eq(rlock_open(NULL, RLOCK_FOREVER, &client), 0);
    ck_assert_int_eq(fcntl(rlock_fd(client), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    ck_assert_int_eq(rlock_poll_events(client), POLLIN);
    ck_assert_str_eq(rlock_error_text(client), "");
    rlock_close(client);
    rlock_close(NULL);
    ck_assert_int_eq(rlock_open(scene.rlockd->socket_path, 0, &client), 0);
    rlock_close(client);
}
END_TEST

START_TEST(test_lock_and_unlock)
{
    struct rlock_client *client = client_new();
    struct rlock *lock = client_hold(client, "k", (struct rlock_options){.ttl_ms = 20000});
    struct rlock_grant grant = rlock_grant(lock);

    ck_assert_str_eq(rlock_key(lock), "k");
    ck_assert_ptr_eq(rlock_client(lock), client);
    ck_assert_int_eq(rlock_state(lock), RLOCK_HELD);
    ck_assert_int_gt(grant.fence, 0);
    ck_assert_int_eq(grant.fence, rlock_fence(lock));
    ck_assert_int_eq(grant.ttl_ms, 20000);
    ck_assert_int_ge(grant.waited_ms, 0);
    ck_assert_int_gt(grant.valid_until_ms, await_now_ms());
    ck_assert_int_le(grant.valid_until_ms, await_now_ms() + 20000);
    ck_assert(rlock_valid(lock));
    ck_assert(probe_has(scene.probe, "k"));

    ck_assert_int_eq(rlock_unlock(lock, CLIENT_MS), 0);
    ck_assert(!rlock_valid(lock));
    ck_assert(!probe_has(scene.probe, "k"));
    ck_assert_int_eq(rlock_state(lock), RLOCK_UNLOCKED);
    ck_assert_str_eq(rlock_reason(lock), "");
    ck_assert_int_eq(rlock_unlock(lock, CLIENT_MS), RLOCK_E_NOT_HELD);
    ck_assert_str_eq(rlock_error(client)->why, "released");
    ck_assert_str_eq(rlock_error(client)->reason, "not_held");
    rlock_free(lock);
    rlock_close(client);
}
END_TEST

START_TEST(test_held_by_another)
{
    struct rlock_client *first = client_new(), *second = client_new();
    struct rlock *lock = client_hold(first, "k", (struct rlock_options){0}), *none = NULL;
    struct rlock_options at_once = {.wait_ms = RLOCK_ZERO}, soon = {.wait_ms = 50};

    ck_assert_int_eq(rlock_try(second, "k", NULL, CLIENT_MS, &none), RLOCK_E_HELD);
    ck_assert_int_gt(rlock_error(second)->remaining_ms, 0);
    ck_assert_str_eq(rlock_error(second)->reason, rlock_code_name(RLOCK_E_HELD));
    ck_assert_int_eq(rlock_lock(second, "k", &at_once, CLIENT_MS, &none), RLOCK_E_HELD);
    ck_assert_int_eq(rlock_lock(second, "k", &soon, CLIENT_MS, &none), RLOCK_E_TIMEOUT);
    ck_assert_int_eq(rlock_lock(first, "k", NULL, CLIENT_MS, &none), RLOCK_E_ALREADY_HELD);
    ck_assert_ptr_null(none);

    /* The program's own patience ends: nobody waits any more, and it may ask again. */
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(rlock_lock(second, "k", NULL, i % 2, &none), -ETIMEDOUT);
        ck_assert_int_eq(rlock_error(second)->code, -ETIMEDOUT);
    }
    rlock_free(lock);
    lock = client_hold(second, "k", (struct rlock_options){0});
    ck_assert_int_eq(rlock_unlock(lock, CLIENT_MS), 0);
    rlock_close(second);
    rlock_close(first);
}
END_TEST

START_TEST(test_options)
{
    struct rlock_client *client = client_new();
    struct rlock *lock = NULL;
    struct rlock_options bad = {.ttl_ms = 50}, rude = {.note = "\xff"};
    struct rlock_options all = {.ttl_ms = 30000,
                                .wait_ms = RLOCK_UNBOUNDED,
                                .retry_interval_ms = 10,
                                .retry_max = RLOCK_ZERO,
                                .attempt_timeout_ms = 5000,
                                .max_hold_ms = RLOCK_UNBOUNDED,
                                .note = "to \"test\"",
                                .fail_fast = true,
                                .no_auto_refresh = true};

    ck_assert_int_eq(rlock_lock(client, "k", &bad, CLIENT_MS, &lock), RLOCK_E_INVALID_PARAMS);
    ck_assert_str_eq(rlock_error_text(client), "ttl_ms must be an integer from 100 to 86400000");
    ck_assert_int_eq(rlock_lock(client, "", NULL, CLIENT_MS, &lock), RLOCK_E_INVALID_PARAMS);
    ck_assert_int_eq(rlock_lock(client, "\xc3(", NULL, CLIENT_MS, &lock), -EINVAL);
    ck_assert_int_eq(rlock_lock(client, NULL, NULL, CLIENT_MS, &lock), -EINVAL);
    ck_assert_int_eq(rlock_lock(client, "k", &rude, CLIENT_MS, &lock), -EINVAL);

    lock = client_hold(client, "\xc3\xa4 \"k\"", all);
    ck_assert(probe_has(scene.probe, "\xc3\xa4 \"k\""));
    ck_assert_int_eq(rlock_unlock(lock, CLIENT_MS), 0);
    lock = client_hold(client, "k", (struct rlock_options){.retry_max = RLOCK_UNBOUNDED});
    ck_assert_int_eq(rlock_unlock(lock, CLIENT_MS), 0);

    /* An attempt, no more: another program's lock is found. */
    probe_do(scene.probe, "SET k thief PX 60000");
    all.wait_ms = 60000;
    ck_assert_int_eq(rlock_lock(client, "k", &all, CLIENT_MS, &lock), RLOCK_E_HELD);
    ck_assert_int_gt(rlock_error(client)->remaining_ms, 0);
    rlock_close(client);
}
END_TEST

START_TEST(test_refresh)
{
    struct rlock_client *client = client_new();
    struct rlock *lock =
        client_hold(client, "k", (struct rlock_options){.ttl_ms = 2000, .no_auto_refresh = true});
    int64_t before_ms = rlock_grant(lock).valid_until_ms;

    ck_assert_int_eq(rlock_refresh(lock, 60000, CLIENT_MS), 0);
    ck_assert_int_gt(rlock_grant(lock).valid_until_ms, before_ms + 30000);
    ck_assert_int_eq(rlock_grant(lock).ttl_ms, 60000);
    ck_assert(rlock_valid(lock));
    ck_assert_int_gt(probe_ttl_ms(scene.probe, "k"), 30000);

    probe_do(scene.probe, "DEL k");
    ck_assert_int_eq(rlock_refresh(lock, 0, CLIENT_MS), RLOCK_E_NOT_HELD);
    ck_assert_str_eq(rlock_error(client)->why, "deleted");
    ck_assert(!rlock_valid(lock));
    ck_assert_int_eq(rlock_state(lock), RLOCK_LOST);
    ck_assert_str_eq(rlock_reason(lock), "deleted");
    ck_assert_int_eq(rlock_refresh(lock, 0, CLIENT_MS), RLOCK_E_NOT_HELD);
    ck_assert_int_eq(rlock_unlock(lock, CLIENT_MS), RLOCK_E_NOT_HELD);
    ck_assert_str_eq(rlock_error(client)->why, "deleted");
    rlock_close(client);
}
END_TEST

/* What a program that reads no events can rely on: the clock alone. */
START_TEST(test_valid_ends_by_the_clock)
{
    struct rlock_client *client = client_new();
    struct rlock *lock =
        client_hold(client, "k", (struct rlock_options){.ttl_ms = 200, .no_auto_refresh = true});

    ck_assert(rlock_valid(lock));
    AWAIT(!rlock_valid(lock));
    ck_assert_int_ge(await_now_ms(), rlock_grant(lock).valid_until_ms);
    ck_assert_int_eq(rlock_state(lock), RLOCK_HELD); /* as far as it has read */
    ck_assert_int_eq(rlock_dispatch(client), 0);
    ck_assert_int_eq(rlock_state(lock), RLOCK_LOST);
    ck_assert_str_eq(rlock_reason(lock), "ttl");
    rlock_close(client);
}
END_TEST

START_TEST(test_unavailable)
{
    struct rlock_client *client = client_new();
    struct rlock *lock = client_hold(client, "k", (struct rlock_options){0}), *none = NULL;
    struct rlock_options fast = {.fail_fast = true, .attempt_timeout_ms = 50};

    scene_stop_redis();
    ck_assert_int_eq(rlock_lock(client, "m", &fast, CLIENT_MS, &none), RLOCK_E_UNAVAILABLE);
    ck_assert_str_ne(rlock_error(client)->last_error, "");
    ck_assert_int_eq(rlock_refresh(lock, 0, CLIENT_MS), RLOCK_E_UNAVAILABLE);
    ck_assert(rlock_valid(lock)); /* that is no loss */
    /* From now on two ttls are possible, and half of the shorter one is certain. */
    ck_assert_int_eq(rlock_refresh(lock, 100, 0), -ETIMEDOUT);
    AWAIT(!rlock_valid(lock));
    ck_assert_int_eq(rlock_state(lock), RLOCK_HELD);
    ck_assert_int_eq(rlock_unlock(lock, CLIENT_MS), RLOCK_E_UNAVAILABLE);
    ck_assert_int_eq(rlock_state(lock), RLOCK_UNLOCKED);
    scene_continue_redis();
    AWAIT(!probe_has(scene.probe, "k"));
    rlock_close(client);
}
END_TEST

START_TEST(test_daemon_does_not_answer)
{
    struct rlock_client *client = client_new();
    struct rlock *lock = client_hold(client, "k", (struct rlock_options){0}), *none = NULL;
    char *result = NULL;

    rlockd_signal(scene.rlockd, SIGSTOP);
    ck_assert_int_eq(rlock_wait(client, 0), -ETIMEDOUT);
    ck_assert_int_eq(rlock_call(client, "ping", NULL, 1, &result), -ETIMEDOUT);
    ck_assert_int_eq(rlock_lock(client, "m", NULL, 1, &none), -ETIMEDOUT);
    ck_assert_int_eq(rlock_unlock(lock, 1), -ETIMEDOUT);
    ck_assert_int_eq(rlock_state(lock), RLOCK_UNLOCKING);
    ck_assert(!rlock_valid(lock));
    rlock_free(lock);
    rlockd_signal(scene.rlockd, SIGCONT);

    /* It had all been sent: "k" is given back, and "m", granted and withdrawn at once, too. */
    ck_assert_int_eq(rlock_call(client, "ping", NULL, CLIENT_MS, &result), 0);
    ck_assert_str_eq(result, "\"pong\"");
    free(result);
    AWAIT(rlock_dispatch(client) == 0 && !probe_has(scene.probe, "k") && !probe_has(scene.probe, "m"));
    rlock_close(client);
}
END_TEST

START_TEST(test_daemon_is_killed)
{
    struct rlock_client *client = client_new();
    struct rlock *lock = client_hold(client, "k", (struct rlock_options){0}), *none = NULL;
    char *result = NULL;
    int64_t id;

    rlockd_signal(scene.rlockd, SIGKILL);
    ck_assert_int_eq(rlockd_wait(scene.rlockd), 128 + SIGKILL);
    ck_assert_int_eq(rlock_lock(client, "m", NULL, CLIENT_MS, &none), -ECONNRESET);
    ck_assert_str_eq(rlock_error_text(client), rlock_strerror(-ECONNRESET));
    ck_assert_int_eq(rlock_state(lock), RLOCK_LOST);
    ck_assert_str_eq(rlock_reason(lock), "disconnected");
    ck_assert(!rlock_valid(lock));
    ck_assert_int_eq(rlock_dispatch(client), -ECONNRESET);
    ck_assert_int_eq(rlock_wait(client, 0), -ECONNRESET);
    ck_assert_int_eq(rlock_lock_start(client, "m", NULL, &none), -ECONNRESET);
    ck_assert_int_eq(rlock_call(client, "ping", NULL, CLIENT_MS, &result), -ECONNRESET);
    ck_assert_int_eq(rlock_call_start(client, "ping", NULL, &id), -ECONNRESET);
    ck_assert_int_eq(rlock_refresh(lock, 0, CLIENT_MS), -ECONNRESET);
    ck_assert_int_eq(rlock_unlock(lock, CLIENT_MS), RLOCK_E_NOT_HELD);
    ck_assert_str_eq(rlock_error(client)->why, "disconnected");
    rlock_free(lock);
    rlock_close(client);
}
END_TEST

START_TEST(test_close_gives_back)
{
    struct rlock_client *client = client_new();

    client_hold(client, "k", (struct rlock_options){0});
    client_hold(client, "m", (struct rlock_options){0});
    rlock_close(client);
    AWAIT(!probe_has(scene.probe, "k") && !probe_has(scene.probe, "m"));
}
END_TEST

START_TEST(test_child_may_close_its_copy)
{
    struct rlock_client *client = client_new();
    struct rlock *lock = client_hold(client, "k", (struct rlock_options){0});
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        rlock_close(client);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(rlock_refresh(lock, 0, CLIENT_MS), 0);
    ck_assert_int_eq(rlock_unlock(lock, CLIENT_MS), 0);
    rlock_close(client);
}
END_TEST

START_TEST(test_call)
{
    struct rlock_client *client = client_new();
    char *result = NULL, deep[] = "{\"key\":[[[[[[[[1]]]]]]]]}", *large = calloc(1, 70000);

    ck_assert_int_eq(rlock_call(client, "lock", "{ \"key\" : \"k\",\n\"note\":\"n\" }", CLIENT_MS, &result),
                     0);
    ck_assert_ptr_nonnull(strstr(result, "\"fence\":"));
    free(result);
    ck_assert_int_eq(rlock_call(client, "fly", NULL, CLIENT_MS, &result), RLOCK_E_METHOD_NOT_FOUND);
    ck_assert_str_eq(rlock_error_text(client), "there is no method \"fly\"");
    ck_assert_int_eq(rlock_call(client, "unlock", "{}", CLIENT_MS, &result), RLOCK_E_INVALID_PARAMS);
    ck_assert_int_eq(rlock_call(client, "ping", "[]", CLIENT_MS, &result), -EINVAL);
    ck_assert_int_eq(rlock_call(client, "ping", "{", CLIENT_MS, &result), -EINVAL);
    ck_assert_int_eq(rlock_call(client, "ping", "{\"a\":1,\"a\":1}", CLIENT_MS, &result), -EINVAL);
    ck_assert_int_eq(rlock_call(client, "ping", deep, CLIENT_MS, &result), -EINVAL);
    ck_assert_int_eq(rlock_call(client, "\xff", NULL, CLIENT_MS, &result), -EINVAL);
    memset(large, ' ', 69999);
    memcpy(large, "{\"key\":\"", 8);
    memcpy(large + 69997, "\"}", 2);
    ck_assert_int_eq(rlock_call(client, "inspect", large, CLIENT_MS, &result), -EMSGSIZE);
    free(large);
    ck_assert_int_eq(rlock_call(client, "ping", NULL, CLIENT_MS, &result), 0); /* none of it did harm */
    free(result);
    rlock_close(client);
}
END_TEST

START_TEST(test_list_and_inspect)
{
    struct rlock_client *first = client_new(), *second = client_new();
    struct rlock *waiting = NULL;
    struct rlock_list *list = NULL;

    client_hold(first, "a/1", (struct rlock_options){.note = "one"});
    client_hold(first, "a/2", (struct rlock_options){0});
    client_hold(first, "b/1", (struct rlock_options){0});
    ck_assert_int_eq(rlock_lock_start(second, "a/1", &(struct rlock_options){.note = "next"}, &waiting), 0);

    ck_assert_int_eq(rlock_list(second, "a/", NULL, 1, CLIENT_MS, &list), 0);
    ck_assert_uint_eq(list->n_locks, 1);
    ck_assert_str_eq(list->next, "a/1");
    ck_assert_str_eq(list->locks->state, "held");
    ck_assert_int_eq(list->locks->holder->pid, getpid());
    ck_assert_int_eq(list->locks->holder->uid, (int64_t)getuid());
    ck_assert_int_eq(list->locks->holder->waited_ms, -1);
    ck_assert_str_eq(list->locks->holder->note, "one");
    ck_assert_str_ne(list->locks->holder->command, "");
    ck_assert_uint_eq(list->locks->n_waiting, 1);
    ck_assert_str_eq(list->locks->waiting->note, "next");
    ck_assert_int_ge(list->locks->waiting->waited_ms, 0);
    ck_assert_int_ge(list->locks->held_ms, 0);
    ck_assert_int_gt(list->locks->fence, 0);
    ck_assert_int_gt(list->locks->lease_ttl_ms, 0);
    ck_assert_int_gt(list->locks->lease_remaining_ms, 0);
    rlock_list_free(list);
    ck_assert_int_eq(rlock_list(second, "a/", "a/1", 0, CLIENT_MS, &list), 0);
    ck_assert_uint_eq(list->n_locks, 1);
    ck_assert_str_eq(list->locks->key, "a/2");
    ck_assert_uint_eq(list->locks->n_waiting, 0);
    ck_assert_ptr_null(list->next);
    rlock_list_free(list);
    ck_assert_int_eq(rlock_list(second, NULL, NULL, 0, CLIENT_MS, &list), 0);
    ck_assert_uint_eq(list->n_locks, 3);
    rlock_list_free(list);
    ck_assert_int_eq(rlock_list(second, "\xff", NULL, 0, CLIENT_MS, &list), -EINVAL);
    ck_assert_int_eq(rlock_list(second, NULL, NULL, 5000, CLIENT_MS, &list), RLOCK_E_INVALID_PARAMS);

    ck_assert_int_eq(rlock_inspect(second, "nobody's", CLIENT_MS, &list), 0);
    ck_assert_uint_eq(list->n_locks, 1);
    ck_assert_str_eq(list->locks->state, "free");
    ck_assert_ptr_null(list->locks->holder);
    ck_assert_int_eq(list->locks->fence, 0);
    ck_assert_int_eq(list->locks->held_ms, -1);
    ck_assert_int_eq(list->locks->lease_ttl_ms, -1);
    rlock_list_free(list);
    rlock_list_free(NULL);
    rlock_close(second);
    rlock_close(first);
}
END_TEST

Suite *test_client_suite(void)
{
    Suite *suite = suite_create("client");
    TCase *tcase = scene_case(suite, "blocking", scene_open_default);

    tcase_add_test(tcase, test_open);
    tcase_add_test(tcase, test_lock_and_unlock);
    tcase_add_test(tcase, test_held_by_another);
    tcase_add_test(tcase, test_options);
    tcase_add_test(tcase, test_refresh);
    tcase_add_test(tcase, test_valid_ends_by_the_clock);
    tcase_add_test(tcase, test_unavailable);
    tcase_add_test(tcase, test_daemon_does_not_answer);
    tcase_add_test(tcase, test_daemon_is_killed);
    tcase_add_test(tcase, test_close_gives_back);
    tcase_add_test(tcase, test_child_may_close_its_copy);
    tcase_add_test(tcase, test_call);
    tcase_add_test(tcase, test_list_and_inspect);
    return suite;
}
