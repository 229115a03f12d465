/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Many who want the same key: who gets it, in which order, with which fence, and what it costs Redis.
 */

#include "tests/lib/scene.h"

Suite *test_handover_suite(void);

enum { HANDOVER_RACES = 10000, HANDOVER_ROUND = 5 };

static void handover_open(void)
{
    scene_open_with_proxy("timeout = 60s\n[lease]\nttl = 10m\n");
}

START_TEST(test_in_the_order_of_asking_without_redis)
{
    enum { HANDOVER_CLIENTS = 64 };
    struct client *clients[HANDOVER_CLIENTS];
    int ids[HANDOVER_CLIENTS];
    int64_t fence, n_commands;

    clients[0] = scene_client();
    fence = client_lock(clients[0], "k");
    for (int i = 1; i < HANDOVER_CLIENTS; i++) {
        clients[i] = scene_client();
        ids[i] = client_ask_lock(clients[i], "k");
    }
    ck_assert_int_eq(probe_script_calls(scene.probe), 1); /* the first lock's */
    n_commands = scene_stat("redis_commands");
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
    ck_assert_int_eq(scene_stat("redis_commands"), n_commands + scene_stat("renewals"));
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

/* A moment that differs from one time to the next, spent awake: less than what a request takes. */
static void handover_dally(uint32_t *dice)
{
    *dice = *dice * 1664525 + 1013904223;
    for (volatile uint32_t i = *dice >> 16; i > 0; i--) {
    }
}

/* One of the two answers to a lock and its cancel: exactly one of them happened. True: it was cancelled. */
static bool handover_take_race(struct client *client, int lock, int cancel)
{
    json_t *message = client_message(client);
    bool was_cancelled = json_object_get(message, "error") != NULL;

    ck_assert_int_eq(member_int(message, "id"), lock);
    if (was_cancelled) {
        ck_assert_int_eq(member_int(json_object_get(message, "error"), "code"), 8);
    }
    ck_assert_int_eq(member_bool(client_expect_result(client, cancel), "cancelled"), was_cancelled);
    return was_cancelled;
}

/* The holder gives the lock back at the very moment at which the waiter takes its wish back. */
START_TEST(test_cancel_races_with_the_hand_over)
{
    struct client *holder = scene_client(), *waiter = scene_client();
    uint32_t dice = 1;
    int n_cancelled = 0;

    for (int i = 0; i < HANDOVER_RACES; i++) {
        int id, cancel = 0, unlock = 0;

        (void)client_lock(holder, "k");
        id = client_ask_lock(waiter, "k");
        for (int j = 0; j < 2; j++) {
            if (j == i % 2) {
                unlock = client_ask(holder, "unlock", "{'key':'k'}");
            } else {
                cancel = client_ask(waiter, "cancel", "{'id':%d}", id);
            }
            handover_dally(&dice);
        }
        client_expect_result(holder, unlock);
        if (handover_take_race(waiter, id, cancel)) {
            n_cancelled++;
        } else {
            client_call(waiter, "unlock", "{'key':'k'}");
        }
    }
    ck_assert_int_ge(n_cancelled, HANDOVER_RACES / 4); /* the cancel came first in half of them */
    AWAIT(scene_stat("keys") == 0);
    ck_assert(!probe_has(scene.probe, "k"));
}
END_TEST

/* The key is free, and the waiter takes its wish back while Redis is asked for it. */
START_TEST(test_cancel_races_with_the_attempt)
{
    struct client *client = scene_client();
    uint32_t dice = 2;
    int n_cancelled = 0;

    for (int i = 0; i < HANDOVER_RACES; i++) {
        int id = client_ask(client, "lock", "{'key':'k'}"), cancel;

        handover_dally(&dice);
        cancel = client_ask(client, "cancel", "{'id':%d}", id);
        if (handover_take_race(client, id, cancel)) {
            n_cancelled++;
        } else {
            client_tell(client, "unlock", "{'key':'k'}");
        }
    }
    ck_assert_int_gt(n_cancelled, 0);
    AWAIT(scene_stat("keys") == 0);
    ck_assert(!probe_has(scene.probe, "k"));
}
END_TEST

/* The daemon sleeps through the unlock and through the end of the wait: it finds both at once. */
START_TEST(test_wait_is_over_as_the_lock_is_handed_over)
{
    struct client *holder = scene_client(), *waiter = scene_client(), *last = scene_client();
    int id, last_id, unlock;
    int64_t over_ms;

    (void)client_lock(holder, "k");
    id = client_ask(waiter, "lock", "{'key':'k','wait_ms':500}");
    client_expect_nothing(waiter);
    over_ms = await_now_ms() + 500;
    last_id = client_ask_lock(last, "k");
    rlockd_signal(scene.rlockd, SIGSTOP);
    unlock = client_ask(holder, "unlock", "{'key':'k'}");
    AWAIT(await_now_ms() > over_ms);
    rlockd_signal(scene.rlockd, SIGCONT);
    client_expect_error(waiter, id, 3, "timeout");
    client_expect_nothing(waiter);
    client_expect_result(holder, unlock);
    client_expect_result(last, last_id);
    client_call(last, "unlock", "{'key':'k'}");
    ck_assert(!probe_has(scene.probe, "k"));
}
END_TEST

/* The same with the answer of Redis, for which nobody is left then: the lease does not stay. */
START_TEST(test_wait_is_over_as_redis_grants)
{
    struct client *waiter = scene_client();
    int64_t over_ms;
    int id;

    proxy_hold_replies(scene.proxy, true);
    id = client_ask(waiter, "lock", "{'key':'k','wait_ms':500,'attempt_timeout_ms':60000}");
    AWAIT(proxy_held_replies(scene.proxy) > 0);
    over_ms = await_now_ms() + 500;
    rlockd_signal(scene.rlockd, SIGSTOP);
    proxy_hold_replies(scene.proxy, false);
    AWAIT(await_now_ms() > over_ms);
    rlockd_signal(scene.rlockd, SIGCONT);
    client_expect_error(waiter, id, 3, "timeout");
    client_expect_nothing(waiter);
    AWAIT(scene_stat("keys") == 0);
    ck_assert(!probe_has(scene.probe, "k"));
}
END_TEST

/* A second unlock, and one behind `lost`, are errors: whoever has the lock by then keeps it. */
START_TEST(test_second_unlock_is_not_the_next_holders)
{
    struct client *first = scene_client(), *second = scene_client();
    int64_t fence = client_lock(first, "k"), n_calls;
    int id = client_ask_lock(second, "k"), again;

    client_call(first, "unlock", "{'key':'k'}");
    client_expect_result(second, id);
    n_calls = probe_script_calls(scene.probe);
    again = client_ask(first, "unlock", "{'key':'k'}");
    ck_assert_str_eq(member_text(client_expect_error(first, again, 2, "not_held"), "why"), "released");
    again = client_ask(first, "unlock", "{'key':'k','fence':%lld}", (long long)fence);
    ck_assert_str_eq(member_text(client_expect_error(first, again, 2, "not_held"), "why"), "released");
    client_tell(first, "unlock", "{'key':'k'}");
    client_expect_nothing(first);
    client_expect_nothing(second);
    client_call(first, "force_unlock", "{'key':'k'}");
    ck_assert_str_eq(member_text(client_expect_notice(second, "lost"), "reason"), "forced");
    (void)client_lock(first, "k");
    again = client_ask(second, "unlock", "{'key':'k'}");
    ck_assert_str_eq(member_text(client_expect_error(second, again, 2, "not_held"), "why"), "forced");
    ck_assert_int_eq(probe_script_calls(scene.probe), n_calls + 2); /* the forced release, and the lock */
    ck_assert(probe_has(scene.probe, "k"));
    client_expect_nothing(first);
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

/* The lock goes through the hands of all of them, one behind the other; the last gives it back. Each fence
 * is above the one before. */
static void handover_go_round(struct client **clients, int n_clients, int64_t *last)
{
    int ids[HANDOVER_ROUND] = {0};
    int64_t fence = client_lock(clients[0], "k");

    for (int i = 1; i < n_clients; i++) {
        ids[i] = client_ask_lock(clients[i], "k");
    }
    for (int i = 0; i < n_clients; i++) {
        fence = i > 0 ? member_int(client_expect_result(clients[i], ids[i]), "fence") : fence;
        ck_assert_int_gt(fence, *last);
        *last = fence;
        client_call(clients[i], "unlock", "{'key':'k'}");
    }
}

static void handover_open_round(struct client *clients[HANDOVER_ROUND], const struct rlockd *rlockd)
{
    for (int i = 0; i < HANDOVER_ROUND; i++) {
        clients[i] = client_open(rlockd->socket_path);
    }
}

/* Redis forgets everything, the counter of fences too: between two leases, and under one. */
START_TEST(test_fences_grow_across_flushall)
{
    struct client *clients[HANDOVER_ROUND];
    int64_t last = 0;

    handover_open_round(clients, scene.rlockd);
    for (int i = 0; i < 5; i++) {
        int64_t fence;

        handover_go_round(clients, HANDOVER_ROUND, &last);
        probe_do(scene.probe, "FLUSHALL");
        handover_go_round(clients, HANDOVER_ROUND, &last);
        fence = client_lock(clients[0], "k");
        ck_assert_int_gt(fence, last);
        last = fence;
        probe_do(scene.probe, "FLUSHALL");
        client_expect_error(clients[0], client_ask(clients[0], "unlock", "{'key':'k'}"), 2, "not_held");
    }
    handover_go_round(clients, 1, &last);
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

/* Each daemon hands the lock on some times by itself, with the fences that Redis had set aside for it; the
 * other's next one is above all of them. Usually that is so because time has passed, so once the counter is
 * far ahead of the clock. */
START_TEST(test_fences_grow_over_two_daemons)
{
    struct rlockd *other = rlockd_start(redis_server_socket(scene.redis), "");
    struct client *clients[2][HANDOVER_ROUND];
    int64_t last = 0, n_handovers = 0;

    if (_i == 1) {
        probe_do(scene.probe, "SET rlockd:fence 8000000000000000");
    }
    handover_open_round(clients[0], scene.rlockd);
    handover_open_round(clients[1], other);
    for (int i = 0; i < 400; i++) {
        int n_clients = 1 + i / 2 % HANDOVER_ROUND;

        handover_go_round(clients[i % 2], n_clients, &last);
        n_handovers += i % 2 == 0 ? n_clients - 1 : 0;
    }
    ck_assert_int_eq(scene_stat("handovers"), n_handovers);
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
    tcase_add_test(tcase, test_cancel_races_with_the_hand_over);
    tcase_add_test(tcase, test_cancel_races_with_the_attempt);
    tcase_add_test(tcase, test_wait_is_over_as_the_lock_is_handed_over);
    tcase_add_test(tcase, test_wait_is_over_as_redis_grants);
    tcase_add_test(tcase, test_second_unlock_is_not_the_next_holders);
    tcase_add_test(tcase, test_fences_grow_over_10000_handovers);
    tcase_add_test(tcase, test_fences_grow_across_flushall);
    tcase_add_test(tcase, test_two_daemons_exclude_each_other);
    tcase_add_loop_test(tcase, test_fences_grow_over_two_daemons, 0, 2);
    return suite;
}
