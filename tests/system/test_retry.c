/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * How a lock request ends when it cannot just be granted: attempts used up, time used up, Redis
 * slow, absent or back again. The proxy plays the slow network.
 */

#include "tests/lib/scene.h"

Suite *test_retry_suite(void);

/* The link's own patience is long, so that it is the attempts that time out. */
#define RETRY_CONF "timeout = 60s\nreconnect_min = 10ms\nreconnect_max = 50ms\n"

static void retry_open(void)
{
    scene_open_with_proxy(RETRY_CONF);
}

START_TEST(test_retries_used_up_while_held)
{
    struct client *client = scene_client();
    json_t *data;
    int id;

    probe_do(scene.probe, "SET k foreign NX PX 600000");
    id = client_ask(client, "lock", "{'key':'k','retry':{'interval_ms':5,'max':2}}");
    data = client_expect_error(client, id, 1, "held");
    ck_assert_int_gt(member_int(data, "remaining_ms"), 0);
    ck_assert_int_le(member_int(data, "remaining_ms"), 600000);
    ck_assert_int_eq(scene_stat("attempts"), 3);
}
END_TEST

START_TEST(test_retries_used_up_with_the_last_timed_out)
{
    struct client *client = scene_client();
    json_t *data;
    int id;

    proxy_hold_replies(scene.proxy, true);
    id = client_ask(client, "lock", "{'key':'k','attempt_timeout_ms':30,'retry':{'interval_ms':5,'max':1}}");
    data = client_expect_error(client, id, 4, "unavailable");
    ck_assert_str_ne(member_text(data, "last_error"), "");
    ck_assert_int_eq(scene_stat("attempts"), 2);
    ck_assert_int_eq(scene_stat("attempts_timed_out"), 2);

    /* They did work in Redis; what nobody wants any more is given back. */
    proxy_hold_replies(scene.proxy, false);
    AWAIT(!probe_has(scene.probe, "k"));
    AWAIT(scene_stat("keys") == 0);
}
END_TEST

START_TEST(test_wait_over_while_attempts_time_out)
{
    struct client *client = scene_client();
    json_t *data;
    int id;

    proxy_hold_requests(scene.proxy, true);
    id = client_ask(client, "lock",
                    "{'key':'k','wait_ms':200,'attempt_timeout_ms':30,'retry':{'interval_ms':5,'max':null}}");
    data = client_expect_error(client, id, 3, "timeout");
    ck_assert_str_ne(member_text(data, "last_error"), "");
    proxy_hold_requests(scene.proxy, false);
    AWAIT(scene_stat("keys") == 0);
    AWAIT(!probe_has(scene.probe, "k"));
}
END_TEST

START_TEST(test_wait_over_while_held)
{
    struct client *client = scene_client();
    json_t *data;
    int id;

    probe_do(scene.probe, "SET k foreign NX PX 600000");
    id = client_ask(client, "lock", "{'key':'k','wait_ms':50,'retry':{'interval_ms':10,'max':null}}");
    data = client_expect_error(client, id, 3, "timeout");
    ck_assert_ptr_null(json_object_get(data, "last_error"));
    ck_assert_str_eq(member_text(data, "key"), "k");
}
END_TEST

START_TEST(test_wait_over_while_held_here)
{
    struct client *client = scene_client();
    int id;

    (void)client_lock(scene_client(), "k");
    id = client_ask(client, "lock", "{'key':'k','wait_ms':50}");
    client_expect_error(client, id, 3, "timeout");
}
END_TEST

START_TEST(test_own_timed_out_attempt_is_recognised)
{
    struct client *client = scene_client();
    int id;

    proxy_hold_replies(scene.proxy, true);
    id = client_ask(
        client, "lock",
        "{'key':'k','ttl_ms':600000,'attempt_timeout_ms':50,'retry':{'interval_ms':5,'max':null}}");
    AWAIT(scene_stat("attempts_timed_out") >= 1);
    AWAIT(probe_has(scene.probe, "k")); /* by the attempt of which the daemon has not heard */
    proxy_hold_replies(scene.proxy, false);
    ck_assert_int_lt(member_int(client_expect_result(client, id), "waited_ms"), 600000);
    ck_assert_int_eq(scene_stat("attempts_held"), 0);
    ck_assert(probe_has(scene.probe, "k"));
    client_call(client, "unlock", "{'key':'k'}");
    AWAIT(!probe_has(scene.probe, "k"));
    AWAIT(scene_stat("keys") == 0);
}
END_TEST

START_TEST(test_one_attempt_for_all_who_want_it)
{
    enum { RETRY_WANTING = 64 };
    struct client *clients[RETRY_WANTING];
    int ids[RETRY_WANTING];

    proxy_hold_replies(scene.proxy, true);
    for (int i = 0; i < RETRY_WANTING; i++) {
        clients[i] = scene_client();
        ids[i] = client_ask(clients[i], "lock", "{'key':'k','attempt_timeout_ms':60000}");
        client_expect_nothing(clients[i]);
    }
    ck_assert_int_eq(scene_stat("claims_waiting"), RETRY_WANTING);
    ck_assert_int_eq(scene_stat("attempts"), 1);
    proxy_hold_replies(scene.proxy, false);
    client_expect_result(clients[0], ids[0]);
    ck_assert_int_eq(scene_stat("attempts"), 1);
}
END_TEST

START_TEST(test_broken_link_fails_fast)
{
    struct client *client = scene_client();
    json_t *data;

    proxy_refuse(scene.proxy, true);
    AWAIT(scene_stat("redis_up") == 0);
    data = client_expect_error(
        client, client_ask(client, "lock", "{'key':'k','wait_ms':null,'fail_fast':true}"), 4, "unavailable");
    ck_assert_str_ne(member_text(data, "last_error"), "");
    data = client_expect_error(client, client_ask(client, "try_lock", "{'key':'k'}"), 4, "unavailable");
    ck_assert_str_ne(member_text(data, "last_error"), "");
}
END_TEST

START_TEST(test_broken_link_is_waited_for)
{
    struct client *client = scene_client();
    int64_t failures;
    int id;

    proxy_refuse(scene.proxy, true);
    AWAIT(scene_stat("redis_up") == 0);
    id = client_ask_lock(client, "k");
    failures = scene_stat("redis_failures");
    AWAIT(scene_stat("redis_failures") >= failures + 2);
    client_expect_nothing(client);
    proxy_refuse(scene.proxy, false);
    client_expect_result(client, id);
}
END_TEST

START_TEST(test_broken_link_and_wait_over)
{
    struct client *client = scene_client();
    json_t *data;
    int id;

    proxy_refuse(scene.proxy, true);
    AWAIT(scene_stat("redis_up") == 0);
    id = client_ask(client, "lock", "{'key':'k','wait_ms':50}");
    data = client_expect_error(client, id, 3, "timeout");
    ck_assert_str_ne(member_text(data, "last_error"), "");
}
END_TEST

START_TEST(test_link_breaks_under_an_attempt)
{
    struct client *client = scene_client();
    int id;

    proxy_hold_replies(scene.proxy, true);
    id = client_ask_lock(client, "k");
    AWAIT(probe_has(scene.probe, "k"));
    proxy_hold_replies(scene.proxy, false);
    proxy_cut(scene.proxy);
    /* Whether or not the reply came through first, there is one lock, and it is ours. */
    client_expect_result(client, id);
    client_call(client, "unlock", "{'key':'k'}");
    AWAIT(!probe_has(scene.probe, "k"));
}
END_TEST

START_TEST(test_attempt_fails_fast_when_the_link_breaks)
{
    struct client *client = scene_client();
    int id;

    proxy_hold_replies(scene.proxy, true);
    id = client_ask(client, "lock", "{'key':'k','fail_fast':true}");
    AWAIT(probe_has(scene.probe, "k"));
    proxy_refuse(scene.proxy, true);
    client_expect_error(client, id, 4, "unavailable");
    proxy_hold_replies(scene.proxy, false);
    proxy_refuse(scene.proxy, false);
    AWAIT(!probe_has(scene.probe, "k")); /* given back, since nobody wants it */
}
END_TEST

START_TEST(test_unlock_while_the_link_is_down)
{
    struct client *client = scene_client();

    client_call(client, "lock", "{'key':'k','ttl_ms':600000}");
    proxy_refuse(scene.proxy, true);
    AWAIT(scene_stat("redis_up") == 0);
    client_expect_error(client, client_ask(client, "unlock", "{'key':'k'}"), 4, "unavailable");
    client_expect_error(client, client_ask(client, "unlock", "{'key':'k'}"), 2, "not_held");
    proxy_refuse(scene.proxy, false);
    AWAIT(!probe_has(scene.probe, "k")); /* the release is made up for */
}
END_TEST

START_TEST(test_released_while_redis_is_slow)
{
    struct client *client = scene_client();

    proxy_hold_requests(scene.proxy, true);
    (void)client_ask_lock(client, "k");
    AWAIT(proxy_held_requests(scene.proxy) > 0);
    client_close(client); /* gone before Redis has even seen the attempt */
    AWAIT(scene_stat("claims_waiting") == 0);
    proxy_hold_requests(scene.proxy, false);
    AWAIT(scene_stat("keys") == 0);
    ck_assert(!probe_has(scene.probe, "k"));
    (void)client_lock(scene_client(), "k");
}
END_TEST

Suite *test_retry_suite(void)
{
    Suite *suite = suite_create("system: retry");
    TCase *tcase = scene_case(suite, "retry", retry_open);

    tcase_add_test(tcase, test_retries_used_up_while_held);
    tcase_add_test(tcase, test_retries_used_up_with_the_last_timed_out);
    tcase_add_test(tcase, test_wait_over_while_attempts_time_out);
    tcase_add_test(tcase, test_wait_over_while_held);
    tcase_add_test(tcase, test_wait_over_while_held_here);
    tcase_add_test(tcase, test_own_timed_out_attempt_is_recognised);
    tcase_add_test(tcase, test_one_attempt_for_all_who_want_it);
    tcase_add_test(tcase, test_broken_link_fails_fast);
    tcase_add_test(tcase, test_broken_link_is_waited_for);
    tcase_add_test(tcase, test_broken_link_and_wait_over);
    tcase_add_test(tcase, test_link_breaks_under_an_attempt);
    tcase_add_test(tcase, test_attempt_fails_fast_when_the_link_breaks);
    tcase_add_test(tcase, test_unlock_while_the_link_is_down);
    tcase_add_test(tcase, test_released_while_redis_is_slow);
    return suite;
}
