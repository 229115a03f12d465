/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Many who want the same key: who gets it, in which order, with which fence, and what it costs Redis.
 */

#include "tests/lib/scene.h"

Suite *test_handover_suite(void);

static void handover_open(void)
{
    scene_open_with_proxy("timeout = 60s\n[lease]\nttl = 10m\n");
}

START_TEST(test_in_the_order_of_asking_without_redis)
{
    enum { HANDOVER_CLIENTS = 64 };
    struct client *clients[HANDOVER_CLIENTS];
    int ids[HANDOVER_CLIENTS];
    int64_t fence;

    clients[0] = scene_client();
    fence = client_lock(clients[0], "k");
    for (int i = 1; i < HANDOVER_CLIENTS; i++) {
        clients[i] = scene_client();
        ids[i] = client_ask_lock(clients[i], "k");
    }
    ck_assert_int_eq(probe_script_calls(scene.probe), 1); /* the first lock's */
    for (int i = 1; i < HANDOVER_CLIENTS; i++) {
        json_t *grant;

        client_call(clients[i - 1], "unlock", "{'key':'k'}");
        grant = client_expect_result(clients[i], ids[i]);
        ck_assert_int_gt(member_int(grant, "fence"), fence);
        fence = member_int(grant, "fence");
    }
    /* Nothing but a renewal or two: they bring the fences for so many grants. */
    ck_assert_int_eq(probe_script_calls(scene.probe), 1 + scene_stat("renewals"));
    ck_assert_int_le(scene_stat("renewals"), 2);
    ck_assert_int_eq(scene_stat("handovers"), HANDOVER_CLIENTS - 1);
    client_call(clients[HANDOVER_CLIENTS - 1], "unlock", "{'key':'k'}");
    ck_assert(!probe_has(scene.probe, "k"));
}
END_TEST

START_TEST(test_in_the_order_of_asking_while_acquiring)
{
    enum { HANDOVER_CLIENTS = 16 };
    struct client *clients[HANDOVER_CLIENTS];
    int ids[HANDOVER_CLIENTS];

    proxy_hold_replies(scene.proxy, true);
    for (int i = 0; i < HANDOVER_CLIENTS; i++) {
        clients[i] = scene_client();
        ids[i] = client_ask_lock(clients[i], "k");
    }
    proxy_hold_replies(scene.proxy, false);
    for (int i = 0; i < HANDOVER_CLIENTS; i++) {
        client_expect_result(clients[i], ids[i]);
        if (i + 1 < HANDOVER_CLIENTS) {
            client_expect_nothing(clients[i + 1]);
        }
        client_call(clients[i], "unlock", "{'key':'k'}");
    }
}
END_TEST

START_TEST(test_who_unlocks_and_asks_again_stands_at_the_end)
{
    struct client *first = scene_client(), *second = scene_client();
    int id, again, unlock;

    (void)client_lock(first, "k");
    id = client_ask_lock(second, "k");
    unlock = client_ask(first, "unlock", "{'key':'k'}");
    again = client_ask(first, "lock", "{'key':'k'}");
    client_expect_result(first, unlock);
    client_expect_result(second, id);
    client_expect_nothing(first);
    client_call(second, "unlock", "{'key':'k'}");
    client_expect_result(first, again);
}
END_TEST

START_TEST(test_who_leaves_the_queue_leaves_no_trace)
{
    struct client *clients[5];
    int ids[5];

    for (int i = 0; i < 5; i++) {
        clients[i] = scene_client();
        ids[i] = client_ask(clients[i], "lock", "{'key':'k','wait_ms':%d}", i == 3 ? 1 : 600000);
        if (i == 3) {
            client_expect_error(clients[3], ids[3], 3, "timeout");
        } else if (i > 0) {
            client_expect_nothing(clients[i]);
        } else {
            client_expect_result(clients[0], ids[0]);
        }
    }
    client_close(clients[1]);
    client_call(clients[2], "cancel", "{'id':%d}", ids[2] + 100); /* nothing of the kind */
    AWAIT(scene_stat("claims_waiting") == 2);
    client_call(clients[0], "unlock", "{'key':'k'}");
    client_expect_result(clients[2], ids[2]);
    client_expect_nothing(clients[4]);
    client_call(clients[2], "unlock", "{'key':'k'}");
    client_expect_result(clients[4], ids[4]);
}
END_TEST

/* The holder gives the lock back at the very moment at which the waiter takes its wish back. */
START_TEST(test_cancel_races_with_the_grant)
{
    struct client *holder = scene_client(), *waiter = scene_client();
    int n_cancelled = 0;

    for (int i = 0; i < 500; i++) {
        int id, cancel, unlock;
        json_t *error;
        bool was_cancelled;

        (void)client_lock(holder, "k");
        id = client_ask_lock(waiter, "k");
        if (i % 2) {
            unlock = client_ask(holder, "unlock", "{'key':'k'}");
            cancel = client_ask(waiter, "cancel", "{'id':%d}", id);
        } else {
            cancel = client_ask(waiter, "cancel", "{'id':%d}", id);
            unlock = client_ask(holder, "unlock", "{'key':'k'}");
        }
        client_expect_result(holder, unlock);
        error = json_object_get(client_message(waiter), "error");
        was_cancelled = error != NULL;
        if (was_cancelled) {
            ck_assert_int_eq(member_int(error, "code"), 8);
            n_cancelled++;
        }
        ck_assert_int_eq(member_bool(client_expect_result(waiter, cancel), "cancelled"), was_cancelled);
        if (!was_cancelled) {
            client_call(waiter, "unlock", "{'key':'k'}");
        }
    }
    ck_assert_int_gt(n_cancelled, 0);
    AWAIT(scene_stat("keys") == 0);
    ck_assert(!probe_has(scene.probe, "k"));
}
END_TEST

/* Two connections take turns, unlock and the next lock in one write; each fence above the last. */
START_TEST(test_fences_grow_over_10000_handovers)
{
    struct client *clients[2] = {scene_client(), scene_client()};
    int64_t last = client_lock(clients[0], "k");
    int waiting_id = client_ask_lock(clients[1], "k");

    for (int i = 0; i < 10000; i++) {
        struct client *holder = clients[i % 2], *waiter = clients[(i + 1) % 2];
        int unlock = client_ask(holder, "unlock", "{'key':'k'}");
        int again = client_ask(holder, "lock", "{'key':'k','wait_ms':null}");
        int64_t fence = member_int(client_expect_result(waiter, waiting_id), "fence");

        ck_assert_int_gt(fence, last);
        last = fence;
        client_expect_result(holder, unlock);
        waiting_id = again;
    }
    ck_assert_int_lt(last, INT64_C(1) << 53);
    ck_assert_int_ge(scene_stat("handovers"), 10000);
}
END_TEST

START_TEST(test_fences_grow_across_flushall)
{
    struct client *client = scene_client();
    int64_t last = client_lock(client, "k");

    client_call(client, "unlock", "{'key':'k'}");
    for (int i = 0; i < 3; i++) {
        int64_t fence;

        probe_do(scene.probe, "FLUSHALL");
        fence = client_lock(client, "k");
        ck_assert_int_gt(fence, last);
        last = fence;
        client_call(client, "unlock", "{'key':'k'}");
    }
    last = client_lock(client, "k");
    probe_do(scene.probe, "FLUSHALL");
    client_expect_error(client, client_ask(client, "unlock", "{'key':'k'}"), 2, "not_held");
    ck_assert_int_gt(client_lock(client, "k"), last);
}
END_TEST

START_TEST(test_two_daemons_exclude_each_other)
{
    struct rlockd *other = rlockd_start(redis_server_socket(scene.redis), "[lock]\nretry_interval = 1ms\n");
    struct client *here = scene_client(), *there = client_open(other->socket_path);
    int id;

    (void)client_lock(here, "k");
    client_expect_error(there, client_ask(there, "try_lock", "{'key':'k'}"), 1, "held");
    id = client_ask_lock(there, "k");
    client_expect_nothing(there);
    client_call(here, "unlock", "{'key':'k'}");
    client_expect_result(there, id);
    client_expect_error(here, client_ask(here, "try_lock", "{'key':'k'}"), 1, "held");
    client_expect_error(here, client_ask(here, "unlock", "{'key':'k'}"), 2, "not_held");
    client_close(there); /* its end gives the lock back to Redis */
    (void)client_lock(here, "k");
    rlockd_free(other);
}
END_TEST

START_TEST(test_fences_grow_over_two_daemons)
{
    struct rlockd *other = rlockd_start(redis_server_socket(scene.redis), "");
    struct client *clients[2] = {scene_client(), client_open(other->socket_path)};
    int64_t last = 0;

    for (int i = 0; i < 400; i++) {
        struct client *client = clients[i / 2 % 2]; /* two by each, so that blocks of fences are used too */
        int64_t fence = client_lock(client, "k");

        ck_assert_int_gt(fence, last);
        last = fence;
        client_call(client, "unlock", "{'key':'k'}");
    }
    rlockd_free(other);
}
END_TEST

Suite *test_handover_suite(void)
{
    Suite *suite = suite_create("system: handover");
    TCase *tcase = scene_case(suite, "handover", handover_open);

    tcase_add_test(tcase, test_in_the_order_of_asking_without_redis);
    tcase_add_test(tcase, test_in_the_order_of_asking_while_acquiring);
    tcase_add_test(tcase, test_who_unlocks_and_asks_again_stands_at_the_end);
    tcase_add_test(tcase, test_who_leaves_the_queue_leaves_no_trace);
    tcase_add_test(tcase, test_cancel_races_with_the_grant);
    tcase_add_test(tcase, test_fences_grow_over_10000_handovers);
    tcase_add_test(tcase, test_fences_grow_across_flushall);
    tcase_add_test(tcase, test_two_daemons_exclude_each_other);
    tcase_add_test(tcase, test_fences_grow_over_two_daemons);
    return suite;
}
