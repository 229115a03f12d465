/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The life of a lease: renewed as long as somebody holds the lock, and its holder told when it
 * is at risk, safe again, or lost, for each reason there is.
 */

#include "tests/lib/scene.h"

Suite *test_lease_suite(void);

/* Long enough patience of the link not to break, when a test stops Redis for less than a ttl. */
#define LEASE_CONF "timeout = 60s\nreconnect_min = 10ms\nreconnect_max = 50ms\n"

static void lease_open(void)
{
    scene_open_with_proxy(LEASE_CONF);
}

static void lease_expect_lost(struct client *client, const char *reason, int64_t fence)
{
    json_t *lost = client_expect_notice(client, "lost");

    ck_assert_str_eq(member_text(lost, "reason"), reason);
    ck_assert_str_eq(member_text(lost, "key"), "k");
    ck_assert_int_eq(member_int(lost, "fence"), fence);
    ck_assert_str_ne(member_text(lost, "message"), "");
}

static void lease_expect_not_held(struct client *client, const char *method, const char *why)
{
    json_t *data = client_expect_error(client, client_ask(client, method, "{'key':'k'}"), 2, "not_held");

    ck_assert_str_eq(member_text(data, "why"), why);
}

START_TEST(test_renewed_over_many_ttls)
{
    struct client *client = scene_client();
    char *before, *after;

    client_call(client, "lock", "{'key':'k','ttl_ms':500}");
    before = probe_get(scene.probe, "k");
    for (int64_t end_ms = await_now_ms() + 6 * 500; await_now_ms() < end_ms;) {
        int64_t renewals = scene_stat("renewals");

        ck_assert_int_gt(probe_ttl_ms(scene.probe, "k"), 0);
        AWAIT(scene_stat("renewals") > renewals);
    }
    after = probe_get(scene.probe, "k");
    ck_assert_str_eq(before, after);
    free(before);
    free(after);
    client_call(client, "unlock", "{'key':'k'}"); /* and nothing was said in between */
}
END_TEST

START_TEST(test_renewed_after_one_timed_out)
{
    struct client *client = scene_client();
    json_t *message;
    int64_t renewals;
    int id;

    client_call(client, "lock", "{'key':'k','ttl_ms':3000}");
    AWAIT(scene_stat("renewals") >= 1);
    AWAIT(probe_ttl_ms(scene.probe, "k") > 2000);
    proxy_hold_requests(scene.proxy, true);
    renewals = scene_stat("renewals");
    AWAIT(scene_stat("renewals") >= renewals + 2); /* one without an answer, and its repetition */
    proxy_hold_requests(scene.proxy, false);
    AWAIT(probe_ttl_ms(scene.probe, "k") > 2000);
    id = client_ask(client, "unlock", "{'key':'k'}");
    for (message = client_message(client); json_object_get(message, "method");
         message = client_message(client)) {
        ck_assert_str_ne(member_text(message, "method"), "lost"); /* at risk, perhaps, and safe again */
    }
    ck_assert_int_eq(member_int(message, "id"), id);
    ck_assert_ptr_nonnull(json_object_get(message, "result"));
}
END_TEST

START_TEST(test_no_renewal_after_unlock)
{
    struct client *client = scene_client();
    int64_t renewals;

    client_call(client, "lock", "{'key':'k','ttl_ms':300}");
    AWAIT(scene_stat("renewals") >= 1);
    client_call(client, "unlock", "{'key':'k'}");
    ck_assert(!probe_has(scene.probe, "k"));
    renewals = scene_stat("renewals");
    /* Another lock's renewals show that time has passed in which this one's would have come. */
    client_call(client, "lock", "{'key':'m','ttl_ms':300,'auto_refresh':false}");
    client_expect_notice(client, "lost");
    ck_assert_int_eq(scene_stat("renewals"), renewals);
}
END_TEST

START_TEST(test_lost_taken)
{
    struct client *client = scene_client();
    int64_t fence = member_int(client_call(client, "lock", "{'key':'k','ttl_ms':1000}"), "fence");
    char *value;

    probe_do(scene.probe, "SET k thief");
    lease_expect_lost(client, "taken", fence);
    lease_expect_not_held(client, "unlock", "taken");
    lease_expect_not_held(client, "refresh", "taken");
    value = probe_get(scene.probe, "k");
    ck_assert_str_eq(value, "thief");
    free(value);
}
END_TEST

START_TEST(test_lost_deleted)
{
    struct client *client = scene_client();
    int64_t fence = member_int(client_call(client, "lock", "{'key':'k','ttl_ms':1000}"), "fence");

    probe_do(scene.probe, "DEL k");
    lease_expect_lost(client, "deleted", fence);
    lease_expect_not_held(client, "unlock", "deleted");
    lease_expect_not_held(client, "refresh", "deleted");
    ck_assert(!probe_has(scene.probe, "k"));
    ck_assert_int_gt(client_lock(client, "k"), fence);
}
END_TEST

START_TEST(test_lost_max_hold)
{
    struct client *client = scene_client(), *waiter = scene_client();
    json_t *grant = client_call(client, "lock", "{'key':'k','ttl_ms':500,'max_hold_ms':200}");
    int64_t fence = member_int(grant, "fence");
    int id = client_ask_lock(waiter, "k");

    lease_expect_lost(client, "max_hold", fence);
    lease_expect_not_held(client, "unlock", "max_hold");
    ck_assert_int_gt(member_int(client_expect_result(waiter, id), "fence"), fence);
}
END_TEST

START_TEST(test_lost_ttl)
{
    struct client *client = scene_client();
    json_t *grant = client_call(client, "lock", "{'key':'k','ttl_ms':400,'auto_refresh':false}");
    int64_t fence = member_int(grant, "fence");
    int64_t valid_until_ms = member_int(grant, "valid_until_ms");

    lease_expect_lost(client, "ttl", fence);
    ck_assert_int_ge(await_now_ms(), valid_until_ms - 100);
    ck_assert_int_eq(scene_stat("renewals"), 0);
    lease_expect_not_held(client, "unlock", "ttl");
    AWAIT(!probe_has(scene.probe, "k"));
}
END_TEST

START_TEST(test_ttl_put_off_by_refresh)
{
    struct client *client = scene_client();
    json_t *grant = client_call(client, "lock", "{'key':'k','ttl_ms':1000,'auto_refresh':false}");
    int64_t fence = member_int(grant, "fence");
    int64_t first_ms = member_int(grant, "valid_until_ms");
    json_t *refreshed = client_call(client, "refresh", "{'key':'k','ttl_ms':2000}");

    ck_assert_int_ge(member_int(refreshed, "valid_until_ms"), first_ms + 900);
    lease_expect_lost(client, "ttl", fence);
    ck_assert_int_gt(await_now_ms(), first_ms);
}
END_TEST

START_TEST(test_lost_shutdown)
{
    struct client *client = scene_client();
    int64_t fence = client_lock(client, "k");

    rlockd_signal(scene.rlockd, SIGTERM);
    lease_expect_lost(client, "shutdown", fence);
    client_call(client, "unlock", "{'key':'k'}");
    ck_assert(!probe_has(scene.probe, "k"));
    ck_assert_int_eq(rlockd_wait(scene.rlockd), 0);
}
END_TEST

/*
 * Three holders, and then Redis says nothing more. `silence` makes it so. Each must hear at_risk, and
 * lost before the key could expire: that is at the earliest a ttl after the lock was asked for.
 */
static void lease_lose_redis(void (*silence)(void))
{
    enum { LEASE_TTL_MS = 3000, LEASE_HOLDERS = 3 };
    struct client *clients[LEASE_HOLDERS];
    int64_t asked_at_ms[LEASE_HOLDERS], fences[LEASE_HOLDERS];

    for (int i = 0; i < LEASE_HOLDERS; i++) {
        clients[i] = scene_client();
        asked_at_ms[i] = await_now_ms();
        fences[i] = member_int(client_call(clients[i], "lock", "{'key':'k%d','ttl_ms':%d}", i, LEASE_TTL_MS),
                               "fence");
    }
    silence();
    for (int i = 0; i < LEASE_HOLDERS; i++) {
        json_t *at_risk = client_expect_notice(clients[i], "at_risk");
        int64_t told_at_ms = await_now_ms();

        ck_assert_int_eq(member_int(at_risk, "fence"), fences[i]);
        ck_assert_int_ge(told_at_ms, asked_at_ms[i] + LEASE_TTL_MS * 60 / 100);
        ck_assert_int_gt(member_int(at_risk, "lost_at_ms"), told_at_ms);
        ck_assert_int_lt(member_int(at_risk, "lost_at_ms"), asked_at_ms[i] + LEASE_TTL_MS);
    }
    for (int i = 0; i < LEASE_HOLDERS; i++) {
        json_t *lost = client_expect_notice(clients[i], "lost");

        ck_assert_int_lt(await_now_ms(), asked_at_ms[i] + LEASE_TTL_MS);
        ck_assert_str_eq(member_text(lost, "reason"), "expired");
        ck_assert_int_eq(member_int(lost, "fence"), fences[i]);
        lost = client_expect_error(clients[i], client_ask(clients[i], "unlock", "{'key':'k%d'}", i), 2,
                                   "not_held");
        ck_assert_str_eq(member_text(lost, "why"), "expired");
        lost = client_expect_error(clients[i], client_ask(clients[i], "refresh", "{'key':'k%d'}", i), 2,
                                   "not_held");
        ck_assert_str_eq(member_text(lost, "why"), "expired");
    }
}

static void lease_cut_off(void)
{
    proxy_refuse(scene.proxy, true);
}

static void lease_hold_all(void)
{
    proxy_hold_requests(scene.proxy, true);
}

START_TEST(test_lost_expired_redis_stopped)
{
    lease_lose_redis(scene_stop_redis);
    scene_continue_redis();
}
END_TEST

START_TEST(test_lost_expired_cut_off)
{
    lease_lose_redis(lease_cut_off);
}
END_TEST

START_TEST(test_lost_expired_silence)
{
    lease_lose_redis(lease_hold_all);
    /* What was held comes to Redis late. It must not bring the dead leases back for long. */
    proxy_hold_requests(scene.proxy, false);
    AWAIT(!probe_has(scene.probe, "k0") && !probe_has(scene.probe, "k1") && !probe_has(scene.probe, "k2"));
}
END_TEST

/* Redis goes away until the holder hears at_risk, and comes back in time. */
static void lease_risk_redis(void (*silence)(void), void (*speak)(void))
{
    struct client *client = scene_client();
    json_t *grant = client_call(client, "lock", "{'key':'k','ttl_ms':4000}");
    int64_t fence = member_int(grant, "fence");
    int64_t valid_until_ms = member_int(grant, "valid_until_ms");
    json_t *safe;

    silence();
    client_expect_notice(client, "at_risk");
    speak();
    safe = client_expect_notice(client, "safe");
    ck_assert_int_eq(member_int(safe, "fence"), fence);
    ck_assert_int_gt(member_int(safe, "valid_until_ms"), valid_until_ms);
    ck_assert_int_gt(probe_ttl_ms(scene.probe, "k"), 2000);
    client_call(client, "unlock", "{'key':'k'}");
    ck_assert_int_eq(scene_stat("lost"), 0);
    ck_assert_int_eq(scene_stat("safe"), 1);
}

static void lease_connect_again(void)
{
    proxy_refuse(scene.proxy, false);
}

static void lease_let_go(void)
{
    proxy_hold_requests(scene.proxy, false);
}

START_TEST(test_safe_again_redis_stopped)
{
    lease_risk_redis(scene_stop_redis, scene_continue_redis);
}
END_TEST

START_TEST(test_safe_again_cut_off)
{
    lease_risk_redis(lease_cut_off, lease_connect_again);
}
END_TEST

START_TEST(test_safe_again_silence)
{
    lease_risk_redis(lease_hold_all, lease_let_go);
}
END_TEST

/* A ttl passes while the daemon sleeps; what its clients said meanwhile waits for it. */
START_TEST(test_lost_comes_first_after_a_pause)
{
    struct client *client = scene_client(), *waiter = scene_client();
    json_t *grant = client_call(client, "lock", "{'key':'k','ttl_ms':400}");
    int64_t fence = member_int(grant, "fence");
    int id = client_ask_lock(waiter, "k");
    int64_t attempts = scene_stat("attempts");
    int ping, unlock;

    rlockd_signal(scene.rlockd, SIGSTOP);
    ping = client_ask(client, "ping", "{}");
    unlock = client_ask(client, "unlock", "{'key':'k'}");
    AWAIT(!probe_has(scene.probe, "k"));
    rlockd_signal(scene.rlockd, SIGCONT);

    lease_expect_lost(client, "expired", fence);
    ck_assert_str_eq(json_string_value(client_expect_result(client, ping)), "pong");
    ck_assert_str_eq(member_text(client_expect_error(client, unlock, 2, "not_held"), "why"), "expired");
    ck_assert_int_gt(member_int(client_expect_result(waiter, id), "fence"), fence);
    ck_assert_int_gt(scene_stat("attempts"), attempts);
    ck_assert_int_eq(scene_stat("handovers"), 0);
}
END_TEST

Suite *test_lease_suite(void)
{
    Suite *suite = suite_create("system: lease");
    TCase *tcase = scene_case(suite, "lease", lease_open);

    tcase_add_test(tcase, test_renewed_over_many_ttls);
    tcase_add_test(tcase, test_renewed_after_one_timed_out);
    tcase_add_test(tcase, test_no_renewal_after_unlock);
    tcase_add_test(tcase, test_lost_taken);
    tcase_add_test(tcase, test_lost_deleted);
    tcase_add_test(tcase, test_lost_max_hold);
    tcase_add_test(tcase, test_lost_ttl);
    tcase_add_test(tcase, test_ttl_put_off_by_refresh);
    tcase_add_test(tcase, test_lost_shutdown);
    tcase_add_test(tcase, test_lost_expired_redis_stopped);
    tcase_add_test(tcase, test_lost_expired_cut_off);
    tcase_add_test(tcase, test_lost_expired_silence);
    tcase_add_test(tcase, test_safe_again_redis_stopped);
    tcase_add_test(tcase, test_safe_again_cut_off);
    tcase_add_test(tcase, test_safe_again_silence);
    tcase_add_test(tcase, test_lost_comes_first_after_a_pause);
    return suite;
}
