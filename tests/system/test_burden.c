/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Clients that ask for much at once: it costs them their own time, and nobody else's, and no more of the
 * daemon's memory than it says.
 */

#include "tests/lib/scene.h"

#include <stdio.h>
#include <sys/socket.h>

Suite *test_burden_suite(void);

enum {
    BURDEN_KEYS = 10000,
    BURDEN_LISTS = 1000,
    BURDEN_WRITE_LEN = 64 * 1024, /* what the daemon reads of a client in one turn */
    BURDEN_TALKERS = 300,
    BURDEN_INSPECTS = 20000,
    BURDEN_IN_FLIGHT = 100 + 1000, /* waiting_per_connection below, and as many as are always allowed */
    BURDEN_WAITERS = 120,
    BURDEN_KEY_LEN = 512,
    BURDEN_LONG_KEYS = 300, /* of that length: more than the smallest output_buffer takes */
    BURDEN_RSS_KIB_MAX = 16 * 1024,
};

/* --- lists ----------------------------------------------------------------------------------------- */

static void burden_hold_keys(void)
{
    struct client *client = scene_client();

    for (int i = 0; i < BURDEN_KEYS; i++) {
        client_ask(client, "lock", "{'key':'key-%d'}", i);
    }
    for (int i = 0; i < BURDEN_KEYS; i++) {
        ck_assert_ptr_nonnull(json_object_get(client_message(client), "result"));
    }
}

/* Many lists, and behind them a ping, in one write. The daemon is stopped meanwhile, so that it gets all of
 * it in one piece, together with whatever else is written before it goes on. */
static void burden_send_lists(struct client *client)
{
    char *text = NULL;
    size_t len = 0;
    FILE *stream = open_memstream(&text, &len);

    ck_assert_ptr_nonnull(stream);
    for (int i = 0; i < BURDEN_LISTS; i++) {
        fprintf(stream, "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"list\",\"params\":{\"limit\":1}}\n", i);
    }
    fputs("{\"jsonrpc\":\"2.0\",\"id\":\"p\",\"method\":\"ping\"}\n", stream);
    fclose(stream);
    ck_assert_uint_le(len, BURDEN_WRITE_LEN);
    client_send_bytes(client, text, len);
    free(text);
}

/* How many lines have come that were not counted yet. */
static int burden_count_lines(const struct client *client)
{
    char bytes[4096];
    ssize_t len;
    int n = 0;

    while ((len = recv(client_fd(client), bytes, sizeof(bytes), MSG_DONTWAIT)) > 0) {
        for (ssize_t i = 0; i < len; i++) {
            n += bytes[i] == '\n';
        }
    }
    return n;
}

START_TEST(test_lists_take_turns_with_everybody)
{
    struct client *lister, *other;
    int n_lines, n_pongs = 0, id;

    burden_hold_keys();
    lister = scene_client();
    other = scene_client();
    client_expect_nothing(other);
    rlockd_signal(scene.rlockd, SIGSTOP);
    burden_send_lists(lister);
    id = client_ask(other, "list", "{'limit':1}");
    rlockd_signal(scene.rlockd, SIGCONT);
    client_expect_result(other, id);
    n_lines = burden_count_lines(lister);
    ck_assert_int_lt(n_lines, BURDEN_LISTS / 2);
    while (n_lines < BURDEN_LISTS + 1) {
        client_expect_nothing(other);
        n_pongs++;
        n_lines += burden_count_lines(lister);
    }
    ck_assert_int_ge(n_pongs, 10);
}
END_TEST

/* It also leaves while most of its lists have not had their turn. */
START_TEST(test_lists_take_turns_with_their_own_client)
{
    struct client *lister = scene_client();
    int n_before = 0;

    rlockd_signal(scene.rlockd, SIGSTOP);
    burden_send_lists(lister);
    rlockd_signal(scene.rlockd, SIGCONT);
    while (!member_is(client_message(lister), "result", "pong")) {
        n_before++;
    }
    ck_assert_int_le(n_before, 1);
    client_close(lister);
    AWAIT(scene_stat("connections") == 1);
    client_call(scene_client(), "list", "{}");
}
END_TEST

/* Walks through the pages; returns how many keys there were, each behind the one before. */
static int burden_walk(struct client *client, const char *prefix, int limit, int *ret_pages)
{
    char last[BURDEN_KEY_LEN + 1] = "";
    int n_keys = 0;

    for (*ret_pages = 1;; (*ret_pages)++) {
        json_t *page =
            client_call(client, "list", "{'prefix':'%s','limit':%d,'after':'%s'}", prefix, limit, last);
        json_t *locks = json_object_get(page, "locks");

        ck_assert_uint_le(json_array_size(locks), (size_t)limit);
        for (size_t i = 0; i < json_array_size(locks); i++) {
            const char *key = member_text(json_array_get(locks, i), "key");

            ck_assert_int_gt(strcmp(key, last), 0);
            ck_assert_int_eq(strncmp(key, prefix, strlen(prefix)), 0);
            snprintf(last, sizeof(last), "%s", key);
            n_keys++;
        }
        if (member_is_null(page, "next")) {
            return n_keys;
        }
        ck_assert_str_eq(member_text(page, "next"), last);
    }
}

START_TEST(test_pages_show_each_key_once)
{
    struct client *client = scene_client();
    int n_pages;

    burden_hold_keys();
    ck_assert_int_eq(burden_walk(client, "", 1000, &n_pages), BURDEN_KEYS);
    ck_assert_int_eq(n_pages, BURDEN_KEYS / 1000);
    ck_assert_int_eq(burden_walk(client, "", 333, &n_pages), BURDEN_KEYS);
    ck_assert_int_eq(n_pages, BURDEN_KEYS / 333 + 1);
    ck_assert_int_eq(burden_walk(client, "key-99", 1, &n_pages), 111); /* 99, 990 to 999, 9900 to 9999 */
    ck_assert_int_eq(n_pages, 111);
    ck_assert_int_eq(burden_walk(client, "no", 10, &n_pages), 0);
}
END_TEST

static void burden_expect_waiting(const json_t *shown, size_t n, int n_more)
{
    json_t *waiting = json_object_get(shown, "waiting");

    ck_assert_uint_eq(json_array_size(waiting), n);
    ck_assert_int_eq(member_int(shown, "waiting_more"), n_more);
    ck_assert_str_eq(member_text(json_array_get(waiting, 0), "note"), "waiter 0");
    ck_assert_str_ne(member_text(json_array_get(waiting, n - 1), "command"), "");
}

START_TEST(test_the_first_waiters_are_shown)
{
    struct client *client = scene_client();
    json_t *locks;

    (void)client_lock(client, "k");
    for (int i = 0; i < BURDEN_WAITERS; i++) {
        struct client *waiter = scene_client();

        client_ask(waiter, "lock", "{'key':'k','note':'waiter %d'}", i);
        client_expect_nothing(waiter);
    }
    burden_expect_waiting(client_call(client, "inspect", "{'key':'k'}"), 100, BURDEN_WAITERS - 100);
    locks = json_object_get(client_call(client, "list", "{}"), "locks");
    burden_expect_waiting(json_array_get(locks, 0), 10, BURDEN_WAITERS - 10);
}
END_TEST

/* Long names and notes: an answer is never longer than the daemon keeps for a client, which would look as if
 * the client did not read. It is cut, and says so. */
START_TEST(test_long_answers_are_cut)
{
    struct client *client = scene_client();
    json_t *shown;
    int n_pages;
    size_t n_shown;

    for (int i = 0; i < BURDEN_LONG_KEYS; i++) {
        client_call(client, "lock", "{'key':'%0*d','note':'%0256d'}", BURDEN_KEY_LEN, i, i);
    }
    for (int i = 0; i < BURDEN_WAITERS; i++) {
        struct client *waiter = scene_client();

        client_ask(waiter, "lock", "{'key':'%0*d','note':'%0256d'}", BURDEN_KEY_LEN, 7, i);
        client_expect_nothing(waiter);
    }
    ck_assert_int_eq(burden_walk(client, "", 1000, &n_pages), BURDEN_LONG_KEYS);
    ck_assert_int_gt(n_pages, 1);
    shown = client_call(client, "inspect", "{'key':'%0*d'}", BURDEN_KEY_LEN, 7);
    n_shown = json_array_size(json_object_get(shown, "waiting"));
    ck_assert_uint_ge(n_shown, 10);
    ck_assert_int_eq(member_int(shown, "waiting_more"), BURDEN_WAITERS - (int)n_shown);
}
END_TEST

static void burden_open_short(void)
{
    scene_open("[limits]\noutput_buffer = 64k\n");
}

/* --- memory ---------------------------------------------------------------------------------------- */

/* One line again and again, for all that a turn reads of one client. */
static void burden_talk(struct client *client, const char *line)
{
    static char text[BURDEN_WRITE_LEN];
    size_t line_len = strlen(line), len = 0;

    for (; len + line_len <= sizeof(text); len += line_len) {
        memcpy(text + len, line, line_len);
    }
    client_send_bytes(client, text, len);
}

static const char *const burden_lines[] = {
    "{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"ping\"}\n",
    "{\"jsonrpc\":\"2.0\",\"method\":\"unlock\",\"params\":{\"key\":\"k\"}}\n",
    "[{\"jsonrpc\":\"2.0\",\"method\":\"force_unlock\",\"params\":{\"key\":\"\"}},1]\n",
};

/* All of them at once, and each gets all of its answers. */
START_TEST(test_many_clients_with_much_to_say)
{
    struct client *talkers[BURDEN_TALKERS];
    long rss_kib;

    for (int i = 0; i < BURDEN_TALKERS; i++) {
        talkers[i] = scene_client();
        client_expect_nothing(talkers[i]);
    }
    rss_kib = rlockd_rss_kib(scene.rlockd);
    rlockd_signal(scene.rlockd, SIGSTOP);
    for (int i = 0; i < BURDEN_TALKERS; i++) {
        burden_talk(talkers[i], burden_lines[_i]);
    }
    rlockd_signal(scene.rlockd, SIGCONT);
    for (int i = 0; i < BURDEN_TALKERS; i++) {
        client_send(talkers[i], "{'jsonrpc':'2.0','id':'last','method':'ping'}");
        while (!strstr(client_line(talkers[i]), "\"last\"")) {
        }
    }
    ck_assert_int_le(rlockd_rss_kib(scene.rlockd), rss_kib + BURDEN_RSS_KIB_MAX);
}
END_TEST

/* Redis does not answer, so the requests stay; those beyond the limit are answered at once. */
START_TEST(test_requests_without_an_answer_are_limited)
{
    struct client *client = scene_client();
    long rss_kib = rlockd_rss_kib(scene.rlockd);

    scene_stop_redis();
    for (int i = 0; i < BURDEN_INSPECTS; i++) {
        client_ask(client, "inspect", "{'key':'k'}");
    }
    for (int i = BURDEN_IN_FLIGHT; i < BURDEN_INSPECTS; i++) {
        json_t *error = json_object_get(client_message(client), "error");

        ck_assert_int_eq(member_int(error, "code"), 7);
        ck_assert_str_eq(member_text(json_object_get(error, "data"), "limit"), "waiting_per_connection");
    }
    client_expect_nothing(client); /* what needs no Redis is answered all the same */
    ck_assert_int_le(rlockd_rss_kib(scene.rlockd), rss_kib + BURDEN_RSS_KIB_MAX);
    scene_continue_redis();
    for (int i = 0; i < BURDEN_IN_FLIGHT; i++) {
        ck_assert(member_is(json_object_get(client_message(client), "result"), "state", "free"));
    }
    client_call(client, "inspect", "{'key':'k'}");
}
END_TEST

/* Nobody is told of what a notification came to, so many of them are one wish. */
START_TEST(test_refresh_notifications_are_not_kept)
{
    struct client *client = scene_client();
    long rss_kib;

    client_call(client, "lock", "{'key':'k','ttl_ms':600000}");
    rss_kib = rlockd_rss_kib(scene.rlockd);
    scene_stop_redis();
    for (int i = 0; i < 500; i++) { /* some half a million */
        burden_talk(client, "{\"jsonrpc\":\"2.0\",\"method\":\"refresh\",\"params\":{\"key\":\"k\"}}\n");
    }
    client_expect_nothing(client);
    ck_assert_int_le(rlockd_rss_kib(scene.rlockd), rss_kib + BURDEN_RSS_KIB_MAX);
    scene_continue_redis();
    client_call(client, "refresh", "{'key':'k'}");
    client_call(client, "unlock", "{'key':'k'}");
}
END_TEST

static void burden_open_limited(void)
{
    scene_open("timeout = 30s\n[limits]\nwaiting_per_connection = 100\n");
}

/* More answers than the socket takes, and nobody reads them: the daemon does not wait for that for ever. */
START_TEST(test_half_closed_client_that_does_not_read)
{
    struct client *client = scene_client();
    int n_fds;

    for (int i = 0; i < 3000; i++) {
        client_ask(client, "hello", "{}");
    }
    AWAIT(scene_stat("requests") > 3000);
    n_fds = rlockd_n_fds(scene.rlockd);
    ck_assert_int_eq(shutdown(client_fd(client), SHUT_WR), 0);
    AWAIT(rlockd_n_fds(scene.rlockd) < n_fds); /* looked at from outside: nothing else wakes it */
    ck_assert_int_eq(scene_stat("connections"), 1);
}
END_TEST

Suite *test_burden_suite(void)
{
    Suite *suite = suite_create("system: burden");
    TCase *tcase = scene_case(suite, "burden", scene_open_default);

    tcase_add_test(tcase, test_lists_take_turns_with_everybody);
    tcase_add_test(tcase, test_lists_take_turns_with_their_own_client);
    tcase_add_test(tcase, test_pages_show_each_key_once);
    tcase_add_test(tcase, test_the_first_waiters_are_shown);
    tcase_add_loop_test(tcase, test_many_clients_with_much_to_say, 0,
                        sizeof(burden_lines) / sizeof(burden_lines[0]));
    tcase_add_test(tcase, test_half_closed_client_that_does_not_read);
    tcase = scene_case(suite, "burden of answers", burden_open_short);
    tcase_add_test(tcase, test_long_answers_are_cut);
    tcase = scene_case(suite, "burden of requests", burden_open_limited);
    tcase_add_test(tcase, test_requests_without_an_answer_are_limited);
    tcase_add_test(tcase, test_refresh_notifications_are_not_kept);
    return suite;
}
