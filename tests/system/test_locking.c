/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Lock, unlock, refresh and their kin on a real Redis that works: what is answered, and what then
 * lies in Redis.
 */

#include "tests/lib/scene.h"

#include <unistd.h>

Suite *test_locking_suite(void);

static struct client *locking_holder(const char *key)
{
    struct client *client = scene_client();

    (void)client_lock(client, key);
    return client;
}

START_TEST(test_lock_free)
{
    struct client *client = scene_client();
    int64_t before_ms = await_now_ms();
    json_t *grant = client_call(client, "lock", "{'key':'k'}");
    int64_t after_ms = await_now_ms();
    char *value = probe_get(scene.probe, "k");

    ck_assert_str_eq(member_text(grant, "key"), "k");
    ck_assert_int_gt(member_int(grant, "fence"), 0);
    ck_assert_int_lt(member_int(grant, "fence"), INT64_C(1) << 53);
    ck_assert_int_eq(member_int(grant, "ttl_ms"), 30000);
    ck_assert_int_ge(member_int(grant, "waited_ms"), 0);
    /* The drift margin, 1%, is off; and counted from before the command left. */
    ck_assert_int_ge(member_int(grant, "valid_until_ms"), before_ms + 30000 - 400);
    ck_assert_int_le(member_int(grant, "valid_until_ms"), after_ms + 30000 - 300);
    ck_assert_uint_eq(json_object_size(grant), 5);
    ck_assert_int_gt(probe_ttl_ms(scene.probe, "k"), 20000);
    ck_assert_int_le(probe_ttl_ms(scene.probe, "k"), 30000);
    ck_assert_uint_eq(strlen(value), 36 + 1 + 36);
    ck_assert_int_eq(value[36], '/');
    free(value);
}
END_TEST

START_TEST(test_lock_params_reach_redis)
{
    struct client *client = scene_client();
    json_t *grant = client_call(client, "lock", "{'key':'k','ttl_ms':5000,'note':'nightly'}");

    ck_assert_int_eq(member_int(grant, "ttl_ms"), 5000);
    ck_assert_int_le(probe_ttl_ms(scene.probe, "k"), 5000);
}
END_TEST

START_TEST(test_lock_held_elsewhere_then_freed)
{
    struct client *client = scene_client();
    int id;

    probe_do(scene.probe, "SET k foreign NX PX 600000");
    id = client_ask(client, "lock", "{'key':'k','retry':{'interval_ms':5,'max':null}}");
    AWAIT(scene_stat("attempts_held") >= 2);
    client_expect_nothing(client);
    probe_do(scene.probe, "DEL k");
    ck_assert_int_gt(member_int(client_expect_result(client, id), "fence"), 0);
}
END_TEST

START_TEST(test_try_free)
{
    json_t *grant = client_call(scene_client(), "try_lock", "{'key':'k'}");

    ck_assert_int_gt(member_int(grant, "fence"), 0);
    ck_assert(probe_has(scene.probe, "k"));
}
END_TEST

START_TEST(test_try_held_here_asks_nobody)
{
    struct client *client = scene_client();
    int64_t calls;

    locking_holder("k");
    calls = probe_script_calls(scene.probe);
    client_expect_error(client, client_ask(client, "try_lock", "{'key':'k'}"), 1, "held");
    client_expect_error(client, client_ask(client, "lock", "{'key':'k','wait_ms':0}"), 1, "held");
    ck_assert_int_eq(probe_script_calls(scene.probe), calls);
}
END_TEST

START_TEST(test_try_held_elsewhere_once)
{
    struct client *client = scene_client();
    json_t *data;

    probe_do(scene.probe, "SET k foreign NX PX 600000");
    data = client_expect_error(client, client_ask(client, "try_lock", "{'key':'k'}"), 1, "held");
    ck_assert_int_gt(member_int(data, "remaining_ms"), 0);
    ck_assert_int_le(member_int(data, "remaining_ms"), 600000);
    ck_assert_str_eq(member_text(data, "key"), "k");
    ck_assert_int_eq(scene_stat("attempts"), 1);
}
END_TEST

START_TEST(test_unlock)
{
    struct client *client = scene_client();
    int64_t fence = client_lock(client, "k");
    json_t *result = client_call(client, "unlock", "{'key':'k','fence':%lld}", (long long)fence);

    ck_assert_str_eq(member_text(result, "key"), "k");
    ck_assert_int_eq(member_int(result, "fence"), fence);
    ck_assert_int_ge(member_int(result, "held_ms"), 0);
    ck_assert(!probe_has(scene.probe, "k")); /* the answer comes after Redis's */
}
END_TEST

START_TEST(test_unlock_as_notification)
{
    struct client *client = locking_holder("k");

    client_tell(client, "unlock", "{'key':'k'}");
    client_expect_nothing(client);
    AWAIT(!probe_has(scene.probe, "k"));
}
END_TEST

START_TEST(test_unlock_not_held)
{
    struct client *client = scene_client();
    struct client *other = locking_holder("k");
    int64_t fence;
    json_t *data = client_expect_error(client, client_ask(client, "unlock", "{'key':'k'}"), 2, "not_held");

    ck_assert_str_eq(member_text(data, "why"), "never");
    ck_assert(probe_has(scene.probe, "k"));
    client_expect_nothing(other);

    fence = client_lock(client, "m");
    client_call(client, "unlock", "{'key':'m'}");
    data = client_expect_error(client, client_ask(client, "unlock", "{'key':'m'}"), 2, "not_held");
    ck_assert_str_eq(member_text(data, "why"), "released");

    (void)client_lock(client, "m");
    data = client_expect_error(
        client, client_ask(client, "unlock", "{'key':'m','fence':%lld}", (long long)fence), 2, "not_held");
    ck_assert_str_eq(member_text(data, "why"), "stale_fence");
    ck_assert(probe_has(scene.probe, "m"));
    client_call(client, "unlock", "{'key':'m'}");
}
END_TEST

START_TEST(test_unlock_deleted)
{
    struct client *client = locking_holder("k");
    json_t *data;

    probe_do(scene.probe, "DEL k");
    data = client_expect_error(client, client_ask(client, "unlock", "{'key':'k'}"), 2, "not_held");
    ck_assert_str_eq(member_text(data, "why"), "deleted");
}
END_TEST

START_TEST(test_unlock_stolen)
{
    struct client *client = locking_holder("k");
    json_t *data;
    char *value;

    probe_do(scene.probe, "SET k thief");
    data = client_expect_error(client, client_ask(client, "unlock", "{'key':'k'}"), 2, "not_held");
    ck_assert_str_eq(member_text(data, "why"), "taken");
    value = probe_get(scene.probe, "k");
    ck_assert_str_eq(value, "thief");
    free(value);
}
END_TEST

START_TEST(test_refresh)
{
    struct client *client = scene_client();
    int64_t fence = client_lock(client, "k");
    int64_t before_ms = await_now_ms();
    json_t *result = client_call(client, "refresh", "{'key':'k','ttl_ms':90000}");

    ck_assert_str_eq(member_text(result, "key"), "k");
    ck_assert_int_eq(member_int(result, "fence"), fence);
    ck_assert_int_eq(member_int(result, "ttl_ms"), 90000);
    ck_assert_int_ge(member_int(result, "valid_until_ms"), before_ms + 90000 - 1000);
    ck_assert_int_gt(probe_ttl_ms(scene.probe, "k"), 60000);

    result = client_call(client, "refresh", "{'key':'k','fence':%lld}", (long long)fence);
    ck_assert_int_eq(member_int(result, "ttl_ms"), 90000); /* it stays what it was set to */
}
END_TEST

START_TEST(test_refresh_not_held)
{
    struct client *client = scene_client();
    int id = client_ask(client, "refresh", "{'key':'k'}");

    ck_assert_str_eq(member_text(client_expect_error(client, id, 2, "not_held"), "why"), "never");
    (void)client_lock(client, "k");
    id = client_ask(client, "refresh", "{'key':'k','fence':1}");
    ck_assert_str_eq(member_text(client_expect_error(client, id, 2, "not_held"), "why"), "stale_fence");
}
END_TEST

/* A refresh that finds the lock gone is an error to who asked, and ends the grant: both are said. */
static void locking_expect_refresh_fails(struct client *client, const char *why)
{
    int id = client_ask(client, "refresh", "{'key':'k'}");
    bool was_told = false, was_answered = false;

    while (!was_told || !was_answered) {
        json_t *message = client_message(client);
        json_t *error = json_object_get(message, "error");

        if (error) {
            ck_assert_int_eq(member_int(message, "id"), id);
            ck_assert_int_eq(member_int(error, "code"), 2);
            ck_assert_str_eq(member_text(json_object_get(error, "data"), "why"), why);
            was_answered = true;
        } else {
            ck_assert_str_eq(member_text(message, "method"), "lost");
            ck_assert_str_eq(member_text(json_object_get(message, "params"), "reason"), why);
            was_told = true;
        }
    }
    client_expect_nothing(client);
}

START_TEST(test_refresh_deleted)
{
    struct client *client = locking_holder("k");

    probe_do(scene.probe, "DEL k");
    locking_expect_refresh_fails(client, "deleted");
    ck_assert(!probe_has(scene.probe, "k")); /* a refresh never creates it */
}
END_TEST

START_TEST(test_refresh_stolen)
{
    struct client *client = locking_holder("k");

    probe_do(scene.probe, "SET k thief PX 600000");
    locking_expect_refresh_fails(client, "taken");
    ck_assert_int_gt(probe_ttl_ms(scene.probe, "k"), 590000);
}
END_TEST

START_TEST(test_lock_again_is_refused)
{
    struct client *client = locking_holder("k");
    struct client *waiter = scene_client();
    int id;

    client_expect_error(client, client_ask(client, "lock", "{'key':'k'}"), 5, "already_held");
    client_expect_error(client, client_ask(client, "try_lock", "{'key':'k'}"), 5, "already_held");
    id = client_ask_lock(waiter, "k");
    client_expect_error(waiter, client_ask(waiter, "lock", "{'key':'k'}"), 5, "already_held");
    client_call(client, "unlock", "{'key':'k'}");
    client_expect_result(waiter, id);
}
END_TEST

START_TEST(test_cancel)
{
    struct client *waiter = scene_client();
    int id, cancel;

    locking_holder("k");
    ck_assert(!member_bool(client_call(waiter, "cancel", "{'id':77}"), "cancelled"));
    id = client_ask_lock(waiter, "k");
    cancel = client_ask(waiter, "cancel", "{'id':%d}", id);
    client_expect_error(waiter, id, 8, "cancelled");
    ck_assert(member_bool(client_expect_result(waiter, cancel), "cancelled"));
    AWAIT(scene_stat("claims_waiting") == 0);
}
END_TEST

START_TEST(test_force_unlock)
{
    struct client *holder = scene_client();
    int64_t fence = client_lock(holder, "k");
    json_t *lost;

    client_call(scene_client(), "force_unlock", "{'key':'k'}");
    lost = client_expect_notice(holder, "lost");
    ck_assert_str_eq(member_text(lost, "reason"), "forced");
    ck_assert_int_eq(member_int(lost, "fence"), fence);
    AWAIT(!probe_has(scene.probe, "k"));

    probe_do(scene.probe, "SET k foreign PX 600000");
    client_call(scene_client(), "force_unlock", "{'key':'k'}");
    ck_assert(!probe_has(scene.probe, "k"));
}
END_TEST

START_TEST(test_foreign_program_and_we_exclude_each_other)
{
    struct client *client = scene_client();

    probe_do(scene.probe, "SET k foreign NX PX 600000");
    client_expect_error(client, client_ask(client, "try_lock", "{'key':'k'}"), 1, "held");
    probe_do(scene.probe, "DEL k");
    (void)client_lock(client, "k");
    ck_assert_int_eq(probe_do(scene.probe, "SET k foreign NX PX 600000"), 0);
    client_call(client, "unlock", "{'key':'k'}");
    ck_assert_int_eq(probe_do(scene.probe, "SET k foreign NX PX 600000"), 1);
}
END_TEST

START_TEST(test_inspect_and_list)
{
    struct client *holder = scene_client(), *waiter = scene_client(), *client = scene_client();
    json_t *key, *holder_shown;

    key = client_call(client, "inspect", "{'key':'k'}");
    ck_assert_str_eq(member_text(key, "state"), "free");
    client_call(holder, "lock", "{'key':'k','note':'nightly'}");
    (void)client_ask_lock(waiter, "k");
    key = client_call(client, "inspect", "{'key':'k'}");
    ck_assert_str_eq(member_text(key, "state"), "held");
    holder_shown = json_object_get(key, "holder");
    ck_assert_int_eq(member_int(holder_shown, "pid"), getpid());
    ck_assert_int_eq(member_int(holder_shown, "uid"), getuid());
    ck_assert_str_eq(member_text(holder_shown, "note"), "nightly");
    ck_assert_uint_eq(json_array_size(json_object_get(key, "waiting")), 1);
    ck_assert_int_eq(member_int(json_object_get(key, "lease"), "ttl_ms"), 30000);

    probe_do(scene.probe, "SET m foreign PX 600000");
    key = client_call(client, "inspect", "{'key':'m'}");
    ck_assert_str_eq(member_text(key, "state"), "elsewhere");
    ck_assert_int_gt(member_int(json_object_get(key, "lease"), "remaining_ms"), 0);

    key = client_call(client, "list", "{'prefix':'k'}");
    ck_assert_uint_eq(json_array_size(json_object_get(key, "locks")), 1);
    ck_assert(json_is_null(json_object_get(key, "next")));

    /* What an attempt has found out is shown as inspect shows it. */
    (void)client_ask_lock(waiter, "m");
    AWAIT(scene_stat("attempts_held") > 0);
    key = json_array_get(json_object_get(client_call(client, "list", "{'prefix':'m'}"), "locks"), 0);
    ck_assert_str_eq(member_text(key, "state"), "elsewhere");
    ck_assert_int_gt(member_int(json_object_get(key, "lease"), "remaining_ms"), 0);
}
END_TEST

START_TEST(test_hello)
{
    json_t *hello = client_query(scene_client(), "hello");

    ck_assert_str_eq(member_text(hello, "server"), "rlockd");
    ck_assert_int_eq(member_int(hello, "protocol"), 1);
    ck_assert_str_ne(member_text(hello, "version"), "");
    ck_assert_uint_eq(strlen(member_text(hello, "instance")), 36);
    ck_assert(json_is_object(json_object_get(hello, "defaults")));
    ck_assert(json_is_object(json_object_get(hello, "limits")));
}
END_TEST

Suite *test_locking_suite(void)
{
    Suite *suite = suite_create("system: locking");
    TCase *tcase = scene_case(suite, "locking", scene_open_default);

    tcase_add_test(tcase, test_lock_free);
    tcase_add_test(tcase, test_lock_params_reach_redis);
    tcase_add_test(tcase, test_lock_held_elsewhere_then_freed);
    tcase_add_test(tcase, test_try_free);
    tcase_add_test(tcase, test_try_held_here_asks_nobody);
    tcase_add_test(tcase, test_try_held_elsewhere_once);
    tcase_add_test(tcase, test_unlock);
    tcase_add_test(tcase, test_unlock_as_notification);
    tcase_add_test(tcase, test_unlock_not_held);
    tcase_add_test(tcase, test_unlock_deleted);
    tcase_add_test(tcase, test_unlock_stolen);
    tcase_add_test(tcase, test_refresh);
    tcase_add_test(tcase, test_refresh_not_held);
    tcase_add_test(tcase, test_refresh_deleted);
    tcase_add_test(tcase, test_refresh_stolen);
    tcase_add_test(tcase, test_lock_again_is_refused);
    tcase_add_test(tcase, test_cancel);
    tcase_add_test(tcase, test_force_unlock);
    tcase_add_test(tcase, test_foreign_program_and_we_exclude_each_other);
    tcase_add_test(tcase, test_inspect_and_list);
    tcase_add_test(tcase, test_hello);
    return suite;
}
