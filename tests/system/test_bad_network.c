/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * A real Redis behind a bad network, or that comes and goes: commands that arrive late or twice, replies
 * that do not, silence, and the ways in which a key may vanish. What is looked at each time is who believes
 * to hold the lock, and what lies in Redis.
 */

#include "tests/lib/scene.h"

#include <stdio.h>
#include <sys/stat.h>

Suite *test_bad_network_suite(void);

/* Silence is noticed after a fifth of a second. */
#define NETWORK_CONF "timeout = 200ms\nconnect_timeout = 500ms\nreconnect_min = 5ms\nreconnect_max = 50ms\n"

static void network_open(void)
{
    scene_open_with_proxy(NETWORK_CONF);
}

static void network_expect_lost(struct client *client, const char *reason)
{
    ck_assert_str_eq(member_text(client_expect_notice(client, "lost"), "reason"), reason);
}

/* --- silence --------------------------------------------------------------------------------------- */

static void network_stop_redis(bool stop)
{
    if (stop) {
        scene_stop_redis();
    } else {
        scene_continue_redis();
    }
}

static void network_hold(bool hold)
{
    proxy_hold_requests(scene.proxy, hold);
}

static void network_hold_replies(bool hold)
{
    proxy_hold_replies(scene.proxy, hold);
}

static void (*const silences[])(bool) = {network_stop_redis, network_hold, network_hold_replies};

/* For longer than a ttl: each holder is told, once (test_lease.c: in time); who waits goes on waiting, and gets the lock
 * when there is a Redis again, with a larger fence and alone. */
START_TEST(test_silence)
{
    struct client *holder = scene_client(), *waiter = scene_client(), *other = scene_client();
    int64_t fence = member_int(client_call(holder, "lock", "{'key':'k','ttl_ms':1500}"), "fence");
    int id = client_ask(waiter, "lock", "{'key':'k','wait_ms':null}");

    client_expect_nothing(waiter);
    silences[_i](true);
    client_expect_notice(holder, "at_risk");
    network_expect_lost(holder, "expired");
    AWAIT(scene_stat("redis_up") == 0);
    client_expect_nothing(waiter);
    silences[_i](false);
    ck_assert_int_gt(member_int(client_expect_result(waiter, id), "fence"), fence);
    client_expect_error(other, client_ask(other, "try_lock", "{'key':'k'}"), 1, "held");
    client_call(waiter, "unlock", "{'key':'k'}");
    AWAIT(!probe_has(scene.probe, "k"));
    client_expect_nothing(holder);
    ck_assert_int_eq(scene_stat("lost"), 1);
}
END_TEST

/* Commands lie unread in the socket of a Redis that is killed. */
START_TEST(test_killed_with_unread_input)
{
    struct client *client = scene_client(), *waiter = scene_client();
    int id;

    (void)client_lock(client, "k");
    scene_stop_redis();
    id = client_ask_lock(waiter, "m");
    client_ask(client, "unlock", "{'key':'k'}");
    AWAIT(scene_stat("releases") >= 1);
    redis_server_kill(scene.redis);
    client_message(client); /* answered at once, one way or the other */
    probe_close(scene.probe);
    redis_server_restart(scene.redis);
    scene.probe = probe_open(redis_server_socket(scene.redis));
    client_expect_result(waiter, id);
    ck_assert(!probe_has(scene.probe, "k"));
}
END_TEST

/* --- late commands --------------------------------------------------------------------------------- */

/* An attempt is on its way when its connection ends and nobody wants it any more. It reaches Redis after
 * everything has been cleaned up: over a connection that the daemon has had killed, so nothing happens. */
START_TEST(test_late_attempt_is_stopped)
{
    struct client *client = scene_client();
    int64_t n_connects = scene_stat("redis_connects");

    network_hold(true);
    (void)client_ask_lock(client, "k");
    AWAIT(proxy_held_requests(scene.proxy) > 0);
    client_close(client);
    proxy_orphan(scene.proxy);
    network_hold(false);
    AWAIT(scene_stat("redis_connects") > n_connects && scene_stat("keys") == 0);
    proxy_deliver_orphans(scene.proxy);
    ck_assert_int_eq(probe_do(scene.probe, "EXISTS k"), 0);
    (void)client_lock(scene_client(), "k");
    ck_assert_int_eq(probe_do(scene.probe, "EXISTS k"), 1);
}
END_TEST

static char *network_acl(const char *more)
{
    char path[SCRATCH_PATH_CAP];
    char *extra = NULL;
    FILE *file = fopen(scratch_path(path, "password"), "we");

    ck_assert_ptr_nonnull(file);
    fputs("geheim\n", file);
    fchmod(fileno(file), 0600);
    fclose(file);
    probe_do(scene.probe, "ACL SETUSER broker on >geheim ~* &* +@all -client|kill");
    ck_assert_int_gt(asprintf(&extra, "%susername = broker\npassword_file = %s\n", more, path), 0);
    return extra;
}

/* The same for a user of Redis who may not kill connections: the key is blocked, for no longer than its
 * ttl, and nobody believes to hold it. */
START_TEST(test_late_attempt_without_the_right_to_stop_it)
{
    char *extra = network_acl(NETWORK_CONF);
    struct rlockd *rlockd;
    struct client *client, *other;
    int64_t n_connects;

    rlockd = rlockd_start(scene.proxy_path, extra);
    other = client_open(rlockd->socket_path);
    AWAIT(client_stat(other, "redis_up") == 1);
    n_connects = client_stat(other, "redis_connects");
    client = client_open(rlockd->socket_path);
    network_hold(true);
    client_ask(client, "lock", "{'key':'k','ttl_ms':1000}");
    AWAIT(proxy_held_requests(scene.proxy) > 0);
    client_close(client);
    proxy_orphan(scene.proxy);
    network_hold(false);
    AWAIT(client_stat(other, "redis_connects") > n_connects && client_stat(other, "keys") == 0);
    proxy_deliver_orphans(scene.proxy);
    AWAIT(probe_has(scene.probe, "k"));
    client_expect_error(other, client_ask(other, "try_lock", "{'key':'k'}"), 1, "held");
    (void)client_lock(other, "k"); /* once it has run out */
    client_close(other);
    rlockd_free(rlockd);
    free(extra);
}
END_TEST

/* A release is in doubt, and somebody else takes the key meanwhile: the second release is not for them. */
START_TEST(test_release_again_spares_the_next)
{
    struct client *client = scene_client();
    char *value;

    (void)client_lock(client, "k");
    network_hold_replies(true);
    client_ask(client, "unlock", "{'key':'k'}");
    AWAIT(!probe_has(scene.probe, "k"));
    proxy_refuse(scene.proxy, true);
    probe_do(scene.probe, "SET k next PX 600000");
    network_hold_replies(false);
    client_message(client);
    proxy_refuse(scene.proxy, false);
    AWAIT(scene_stat("keys") == 0); /* answered at last */
    value = probe_get(scene.probe, "k");
    ck_assert_str_eq(value, "next");
    free(value);
}
END_TEST

/* A renewal's reply that comes after the loss makes nothing good again. */
START_TEST(test_renewal_is_answered_after_the_loss)
{
    struct client *client = scene_client();

    client_call(client, "lock", "{'key':'k','ttl_ms':600}");
    network_hold_replies(true);
    client_expect_notice(client, "at_risk");
    network_expect_lost(client, "expired");
    network_hold_replies(false);
    AWAIT(scene_stat("redis_up") == 1);
    client_expect_nothing(client);
    client_expect_error(client, client_ask(client, "unlock", "{'key':'k'}"), 2, "not_held");
    AWAIT(!probe_has(scene.probe, "k")); /* nobody renews it */
}
END_TEST

static void network_open_patient(void)
{
    scene_open_with_proxy("timeout = 60s\nreconnect_min = 5ms\nreconnect_max = 50ms\n");
}

/* A renewal is under way when the lock is given back: it brings nothing back to life. */
START_TEST(test_unlock_during_a_renewal)
{
    struct client *client = scene_client();
    int64_t renewals;
    int id;

    client_call(client, "lock", "{'key':'k','ttl_ms':3000}");
    network_hold_replies(true);
    renewals = scene_stat("renewals");
    AWAIT(scene_stat("renewals") > renewals);
    id = client_ask(client, "unlock", "{'key':'k'}");
    network_hold_replies(false);
    client_expect_result(client, id);
    ck_assert_int_eq(probe_do(scene.probe, "EXISTS k"), 0);
    renewals = scene_stat("renewals");
    client_call(client, "lock", "{'key':'m','ttl_ms':1500,'auto_refresh':false}");
    client_expect_notice(client, "lost"); /* a renewal's time has passed */
    ck_assert_int_eq(scene_stat("renewals"), renewals);
    ck_assert_int_eq(probe_do(scene.probe, "EXISTS k"), 0);
}
END_TEST

/* An answer comes when most of the ttl has passed, or all of it. Whatever is granted in the end is valid,
 * and no longer than Redis keeps the key. */
START_TEST(test_late_grant)
{
    struct client *client = scene_client();
    int64_t asked_at_ms = await_now_ms(), valid_until_ms, ttl_ms;

    network_hold_replies(true);
    client_ask(client, "lock", "{'key':'m','ttl_ms':1000,'attempt_timeout_ms':60000}");
    AWAIT(probe_has(scene.probe, "m"));
    if (_i == 0) {
        AWAIT(probe_ttl_ms(scene.probe, "m") < 200);
    } else {
        AWAIT(!probe_has(scene.probe, "m"));
    }
    network_hold_replies(false);
    valid_until_ms = member_int(json_object_get(client_message(client), "result"), "valid_until_ms");
    ttl_ms = probe_ttl_ms(scene.probe, "m");
    ck_assert_int_le(valid_until_ms, await_now_ms() + ttl_ms);
    ck_assert_int_gt(valid_until_ms, asked_at_ms + 1000); /* not from the late answer: it was renewed first */
}
END_TEST

/* A trip to Redis takes as long as the smallest ttl, or a good part of it. */
START_TEST(test_shortest_ttl_on_a_slow_network)
{
    struct client *client = scene_client();
    int64_t renewals = scene_stat("renewals"), start_ms = await_now_ms();

    proxy_delay_replies(scene.proxy, _i == 0 ? 40 : 110);
    client_ask(client, "lock", "{'key':'k','ttl_ms':100,'wait_ms':1000}");
    while (await_now_ms() < start_ms + 1000) {
        struct pollfd input = {.fd = client_fd(client), .events = POLLIN};

        if (poll(&input, 1, 50) > 0) {
            client_message(client); /* granted, at risk, safe, lost: whatever */
        }
    }
    /* One after the other, each as long as the way, even if none is good. */
    ck_assert_int_le(scene_stat("renewals") - renewals, (await_now_ms() - start_ms) / 10);
    proxy_delay_replies(scene.proxy, 0);
    client_close(client);
    AWAIT(scene_stat("keys") == 0);
    AWAIT(!probe_has(scene.probe, "k"));
}
END_TEST

/* --- keys that vanish ------------------------------------------------------------------------------ */

static const struct vanish_row {
    const char *first, *second;
} vanish_rows[] = {
    {"FLUSHALL", NULL},      {"FLUSHDB", NULL},  {"DEL k", NULL},       {"SWAPDB 0 1", NULL},
    {"RENAME k x", "DEL x"}, {"MOVE k 1", NULL}, {"PEXPIRE k 0", NULL},
};

START_TEST(test_key_vanishes)
{
    const struct vanish_row *row = &vanish_rows[_i];
    struct client *holder = scene_client(), *waiter = scene_client();
    int64_t fence = member_int(client_call(holder, "lock", "{'key':'k','ttl_ms':30000}"), "fence");
    int id = client_ask_lock(waiter, "k");

    probe_do(scene.probe, row->first);
    if (row->second != NULL) {
        probe_do(scene.probe, row->second);
    }
    client_ask(holder, "refresh", "{'key':'k'}"); /* or it would be noticed at the next renewal */
    network_expect_lost(holder, "deleted");
    ck_assert_int_gt(member_int(client_expect_result(waiter, id), "fence"), fence);
    ck_assert(probe_has(scene.probe, "k"));
}
END_TEST

START_TEST(test_key_is_evicted)
{
    struct client *client = scene_client();

    client_call(client, "lock", "{'key':'k','ttl_ms':60000}");
    probe_do(scene.probe, "CONFIG SET maxmemory-policy volatile-ttl");
    probe_do(scene.probe, "CONFIG SET maxmemory 1");
    probe_do(scene.probe, "CONFIG SET maxmemory 0");
    AWAIT(!probe_has(scene.probe, "k"));
    client_ask(client, "refresh", "{'key':'k'}");
    network_expect_lost(client, "deleted");
}
END_TEST

/* The counter of fences cannot be used: no lock without a fence, and no key without an owner. */
START_TEST(test_fences_are_not_to_be_had)
{
    struct client *client = scene_client();

    probe_do(scene.probe, "DEL rlockd:fence");
    probe_do(scene.probe, _i == 0 ? "LPUSH rlockd:fence x" : "SET rlockd:fence nonsense");
    client_expect_error(client, client_ask(client, "try_lock", "{'key':'k'}"), 4, "unavailable");
    ck_assert_int_eq(probe_do(scene.probe, "EXISTS k"), 0);
    probe_do(scene.probe, "DEL rlockd:fence");
    (void)client_lock(client, "k");
}
END_TEST

START_TEST(test_cluster_is_refused)
{
    struct redis_server *cluster =
        redis_server_start("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", NULL);
    struct rlockd *rlockd = rlockd_start(redis_server_socket(cluster), NETWORK_CONF);
    struct client *client = client_open(rlockd->socket_path);

    AWAIT(client_stat(client, "redis_failures") >= 2);
    json_t *data =
        client_expect_error(client, client_ask(client, "try_lock", "{'key':'k'}"), 4, "unavailable");
    ck_assert_ptr_nonnull(strstr(member_text(data, "last_error"), "cluster"));
    client_close(client);
    rlockd_free(rlockd);
    redis_server_stop(cluster);
}
END_TEST

/* Redis closes who is silent for a second. */
START_TEST(test_idle_link_is_closed)
{
    struct client *client = scene_client();
    int64_t n_connects = scene_stat("redis_connects");

    probe_do(scene.probe, "CONFIG SET timeout 1");
    AWAIT(scene_stat("redis_connects") > n_connects);
    probe_close(scene.probe);
    scene.probe = probe_open(redis_server_socket(scene.redis));
    probe_do(scene.probe, "CONFIG SET timeout 0");
    (void)client_lock(client, "k");
}
END_TEST

/* Many leases fall due together, and go on together. */
START_TEST(test_many_renewals)
{
    enum { NETWORK_LOCKS = 2000 };
    struct client *client = scene_client();
    int64_t renewals;

    for (int i = 0; i < NETWORK_LOCKS; i++) {
        client_ask(client, "lock", "{'key':'k%d','ttl_ms':3000}", i);
    }
    for (int i = 0; i < NETWORK_LOCKS; i++) {
        ck_assert_ptr_nonnull(json_object_get(client_message(client), "result"));
    }
    renewals = scene_stat("renewals");
    AWAIT(scene_stat("renewals") >= renewals + 4 * NETWORK_LOCKS); /* more than a ttl */
    ck_assert_int_eq(scene_stat("lost"), 0);
    ck_assert_int_eq(scene_stat("leases_held"), NETWORK_LOCKS);
}
END_TEST

Suite *test_bad_network_suite(void)
{
    Suite *suite = suite_create("system: bad network");
    TCase *tcase = scene_case(suite, "bad network", network_open);

    tcase_add_loop_test(tcase, test_silence, 0, sizeof(silences) / sizeof(silences[0]));
    tcase_add_test(tcase, test_killed_with_unread_input);
    tcase_add_test(tcase, test_late_attempt_is_stopped);
    tcase_add_test(tcase, test_late_attempt_without_the_right_to_stop_it);
    tcase_add_test(tcase, test_release_again_spares_the_next);
    tcase_add_test(tcase, test_renewal_is_answered_after_the_loss);
    tcase_add_loop_test(tcase, test_shortest_ttl_on_a_slow_network, 0, 2);
    tcase_add_loop_test(tcase, test_key_vanishes, 0, sizeof(vanish_rows) / sizeof(vanish_rows[0]));
    tcase_add_test(tcase, test_key_is_evicted);
    tcase_add_loop_test(tcase, test_fences_are_not_to_be_had, 0, 2);
    tcase_add_test(tcase, test_cluster_is_refused);
    tcase = scene_case(suite, "patience", network_open_patient);
    tcase_add_test(tcase, test_unlock_during_a_renewal);
    tcase_add_loop_test(tcase, test_late_grant, 0, 2);
    tcase_add_test(tcase, test_idle_link_is_closed);
    tcase_add_test(tcase, test_many_renewals);
    return suite;
}
