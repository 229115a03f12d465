/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * A real Redis that says no, or something odd: what becomes of those who hold a lock and of those
 * who want one. Slow and absent ones stand in test_retry.c and test_lease.c.
 */

#include "tests/lib/scene.h"

#include <stdio.h>
#include <sys/stat.h>

Suite *test_redis_faults_suite(void);

static void faults_open(void)
{
    scene_open("timeout = 5s\nreconnect_min = 10ms\nreconnect_max = 50ms\n");
}

/* Everybody but this probe. */
static void faults_kill_connections(void)
{
    int64_t connects = scene_stat("redis_failures");

    probe_do(scene.probe, "CLIENT KILL TYPE normal SKIPME yes");
    AWAIT(scene_stat("redis_failures") > connects);
}

/* One attempt fails, with a last_error that says `text`. */
static void faults_expect_unavailable(const char *key, const char *text)
{
    struct client *client = scene_client();
    json_t *data =
        client_expect_error(client, client_ask(client, "try_lock", "{'key':'%s'}", key), 4, "unavailable");

    ck_assert_msg(strstr(member_text(data, "last_error"), text) != NULL, "expected %s, got %s", text,
                  member_text(data, "last_error"));
    client_close(client);
}

START_TEST(test_scripts_flushed)
{
    struct client *client = scene_client();

    for (int i = 0; i < 200; i++) {
        if (i % 20 == 0) {
            probe_do(scene.probe, "SCRIPT FLUSH");
        }
        (void)client_lock(client, "k");
        if (i % 20 == 10) {
            probe_do(scene.probe, "SCRIPT FLUSH");
        }
        client_call(client, "unlock", "{'key':'k'}");
    }
    (void)client_lock(client, "k");
    probe_do(scene.probe, "SCRIPT FLUSH");
    client_call(client, "refresh", "{'key':'k'}");
}
END_TEST

START_TEST(test_key_of_another_type)
{
    struct client *client = scene_client();
    json_t *data;
    int id;

    probe_do(scene.probe, "LPUSH k a b c");
    faults_expect_unavailable("k", "WRONGTYPE");
    id = client_ask(client, "lock", "{'key':'k','wait_ms':null}"); /* there is no use in waiting */
    data = client_expect_error(client, id, 4, "unavailable");
    ck_assert_ptr_nonnull(strstr(member_text(data, "last_error"), "WRONGTYPE"));
    ck_assert_int_eq(probe_do(scene.probe, "LLEN k"), 3);
}
END_TEST

/* The user of the daemon loses rights: to call scripts at all, and to write in one. */
START_TEST(test_rights_are_taken_away)
{
    struct client *client = scene_client();

    (void)client_lock(client, "k");
    probe_do(scene.probe, "ACL SETUSER default -evalsha");
    faults_expect_unavailable("other", "NOPERM");
    probe_do(scene.probe, "ACL SETUSER default +@all -set");
    faults_expect_unavailable("other", "can't run this command");
    client_call(client, "refresh", "{'key':'k'}"); /* which needs no SET */
    probe_do(scene.probe, "ACL SETUSER default +@all");
    (void)client_lock(client, "other");
    ck_assert_int_eq(scene_stat("lost"), 0);
}
END_TEST

START_TEST(test_redis_is_full)
{
    struct client *client = scene_client();

    (void)client_lock(client, "k");
    probe_do(scene.probe, "CONFIG SET maxclients 1"); /* which this probe is */
    faults_kill_connections();
    AWAIT(rlockd_log_has(scene.rlockd, "ERR max number of clients reached"));
    faults_expect_unavailable("other", "ERR max number of clients reached");
    probe_do(scene.probe, "CONFIG SET maxclients 100");
    AWAIT(scene_stat("redis_up") == 1);
    client_call(client, "unlock", "{'key':'k'}");
    (void)client_lock(client, "other");
    ck_assert_int_eq(scene_stat("lost"), 0);
}
END_TEST

START_TEST(test_held_key_becomes_another_type)
{
    struct client *client = scene_client();

    client_call(client, "lock", "{'key':'k','ttl_ms':1000}");
    probe_do(scene.probe, "DEL k");
    probe_do(scene.probe, "LPUSH k a b c");
    ck_assert_str_eq(member_text(client_expect_notice(client, "lost"), "reason"), "taken");
    ck_assert_int_eq(probe_do(scene.probe, "LLEN k"), 3);
}
END_TEST

START_TEST(test_out_of_memory)
{
    struct client *client = scene_client();

    (void)client_lock(client, "k");
    probe_do(scene.probe, "CONFIG SET maxmemory 1");
    faults_expect_unavailable("other", "OOM");
    client_call(client, "refresh", "{'key':'k'}"); /* what is held can be kept, */
    client_call(client, "unlock", "{'key':'k'}");  /* and given back */
    ck_assert(!probe_has(scene.probe, "k"));
    probe_do(scene.probe, "CONFIG SET maxmemory 0");
    (void)client_lock(client, "other");
}
END_TEST

START_TEST(test_not_enough_replicas)
{
    struct client *client = scene_client(), *waiter = scene_client();
    int id;

    client_call(client, "lock", "{'key':'k','ttl_ms':3000}");
    probe_do(scene.probe, "CONFIG SET min-replicas-to-write 1");
    faults_expect_unavailable("other", "NOREPLICAS");
    id = client_ask_lock(waiter, "other");
    client_expect_notice(client, "at_risk"); /* its renewals are refused as well */
    probe_do(scene.probe, "CONFIG SET min-replicas-to-write 0");
    client_expect_notice(client, "safe");
    client_expect_result(waiter, id);
    ck_assert_int_eq(scene_stat("lost"), 0);
}
END_TEST

START_TEST(test_not_enough_replicas_for_too_long)
{
    struct client *client = scene_client();

    client_call(client, "lock", "{'key':'k','ttl_ms':1000}");
    probe_do(scene.probe, "CONFIG SET min-replicas-to-write 1");
    client_expect_notice(client, "at_risk");
    ck_assert_str_eq(member_text(client_expect_notice(client, "lost"), "reason"), "expired");
}
END_TEST

START_TEST(test_connection_killed)
{
    struct client *client = scene_client();
    int64_t fence = member_int(client_call(client, "lock", "{'key':'k','ttl_ms':20000}"), "fence");
    int64_t renewals = scene_stat("renewals");

    for (int i = 0; i < 5; i++) {
        faults_kill_connections();
        AWAIT(scene_stat("redis_up") == 1);
    }
    AWAIT(scene_stat("renewals") > renewals); /* at once, not in its own time */
    AWAIT(probe_ttl_ms(scene.probe, "k") > 15000);
    ck_assert_int_eq(member_int(client_call(client, "unlock", "{'key':'k'}"), "fence"), fence);
}
END_TEST

START_TEST(test_connection_killed_with_waiters)
{
    struct client *client = scene_client();
    int id;

    probe_do(scene.probe, "SET k foreign PX 600000");
    id = client_ask(client, "lock", "{'key':'k','retry':{'interval_ms':600000,'max':null},'wait_ms':null}");
    AWAIT(scene_stat("attempts_held") == 1);
    probe_do(scene.probe, "DEL k");
    faults_kill_connections();
    client_expect_result(client, id); /* the reconnect is a reason to try at once */
}
END_TEST

START_TEST(test_password_asked_for)
{
    struct client *client = scene_client();

    client_call(client, "lock", "{'key':'k','ttl_ms':60000}");
    probe_do(scene.probe, "CONFIG SET requirepass geheim");
    faults_kill_connections();
    AWAIT(scene_stat("redis_failures") >= 2);
    faults_expect_unavailable("other", "NOAUTH");
    probe_do(scene.probe, "CONFIG SET requirepass %s", "");
    AWAIT(scene_stat("redis_up") == 1);
    client_call(client, "unlock", "{'key':'k'}");
}
END_TEST

START_TEST(test_redis_restarted_empty)
{
    struct client *client = scene_client(), *waiter = scene_client();
    int64_t fence = client_lock(client, "k");
    int id = client_ask_lock(waiter, "k");

    redis_server_kill(scene.redis);
    AWAIT(scene_stat("redis_up") == 0);
    probe_close(scene.probe);
    redis_server_restart(scene.redis);
    scene.probe = probe_open(redis_server_socket(scene.redis));
    ck_assert_str_eq(member_text(client_expect_notice(client, "lost"), "reason"), "deleted");
    ck_assert_int_gt(member_int(client_expect_result(waiter, id), "fence"), fence);
    ck_assert(probe_has(scene.probe, "k"));
}
END_TEST

/* Another daemon on the same Redis, whose password lies in a file. */
static struct rlockd *faults_start_with_password(const char *password)
{
    char path[SCRATCH_PATH_CAP], extra[2 * SCRATCH_PATH_CAP];
    FILE *file = fopen(scratch_path(path, "password"), "we");

    ck_assert_ptr_nonnull(file);
    fprintf(file, "%s\n", password);
    fclose(file);
    ck_assert_int_eq(chmod(path, 0600), 0);
    snprintf(extra, sizeof(extra), "reconnect_max = 100ms\npassword_file = %s\n", path);
    return rlockd_start(redis_server_socket(scene.redis), extra);
}

START_TEST(test_password_from_a_file)
{
    struct rlockd *right, *wrong;
    struct client *client;
    json_t *data;

    probe_do(scene.probe, "CONFIG SET requirepass geheim");
    right = faults_start_with_password("geheim");
    (void)client_lock(client_open(right->socket_path), "k");
    wrong = faults_start_with_password("verraten");
    client = client_open(wrong->socket_path);
    AWAIT(client_stat(client, "redis_failures") >= 1);
    data = client_expect_error(client, client_ask(client, "try_lock", "{'key':'m'}"), 4, "unavailable");
    ck_assert_ptr_nonnull(strstr(member_text(data, "last_error"), "WRONGPASS"));
    ck_assert_ptr_null(strstr(member_text(data, "last_error"), "verraten"));
    ck_assert(!rlockd_log_has(wrong, "verraten"));
    ck_assert(!rlockd_log_has(right, "geheim"));
    probe_do(scene.probe, "CONFIG SET requirepass %s", "");
    rlockd_free(wrong);
    rlockd_free(right);
}
END_TEST

START_TEST(test_replica_is_refused)
{
    struct client *client = scene_client();

    client_call(client, "lock", "{'key':'k','ttl_ms':60000}");
    probe_do(scene.probe, "REPLICAOF 127.0.0.1 1"); /* of nobody: nothing listens there */
    faults_expect_unavailable("other", "READONLY");
    client_expect_nothing(client); /* a replica proves nothing about a lease */
    faults_kill_connections();
    AWAIT(scene_stat("redis_failures") >= 3);
    ck_assert_int_eq(scene_stat("redis_up"), 0);
    probe_do(scene.probe, "REPLICAOF NO ONE");
    AWAIT(scene_stat("redis_up") == 1);
    client_call(client, "unlock", "{'key':'k'}");
}
END_TEST

START_TEST(test_busy)
{
    struct redisContext *busy = probe_open(redis_server_socket(scene.redis));
    struct client *client = scene_client(), *waiter = scene_client();
    int id;

    client_call(client, "lock", "{'key':'k','ttl_ms':6000}");
    probe_do(scene.probe, "CONFIG SET busy-reply-threshold 50");
    probe_post(busy, "EVAL 'while true do end' 0");
    client_expect_notice(client, "at_risk");
    id = client_ask_lock(waiter, "other");
    probe_do(scene.probe, "SCRIPT KILL");
    client_expect_notice(client, "safe");
    client_expect_result(waiter, id);
    probe_close(busy);
}
END_TEST

START_TEST(test_evicting_redis_when_strict)
{
    struct rlockd *strict, *lenient;
    struct client *client;

    probe_do(scene.probe, "CONFIG SET maxmemory-policy allkeys-lru");
    probe_do(scene.probe, "CONFIG SET maxmemory 1gb");
    lenient = rlockd_start(redis_server_socket(scene.redis), "");
    client = client_open(lenient->socket_path);
    (void)client_lock(client, "k");
    AWAIT(rlockd_log_has(lenient, "allkeys-lru"));
    strict = rlockd_start(redis_server_socket(scene.redis), "strict = yes\nreconnect_max = 100ms\n");
    client = client_open(strict->socket_path);
    AWAIT(client_stat(client, "redis_failures") >= 2);
    client_expect_error(client, client_ask(client, "try_lock", "{'key':'m'}"), 4, "unavailable");
    probe_do(scene.probe, "CONFIG SET maxmemory-policy noeviction");
    AWAIT(client_stat(client, "redis_up") == 1);
    rlockd_free(strict);
    rlockd_free(lenient);
}
END_TEST

Suite *test_redis_faults_suite(void)
{
    Suite *suite = suite_create("system: redis faults");
    TCase *tcase = scene_case(suite, "redis faults", faults_open);

    tcase_add_test(tcase, test_scripts_flushed);
    tcase_add_test(tcase, test_key_of_another_type);
    tcase_add_test(tcase, test_rights_are_taken_away);
    tcase_add_test(tcase, test_redis_is_full);
    tcase_add_test(tcase, test_held_key_becomes_another_type);
    tcase_add_test(tcase, test_out_of_memory);
    tcase_add_test(tcase, test_not_enough_replicas);
    tcase_add_test(tcase, test_not_enough_replicas_for_too_long);
    tcase_add_test(tcase, test_connection_killed);
    tcase_add_test(tcase, test_connection_killed_with_waiters);
    tcase_add_test(tcase, test_redis_restarted_empty);
    tcase_add_test(tcase, test_password_asked_for);
    tcase_add_test(tcase, test_password_from_a_file);
    tcase_add_test(tcase, test_replica_is_refused);
    tcase_add_test(tcase, test_busy);
    tcase_add_test(tcase, test_evicting_redis_when_strict);
    return suite;
}
