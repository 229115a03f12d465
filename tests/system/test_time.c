/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The daemon's clock, and Redis's, under the test's hand: a machine that sleeps, clocks that are set,
 * stalls between any two looks at the clock, timers that come early, and instants beyond what fits into 32
 * bits.
 */

#include "tests/lib/preload.h"
#include "tests/lib/scene.h"

#include <stdio.h>

Suite *test_time_suite(void);

enum { TIME_TTL_MS = 30000, TIME_SLEEP_MS = 60000 };

static struct clock_page *host_clock, *redis_clock;

static void time_open(void)
{
    scene.redis = redis_server_start(NULL);
    scene.probe = probe_open(redis_server_socket(scene.redis));
    host_clock = shifted_clock_begin();
    scene.rlockd = rlockd_start(redis_server_socket(scene.redis), "");
    shifted_clock_end();
    AWAIT(scene_stat("redis_up") == 1);
}

static void time_open_redis(void)
{
    redis_clock = shifted_clock_begin();
    scene.redis = redis_server_start(NULL);
    shifted_clock_end();
    scene.probe = probe_open(redis_server_socket(scene.redis));
    scene.rlockd = rlockd_start(redis_server_socket(scene.redis), "");
    AWAIT(scene_stat("redis_up") == 1);
}

/* As the daemon sees it. */
static int64_t time_now_ms(void)
{
    return await_now_ms() + host_clock->boottime_ms;
}

static void time_expect_lost(struct client *client, const char *reason)
{
    ck_assert_str_eq(member_text(client_expect_notice(client, "lost"), "reason"), reason);
}

/* --- a machine that sleeps ------------------------------------------------------------------------- */

/* Nobody says a word to the daemon after the sleep: it wakes up by itself. */
START_TEST(test_woken_after_sleep)
{
    struct client *holder = scene_client(), *waiter = scene_client();
    json_t *grant;
    int id;

    (void)client_lock(holder, "k");
    id = client_ask(waiter, "lock", "{'key':'k','wait_ms':null}");
    client_expect_nothing(waiter);
    host_clock->boottime_ms += TIME_SLEEP_MS;
    time_expect_lost(holder, "expired");
    /* Redis, elsewhere, has not slept: the key is there, and is not handed over as if it were ours. */
    ck_assert_int_gt(probe_ttl_ms(scene.probe, "k"), 1000);
    client_expect_nothing(waiter);
    ck_assert_int_eq(scene_stat("handovers"), 0);
    probe_do(scene.probe, "DEL k");
    grant = client_expect_result(waiter, id);
    ck_assert_int_gt(member_int(grant, "valid_until_ms"), time_now_ms());
}
END_TEST

/* Requests lie in the sockets when the machine wakes up. */
START_TEST(test_lost_comes_first_after_sleep)
{
    struct client *holder = scene_client();
    int unlock, ping;

    (void)client_lock(holder, "k");
    rlockd_signal(scene.rlockd, SIGSTOP);
    ping = client_ask(holder, "ping", "{}");
    unlock = client_ask(holder, "unlock", "{'key':'k'}");
    host_clock->boottime_ms += TIME_SLEEP_MS;
    rlockd_signal(scene.rlockd, SIGCONT);
    time_expect_lost(holder, "expired");
    client_expect_result(holder, ping);
    client_expect_error(holder, unlock, 2, "not_held");
    ck_assert(probe_has(scene.probe, "k")); /* it runs out by itself */
}
END_TEST

/* --- clocks that are set --------------------------------------------------------------------------- */

START_TEST(test_wall_clock_does_not_matter)
{
    static const int64_t steps_ms[] = {3600000, -7200000};
    struct client *holder = scene_client();
    int64_t fence = member_int(client_call(holder, "lock", "{'key':'k','ttl_ms':1500}"), "fence");

    for (size_t i = 0; i < sizeof(steps_ms) / sizeof(steps_ms[0]); i++) {
        int64_t renewals = scene_stat("renewals");

        host_clock->realtime_ms += steps_ms[i];
        AWAIT(scene_stat("renewals") >= renewals + 4); /* more than a ttl */
    }
    client_expect_nothing(holder);
    ck_assert_int_eq(member_int(client_call(holder, "unlock", "{'key':'k'}"), "fence"), fence);
}
END_TEST

/* Redis's clock goes ahead by more than the ttl: the key runs out there and then, somebody else gets the lock
 * with a larger fence, and the holder is told at its next renewal. Set back again, fences still grow. */
START_TEST(test_redis_clock_is_set)
{
    struct rlockd *elsewhere = rlockd_start(redis_server_socket(scene.redis), "");
    struct client *holder = scene_client(), *other = client_open(elsewhere->socket_path);
    int64_t fence = client_lock(holder, "k"), second, third;

    AWAIT(client_stat(other, "redis_up") == 1);
    redis_clock->realtime_ms += TIME_TTL_MS + 10000;
    second = client_lock(other, "k");
    ck_assert_int_gt(second, fence);
    client_ask(holder, "refresh", "{'key':'k'}");
    time_expect_lost(holder, "taken");
    (void)client_message(holder); /* the refresh is refused */

    redis_clock->realtime_ms -= 2 * TIME_SLEEP_MS;
    ck_assert_int_gt(probe_ttl_ms(scene.probe, "k"), TIME_TTL_MS); /* it lives longer now, and so */
    client_expect_error(holder, client_ask(holder, "try_lock", "{'key':'k'}"), 1, "held");
    client_call(other, "unlock", "{'key':'k'}");
    third = client_lock(holder, "k");
    ck_assert_int_gt(third, second);
    client_close(other);
    rlockd_free(elsewhere);
}
END_TEST

/* --- between two looks at the clock ---------------------------------------------------------------- */

enum { TIME_LOOKS_MAX = 60 };

/*
 * The holder unlocks while somebody waits, and at one of the daemon's looks at its clock time has jumped, or
 * the daemon has stood still, for longer than the ttl. However it comes out: the holder is told of the loss or
 * has unlocked in time, and who gets the lock then has it, for as long as it is said to, or is told so.
 */
static void time_hand_over_with(int at, bool stall, int64_t ttl_ms)
{
    struct client *holder = scene_client(), *waiter = scene_client();
    int unlock, lock;
    bool is_lost;

    client_call(holder, "lock", "{'key':'k','ttl_ms':%d}", (int)ttl_ms);
    lock = client_ask(waiter, "lock", "{'key':'k','ttl_ms':%d,'wait_ms':null,'retry':{'interval_ms':5}}",
                      (int)ttl_ms);
    client_expect_nothing(waiter);
    host_clock->jump_ms = stall ? 0 : TIME_SLEEP_MS;
    host_clock->stall_ms = stall ? ttl_ms : 0;
    host_clock->countdown = at;
    unlock = client_ask(holder, "unlock", "{'key':'k'}");
    json_t *message = client_message(holder);
    is_lost = member_is(message, "method", "lost");
    while (json_object_get(message, "method") != NULL) { /* at_risk may come before it */
        message = client_message(holder);
        is_lost = is_lost || member_is(message, "method", "lost");
    }
    ck_assert_int_eq(member_int(message, "id"), unlock);
    ck_assert_int_eq(json_object_get(message, "error") != NULL, is_lost);
    host_clock->countdown = 0;
    if (is_lost && !stall) {
        probe_do(scene.probe, "DEL k"); /* it would run out by itself: Redis has not slept */
    }
    json_t *grant = client_expect_result(waiter, lock);
    int64_t valid_until_ms = member_int(grant, "valid_until_ms");
    if (valid_until_ms > time_now_ms()) {
        int64_t left_ms = probe_ttl_ms(scene.probe, "k");

        ck_assert_msg(valid_until_ms <= time_now_ms() + left_ms || is_lost, "look %d: believed for too long",
                      at);
    } else {
        while (!member_is(client_message(waiter), "method", "lost")) { /* it may have been at risk before */
        }
    }
    client_close(waiter);
    client_close(holder);
    probe_do(scene.probe, "DEL k");
    AWAIT(scene_stat("keys") == 0);
}

START_TEST(test_jump_at_each_look)
{
    int64_t n_reads = host_clock->n_reads;

    time_hand_over_with(INT32_MAX, false, TIME_TTL_MS);
    n_reads = host_clock->n_reads - n_reads;
    ck_assert_int_gt(n_reads, 5);
    for (int at = 1; at <= n_reads && at <= TIME_LOOKS_MAX; at++) {
        time_hand_over_with(at, false, TIME_TTL_MS);
    }
}
END_TEST

START_TEST(test_stall_at_each_look)
{
    for (int at = 1; at <= 12; at++) {
        time_hand_over_with(at, true, 200);
    }
}
END_TEST

/* --- timers and numbers ---------------------------------------------------------------------------- */

/* A timer that comes early is no reason to end anything, to say it twice, or to turn round and round. */
START_TEST(test_early_timers)
{
    struct client *holder = scene_client();
    int64_t n_timers;

    host_clock->early_ms = 3;
    json_t *grant = client_call(holder, "lock", "{'key':'k','ttl_ms':400,'auto_refresh':false}");
    int64_t valid_until_ms = member_int(grant, "valid_until_ms");
    n_timers = host_clock->n_timers;
    time_expect_lost(holder, "ttl");
    ck_assert_int_ge(await_now_ms(), valid_until_ms - 100);
    client_expect_nothing(holder);
    ck_assert_int_lt(host_clock->n_timers - n_timers, 200);
    ck_assert_int_eq(scene_stat("lost"), 1);
}
END_TEST

static const int64_t limits_ms[] = {
    INT64_C(1) << 31,
    INT64_C(1) << 32,
    (INT64_C(1) << 31) * 1000,
    (INT64_C(1) << 32) * 1000,
};

/* The machine has been up for so long that a number ends: a lock is held across that instant. */
START_TEST(test_long_uptime)
{
    int64_t limit_ms = limits_ms[_i];
    struct client *holder;

    host_clock->boottime_ms = limit_ms - await_now_ms() - 500;
    holder = scene_client();
    json_t *grant = client_call(holder, "lock", "{'key':'k','ttl_ms':3000}");
    ck_assert_int_gt(member_int(grant, "valid_until_ms"), limit_ms - 500);
    ck_assert_int_lt(member_int(grant, "valid_until_ms"), time_now_ms() + 3000);
    AWAIT(time_now_ms() > limit_ms && scene_stat("renewals") >= 1); /* by itself, a second after the grant */
    client_expect_nothing(holder);
    grant = client_call(holder, "refresh", "{'key':'k'}");
    ck_assert_int_gt(member_int(grant, "valid_until_ms"), limit_ms + 2000);
    client_call(holder, "unlock", "{'key':'k'}");
}
END_TEST

Suite *test_time_suite(void)
{
    Suite *suite = suite_create("system: time");
    TCase *tcase = scene_case(suite, "time", time_open);

    tcase_add_test(tcase, test_woken_after_sleep);
    tcase_add_test(tcase, test_lost_comes_first_after_sleep);
    tcase_add_test(tcase, test_wall_clock_does_not_matter);
    tcase_add_test(tcase, test_jump_at_each_look);
    tcase_add_test(tcase, test_stall_at_each_look);
    tcase_add_test(tcase, test_early_timers);
    tcase_add_loop_test(tcase, test_long_uptime, 0, sizeof(limits_ms) / sizeof(limits_ms[0]));
    tcase = scene_case(suite, "redis's time", time_open_redis);
    tcase_add_test(tcase, test_redis_clock_is_set);
    return suite;
}
