/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * librlock against a daemon that says what it likes. No byte of it is believed blindly, and whatever is no
 * message ends the connection, but never the program.
 */

#include "tests/lib/await.h"
#include "tests/lib/fake_daemon.h"
#include "tests/lib/news.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

Suite *test_client_stream_suite(void);

static struct stream {
    struct fake_daemon daemon;
    struct rlock_client *client;
    struct news *news;
} stream;

static void stream_open(void)
{
    fake_daemon_open(&stream.daemon);
    ck_assert_int_eq(rlock_open(stream.daemon.path, AWAIT_MS_MAX, &stream.client), 0);
    fake_daemon_accept(&stream.daemon);
    stream.news = news_of(stream.client);
}

static void stream_close(void)
{
    rlock_close(stream.client);
    free(stream.news);
    fake_daemon_close(&stream.daemon);
}

#define STREAM_GRANT                                                                                       \
    "\"result\":{\"key\":\"k\",\"fence\":7,\"ttl_ms\":30000,\"valid_until_ms\":4000000000000000,\"waited_" \
    "ms\":0}"

static struct rlock *stream_hold(void)
{
    struct rlock *lock = NULL;

    ck_assert_int_eq(rlock_lock_start(stream.client, "k", NULL, &lock), 0);
    fake_daemon_answer(&stream.daemon, fake_daemon_hear(&stream.daemon), STREAM_GRANT);
    news_expect(stream.client, stream.news, RLOCK_EVENT_GRANTED);
    return lock;
}

static const char *const stream_nonsense[] = {
    "hello\n",
    "\n",
    "{}\n",
    "[]\n",
    "[{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":1}]\n",
    "\"text\"\n",
    "\xff\xfe\n",
    "{\"jsonrpc\":\"2.0\",\"id\":1}\n",
    "{\"jsonrpc\":\"2.0\",\"id\":99,\"result\":1}\n",
    "{\"jsonrpc\":\"2.0\",\"id\":-1,\"result\":1}\n",
    "{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":1}\n",
    "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{}}\n",
    "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":0}}\n",
    "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":99999999999}}\n",
    "{\"a\":[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]}\n",
    "{\"jsonrpc\":\"2.0\",\"method\":\"lost\"}\n",
    "{\"jsonrpc\":\"2.0\",\"method\":\"lost\",\"params\":[]}\n",
    "{\"jsonrpc\":\"2.0\",\"method\":\"lost\",\"params\":{\"key\":\"k\",\"fence\":7}}\n",
    "{\"jsonrpc\":\"2.0\",\"method\":\"lost\",\"params\":{\"key\":7,\"fence\":7,\"reason\":\"r\",\"message\":"
    "\"m\"}}\n",
    "{\"jsonrpc\":\"2.0\",\"method\":\"safe\",\"params\":{\"key\":\"k\",\"fence\":7}}\n",
    "{\"jsonrpc\":\"2.0\",\"method\":\"safe\",\"params\":{\"key\":\"k\",\"fence\":-7,\"valid_until_ms\":1}}"
    "\n",
    "{\"jsonrpc\":\"2.0\",\"method\":\"at_risk\",\"params\":{\"key\":\"k\",\"fence\":7,\"lost_at_ms\":1.5}}"
    "\n",
};

START_TEST(test_nonsense)
{
    struct rlock *lock = stream_hold();

    fake_daemon_say(&stream.daemon, stream_nonsense[_i]);
    news_expect(stream.client, stream.news, RLOCK_EVENT_LOST);
    ck_assert_int_eq(news_expect(stream.client, stream.news, RLOCK_EVENT_ENDED)->code, -EPROTO);
    ck_assert(!rlock_valid(lock));
    ck_assert_str_eq(rlock_reason(lock), "disconnected");
    ck_assert_int_eq(rlock_dispatch(stream.client), -EPROTO);
    ck_assert_str_ne(rlock_error_text(stream.client), "");
    /* The daemon sees it end, and gives back. */
    ck_assert_int_eq(recv(stream.daemon.fd, stream.daemon.request, 1, 0), 0);
}
END_TEST

static const char *const stream_bad_grants[] = {
    "\"result\":1",
    "\"result\":{}",
    "\"result\":{\"key\":\"m\",\"fence\":7,\"ttl_ms\":1,\"valid_until_ms\":1,\"waited_ms\":0}",
    "\"result\":{\"key\":\"k\",\"fence\":0,\"ttl_ms\":1,\"valid_until_ms\":1,\"waited_ms\":0}",
    "\"result\":{\"key\":\"k\",\"fence\":9007199254740992,\"ttl_ms\":1,\"valid_until_ms\":1,\"waited_ms\":0}",
    "\"result\":{\"key\":\"k\",\"fence\":7,\"ttl_ms\":1,\"valid_until_ms\":\"1\",\"waited_ms\":0}",
    "\"error\":{\"message\":\"no\"}",
};

START_TEST(test_bad_grant)
{
    struct rlock *lock = NULL;

    ck_assert_int_eq(rlock_lock_start(stream.client, "k", NULL, &lock), 0);
    fake_daemon_answer(&stream.daemon, fake_daemon_hear(&stream.daemon), stream_bad_grants[_i]);
    while (news_next(stream.client, stream.news)->type != RLOCK_EVENT_ENDED) {
        continue;
    }
    ck_assert_int_eq(rlock_dispatch(stream.client), -EPROTO);
    ck_assert(!rlock_valid(lock));
    ck_assert(rlock_state(lock) == RLOCK_LOST || rlock_state(lock) == RLOCK_REFUSED);
}
END_TEST

/* A blocking call ends with the connection. Its id is known, because it is the first. */
START_TEST(test_bad_answer_to_blocking_call)
{
    struct rlock *lock = NULL;

    fake_daemon_answer(&stream.daemon, INT64_C(1) << 20, "\"result\":{}");
    ck_assert_int_eq(rlock_lock(stream.client, "k", NULL, AWAIT_MS_MAX, &lock), -EPROTO);
    ck_assert_ptr_null(lock);
    ck_assert_int_eq(news_expect(stream.client, stream.news, RLOCK_EVENT_ENDED)->code, -EPROTO);
}
END_TEST

/* Granted, and lost again before the call has returned: the program must not believe that it holds it. */
START_TEST(test_grant_and_loss_in_one_read)
{
    struct rlock *lock = NULL;
    char text[1024];

    (void)snprintf(text, sizeof(text), "{\"jsonrpc\":\"2.0\",\"id\":%d,%s}\n%s", 1 << 20, STREAM_GRANT,
                   "{\"jsonrpc\":\"2.0\",\"method\":\"lost\",\"params\":{\"key\":\"k\",\"fence\":7,"
                   "\"reason\":\"forced\",\"message\":\"sorry\"}}\n");
    fake_daemon_say(&stream.daemon, text);
    ck_assert_int_eq(rlock_lock(stream.client, "k", NULL, AWAIT_MS_MAX, &lock), RLOCK_E_NOT_HELD);
    ck_assert_str_eq(rlock_error(stream.client)->why, "forced");
    ck_assert_ptr_null(lock);
    news_expect_none(stream.news);
}
END_TEST

/* Too many connections, for instance: what the daemon says before it closes is why the connection ended. */
START_TEST(test_error_without_request)
{
    const struct news_item *item;

    fake_daemon_say(&stream.daemon,
                    "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":7,\"message\":\"too many\","
                    "\"data\":{\"reason\":\"limit\",\"limit\":\"connections\"}}}\n");
    fake_daemon_hang_up(&stream.daemon);
    item = news_expect(stream.client, stream.news, RLOCK_EVENT_ENDED);
    ck_assert_int_eq(item->code, RLOCK_E_LIMIT);
    ck_assert_int_eq(rlock_dispatch(stream.client), RLOCK_E_LIMIT);
    ck_assert_str_eq(rlock_error(stream.client)->limit, "connections");
    ck_assert_str_eq(rlock_error_text(stream.client), "too many");
}
END_TEST

START_TEST(test_byte_by_byte)
{
    static const char text[] =
        "{\"jsonrpc\":\"2.0\",\"method\":\"news of tomorrow\",\"params\":{}}\n"
        "{\"jsonrpc\":\"2.0\",\"method\":\"lost\",\"params\":{\"key\":\"m\",\"fence\":8,"
        "\"reason\":\"forced\",\"message\":\"another's\"}}\n"
        "{\"jsonrpc\":\"2.0\",\"method\":\"lost\",\"params\":{\"key\":\"k\",\"fence\":7,"
        "\"reason\":\"forced\",\"message\":\"sorry\"}}\n";
    struct rlock *lock = stream_hold();

    for (size_t i = 0; i < strlen(text); i++) {
        news_expect_none(stream.news);
        ck_assert_int_eq(send(stream.daemon.fd, text + i, 1, 0), 1);
        ck_assert_int_eq(rlock_wait(stream.client, AWAIT_MS_MAX), 0);
    }
    ck_assert_str_eq(news_expect(stream.client, stream.news, RLOCK_EVENT_LOST)->reason, "forced");
    ck_assert_int_eq(rlock_state(lock), RLOCK_LOST);
    fake_daemon_say(&stream.daemon, "{\"jsonrpc\":");
    fake_daemon_hang_up(&stream.daemon);
    ck_assert_int_eq(news_expect(stream.client, stream.news, RLOCK_EVENT_ENDED)->code, -ECONNRESET);
}
END_TEST

/* The last words of a daemon count, even if writing to it has failed before they were read. */
START_TEST(test_last_words)
{
    struct rlock *lock = stream_hold();
    const struct news_item *item;

    fake_daemon_say(&stream.daemon,
                    "{\"jsonrpc\":\"2.0\",\"method\":\"lost\",\"params\":{\"key\":\"k\",\"fence\":7,"
                    "\"reason\":\"shutdown\",\"message\":\"bye\"}}\n");
    fake_daemon_hang_up(&stream.daemon);
    ck_assert_int_eq(rlock_refresh_start(lock, 0), 0);
    ck_assert_int_eq(rlock_poll_events(stream.client), POLLIN | POLLOUT); /* that is due to be said */
    item = news_expect(stream.client, stream.news, RLOCK_EVENT_LOST);
    ck_assert_str_eq(item->reason, "shutdown");
    ck_assert_int_eq(news_expect(stream.client, stream.news, RLOCK_EVENT_ENDED)->code, -ECONNRESET);
}
END_TEST

/* A daemon that does not read for a while: what is to be sent is kept, in order. */
START_TEST(test_backlog)
{
    int64_t first_id = 0, id = 0;
    int n = 1;

    ck_assert_int_eq(rlock_call_start(stream.client, "ping", NULL, &first_id), 0);
    while (rlock_poll_events(stream.client) == POLLIN) {
        ck_assert_int_eq(rlock_call_start(stream.client, "ping", NULL, &id), 0);
        n++;
    }
    for (int i = 0; i < 100; i++, n++) {
        ck_assert_int_eq(rlock_call_start(stream.client, "ping", NULL, &id), 0);
    }
    ck_assert_int_eq(fake_daemon_hear(&stream.daemon), first_id);
    for (int i = 1; i < n; i++) {
        int64_t heard;

        ck_assert_int_eq(rlock_dispatch(stream.client), 0);
        heard = fake_daemon_hear(&stream.daemon);
        ck_assert_int_gt(heard, first_id);
        if (i == n - 1) {
            ck_assert_int_eq(heard, id);
        }
    }
    ck_assert_int_eq(rlock_poll_events(stream.client), POLLIN);
}
END_TEST

Suite *test_client_stream_suite(void)
{
    Suite *suite = suite_create("client_stream");
    TCase *tcase = tcase_create("stream");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, stream_open, stream_close);
    tcase_add_loop_test(tcase, test_nonsense, 0, sizeof(stream_nonsense) / sizeof(stream_nonsense[0]));
    tcase_add_loop_test(tcase, test_bad_grant, 0, sizeof(stream_bad_grants) / sizeof(stream_bad_grants[0]));
    tcase_add_test(tcase, test_bad_answer_to_blocking_call);
    tcase_add_test(tcase, test_grant_and_loss_in_one_read);
    tcase_add_test(tcase, test_error_without_request);
    tcase_add_test(tcase, test_byte_by_byte);
    tcase_add_test(tcase, test_last_words);
    tcase_add_test(tcase, test_backlog);
    suite_add_tcase(suite, tcase);
    return suite;
}
