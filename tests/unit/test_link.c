/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * A link that is up: commands, breaks, silence; and the ways back up.
 */

#include "daemon/base/clock.h"
#include "tests/lib/link_stage.h"
#include "tests/lib/redis.h"

#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

START_TEST(test_commands_in_order)
{
    link_stage_open_fake();
    link_stage_open_up();
    uint64_t writes = link_stage.stats.redis_writes;
    ck_assert_int_eq(link_stage_ask("ECHO"), 0);
    ck_assert_int_eq(link_stage_ask("PING"), 0);
    ck_assert_int_eq(link_stage.n_replies, 0);
    link_flush(link_stage.link);
    ck_assert_int_eq(link_stage.n_replies, 0); /* never from inside */
    LINK_STAGE_UNTIL(link_stage.n_replies == 2);
    ck_assert_str_eq(link_stage.last, "PONG");
    ck_assert_str_eq(link_stage.log, "1 ECHO\n1 PING\n");
    ck_assert_uint_eq(link_stage.stats.redis_writes, writes + 1);
}
END_TEST

/* More commands than the first ring holds, and more bytes than a socket takes. */
START_TEST(test_many_commands)
{
    static char large[200000];
    const char *argv[] = {"SET", large};
    const size_t argv_len[] = {3, sizeof(large)};

    link_stage_open_fake();
    link_stage_open_up();
    link_stage.hook = (struct link_stage_hook){.command = "GET", .reply = "$1\r\nx\r\n"};
    for (int i = 0; i < 1000; i++) {
        ck_assert_int_eq(link_stage_ask("GET"), 0);
    }
    memset(large, 'x', sizeof(large));
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(link_send(link_stage.link, 2, argv, argv_len, link_stage_on_reply, &link_stage), 0);
        link_flush(link_stage.link);
    }
    LINK_STAGE_UNTIL(link_stage.n_replies == 1020);
    ck_assert_int_eq(link_stage.n_nulls, 0);
}
END_TEST

/* What one turn of the loop asks for is not held against a Redis that takes all of it in the next. */
START_TEST(test_twenty_mib_in_one_go)
{
    enum { N = 100 };
    static char large[210000];
    const char *argv[] = {"SET", large};
    const size_t argv_len[] = {3, sizeof(large)};

    memset(large, 'x', sizeof(large));
    link_stage_open_fake();
    link_stage_open_up();
    uint64_t writes = link_stage.stats.redis_writes;
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(link_send(link_stage.link, 2, argv, argv_len, link_stage_on_reply, &link_stage), 0);
    }
    ck_assert_uint_gt(link_stage.stats.redis_writes, writes); /* so long a turn does not keep it all */
    ck_assert_int_eq(link_stage.n_replies, 0);
    link_flush(link_stage.link);
    ck_assert_int_eq(link_stage.n_replies, 0);
    LINK_STAGE_UNTIL(link_stage.n_replies == N);
    ck_assert_int_eq(link_stage.n_nulls, 0);
    ck_assert_str_eq(link_stage.last, "OK");
    ck_assert_int_eq(link_stage_ask("PING"), 0);
}
END_TEST

/* The socket breaks while a long turn writes: that comes out when the loop runs, not inside. */
START_TEST(test_break_in_one_go)
{
    static char large[200000];
    const char *argv[] = {"SET", large};
    const size_t argv_len[] = {3, sizeof(large)};
    int r = 0, n_sent = 0;

    memset(large, 'x', sizeof(large));
    link_stage_open_tcp();
    link_stage_open_up();
    LINK_STAGE_UNTIL(link_stage.client != NULL);
    fake_client_reset(link_stage.client);
    while (r == 0 && n_sent < 100) {
        r = link_send(link_stage.link, 2, argv, argv_len, link_stage_on_reply, &link_stage);
        n_sent += r == 0;
    }
    ck_assert_int_eq(r, LINK_E_DOWN);
    ck_assert_int_eq(link_stage.n_nulls, 0);
    LINK_STAGE_UNTIL(link_stage.n_nulls == n_sent);
    LINK_STAGE_UNTIL(link_stage.state == LINK_STATE_UP);
}
END_TEST

/* The same for one that takes nothing, until it reads again. */
START_TEST(test_queue_is_full)
{
    static char large[200000];
    const char *argv[] = {"SET", large};
    const size_t argv_len[] = {3, sizeof(large)};
    int r = 0, n_sent = 0;

    memset(large, 'x', sizeof(large));
    link_stage_open_fake();
    link_stage_open_up();
    link_stage.hook = (struct link_stage_hook){.command = "GET", .action = HOOK_DEAF};
    ck_assert_int_eq(link_stage_ask("GET"), 0);
    link_flush(link_stage.link);
    LINK_STAGE_UNTIL(strcmp(link_stage.log, "1 GET\n") == 0);
    while (r == 0 && n_sent < 100) {
        r = link_send(link_stage.link, 2, argv, argv_len, link_stage_on_reply, &link_stage);
        n_sent += r == 0;
        link_flush(link_stage.link);
    }
    ck_assert_int_eq(r, LINK_E_FULL);
    ck_assert_int_ge(n_sent, 42);
    ck_assert_int_le(n_sent, 60); /* 8 MiB, and what two sockets hold */
    fake_client_read_on(link_stage.client);
    LINK_STAGE_UNTIL(link_stage.n_replies == n_sent);
    ck_assert_int_eq(link_stage_ask("PING"), 0);
}
END_TEST

/* The connection goes, in whatever way: everything in flight is answered, and it comes back. */
static const struct break_row {
    const char *reply;
    const char *want;
    bool is_tcp;
    int action;
} break_rows[] = {
    {NULL, "Redis closed the connection", false, HOOK_CLOSE},
    {NULL, "Redis closed the connection", true, HOOK_CLOSE},
    {NULL, "connection reset by peer", true, HOOK_RESET},
    {"HTTP/1.1 400 Bad Request\r\n", "Protocol error, got \"H\" as reply type byte", false, HOOK_REPLY},
    {"*2147483647\r\n", "a reply of Redis is too large", false, HOOK_REPLY},
    {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", NULL, false, HOOK_REPLY},
};

START_TEST(test_break)
{
    const struct break_row *row = &break_rows[_i];

    if (row->is_tcp) {
        link_stage_open_tcp();
    } else {
        link_stage_open_fake();
    }
    link_stage_open_up();
    link_stage.hook =
        (struct link_stage_hook){.command = "GET", .reply = row->reply, .client = 1, .action = row->action};
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(link_stage_ask("GET"), 0);
    }
    link_flush(link_stage.link);
    LINK_STAGE_UNTIL(link_stage.n_nulls == 3);
    ck_assert_int_eq(link_stage.n_replies, 0);
    ck_assert(row->want == NULL || strcmp(link_stage.last, row->want) == 0);
    LINK_STAGE_UNTIL(link_stage.state == LINK_STATE_CONNECTING);
    ck_assert_int_eq(link_stage_ask("GET"), LINK_E_DOWN);
    LINK_STAGE_UNTIL(link_stage.state == LINK_STATE_UP);
    ck_assert_int_eq(link_stage.n_downs, 0);
    ck_assert_int_eq(link_stage.n_nulls, 3);
    ck_assert_uint_eq(link_stage.stats.redis_failures, 1);
    link_stage.n_replies = 0;
    ck_assert_int_eq(link_stage_ask("PING"), 0);
    link_flush(link_stage.link);
    LINK_STAGE_UNTIL(link_stage.n_replies == 1);
}
END_TEST

static const char *const surplus[] = {":1\r\n:2\r\n:3\r\n", ":1\r\n-ERR max number of clients reached\r\n",
                                      ":1\r\n:"};

/* Replies or bytes that nobody asked for; the one that was asked for still counts. */
START_TEST(test_surplus)
{
    link_stage_open_fake();
    link_stage_open_up();
    link_stage.hook = (struct link_stage_hook){.command = "GET", .reply = surplus[_i], .client = 1};
    ck_assert_int_eq(link_stage_ask("GET"), 0);
    link_flush(link_stage.link);
    LINK_STAGE_UNTIL(link_stage.state == LINK_STATE_CONNECTING);
    ck_assert_int_eq(link_stage.n_replies, 1);
    ck_assert_int_eq(link_stage.n_nulls, 0);
    LINK_STAGE_UNTIL(link_stage.state == LINK_STATE_UP);
}
END_TEST

START_TEST(test_unsolicited_while_idle)
{
    link_stage_open_fake();
    link_stage_open_up();
    LINK_STAGE_UNTIL(link_stage.client != NULL);
    fake_reply(link_stage.client, "-ERR max number of clients reached\r\n");
    LINK_STAGE_UNTIL(link_stage.state == LINK_STATE_CONNECTING);
    LINK_STAGE_UNTIL(link_stage.state == LINK_STATE_UP);
}
END_TEST

/* Silence, and a header of two GiB with nothing behind it. */
START_TEST(test_no_answer)
{
    link_stage_open_fake();
    link_stage.config.timeout_ms = 100;
    link_stage_open_up();
    link_stage.hook =
        (struct link_stage_hook){.command = "GET", .client = 1, .reply = _i == 1 ? "$2147483647\r\n" : NULL};
    int64_t sent_at_ms = clock_now_ms();
    ck_assert_int_eq(link_stage_ask("GET"), 0);
    link_flush(link_stage.link);
    LINK_STAGE_UNTIL(link_stage.n_nulls == 1);
    ck_assert_str_eq(link_stage.last, "no answer from Redis within 100 ms");
    ck_assert_int_ge(link_stage.null_at_ms - sent_at_ms, 100);
    LINK_STAGE_UNTIL(link_stage.state == LINK_STATE_UP);
}
END_TEST

/* We stood still for longer than the timeout while the answer lay in the socket: no reason to break. */
START_TEST(test_answer_lay_there)
{
    link_stage_open_fake();
    link_stage.config.timeout_ms = 50;
    link_stage_open_up();
    for (int i = 0; i < 5; i++) {
        link_stage.hook = (struct link_stage_hook){.command = "GET", .reply = "$1\r\nx\r\n"};
        link_stage.log[0] = '\0';
        link_stage.n_replies = 0;
        ck_assert_int_eq(link_stage_ask("GET"), 0);
        link_flush(link_stage.link);
        LINK_STAGE_UNTIL(link_stage.log[0] != '\0');
        (void)poll(NULL, 0, 60);
        LINK_STAGE_UNTIL(link_stage.n_replies == 1 || link_stage.n_nulls == 1);
        ck_assert_int_eq(link_stage.n_nulls, 0);
    }
    ck_assert_int_eq(link_stage.state, LINK_STATE_UP);
}
END_TEST

START_TEST(test_keepalive)
{
    link_stage_open_fake();
    link_stage.config.keepalive_ms = 20;
    link_stage.config.timeout_ms = 100;
    link_stage_open_up();
    link_stage.hook = (struct link_stage_hook){
        .command = "PING", .reply = "-MISCONF Redis is configured to save RDB snapshots\r\n"};
    LINK_STAGE_UNTIL(strcmp(link_stage.log, "1 PING\n1 PING\n1 PING\n") == 0);
    ck_assert_int_eq(link_stage.state, LINK_STATE_UP);
    link_stage.hook = (struct link_stage_hook){.command = "PING", .client = 1};
    LINK_STAGE_UNTIL(link_stage.state == LINK_STATE_CONNECTING);
}
END_TEST

START_TEST(test_nobody_there)
{
    if (_i == 1) {
        link_stage_open_tcp();
        fake_redis_close(link_stage.fake);
        link_stage.fake = NULL;
    } else if (_i == 2) {
        link_stage.config.unix_path = NULL;
        link_stage.config.host = "no-such-host.invalid";
        link_stage.config.port = 6379;
    } else if (_i == 3) {
        link_stage.config.unix_path =
            "/a/path/that/is/far/too/long/for/a/socket/address/of/unix/since/that/has/room/for/only/one"
            "/hundred/and/seven/bytes";
    }
    link_stage_open_link();
    LINK_STAGE_UNTIL(link_stage.state == LINK_STATE_DOWN);
    ck_assert_uint_gt(strlen(link_stage.text), 0);
    ck_assert_int_eq(link_stage_ask("PING"), LINK_E_DOWN);
    if (_i == 0) {
        /* It is tried for ever, at most so often as the pauses allow. */
        LINK_STAGE_UNTIL(link_stage.stats.redis_failures >= 10);
        ck_assert_int_eq(link_stage.n_downs, 1);
        link_stage_open_fake();
        LINK_STAGE_UNTIL(link_stage.state == LINK_STATE_UP);
    }
}
END_TEST

/* "localhost" may first be ::1, where nobody listens: then the next address is tried. */
START_TEST(test_name_is_resolved)
{
    struct addrinfo *addresses;

    if (getaddrinfo("localhost", NULL, NULL, &addresses) != 0) {
        printf("link: this machine does not know localhost, so names were not resolved\n");
        return;
    }
    freeaddrinfo(addresses);
    link_stage_open_tcp();
    link_stage.config.host = "localhost";
    link_stage_open_up();
    ck_assert_uint_eq(link_stage.stats.redis_failures, 0);
}
END_TEST

START_TEST(test_pauses_grow)
{
    link_stage.config.reconnect_min_ms = 10;
    link_stage.config.reconnect_max_ms = 80;
    int64_t start_ms = clock_now_ms();
    link_stage_open_link();
    LINK_STAGE_UNTIL(link_stage.stats.redis_failures >= 6);
    /* 10 + 20 + 40 + 80 + 80, each at least three quarters of that */
    ck_assert_int_ge(clock_now_ms() - start_ms, 165);
}
END_TEST

/* Up for a moment only: the next try is a long pause away, and nobody is to wait for it. */
START_TEST(test_up_for_a_moment)
{
    link_stage.config.reconnect_min_ms = 500;
    link_stage.config.reconnect_max_ms = 2000;
    link_stage_open_link();
    LINK_STAGE_UNTIL(link_stage.state == LINK_STATE_DOWN);
    link_stage_open_fake();
    LINK_STAGE_UNTIL(link_stage.state == LINK_STATE_UP);
    fake_client_reset(link_stage.client);
    LINK_STAGE_UNTIL(link_stage.state != LINK_STATE_UP);
    ck_assert_int_eq(link_stage.state, LINK_STATE_DOWN);
    ck_assert_uint_gt(strlen(link_stage.text), 0);
}
END_TEST

START_TEST(test_close_answers_all)
{
    link_stage_open_fake();
    link_stage_open_up();
    link_stage.hook = (struct link_stage_hook){.command = "GET"};
    ck_assert_int_eq(link_stage_ask("GET"), 0);
    link_flush(link_stage.link);
    ck_assert_int_eq(link_stage_ask("GET"), 0);
    int n_states = link_stage.n_states;
    link_close(link_stage.link);
    ck_assert_int_eq(link_stage.n_nulls, 2);
    ck_assert_int_eq(link_stage.n_states, n_states);
    link_stage.link = NULL;
}
END_TEST

static void on_reply_break(void *ctx, const struct reply *reply, const char *text)
{
    link_stage_on_reply(ctx, reply, text);
    link_break(link_stage.link, "it makes\nno sense");
}

static void on_reply_close(void *ctx, const struct reply *reply, const char *text)
{
    link_stage_on_reply(ctx, reply, text);
    link_close(link_stage.link);
    link_stage.link = NULL;
}

/* From inside a reply's callback: what follows in the same bytes is not looked at. */
START_TEST(test_break_inside)
{
    const char *argv[] = {"GET"};
    const size_t argv_len[] = {3};

    link_stage_open_fake();
    link_stage_open_up();
    ck_assert_int_eq(
        link_send(link_stage.link, 1, argv, argv_len, _i == 0 ? on_reply_break : on_reply_close, &link_stage),
        0);
    ck_assert_int_eq(link_stage_ask("GET"), 0);
    link_flush(link_stage.link);
    LINK_STAGE_UNTIL(link_stage.n_nulls == 1);
    ck_assert_int_eq(link_stage.n_replies, 1);
    ck_assert_str_eq(link_stage.last, _i == 0 ? "it makes\\x0ano sense" : "the daemon is stopping");
    if (_i == 0) {
        LINK_STAGE_UNTIL(link_stage.state == LINK_STATE_UP);
    }
}
END_TEST

START_TEST(test_reconfigure)
{
    link_stage_open_fake();
    link_stage.config.password = "old";
    link_stage_open_up();
    link_stage.hook = (struct link_stage_hook){.command = "GET", .client = 1};
    ck_assert_int_eq(link_stage_ask("GET"), 0);
    link_flush(link_stage.link);
    link_stage.config.password = "new";
    link_stage.config.timeout_ms = 50;
    link_reconfigure(link_stage.link, &link_stage.config);
    LINK_STAGE_UNTIL(link_stage.n_nulls == 1);
    LINK_STAGE_UNTIL(link_stage.state == LINK_STATE_UP && strstr(link_stage.log, "2 AUTH new\n") != NULL);
}
END_TEST

START_TEST(test_real_redis)
{
    struct redis_server *server = redis_server_start(NULL);

    link_stage.config.unix_path = redis_server_socket(server);
    link_stage_open_up();
    ck_assert_uint_eq(strlen(link_stage.scripts[SCRIPT_LOCK].digest), 40);
    ck_assert_str_ne(link_stage.scripts[SCRIPT_LOCK].digest, link_stage.scripts[SCRIPT_UNLOCK].digest);
    ck_assert_int_eq(link_stage_ask("PING"), 0);
    link_flush(link_stage.link);
    LINK_STAGE_UNTIL(link_stage.n_replies == 1);

    redis_server_kill(server);
    LINK_STAGE_UNTIL(link_stage.state == LINK_STATE_DOWN);
    redis_server_restart(server);
    LINK_STAGE_UNTIL(link_stage.state == LINK_STATE_UP);

    /* Stopped: it takes connections, but says nothing. */
    link_stage.config.timeout_ms = link_stage.config.connect_timeout_ms = 100;
    link_reconfigure(link_stage.link, &link_stage.config);
    ck_assert_int_eq(kill(redis_server_pid(server), SIGSTOP), 0);
    ck_assert_int_eq(link_stage_ask("PING"), 0);
    link_flush(link_stage.link);
    LINK_STAGE_UNTIL(link_stage.state == LINK_STATE_DOWN);
    ck_assert_int_eq(link_stage.n_nulls + link_stage.n_replies, 2);
    ck_assert_int_eq(kill(redis_server_pid(server), SIGCONT), 0);
    LINK_STAGE_UNTIL(link_stage.state == LINK_STATE_UP);
    redis_server_stop(server);
}
END_TEST

Suite *test_link_suite(void);
Suite *test_link_suite(void)
{
    Suite *suite = suite_create("link");
    TCase *tcase = tcase_create("link");

    tcase_add_checked_fixture(tcase, link_stage_open, link_stage_close);
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, test_commands_in_order);
    tcase_add_test(tcase, test_many_commands);
    tcase_add_test(tcase, test_twenty_mib_in_one_go);
    tcase_add_test(tcase, test_break_in_one_go);
    tcase_add_test(tcase, test_queue_is_full);
    tcase_add_loop_test(tcase, test_break, 0, sizeof(break_rows) / sizeof(break_rows[0]));
    tcase_add_loop_test(tcase, test_surplus, 0, sizeof(surplus) / sizeof(surplus[0]));
    tcase_add_test(tcase, test_unsolicited_while_idle);
    tcase_add_loop_test(tcase, test_no_answer, 0, 2);
    tcase_add_test(tcase, test_answer_lay_there);
    tcase_add_test(tcase, test_keepalive);
    tcase_add_loop_test(tcase, test_nobody_there, 0, 4);
    tcase_add_test(tcase, test_name_is_resolved);
    tcase_add_test(tcase, test_pauses_grow);
    tcase_add_test(tcase, test_up_for_a_moment);
    tcase_add_test(tcase, test_close_answers_all);
    tcase_add_loop_test(tcase, test_break_inside, 0, 2);
    tcase_add_test(tcase, test_reconfigure);
    tcase_add_test(tcase, test_real_redis);
    suite_add_tcase(suite, tcase);
    return suite;
}
