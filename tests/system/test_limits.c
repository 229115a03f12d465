/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Many of everything: that it works up to the limits, is refused by name beyond them, and that
 * nothing stays behind when all have gone.
 */

#include "tests/lib/scene.h"

#include <sys/resource.h>

Suite *test_limits_suite(void);

enum { LIMITS_CONNECTIONS = 1000, LIMITS_KEYS = 10000, LIMITS_RSS_KIB_MAX = 8192 };

static void limits_expect(struct client *client, int id, const char *name)
{
    json_t *data = client_expect_error(client, id, 7, "limit");

    ck_assert_msg(strstr(member_text(data, "limit"), name) != NULL, "expected the limit %s, got %s", name,
                  member_text(data, "limit"));
}

/* An error before anything was asked, and the end. */
static void limits_expect_turned_away(const char *name)
{
    struct client *client = scene_client();
    json_t *error = client_expect_error_of_null(client, 7);

    ck_assert_ptr_nonnull(strstr(member_text(json_object_get(error, "data"), "limit"), name));
    client_expect_end(client);
}

START_TEST(test_held_per_connection)
{
    struct client *client = scene_client();

    (void)client_lock(client, "a");
    (void)client_lock(client, "b");
    limits_expect(client, client_ask(client, "lock", "{'key':'c'}"), "held_per_connection");
    client_call(client, "unlock", "{'key':'a'}");
    (void)client_lock(client, "c");
    client_close(client);
    AWAIT(scene_stat("keys") == 0);
    (void)client_lock(scene_client(), "a");
}
END_TEST

START_TEST(test_waiting_per_connection)
{
    struct client *holder[2] = {scene_client(), scene_client()};
    struct client *client = scene_client();
    int id;

    (void)client_lock(holder[0], "a");
    (void)client_lock(holder[0], "b");
    (void)client_lock(holder[1], "c");
    id = client_ask_lock(client, "a");
    (void)client_ask_lock(client, "b");
    limits_expect(client, client_ask(client, "lock", "{'key':'c'}"), "waiting_per_connection");
    client_close(holder[0]);
    client_expect_result(client, id);
}
END_TEST

START_TEST(test_locks_per_user)
{
    struct client *clients[4] = {scene_client(), scene_client(), scene_client(), scene_client()};

    (void)client_lock(clients[0], "a");
    (void)client_lock(clients[0], "b");
    (void)client_lock(clients[1], "c");
    (void)client_lock(clients[1], "d");
    (void)client_ask_lock(clients[2], "a"); /* who waits counts as well */
    (void)client_ask_lock(clients[2], "b");
    limits_expect(clients[3], client_ask(clients[3], "lock", "{'key':'e'}"), "locks_per_user");
    client_close(clients[1]);
    AWAIT(scene_stat("keys") == 2);
    (void)client_lock(clients[3], "e");
}
END_TEST

START_TEST(test_connections)
{
    struct client *clients[8];

    (void)scene_stat("connections"); /* one of them is this test's own look into the daemon */
    for (int i = 0; i < 7; i++) {
        clients[i] = scene_client();
        client_expect_nothing(clients[i]);
    }
    limits_expect_turned_away("connections");
    client_expect_nothing(clients[0]);
    ck_assert_int_ge(scene_stat("connections_refused"), 1);
    client_close(clients[6]);
    AWAIT(scene_stat("connections") == 7);
    client_expect_nothing(scene_client());
}
END_TEST

static void limits_open_small(void)
{
    scene_open("[limits]\nheld_per_connection = 2\nwaiting_per_connection = 2\n"
               "locks_per_user = 6\nconnections = 8\n");
}

START_TEST(test_connections_per_user)
{
    client_expect_nothing(scene_client());
    client_expect_nothing(scene_client());
    (void)scene_stat("connections");
    limits_expect_turned_away("connections_per_user");
}
END_TEST

static void limits_open_user(void)
{
    scene_open("[limits]\nconnections_per_user = 3\n");
}

enum { LIMITS_DESCRIPTORS = 100, LIMITS_FOR_DESCRIPTORS = (LIMITS_DESCRIPTORS - 64) / 2 };

/* A client costs the daemon two descriptors. It takes no more clients than leave some for Redis. */
START_TEST(test_descriptors)
{
    struct client *clients[LIMITS_FOR_DESCRIPTORS];
    int64_t n_connects = scene_stat("redis_connects"); /* over the first of the connections */

    for (int i = 1; i < LIMITS_FOR_DESCRIPTORS; i++) {
        clients[i] = scene_client();
        client_expect_nothing(clients[i]);
    }
    for (int i = 0; i < 3; i++) {
        limits_expect_turned_away("connections");
    }
    ck_assert_int_eq(probe_do(scene.probe, "CLIENT KILL TYPE normal SKIPME yes"), 1);
    AWAIT(scene_stat("redis_connects") > n_connects);
    AWAIT(scene_stat("redis_up") == 1);
    (void)client_lock(clients[1], "k");

    rlockd_signal(scene.rlockd, SIGHUP);
    AWAIT(rlockd_log_has(scene.rlockd, "reloaded"));
    limits_expect_turned_away("connections");
    client_close(clients[2]);
    AWAIT(scene_stat("connections") == LIMITS_FOR_DESCRIPTORS - 1);
    client_expect_nothing(scene_client());
    ck_assert(rlockd_log_has(scene.rlockd, "[limits] connections: 10000 need 20064 descriptors, and 100 are "
                                           "allowed (RLIMIT_NOFILE): 18 are served"));
}
END_TEST

static void limits_open_descriptors(void)
{
    const struct rlimit few = {LIMITS_DESCRIPTORS, LIMITS_DESCRIPTORS};

    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0); /* inherited */
    scene_open_default();
}

static void limits_raise_descriptors(void)
{
    struct rlimit limit;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* A key held, and a thousand connections that wait for it; all granted in turn, or all gone at once. */
static void limits_crowd(bool all_get_it)
{
    struct client *holder = scene_client();
    struct client *clients[LIMITS_CONNECTIONS];
    int ids[LIMITS_CONNECTIONS];

    (void)client_lock(holder, "k");
    for (int i = 0; i < LIMITS_CONNECTIONS; i++) {
        clients[i] = scene_client();
        ids[i] = client_ask(clients[i], "lock", "{'key':'k','wait_ms':null}");
        client_expect_nothing(clients[i]);
    }
    ck_assert_int_eq(scene_stat("claims_waiting"), LIMITS_CONNECTIONS);
    client_call(holder, "unlock", "{'key':'k'}");
    for (int i = 0; i < LIMITS_CONNECTIONS && all_get_it; i++) {
        client_expect_result(clients[i], ids[i]);
        client_call(clients[i], "unlock", "{'key':'k'}");
    }
    for (int i = 0; i < LIMITS_CONNECTIONS; i++) {
        client_close(clients[i]);
    }
    client_close(holder);
    AWAIT(scene_stat("connections") == 1);
    AWAIT(scene_stat("keys") == 0);
    ck_assert_int_eq(scene_stat("claims_waiting"), 0);
}

/* Ten thousand keys, held by one connection that asks for all before it reads; then it goes. */
static void limits_hoard(bool unlock_each)
{
    struct client *client = scene_client();

    for (int i = 0; i < LIMITS_KEYS; i++) {
        client_ask(client, "lock", "{'key':'key-%d'}", i);
    }
    for (int i = 0; i < LIMITS_KEYS; i++) {
        ck_assert_ptr_nonnull(json_object_get(client_message(client), "result"));
    }
    ck_assert_int_eq(scene_stat("leases_held"), LIMITS_KEYS);
    for (int i = 0; i < LIMITS_KEYS && unlock_each; i++) {
        client_tell(client, "unlock", "{'key':'key-%d'}", i);
    }
    client_close(client);
    AWAIT(scene_stat("keys") == 0);
    AWAIT(scene_stat("connections") == 1);
    ck_assert_int_eq(scene_stat("leases_held"), 0);
    ck_assert_int_eq(probe_do(scene.probe, "EXISTS key-0 key-1 key-5000 key-9999"), 0);
}

START_TEST(test_1000_waiting_connections)
{
    long rss_kib;
    int n_fds;

    limits_raise_descriptors();
    limits_crowd(true);
    limits_crowd(false);
    rss_kib = rlockd_rss_kib(scene.rlockd);
    n_fds = rlockd_n_fds(scene.rlockd);
    limits_crowd(true);
    limits_crowd(false);
    ck_assert_int_le(rlockd_rss_kib(scene.rlockd), rss_kib + LIMITS_RSS_KIB_MAX);
    ck_assert_int_eq(rlockd_n_fds(scene.rlockd), n_fds);
}
END_TEST

START_TEST(test_10000_held_keys)
{
    long rss_kib;

    limits_hoard(true);
    limits_hoard(false);
    rss_kib = rlockd_rss_kib(scene.rlockd);
    for (int i = 0; i < 4; i++) {
        limits_hoard(i % 2);
    }
    /* The allocator keeps now more, now less; 200 bytes left behind by each lock would be too much. */
    ck_assert_int_le(rlockd_rss_kib(scene.rlockd), rss_kib + LIMITS_RSS_KIB_MAX);
}
END_TEST

/* Ten thousand keys are held by some connections, and a thousand others wait for one of them each. Then the
 * holders go, and the waiters are granted what they waited for; or the waiters go first. */
static void limits_meet(bool waiters_go_first)
{
    enum { LIMITS_HOLDERS = 4 };
    struct client *holders[LIMITS_HOLDERS], *waiters[LIMITS_CONNECTIONS];
    int ids[LIMITS_CONNECTIONS];

    for (int i = 0; i < LIMITS_HOLDERS; i++) {
        holders[i] = scene_client();
    }
    for (int i = 0; i < LIMITS_KEYS; i++) {
        client_ask(holders[i % LIMITS_HOLDERS], "lock", "{'key':'key-%d'}", i);
    }
    for (int i = 0; i < LIMITS_KEYS; i++) {
        ck_assert_ptr_nonnull(json_object_get(client_message(holders[i % LIMITS_HOLDERS]), "result"));
    }
    for (int i = 0; i < LIMITS_CONNECTIONS; i++) {
        waiters[i] = scene_client();
        ids[i] = client_ask(waiters[i], "lock", "{'key':'key-%d','wait_ms':null}", 10 * i);
        client_expect_nothing(waiters[i]);
    }
    ck_assert_int_eq(scene_stat("leases_held"), LIMITS_KEYS);
    ck_assert_int_eq(scene_stat("claims_waiting"), LIMITS_CONNECTIONS);
    for (int i = 0; i < LIMITS_HOLDERS && !waiters_go_first; i++) {
        client_close(holders[i]);
    }
    for (int i = 0; i < LIMITS_CONNECTIONS; i++) {
        if (!waiters_go_first) {
            client_expect_result(waiters[i], ids[i]);
        }
        client_close(waiters[i]);
    }
    for (int i = 0; i < LIMITS_HOLDERS && waiters_go_first; i++) {
        client_expect_nothing(holders[i]);
        client_close(holders[i]);
    }
    AWAIT(scene_stat("connections") == 1);
    AWAIT(scene_stat("keys") == 0);
    ck_assert_int_eq(scene_stat("leases_held"), 0);
    ck_assert_int_eq(scene_stat("claims_waiting"), 0);
    ck_assert_int_eq(probe_do(scene.probe, "DBSIZE"), 1); /* the fences */
}

START_TEST(test_1000_waiting_connections_and_10000_held_keys)
{
    long rss_kib;
    int n_fds;

    limits_raise_descriptors();
    limits_meet(false);
    limits_meet(true);
    rss_kib = rlockd_rss_kib(scene.rlockd);
    n_fds = rlockd_n_fds(scene.rlockd);
    for (int i = 0; i < 4; i++) {
        limits_meet(i % 2);
    }
    ck_assert_int_le(rlockd_rss_kib(scene.rlockd), rss_kib + LIMITS_RSS_KIB_MAX);
    ck_assert_int_eq(rlockd_n_fds(scene.rlockd), n_fds);
    ck_assert_int_eq(scene_stat("lost"), 0);
    ck_assert_int_eq(scene_stat("request_errors"), 0);
}
END_TEST

/* One connection may wait ten thousand times, and its end is still the end of all of it. */
START_TEST(test_10000_waiting_claims_of_one_connection)
{
    struct client *holders[2] = {scene_client(), scene_client()}, *client = scene_client();

    for (int i = 0; i < LIMITS_KEYS; i++) {
        client_ask(holders[i % 2], "lock", "{'key':'key-%d'}", i);
        client_ask(client, "lock", "{'key':'key-%d','wait_ms':null}", i);
    }
    AWAIT(scene_stat("leases_held") == LIMITS_KEYS);
    client_close(client);
    client_close(holders[0]);
    client_close(holders[1]);
    AWAIT(scene_stat("keys") == 0);
    ck_assert_int_eq(scene_stat("claims_waiting"), 0);
}
END_TEST

Suite *test_limits_suite(void)
{
    Suite *suite = suite_create("system: limits");
    TCase *tcase = scene_case(suite, "limits", limits_open_small);

    tcase_add_test(tcase, test_held_per_connection);
    tcase_add_test(tcase, test_waiting_per_connection);
    tcase_add_test(tcase, test_locks_per_user);
    tcase_add_test(tcase, test_connections);
    tcase = scene_case(suite, "limits per user", limits_open_user);
    tcase_add_test(tcase, test_connections_per_user);
    tcase = scene_case(suite, "descriptors", limits_open_descriptors);
    tcase_add_test(tcase, test_descriptors);
    tcase = scene_case(suite, "crowds", scene_open_default);
    tcase_add_test(tcase, test_1000_waiting_connections);
    tcase_add_test(tcase, test_10000_held_keys);
    tcase_add_test(tcase, test_1000_waiting_connections_and_10000_held_keys);
    tcase_add_test(tcase, test_10000_waiting_claims_of_one_connection);
    return suite;
}
