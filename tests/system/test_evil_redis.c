/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The built daemon before a Redis that answers whatever the test wants: each error there is, to each of
 * the scripts; replies that are none; and everything that may go wrong while it introduces itself.
 */

#include "tests/lib/evil_redis.h"
#include "tests/lib/scene.h"

#include <stdio.h>

Suite *test_evil_redis_suite(void);

static struct evil_stage {
    struct evil_redis *redis;
    struct rlockd *rlockd;
    struct client *watcher;
    char path[SCRATCH_PATH_CAP];
} stage;

static void stage_start(const char *more, const char *url_end)
{
    char url[2 * SCRATCH_PATH_CAP], extra[256];

    snprintf(url, sizeof(url), "%s%s", stage.path, url_end);
    snprintf(extra, sizeof(extra), "reconnect_min = 1ms\nreconnect_max = 20ms\n%s", more);
    stage.rlockd = rlockd_start(url, extra);
    stage.watcher = client_open(stage.rlockd->socket_path);
}

static bool stage_is_up(void)
{
    return client_stat(stage.watcher, "redis_up") == 1;
}

static void stage_open_redis(void)
{
    stage.redis = evil_redis_start(scratch_path(stage.path, "evil.sock"));
}

static void stage_open(void)
{
    stage_open_redis();
    stage_start("timeout = 5s\n", "");
    AWAIT(stage_is_up());
}

static void stage_open_impatient(void)
{
    stage_open_redis();
    stage_start("timeout = 200ms\nconnect_timeout = 1s\n", "");
    AWAIT(stage_is_up());
}

static void stage_close(void)
{
    client_close_all();
    rlockd_signal(stage.rlockd, SIGTERM);
    ck_assert_int_eq(rlockd_wait(stage.rlockd), 0);
    rlockd_free(stage.rlockd);
    evil_redis_stop(stage.redis);
}

static struct client *stage_client(void)
{
    return client_open(stage.rlockd->socket_path);
}

/* One attempt is refused, and it says how. */
static void stage_expect_unavailable(const char *text)
{
    struct client *client = stage_client();
    json_t *data =
        client_expect_error(client, client_ask(client, "try_lock", "{'key':'other'}"), 4, "unavailable");

    ck_assert_msg(strstr(member_text(data, "last_error"), text) != NULL, "expected %s, got %s", text,
                  member_text(data, "last_error"));
    client_close(client);
}

static int stage_log_count(const char *text)
{
    char *log = rlockd_log(stage.rlockd);
    int n = 0;

    for (const char *at = log; (at = strstr(at, text)) != NULL; at++) {
        n++;
    }
    free(log);
    return n;
}

/* --- errors ---------------------------------------------------------------------------------------- */

/* `text`: how it is passed on. Nothing was executed in any of these cases. */
static const struct error_row {
    const char *reply, *text;
    enum {
        REFUSAL = 1,
        TRANSIENT,
        BREAKING
    } kind; /* who waits is told at once; goes on waiting; over a new link */
} error_rows[] = {
    {"-LOADING Redis is loading the dataset in memory\r\n", "LOADING Redis is loading", TRANSIENT},
    {"-READONLY You can't write against a read only replica.\r\n", "READONLY You can't write", BREAKING},
    {"-ERR Error running script (call to f_0123): @user_script:5: -READONLY You can't write\r\n",
     "ERR Error running script", BREAKING},
    {"-MASTERDOWN Link with MASTER is down\r\n", "MASTERDOWN Link", TRANSIENT},
    {"-CLUSTERDOWN The cluster is down\r\n", "CLUSTERDOWN The", TRANSIENT},
    {"-TRYAGAIN Multiple keys request during rehashing of slot\r\n", "TRYAGAIN Multiple", TRANSIENT},
    {"-BUSY Redis is busy running a script.\r\n", "BUSY Redis", TRANSIENT},
    {"-OOM command not allowed when used memory > 'maxmemory'.\r\n", "OOM command", TRANSIENT},
    {"-MISCONF Redis is configured to save RDB snapshots\r\n", "MISCONF Redis", TRANSIENT},
    {"-NOREPLICAS Not enough good replicas to write.\r\n", "NOREPLICAS Not", TRANSIENT},
    {"-NOAUTH Authentication required.\r\n", "NOAUTH Auth", REFUSAL},
    {"-WRONGPASS invalid username-password pair\r\n", "WRONGPASS invalid", REFUSAL},
    {"-NOPERM this user has no permissions\r\n", "NOPERM this", REFUSAL},
    {"-ERR The user executing the script can't run this command or subcommand\r\n", "ERR The user", REFUSAL},
    {"-MOVED 1234 10.0.0.1:7000\r\n", "MOVED 1234", REFUSAL},
    {"-ASK 1234 10.0.0.1:7000\r\n", "ASK 1234", REFUSAL},
    {"-CROSSSLOT Keys in request don't hash to the same slot\r\n", "CROSSSLOT Keys", REFUSAL},
    {"-UNBLOCKED force unblock from blocking operation\r\n", "UNBLOCKED force", REFUSAL},
    {"-ERR value is not an integer or out of range\r\n", "ERR value", REFUSAL},
    {"-QUEER things happen \x1b[2J\xff\r\n", "QUEER things happen \\x1b[2J\\xff", REFUSAL},
};
enum { N_ERRORS = sizeof(error_rows) / sizeof(error_rows[0]) };

START_TEST(test_attempt)
{
    const struct error_row *row = &error_rows[_i];
    struct client *client = stage_client();
    int n_before, id;

    evil_redis_answer(stage.redis, "lock", EVIL_ALWAYS, row->reply);
    n_before = evil_redis_n(stage.redis, "lock");
    stage_expect_unavailable(row->text);
    ck_assert_int_eq(evil_redis_n(stage.redis, "lock"), n_before + 1); /* one attempt is one attempt */
    AWAIT(stage_is_up());

    id = client_ask(client, "lock", "{'key':'k','wait_ms':100,'retry':{'interval_ms':40}}");
    json_t *data = row->kind == REFUSAL ? client_expect_error(client, id, 4, "unavailable")
                                        : client_expect_error(client, id, 3, "timeout");
    ck_assert_ptr_nonnull(strstr(member_text(data, "last_error"), row->text));
    /* In its interval, and once over each new connection. */
    ck_assert_int_le(evil_redis_n(stage.redis, "lock"),
                     n_before + 1 + (row->kind == REFUSAL ? 1 : 4) + evil_redis_n_clients(stage.redis) - 1);

    evil_redis_be_good(stage.redis);
    (void)client_lock(client, "k");
    client_call(client, "unlock", "{'key':'k'}");
}
END_TEST

/* What is held stays held for as long as the lease can be trusted. */
START_TEST(test_renewal)
{
    const struct error_row *row = &error_rows[_i];
    struct client *client = stage_client();
    json_t *before = client_call(client, "lock", "{'key':'k','ttl_ms':60000}"), *after;
    int64_t fence = member_int(before, "fence"), valid_until_ms = member_int(before, "valid_until_ms");

    evil_redis_answer(stage.redis, "refresh", EVIL_ALWAYS, row->reply);
    json_t *data =
        client_expect_error(client, client_ask(client, "refresh", "{'key':'k'}"), 4, "unavailable");
    ck_assert_ptr_nonnull(strstr(member_text(data, "last_error"), row->text));
    evil_redis_be_good(stage.redis);
    AWAIT(stage_is_up());
    after = client_call(client, "refresh", "{'key':'k'}");
    ck_assert_int_eq(member_int(after, "fence"), fence);
    ck_assert_int_ge(member_int(after, "valid_until_ms"), valid_until_ms);
    client_call(client, "unlock", "{'key':'k'}"); /* and nothing was said about it */
    ck_assert_int_eq(client_stat(client, "lost"), 0);
}
END_TEST

/* It ends at its deadline, not at the first such answer, and not later. */
START_TEST(test_renewal_for_too_long)
{
    const struct error_row *row = &error_rows[_i * 5]; /* some of each kind: this takes a ttl */
    struct client *client = stage_client();
    int64_t asked_at_ms = await_now_ms();

    client_call(client, "lock", "{'key':'k','ttl_ms':1000}");
    evil_redis_answer(stage.redis, "refresh", EVIL_ALWAYS, row->reply);
    client_expect_notice(client, "at_risk");
    ck_assert_int_ge(await_now_ms(), asked_at_ms + 600);
    ck_assert_str_eq(member_text(client_expect_notice(client, "lost"), "reason"), "expired");
    ck_assert_int_ge(await_now_ms(), asked_at_ms + 900);
    ck_assert_int_le(evil_redis_n(stage.redis, "refresh"), 200); /* no storm of renewals */
}
END_TEST

START_TEST(test_release)
{
    const struct error_row *row = &error_rows[_i];
    struct client *client = stage_client();
    json_t *message;

    client_call(client, "lock", "{'key':'k','ttl_ms':60000}");
    evil_redis_answer(stage.redis, "unlock", 1, row->reply);
    client_ask(client, "unlock", "{'key':'k'}");
    message = client_message(client);
    ck_assert(json_object_get(message, "result") != NULL ||
              member_int(json_object_get(message, "error"), "code") == 4);
    (void)client_lock(client, "k"); /* whatever became of it, the key can be locked again, */
    ck_assert_int_eq(evil_redis_n_values(stage.redis), 2); /* and by another value */
}
END_TEST

/* The script is unknown, and then its text as well. */
START_TEST(test_script_is_never_known)
{
    struct client *client = stage_client();

    evil_redis_answer(stage.redis, "lock", EVIL_ALWAYS, "-NOSCRIPT No matching script. Please use EVAL.\r\n");
    stage_expect_unavailable("NOSCRIPT");
    ck_assert_int_eq(evil_redis_n(stage.redis, "lock"), 2);
    ck_assert_int_eq(evil_redis_n_evals(stage.redis), 1);
    evil_redis_answer(stage.redis, "lock", 1, "-NOSCRIPT No matching script. Please use EVAL.\r\n");
    (void)client_lock(client, "k");
    ck_assert_int_eq(evil_redis_n_evals(stage.redis), 2);
}
END_TEST

START_TEST(test_key_of_another_type)
{
    struct client *client = stage_client();

    evil_redis_answer(stage.redis, "lock", EVIL_ALWAYS,
                      "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
    client_expect_error(client, client_ask(client, "lock", "{'key':'k'}"), 4, "unavailable");
    ck_assert_int_eq(evil_redis_n(stage.redis, "DEL"), 0);
    ck_assert_int_eq(evil_redis_n(stage.redis, "unlock"), 0);
}
END_TEST

/* Three renewals fail in a row, the fourth does not; and a lock that was lost and got again is renewed. */
START_TEST(test_renewals_go_on)
{
    struct client *client = stage_client();
    int64_t fence = member_int(client_call(client, "lock", "{'key':'k','ttl_ms':3000}"), "fence");
    int n;

    evil_redis_answer(stage.redis, "refresh", 3, "-LOADING Redis is loading\r\n");
    AWAIT(evil_redis_n(stage.redis, "refresh") >= 5);
    client_expect_nothing(client);

    evil_redis_answer(stage.redis, "refresh", 1, "*3\r\n:-1\r\n:0\r\n:0\r\n");
    json_t *lost = client_expect_notice(client, "lost");
    ck_assert_str_eq(member_text(lost, "reason"), "deleted");
    ck_assert_int_eq(member_int(lost, "fence"), fence);
    client_call(client, "lock", "{'key':'k','ttl_ms':1500}");
    n = evil_redis_n(stage.redis, "refresh");
    AWAIT(evil_redis_n(stage.redis, "refresh") >= n + 4); /* more than one ttl */
    client_expect_nothing(client);
    client_call(client, "unlock", "{'key':'k'}");
}
END_TEST

/* --- no replies ------------------------------------------------------------------------------------ */

#define TEN(x) x x x x x x x x x x

static const char *const nonsense[] = {
    "+OK\r\n",
    ":1\r\n",
    "$-1\r\n",
    "*-1\r\n",
    "*0\r\n",
    "*1\r\n:1\r\n",
    "*3\r\n:1\r\n+x\r\n:0\r\n",
    "*3\r\n:7\r\n:1\r\n:0\r\n",
    "*3\r\n:1\r\n:0\r\n:0\r\n",
    "*3\r\n:1\r\n:-5\r\n:0\r\n",
    "*3\r\n:1\r\n:9007199254740993\r\n:0\r\n",
    "*3\r\n:-1\r\n:0\r\n:0\r\n",
    "*3\r\n:1\r\n:1000\r\n*0\r\n",
    "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "\x15\x03\x01\x00\x02\x02\x28",
    "*2147483647\r\n",
    "*9223372036854775807\r\n",
    ":99999999999999999999999999\r\n",
    TEN(TEN(TEN("*1\r\n"))) ":1\r\n",
};

/* The connection is dropped, the attempt is in doubt: tried again over the next one, with its own value. */
START_TEST(test_nonsense)
{
    struct client *client = stage_client(), *holder = stage_client();
    long rss_kib;

    (void)client_lock(holder, "held");
    rss_kib = rlockd_rss_kib(stage.rlockd);
    evil_redis_answer(stage.redis, "lock", 1, nonsense[_i]);
    (void)client_lock(client, "k");
    ck_assert_int_eq(evil_redis_n_clients(stage.redis), 2);
    ck_assert_int_eq(evil_redis_n_values(stage.redis), 2); /* one for each key */
    ck_assert_int_eq(evil_redis_n(stage.redis, "KILL"), 1);
    ck_assert_int_lt(rlockd_rss_kib(stage.rlockd), rss_kib + 4096);
    client_call(holder, "unlock", "{'key':'held'}");
}
END_TEST

/* Good replies, and something behind them. */
static const char *const surplus[] = {
    "*3\r\n:1\r\n:5000\r\n:0\r\n:5\r\n",
    "*3\r\n:1\r\n:5000\r\n:0\r\n*3\r\n:1\r\n:6000\r\n:0\r\n",
    "*3\r\n:1\r\n:5000\r\n:0\r\n-ERR max number of clients reached\r\n",
    "*3\r\n:1\r\n:5000\r\n:0\r\nx",
};

START_TEST(test_surplus)
{
    struct client *client = stage_client();

    evil_redis_answer(stage.redis, "lock", 1, surplus[_i]);
    ck_assert_int_eq(client_lock(client, "k"), 5000);
    AWAIT(evil_redis_n_clients(stage.redis) == 2 && stage_is_up());
    client_call(client, "unlock", "{'key':'k'}");
}
END_TEST

/* A header promises two GiB and nothing follows; or there is no reply at all: silence is noticed. */
START_TEST(test_silence)
{
    struct client *client = stage_client();

    if (_i == 0) {
        evil_redis_answer(stage.redis, "lock", 1, "$2147483647\r\n");
    } else {
        evil_redis_ignore(stage.redis, "lock", 1);
    }
    (void)client_lock(client, "k");
    ck_assert_int_eq(evil_redis_n_values(stage.redis), 1);
    AWAIT(evil_redis_n(stage.redis, "lock") >= 2);
}
END_TEST

/* Each reply to an attempt is lost with its connection: it is the same attempt each time. */
START_TEST(test_replies_are_lost)
{
    struct client *client = stage_client();

    evil_redis_hang_up(stage.redis, "lock", 5);
    (void)client_lock(client, "k");
    ck_assert_int_eq(evil_redis_n(stage.redis, "lock"), 6);
    ck_assert_int_eq(evil_redis_n_values(stage.redis), 1);
    evil_redis_hang_up(stage.redis, "unlock", 3);
    client_ask(client, "unlock", "{'key':'k'}");
    (void)client_message(client);
    AWAIT(evil_redis_n(stage.redis, "unlock") == 4); /* until it was answered, and no longer */
    (void)client_lock(client, "k");
    ck_assert_int_eq(evil_redis_n(stage.redis, "unlock"), 4);
}
END_TEST

START_TEST(test_replies_in_pieces)
{
    struct client *client = stage_client();

    evil_redis_cut(stage.redis, 1);
    evil_redis_hang_up(stage.redis, "lock", 1); /* so that the introduction comes so as well */
    (void)client_lock(client, "k");
    client_call(client, "refresh", "{'key':'k'}");
    client_call(client, "unlock", "{'key':'k'}");
    ck_assert_int_eq(evil_redis_n_clients(stage.redis), 2);
}
END_TEST

/* --- the introduction ------------------------------------------------------------------------------ */

/* What a connection may say at its beginning, and what becomes of attempts meanwhile. */
static const struct hello_row {
    const char *command, *reply, *info, *text;
} hello_rows[] = {
    {"INFO", "-LOADING Redis is loading the dataset in memory\r\n", "", "LOADING"},
    {"INFO", "-NOAUTH Authentication required.\r\n", "", "NOAUTH"},
    {"INFO", "-MASTERDOWN Link with MASTER is down\r\n", "", "MASTERDOWN"},
    {"INFO", ":5\r\n", "", "this is no Redis"},
    {"ROLE", "*5\r\n$5\r\nslave\r\n$1\r\nh\r\n:1\r\n$7\r\nconnect\r\n:-1\r\n", "", "a replica"},
    {"ROLE", "*1\r\n$8\r\nsentinel\r\n", "", "sentinel"},
    {"ROLE", "*0\r\n", "", "does not say its role"},
    {"PING", "+PONG\r\n", "cluster_enabled:1\r\n", "cluster"},
    {"SCRIPT", "-NOPERM this user has no permissions to run the 'script|load' command\r\n", "", "NOPERM"},
    {"SCRIPT", "$3\r\nabc\r\n", "", "this is no Redis"},
    {"SETNAME", "*0\r\n", "", "this is no Redis"},
};

START_TEST(test_introduction)
{
    const struct hello_row *row = &hello_rows[_i];
    struct client *holder = stage_client(), *waiter = stage_client();
    int64_t failures = client_stat(holder, "redis_failures");
    int id, n_locks;

    client_call(holder, "lock", "{'key':'held','ttl_ms':60000}");
    evil_redis_answer(stage.redis, row->command, EVIL_ALWAYS, row->reply);
    evil_redis_set_info(stage.redis, row->info);
    evil_redis_hang_up(stage.redis, "lock", 1);
    id = client_ask(waiter, "lock", "{'key':'k'}");
    AWAIT(client_stat(holder, "redis_failures") >= failures + 2);
    n_locks = evil_redis_n(stage.redis, "lock");
    stage_expect_unavailable(row->text);
    ck_assert_int_eq(evil_redis_n(stage.redis, "lock"), n_locks); /* not a word before it is introduced */
    ck_assert_int_eq(stage_log_count("cannot use"), 1); /* the same failure is not told again and again */

    evil_redis_be_good(stage.redis);
    evil_redis_set_info(stage.redis, "");
    client_expect_result(waiter, id);
    client_call(holder, "unlock", "{'key':'held'}");
}
END_TEST

START_TEST(test_server_is_full)
{
    struct client *client = stage_client();

    evil_redis_greet(stage.redis, "-ERR max number of clients reached\r\n");
    evil_redis_hang_up(stage.redis, "lock", 1);
    int id = client_ask_lock(client, "k");
    AWAIT(client_stat(client, "redis_failures") >= 3);
    stage_expect_unavailable("max number of clients");
    evil_redis_be_good(stage.redis);
    client_expect_result(client, id);
}
END_TEST

/* The database is chosen before anything is locked, however long that takes. */
START_TEST(test_database_comes_first)
{
    struct client *client = stage_client();
    int id = client_ask_lock(client, "k");

    AWAIT(evil_redis_n(stage.redis, "SELECT") >= 2); /* the first was not answered in time */
    ck_assert_int_eq(evil_redis_n(stage.redis, "lock"), 0);
    stage_expect_unavailable("no answer from Redis within 200 ms");
    ck_assert_int_eq(evil_redis_n(stage.redis, "SCRIPT"), 0);
    evil_redis_be_good(stage.redis);
    client_expect_result(client, id);
}
END_TEST

static void stage_open_database(void)
{
    stage_open_redis();
    evil_redis_ignore(stage.redis, "SELECT", EVIL_ALWAYS);
    stage_start("connect_timeout = 200ms\n", "?db=3");
}

static TCase *stage_case(Suite *suite, const char *name, void (*open)(void))
{
    TCase *tcase = tcase_create(name);

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, open, stage_close);
    suite_add_tcase(suite, tcase);
    return tcase;
}

Suite *test_evil_redis_suite(void)
{
    Suite *suite = suite_create("system: evil redis");
    TCase *tcase = stage_case(suite, "errors", stage_open);

    tcase_add_loop_test(tcase, test_attempt, 0, N_ERRORS);
    tcase_add_loop_test(tcase, test_renewal, 0, N_ERRORS);
    tcase_add_loop_test(tcase, test_renewal_for_too_long, 0, N_ERRORS / 5);
    tcase_add_loop_test(tcase, test_release, 0, N_ERRORS);
    tcase_add_test(tcase, test_script_is_never_known);
    tcase_add_test(tcase, test_key_of_another_type);
    tcase_add_test(tcase, test_renewals_go_on);
    tcase = stage_case(suite, "no replies", stage_open);
    tcase_add_loop_test(tcase, test_nonsense, 0, sizeof(nonsense) / sizeof(nonsense[0]));
    tcase_add_loop_test(tcase, test_surplus, 0, sizeof(surplus) / sizeof(surplus[0]));
    tcase_add_test(tcase, test_replies_are_lost);
    tcase_add_test(tcase, test_replies_in_pieces);
    tcase = stage_case(suite, "silence", stage_open_impatient);
    tcase_add_loop_test(tcase, test_silence, 0, 2);
    tcase = stage_case(suite, "introduction", stage_open);
    tcase_add_loop_test(tcase, test_introduction, 0, sizeof(hello_rows) / sizeof(hello_rows[0]));
    tcase_add_test(tcase, test_server_is_full);
    tcase = stage_case(suite, "database", stage_open_database);
    tcase_add_test(tcase, test_database_comes_first);
    return suite;
}
