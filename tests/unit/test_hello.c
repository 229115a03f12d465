/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * What is said first on a new connection, in which order, and which answers end it.
 */

#include "daemon/base/clock.h"
#include "tests/lib/link_stage.h"
#include "tests/lib/redis.h"

#include <string.h>

START_TEST(test_introduction)
{
    link_stage_open_fake();
    link_stage.config.username = "user";
    link_stage.config.password = "secret";
    link_stage.config.db = 3;
    link_stage_open_link();
    ck_assert_int_eq(link_stage.n_states, 0);
    LINK_STAGE_UNTIL(link_stage.state == LINK_STATE_UP);
    ck_assert_int_eq(link_stage.n_states, 2); /* connecting, up */
    ck_assert_str_eq(link_stage.log,
                     "1 AUTH user secret\n1 INFO\n1 ROLE\n1 CLIENT ID\n1 SELECT 3\n1 CLIENT SETNAME rlockd\n"
                     "1 SCRIPT LOAD local function tell(\n1 SCRIPT LOAD local function tell(\n"
                     "1 SCRIPT LOAD local holder = redis\n");
    ck_assert_str_eq(link_stage.scripts[SCRIPT_REFRESH].digest, "0123456789abcdef0123456789abcdef01234567");
    ck_assert_uint_eq(link_stage.stats.redis_up, 1);
    ck_assert_uint_eq(link_stage.stats.redis_connects, 1);
}
END_TEST

/* Each stage waits for the answer to the one before it: an unanswered SELECT holds up everything. */
START_TEST(test_introduction_waits)
{
    link_stage_open_fake();
    link_stage.config.db = 3;
    link_stage.config.connect_timeout_ms = 100;
    link_stage.hook = (struct link_stage_hook){.command = "SELECT"};
    link_stage_open_link();
    LINK_STAGE_UNTIL(link_stage.n_downs == 1);
    ck_assert_ptr_null(strstr(link_stage.log, "SETNAME"));
    ck_assert_ptr_null(strstr(link_stage.log, "SCRIPT"));
    ck_assert_str_eq(link_stage.text, "no answer from Redis within 100 ms");
    ck_assert_int_eq(link_stage_ask("PING"), LINK_E_DOWN);
}
END_TEST

static const struct refused_row {
    const char *command, *reply, *info, *want;
    bool strict;
} refused_rows[] = {
    {"AUTH", "-WRONGPASS invalid username-password pair\r\n", "", "WRONGPASS invalid username-password pair",
     false},
    {"INFO", "-NOAUTH Authentication required.\r\n", "", "NOAUTH Authentication required.", false},
    {"INFO", "-LOADING Redis is loading\x1b[2J\r\n", "", "LOADING Redis is loading\\x1b[2J", false},
    {"INFO", "-ERR max number of clients reached\r\n", "", "ERR max number of clients reached", false},
    {"INFO", "-NOPERM this user has no permissions\r\n", "", "NOPERM this user has no permissions", true},
    {"INFO", ":1\r\n", "", "this is no Redis: a strange reply to INFO", false},
    {"", NULL, "loading:1\r\n", NULL, false},
    {"", NULL, "cluster_enabled:1\r\n", "Redis runs as a cluster, which is not supported", false},
    {"ROLE", "*5\r\n$5\r\nslave\r\n$1\r\nh\r\n:1\r\n$7\r\nconnect\r\n:-1\r\n", "",
     "Redis is a replica, not a master", false},
    {"ROLE", "*1\r\n$8\r\nsentinel\r\n", "", "Redis is not a master but: sentinel", false},
    {"ROLE", "*0\r\n", "", "Redis does not say its role", false},
    {"ID", "-MASTERDOWN Link with MASTER is down\r\n", "", "MASTERDOWN Link with MASTER is down", false},
    {"SELECT", "-ERR DB index is out of range\r\n", "", "ERR DB index is out of range", false},
    {"SCRIPT", "-NOPERM no script|load\r\n", "", "NOPERM no script|load", false},
    {"SCRIPT", "$3\r\nabc\r\n", "", "this is no Redis: a strange reply to SCRIPT", false},
    {"SETNAME", "-LOADING 123456789 123456789 123456789 123456789 123456789 123456789 123456789\r\n", "",
     "LOADING 123456789 123456789 123456789 123456789 123456789 123456", false},
};

START_TEST(test_introduction_refused)
{
    const struct refused_row *row = &refused_rows[_i];

    link_stage_open_fake();
    fake_redis_set_info(link_stage.fake, row->info);
    link_stage.config.password = "secret";
    link_stage.config.db = 1;
    link_stage.config.strict = row->strict;
    link_stage.hook = (struct link_stage_hook){.command = row->command, .reply = row->reply};
    if (row->want == NULL) { /* a field that the fake's INFO has already: the whole reply */
        link_stage.hook = (struct link_stage_hook){.command = "INFO", .reply = "$11\r\nloading:1\r\n\r\n"};
    }
    link_stage_open_link();
    LINK_STAGE_UNTIL(link_stage.n_downs == 1);
    ck_assert_str_eq(link_stage.text,
                     row->want != NULL ? row->want : "LOADING Redis is reading its data from disk");

    /* It stays down while it is tried again, and comes up when Redis is willing. */
    LINK_STAGE_UNTIL(fake_redis_n_clients(link_stage.fake) == 2);
    ck_assert_int_eq(link_stage.state, LINK_STATE_DOWN);
    link_stage.hook = (struct link_stage_hook){0};
    fake_redis_set_info(link_stage.fake, "");
    LINK_STAGE_UNTIL(link_stage.state == LINK_STATE_UP);
    ck_assert_int_eq(link_stage.n_downs, 1);
}
END_TEST

static const struct link_stage_hook mild_rows[] = {
    {.command = "INFO", .reply = "-NOPERM this user has no permissions\r\n"},
    {.command = "ROLE", .reply = "-NOPERM this user has no permissions\r\n"},
    {.command = "ID", .reply = "-NOPERM this user has no permissions\r\n"},
    {.command = "ID", .reply = "-ERR unknown command\r\n"},
    {.command = "SETNAME", .reply = "-NOPERM this user has no permissions\r\n"},
};

START_TEST(test_introduction_with_few_rights)
{
    link_stage_open_fake();
    link_stage.hook = mild_rows[_i];
    link_stage_open_up();
    ck_assert_uint_eq(link_stage.stats.redis_failures, 0);
}
END_TEST

START_TEST(test_eviction)
{
    link_stage_open_fake();
    fake_redis_set_info(link_stage.fake, "maxmemory_human:1M\r\n");
    link_stage.hook = (struct link_stage_hook){
        .command = "INFO", .reply = "$49\r\nmaxmemory:1000000\r\nmaxmemory_policy:allkeys-lru\r\n\r\n"};
    link_stage.config.strict = _i == 1;
    link_stage_open_link();
    LINK_STAGE_UNTIL(link_stage.n_states == 2);
    ck_assert_int_eq(link_stage.state, _i == 1 ? LINK_STATE_DOWN : LINK_STATE_UP);
    ck_assert_str_eq(link_stage.text, _i == 1 ? "Redis may evict locks: maxmemory-policy allkeys-lru" : "");
}
END_TEST

/* A wrong password is not tried again and again, whatever the configuration says about pauses. */
START_TEST(test_wrong_password_is_slow)
{
    int64_t first_at_ms;

    link_stage_open_fake();
    link_stage.config.password = "secret";
    link_stage.hook = (struct link_stage_hook){.command = "AUTH", .reply = "-WRONGPASS no\r\n"};
    link_stage_open_link();
    LINK_STAGE_UNTIL(link_stage.n_downs == 1);
    first_at_ms = clock_now_ms();
    LINK_STAGE_UNTIL(fake_redis_n_clients(link_stage.fake) == 2);
    ck_assert_int_ge(clock_now_ms() - first_at_ms, 990);
    ck_assert_ptr_null(strstr(link_stage.text, "secret"));
}
END_TEST

/* The former connection is killed by id, before anything else can be sent; unless Redis is another. */
START_TEST(test_kill_former)
{
    link_stage_open_fake();
    link_stage_open_up();
    fake_client_close(link_stage.client);
    LINK_STAGE_UNTIL(link_stage.state == LINK_STATE_CONNECTING);
    LINK_STAGE_UNTIL(link_stage.state == LINK_STATE_UP);
    ck_assert_ptr_nonnull(strstr(link_stage.log, "2 CLIENT ID\n2 CLIENT KILL ID 101\n2 CLIENT SETNAME"));

    /* A connection that did not get through does not count; nor does it matter whether the KILL works. */
    link_stage.hook = (struct link_stage_hook){.command = "SETNAME", .client = 3, .action = HOOK_CLOSE};
    link_stage.log[0] = '\0';
    fake_client_close(link_stage.client);
    LINK_STAGE_UNTIL(strstr(link_stage.log, "3 CLIENT SETNAME") != NULL);
    link_stage.hook = (struct link_stage_hook){.command = "KILL", .client = 4, .reply = "-NOPERM no\r\n"};
    LINK_STAGE_UNTIL(link_stage.state == LINK_STATE_UP);
    ck_assert_ptr_nonnull(strstr(link_stage.log, "4 CLIENT KILL ID 102\n"));

    fake_redis_set_run_id(link_stage.fake, "second");
    link_stage.log[0] = '\0';
    fake_client_close(link_stage.client);
    LINK_STAGE_UNTIL(link_stage.state != LINK_STATE_UP);
    LINK_STAGE_UNTIL(link_stage.state == LINK_STATE_UP);
    ck_assert_ptr_null(strstr(link_stage.log, "KILL"));
}
END_TEST

START_TEST(test_real_replica)
{
    struct redis_server *server = redis_server_start("--replicaof", "127.0.0.1", "1", NULL);

    link_stage.config.unix_path = redis_server_socket(server);
    link_stage_open_link();
    LINK_STAGE_UNTIL(link_stage.state == LINK_STATE_DOWN);
    ck_assert_str_eq(link_stage.text, "Redis is a replica, not a master");
    redis_server_stop(server);
}
END_TEST

Suite *test_hello_suite(void);
Suite *test_hello_suite(void)
{
    Suite *suite = suite_create("hello");
    TCase *tcase = tcase_create("hello");

    tcase_add_checked_fixture(tcase, link_stage_open, link_stage_close);
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, test_introduction);
    tcase_add_test(tcase, test_introduction_waits);
    tcase_add_loop_test(tcase, test_introduction_refused, 0, sizeof(refused_rows) / sizeof(refused_rows[0]));
    tcase_add_loop_test(tcase, test_introduction_with_few_rights, 0,
                        sizeof(mild_rows) / sizeof(mild_rows[0]));
    tcase_add_loop_test(tcase, test_eviction, 0, 2);
    tcase_add_test(tcase, test_wrong_password_is_slow);
    tcase_add_test(tcase, test_kill_former);
    tcase_add_test(tcase, test_real_replica);
    suite_add_tcase(suite, tcase);
    return suite;
}
