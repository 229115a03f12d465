/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * librlock's other side against the real daemon: requests that do not wait, and what events tell.
 */

#include "tests/lib/news.h"
#include "tests/lib/scene.h"

#include <errno.h>

Suite *test_client_events_suite(void);

enum { EVENTS_MS = AWAIT_MS_MAX };

/* Long enough patience of the link not to break, when a test holds back what goes to Redis. */
static void events_open(void)
{
    scene_open_with_proxy("timeout = 60s\nreconnect_min = 10ms\nreconnect_max = 50ms\n");
}

static struct rlock_client *events_client(void)
{
    struct rlock_client *client = NULL;

    ck_assert_int_eq(rlock_open(scene.rlockd->socket_path, EVENTS_MS, &client), 0);
    return client;
}

static struct rlock *events_ask(struct rlock_client *client, const char *key, struct rlock_options options)
{
    struct rlock *lock = NULL;

    ck_assert_int_eq(rlock_lock_start(client, key, &options, &lock), 0);
    ck_assert_int_eq(rlock_state(lock), RLOCK_WAITING);
    ck_assert_int_eq(rlock_fence(lock), 0);
    ck_assert(!rlock_valid(lock));
    return lock;
}

/* Asked for and granted. */
static struct rlock *events_hold(struct rlock_client *client, struct news *news, const char *key,
                                 int64_t ttl_ms)
{
    struct rlock *lock = events_ask(client, key, (struct rlock_options){.ttl_ms = ttl_ms});
    const struct news_item *item = news_expect(client, news, RLOCK_EVENT_GRANTED);

    ck_assert_ptr_eq(item->lock, lock);
    ck_assert_str_eq(item->key, key);
    ck_assert_int_eq(item->fence, rlock_fence(lock));
    ck_assert_int_eq(item->valid_until_ms, rlock_grant(lock).valid_until_ms);
    ck_assert_int_eq(rlock_state(lock), RLOCK_HELD);
    return lock;
}

static void events_expect_lost(struct rlock_client *client, struct news *news, struct rlock *lock,
                               const char *reason)
{
    const struct news_item *item = news_expect(client, news, RLOCK_EVENT_LOST);

    ck_assert_ptr_eq(item->lock, lock);
    ck_assert_str_eq(item->reason, reason);
    ck_assert_int_eq(item->fence, rlock_fence(lock));
    ck_assert_int_eq(rlock_state(lock), RLOCK_LOST);
    ck_assert_str_eq(rlock_reason(lock), reason);
    ck_assert(!rlock_valid(lock));
}

START_TEST(test_granted_and_unlocked)
{
    struct rlock_client *first = events_client(), *second = events_client();
    struct news *news1 = news_of(first), *news2 = news_of(second);
    struct rlock *held = events_hold(first, news1, "k", 0);
    struct rlock *wanted = events_ask(second, "k", (struct rlock_options){0}), *tried = NULL;

    ck_assert_ptr_null(rlock_ctx(wanted));
    rlock_set_ctx(wanted, &wanted);
    ck_assert_int_eq(rlock_try_start(second, "k", NULL, &tried), 0);
    ck_assert_int_eq(news_expect(second, news2, RLOCK_EVENT_REFUSED)->code, RLOCK_E_ALREADY_HELD);
    ck_assert_int_eq(rlock_state(tried), RLOCK_REFUSED);
    ck_assert_str_eq(rlock_reason(tried), "already_held");
    ck_assert_int_eq(rlock_unlock_start(tried), RLOCK_E_NOT_HELD);
    ck_assert_str_eq(rlock_error(second)->why, "never");

    ck_assert_int_eq(rlock_unlock_start(held), 0);
    ck_assert_int_eq(rlock_state(held), RLOCK_UNLOCKING);
    ck_assert(!rlock_valid(held));
    ck_assert_int_eq(rlock_unlock_start(held), RLOCK_E_NOT_HELD);
    ck_assert_int_eq(news_expect(first, news1, RLOCK_EVENT_UNLOCKED)->code, 0);
    ck_assert_ptr_eq(news_expect(second, news2, RLOCK_EVENT_GRANTED)->lock, wanted);
    ck_assert_int_gt(rlock_fence(wanted), rlock_fence(held));
    ck_assert_ptr_eq(rlock_ctx(wanted), &wanted);
    /* The same key again, begun before the answer to the unlock has come. */
    ck_assert_int_eq(rlock_unlock_start(wanted), 0);
    wanted = events_ask(second, "k", (struct rlock_options){0});
    news_expect(second, news2, RLOCK_EVENT_UNLOCKED);
    ck_assert_ptr_eq(news_expect(second, news2, RLOCK_EVENT_GRANTED)->lock, wanted);
    rlock_close(first);
    rlock_close(second);
    free(news1);
    free(news2);
}
END_TEST

START_TEST(test_cancel)
{
    struct rlock_client *first = events_client(), *second = events_client();
    struct news *news1 = news_of(first), *news2 = news_of(second);
    struct rlock *held = events_hold(first, news1, "k", 0);
    struct rlock *wanted = events_ask(second, "k", (struct rlock_options){0});
    const struct news_item *item;

    ck_assert_int_eq(rlock_cancel(wanted), 0);
    item = news_expect(second, news2, RLOCK_EVENT_REFUSED);
    ck_assert_ptr_eq(item->lock, wanted);
    ck_assert_str_eq(item->key, "k");
    ck_assert_int_eq(item->code, RLOCK_E_CANCELLED);
    ck_assert_str_eq(rlock_reason(wanted), "cancelled");
    ck_assert_int_eq(rlock_cancel(wanted), 0);
    ck_assert_int_eq(rlock_cancel(held), 0);
    ck_assert(rlock_valid(held));

    /* A grant that crosses the cancel stands. */
    wanted = events_ask(second, "k", (struct rlock_options){0});
    ck_assert_int_eq(rlock_unlock(held, EVENTS_MS), 0);
    ck_assert_int_eq(rlock_cancel(wanted), 0);
    ck_assert_ptr_eq(news_next(second, news2)->lock, wanted);
    ck_assert(rlock_state(wanted) == RLOCK_HELD || rlock_state(wanted) == RLOCK_REFUSED);
    news_expect_none(news1);
    rlock_close(first);
    rlock_close(second);
    free(news1);
    free(news2);
}
END_TEST

START_TEST(test_lost)
{
    static const struct {
        const char *command, *reason;
    } rows[] = {{"DEL k", "deleted"}, {"SET k thief", "taken"}};
    struct rlock_client *client = events_client();
    struct news *news = news_of(client);
    struct rlock *other = events_hold(client, news, "other", 60000);

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct rlock *lock = events_hold(client, news, "k", 500);

        probe_do(scene.probe, rows[i].command);
        events_expect_lost(client, news, lock, rows[i].reason);
        ck_assert_int_eq(rlock_unlock(lock, EVENTS_MS), RLOCK_E_NOT_HELD);
        ck_assert_str_eq(rlock_error(client)->why, rows[i].reason);
        rlock_free(lock);
    }
    ck_assert(rlock_valid(other));
    probe_do(scene.probe, "DEL k");

    struct rlock *lock = events_ask(client, "k", (struct rlock_options){.max_hold_ms = 50});
    news_expect(client, news, RLOCK_EVENT_GRANTED);
    events_expect_lost(client, news, lock, "max_hold");

    char *result = NULL;
    struct rlock_client *root = events_client();
    ck_assert_int_eq(rlock_call(root, "force_unlock", "{\"key\":\"other\"}", EVENTS_MS, &result), 0);
    events_expect_lost(client, news, other, "forced");
    free(result);
    rlock_close(root);
    rlock_close(client);
    free(news);
}
END_TEST

START_TEST(test_at_risk_and_safe)
{
    struct rlock_client *client = events_client();
    struct news *news = news_of(client);
    struct rlock *lock = events_hold(client, news, "k", 3000);
    const struct news_item *item;
    int64_t sure_until_ms;

    proxy_hold_requests(scene.proxy, true);
    item = news_expect(client, news, RLOCK_EVENT_AT_RISK);
    ck_assert_ptr_eq(item->lock, lock);
    ck_assert_int_gt(item->lost_at_ms, await_now_ms());
    ck_assert_int_eq(rlock_state(lock), RLOCK_AT_RISK);
    ck_assert(rlock_valid(lock));
    sure_until_ms = rlock_grant(lock).valid_until_ms;
    ck_assert_int_ge(sure_until_ms, item->lost_at_ms);

    proxy_hold_requests(scene.proxy, false);
    item = news_expect(client, news, RLOCK_EVENT_SAFE);
    ck_assert_int_gt(item->valid_until_ms, sure_until_ms);
    ck_assert_int_eq(rlock_grant(lock).valid_until_ms, item->valid_until_ms);
    ck_assert_int_eq(rlock_state(lock), RLOCK_HELD);

    proxy_hold_requests(scene.proxy, true);
    item = news_expect(client, news, RLOCK_EVENT_AT_RISK);
    sure_until_ms = rlock_grant(lock).valid_until_ms;
    events_expect_lost(client, news, lock, "expired");
    ck_assert_int_le(await_now_ms(), sure_until_ms + EVENTS_MS);
    proxy_hold_requests(scene.proxy, false);
    rlock_close(client);
    free(news);
}
END_TEST

START_TEST(test_refreshed)
{
    struct rlock_client *client = events_client();
    struct news *news = news_of(client);
    struct rlock *lock = events_hold(client, news, "k", 30000);
    int64_t before_ms = rlock_grant(lock).valid_until_ms;
    const struct news_item *item;

    ck_assert_int_eq(rlock_refresh_start(lock, 60000), 0);
    ck_assert(rlock_valid(lock));
    item = news_expect(client, news, RLOCK_EVENT_REFRESHED);
    ck_assert_ptr_eq(item->lock, lock);
    ck_assert_int_eq(item->code, 0);
    ck_assert_int_gt(item->valid_until_ms, before_ms);
    ck_assert_int_eq(rlock_grant(lock).valid_until_ms, item->valid_until_ms);

    ck_assert_int_eq(rlock_refresh_start(lock, 1), 0); /* no ttl that there is */
    item = news_expect(client, news, RLOCK_EVENT_REFRESHED);
    ck_assert_int_eq(item->code, RLOCK_E_INVALID_PARAMS);
    ck_assert_int_eq(rlock_state(lock), RLOCK_HELD);
    ck_assert_int_eq(rlock_refresh(lock, 0, EVENTS_MS), 0);
    ck_assert(rlock_valid(lock));
    news_expect_none(news);
    rlock_close(client);
    free(news);
}
END_TEST

START_TEST(test_many_locks)
{
    enum { MANY = 1000 };
    struct rlock_client *client = events_client();
    struct news *news = news_of(client);
    struct rlock *locks[MANY];
    char key[32];

    for (int i = 0; i < MANY; i++) {
        (void)snprintf(key, sizeof(key), "many/%d", i);
        locks[i] = events_ask(client, key, (struct rlock_options){0});
        rlock_set_ctx(locks[i], &locks[i]);
    }
    for (int i = 0; i < MANY; i++) {
        const struct news_item *item = news_expect(client, news, RLOCK_EVENT_GRANTED);

        ck_assert_str_eq(item->key, rlock_key(item->lock));
        ck_assert_ptr_eq(*(struct rlock **)rlock_ctx(item->lock), item->lock);
    }
    for (int i = 0; i < MANY; i++) {
        ck_assert_int_eq(rlock_state(locks[i]), RLOCK_HELD);
        ck_assert_int_eq(rlock_unlock_start(locks[i]), 0);
    }
    for (int i = 0; i < MANY; i++) {
        rlock_free(news_expect(client, news, RLOCK_EVENT_UNLOCKED)->lock);
    }
    ck_assert_int_eq(probe_do(scene.probe, "EXISTS many/0 many/500 many/999"), 0);
    rlock_close(client);
    free(news);
}
END_TEST

START_TEST(test_free_withdraws)
{
    struct rlock_client *first = events_client(), *second = events_client();
    struct news *news1 = news_of(first), *news2 = news_of(second);
    struct rlock *held = events_hold(first, news1, "k", 0);
    char *result = NULL;

    rlock_free(events_ask(second, "k", (struct rlock_options){0}));
    AWAIT(rlock_dispatch(second) == 0 && scene_stat("claims_waiting") == 0);

    /* The grant is on its way when its lock is freed. */
    struct rlock *wanted = events_ask(second, "k", (struct rlock_options){0});
    AWAIT(scene_stat("claims_waiting") == 1);
    ck_assert_int_eq(rlock_unlock(held, EVENTS_MS), 0);
    rlock_free(wanted);
    ck_assert_int_eq(rlock_call(second, "ping", NULL, EVENTS_MS, &result), 0);
    free(result);
    AWAIT(!probe_has(scene.probe, "k"));

    rlock_free(events_hold(first, news1, "k", 0));
    rlock_free(NULL);
    AWAIT(!probe_has(scene.probe, "k"));
    news_expect_none(news1);
    news_expect_none(news2);
    rlock_close(first);
    rlock_close(second);
    free(news1);
    free(news2);
}
END_TEST

/* What an event function may do, and may not. */
static int events_n_inside;
static struct rlock *events_next;

static void events_inside(struct rlock_client *client, const struct rlock_event *event, void *ctx)
{
    struct rlock *none = NULL;
    char *result = NULL;

    (void)ctx;
    events_n_inside++;
    ck_assert_int_eq(rlock_dispatch(client), -EBUSY);
    ck_assert_int_eq(rlock_wait(client, 0), -EBUSY);
    ck_assert_int_eq(rlock_lock(client, "x", NULL, 0, &none), -EBUSY);
    ck_assert_int_eq(rlock_call(client, "ping", NULL, 0, &result), -EBUSY);
    if (event->type == RLOCK_EVENT_GRANTED) {
        ck_assert_int_eq(rlock_refresh(event->lock, 0, 0), -EBUSY);
        ck_assert_int_eq(rlock_unlock(event->lock, 0), -EBUSY);
        ck_assert(rlock_valid(event->lock));
        if (events_next == NULL) {
            ck_assert_int_eq(rlock_lock_start(client, "next", NULL, &events_next), 0);
        }
        rlock_free(event->lock);
        ck_assert_str_eq(event->key, rlock_key(event->lock)); /* good until the function returns */
    }
}

START_TEST(test_inside_an_event)
{
    struct rlock_client *client = events_client();

    rlock_on_event(client, events_inside, NULL);
    events_ask(client, "k", (struct rlock_options){0});
    while (events_n_inside < 2) {
        ck_assert_int_eq(rlock_wait(client, EVENTS_MS), 0);
    }
    ck_assert_int_eq(events_n_inside, 2);
    AWAIT(!probe_has(scene.probe, "k") && !probe_has(scene.probe, "next"));
    rlock_close(client);
}
END_TEST

/* Events come while something else is waited for, too, and may then free what they are about. */
static void events_free_lost(struct rlock_client *client, const struct rlock_event *event, void *ctx)
{
    (void)client;
    if (event->type == RLOCK_EVENT_LOST) {
        *(struct rlock **)ctx = NULL;
        rlock_free(event->lock);
    }
}

START_TEST(test_during_a_blocking_call)
{
    struct rlock_client *first = events_client(), *second = events_client();
    struct rlock_options short_hold = {.max_hold_ms = 100}, patient = {.wait_ms = 400};
    struct rlock *lock = NULL, *none = NULL, *blocker = NULL;

    ck_assert_int_eq(rlock_lock(second, "m", NULL, EVENTS_MS, &blocker), 0);
    ck_assert_int_eq(rlock_lock(first, "k", &short_hold, EVENTS_MS, &lock), 0);
    rlock_on_event(first, events_free_lost, &lock);
    ck_assert_int_eq(rlock_lock(first, "m", &patient, EVENTS_MS, &none), RLOCK_E_TIMEOUT);
    ck_assert_ptr_null(lock);
    rlock_close(first);
    rlock_close(second);
}
END_TEST

START_TEST(test_call_start)
{
    struct rlock_client *client = events_client();
    struct news *news = news_of(client);
    const struct news_item *item;
    int64_t ping_id = 0, fly_id = 0;

    ck_assert_int_eq(rlock_call_start(client, "ping", NULL, &ping_id), 0);
    ck_assert_int_eq(rlock_call_start(client, "fly", "{}", &fly_id), 0);
    ck_assert_int_ne(ping_id, fly_id);
    item = news_expect(client, news, RLOCK_EVENT_ANSWER);
    ck_assert_int_eq(item->call_id, ping_id);
    ck_assert_str_eq(item->result, "\"pong\"");
    item = news_expect(client, news, RLOCK_EVENT_ANSWER);
    ck_assert_int_eq(item->call_id, fly_id);
    ck_assert_int_eq(item->code, RLOCK_E_METHOD_NOT_FOUND);
    ck_assert_str_eq(item->result, "");
    rlock_close(client);
    free(news);
}
END_TEST

START_TEST(test_daemon_stops)
{
    struct rlock_client *client = events_client();
    struct news *news = news_of(client);
    struct rlock *lock = events_hold(client, news, "k", 0), *kept = events_hold(client, news, "m", 0);

    rlockd_signal(scene.rlockd, SIGTERM);
    for (int i = 0; i < 2; i++) {
        ck_assert_str_eq(news_expect(client, news, RLOCK_EVENT_LOST)->reason, "shutdown");
    }
    ck_assert(!rlock_valid(lock));
    /* The one thing that a lost lock is still good for. */
    ck_assert_int_eq(rlock_unlock(lock, EVENTS_MS), 0);
    ck_assert(!probe_has(scene.probe, "k"));
    ck_assert_int_eq(rlock_state(lock), RLOCK_UNLOCKED);
    ck_assert_int_eq(news_expect(client, news, RLOCK_EVENT_ENDED)->code, -ECONNRESET);
    ck_assert_int_eq(rlock_state(kept), RLOCK_LOST);
    ck_assert_str_eq(rlock_reason(kept), "shutdown");
    ck_assert(probe_has(scene.probe, "m"));
    ck_assert_int_eq(rlockd_wait(scene.rlockd), 0);
    rlock_close(client);
    free(news);
}
END_TEST

START_TEST(test_daemon_dies)
{
    struct rlock_client *client = events_client();
    struct news *news = news_of(client);
    struct rlock *held = events_hold(client, news, "k", 0), *going = events_hold(client, news, "g", 0);
    struct rlock *refused;
    const struct news_item *item;
    int64_t id;

    probe_do(scene.probe, "SET m thief");
    rlockd_signal(scene.rlockd, SIGSTOP); /* so that nothing is answered any more */
    refused = events_ask(client, "m", (struct rlock_options){0});
    ck_assert_int_eq(rlock_unlock_start(going), 0);
    ck_assert_int_eq(rlock_refresh_start(held, 0), 0);
    ck_assert_int_eq(rlock_call_start(client, "ping", NULL, &id), 0);
    rlockd_signal(scene.rlockd, SIGKILL);
    ck_assert_int_eq(rlockd_wait(scene.rlockd), 128 + SIGKILL);

    for (int n = 0; n < 6; n++) {
        item = news_next(client, news);
        ck_assert_int_eq(item->code, item->type == RLOCK_EVENT_LOST ? 0 : -ECONNRESET);
        ck_assert_int_eq(item->type == RLOCK_EVENT_ENDED, n == 5);
        ck_assert_int_eq(item->type == RLOCK_EVENT_LOST, n == 4);
    }
    news_expect_none(news);
    ck_assert_int_eq(rlock_state(held), RLOCK_LOST);
    ck_assert_str_eq(rlock_reason(held), "disconnected");
    ck_assert_int_eq(rlock_state(going), RLOCK_UNLOCKED);
    ck_assert_int_eq(rlock_state(refused), RLOCK_REFUSED);
    ck_assert_str_eq(rlock_reason(refused), "disconnected");
    ck_assert_int_eq(rlock_dispatch(client), -ECONNRESET);
    news_expect_none(news);
    rlock_free(held);
    rlock_close(client);
    free(news);
}
END_TEST

/* What an event function begins on a connection that has just ended. */
static struct ended {
    struct rlock *held, *waiting;
    int n_asked;
} ended;

static void ended_ask(struct rlock_client *client, const struct rlock_event *event, void *ctx)
{
    struct rlock *lock = NULL;
    int64_t id;

    (void)event;
    (void)ctx;
    ck_assert_int_eq(rlock_refresh_start(ended.held, 0), -ECONNRESET);
    ck_assert_int_eq(rlock_cancel(ended.waiting),
                     rlock_state(ended.waiting) == RLOCK_WAITING ? -ECONNRESET : 0);
    ck_assert_int_ne(rlock_unlock_start(ended.held), 0);
    ck_assert_int_eq(rlock_lock_start(client, "n", NULL, &lock), -ECONNRESET);
    ck_assert_int_eq(rlock_call_start(client, "ping", NULL, &id), -ECONNRESET);
    ended.n_asked++;
}

START_TEST(test_nothing_is_begun_after_the_end)
{
    struct rlock_client *client = events_client();
    struct news *news = news_of(client);
    int64_t id;

    ended.held = events_hold(client, news, "k", 0);
    probe_do(scene.probe, "SET m thief");
    rlockd_signal(scene.rlockd, SIGSTOP);
    ck_assert_int_eq(rlock_call_start(client, "ping", NULL, &id),
                     0); /* its answer comes first, with the end */
    ended.waiting = events_ask(client, "m", (struct rlock_options){0});
    rlockd_signal(scene.rlockd, SIGKILL);
    ck_assert_int_eq(rlockd_wait(scene.rlockd), 128 + SIGKILL);
    rlock_on_event(client, ended_ask, NULL);
    ck_assert_int_eq(rlock_wait(client, EVENTS_MS), -ECONNRESET);
    ck_assert_int_eq(ended.n_asked, 4); /* the answer, the refusal, the loss, the end */
    ck_assert_int_eq(rlock_poll_events(client), POLLIN);
    rlock_close(client);
    free(news);
}
END_TEST

Suite *test_client_events_suite(void)
{
    Suite *suite = suite_create("client_events");
    TCase *tcase = scene_case(suite, "events", events_open);

    tcase_add_test(tcase, test_granted_and_unlocked);
    tcase_add_test(tcase, test_cancel);
    tcase_add_test(tcase, test_lost);
    tcase_add_test(tcase, test_at_risk_and_safe);
    tcase_add_test(tcase, test_refreshed);
    tcase_add_test(tcase, test_many_locks);
    tcase_add_test(tcase, test_free_withdraws);
    tcase_add_test(tcase, test_inside_an_event);
    tcase_add_test(tcase, test_during_a_blocking_call);
    tcase_add_test(tcase, test_call_start);
    tcase_add_test(tcase, test_daemon_stops);
    tcase_add_test(tcase, test_daemon_dies);
    tcase_add_test(tcase, test_nothing_is_begun_after_the_end);
    return suite;
}
