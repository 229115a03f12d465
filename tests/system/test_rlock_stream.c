/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * rlock against a daemon that says what the test likes, when the test likes: answers that come late or never,
 * and others that hold the lock.
 */

#include "tests/lib/await.h"
#include "tests/lib/command.h"
#include "tests/lib/fake_daemon.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Suite *test_rlock_stream_suite(void);

static struct fake_daemon fake, other;

static void stream_open(void)
{
    fake_daemon_open(&fake);
    fake_daemon_open(&other);
}

static void stream_close(void)
{
    fake_daemon_close(&fake);
    fake_daemon_close(&other);
}

/* Starts `rlock run k` and these arguments; it has connected when this returns, and asked for the lock: ret_id. */
static struct command *stream_run(struct fake_daemon *daemon, struct command *(*start)(const char *const *),
                                  const char *shell, int64_t *ret_id)
{
    const char *argv[] = {rlock_program(), "run", "-n", "k", "sh", "-c", shell, NULL};
    struct command *run;

    setenv("RLOCK_SOCKET", daemon->path, 1);
    run = start(argv);
    fake_daemon_accept(daemon);
    *ret_id = fake_daemon_hear(daemon);
    ck_assert_ptr_nonnull(strstr(daemon->request, "\"lock\""));
    return run;
}

static int64_t stream_hear_inspect(struct fake_daemon *daemon)
{
    int64_t id = fake_daemon_hear(daemon);

    ck_assert_msg(strstr(daemon->request, "\"inspect\"") != NULL, "not asked who holds it, but: %s",
                  daemon->request);
    return id;
}

static void stream_grant(int64_t id, int64_t ttl_ms, int64_t valid_until_ms)
{
    char text[256];

    (void)snprintf(
        text, sizeof(text),
        "\"result\":{\"key\":\"k\",\"fence\":7,\"ttl_ms\":%lld,\"valid_until_ms\":%lld,\"waited_ms\":0}",
        (long long)ttl_ms, (long long)valid_until_ms);
    fake_daemon_answer(&fake, id, text);
}

static size_t stream_count(const char *said, const char *text)
{
    size_t n = 0;

    for (; (said = strstr(said, text)) != NULL; said++) {
        n++;
    }
    return n;
}

static const char stream_refusal[] =
    "\"error\":{\"code\":3,\"message\":\"wait_ms is over\",\"data\":{\"reason\":\"timeout\"}}";

#define STREAM_HELD_BY(pid)                                                             \
    "\"result\":{\"key\":\"k\",\"state\":\"held\",\"fence\":7,\"holder\":{\"pid\":" pid \
    ",\"uid\":0,\"gid\":0}}"

#define STREAM_LOST                                                                   \
    "{\"jsonrpc\":\"2.0\",\"method\":\"lost\",\"params\":{\"key\":\"k\",\"fence\":7," \
    "\"reason\":\"forced\",\"message\":\"sorry\"}}\n"

#define STREAM_RENEWED                                                                     \
    "\"result\":{\"key\":\"k\",\"state\":\"held\",\"fence\":7,\"lease\":{\"ttl_ms\":1000," \
    "\"remaining_ms\":100000}}"

/* A person is told who holds it, once, and again when that changes. Nobody else is told anything. */
START_TEST(test_a_holder_is_named_once)
{
    struct pollfd heard = {.events = POLLIN};
    struct command *piped, *shown;
    int64_t piped_id, shown_id;

    piped = stream_run(&other, command_start, "true", &piped_id);
    shown = stream_run(&fake, command_start_on_terminal, "true", &shown_id);
    fake_daemon_answer(&fake, stream_hear_inspect(&fake), STREAM_HELD_BY("11"));
    fake_daemon_answer(&fake, stream_hear_inspect(&fake), STREAM_HELD_BY("11"));
    fake_daemon_answer(&fake, stream_hear_inspect(&fake), STREAM_HELD_BY("22"));
    fake_daemon_answer(&fake, shown_id, stream_refusal);
    command_expect_end(shown);
    ck_assert_uint_eq(stream_count(shown->said, "waiting for k, held by pid 11"), 1);
    ck_assert_uint_eq(stream_count(shown->said, "waiting for k, held by pid 22"), 1);
    ck_assert_int_eq(command_wait(shown), 1);

    heard.fd = other.fd; /* it has waited for longer than the one that has asked thrice by now */
    ck_assert_int_eq(poll(&heard, 1, 0), 0);
    fake_daemon_answer(&other, piped_id, stream_refusal);
    command_expect_end(piped);
    ck_assert_ptr_null(piped->said);
    ck_assert_int_eq(command_wait(piped), 1);
}
END_TEST

/* The answer to a question that was under way when the lock was lost is about nothing any more. */
START_TEST(test_answer_after_the_loss)
{
    struct command *run;
    char text[512];
    int64_t id;

    run = stream_run(&fake, command_start, "trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done", &id);
    stream_grant(id, 1000, await_now_ms() + 10000);
    command_expect(run, "up");
    (void)snprintf(text, sizeof(text),
                   STREAM_LOST
                   "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"result\":{\"key\":\"k\",\"state\":\"elsewhere\"}}\n",
                   (long long)stream_hear_inspect(&fake));
    fake_daemon_say(&fake, text);
    command_expect(run, "lost k: sorry");
    command_expect_end(run);
    ck_assert_uint_eq(stream_count(run->said, "waiting for"), 0);
    ck_assert_int_eq(command_wait(run), 75);
}
END_TEST

/* What was stopped goes on only when the daemon has said that it may. */
START_TEST(test_question_before_it_goes_on)
{
    struct command *run;
    int64_t id;
    pid_t pid;

    run = stream_run(&fake, command_start,
                     "trap 'echo told; exit' TERM; echo $$; kill -STOP $$; echo went on; sleep 60", &id);
    stream_grant(id, 1000000, await_now_ms() + 1000000); /* so it does not ask for other reasons soon */
    pid = (pid_t)atol(command_line(run));
    command_await_stop(pid);
    command_signal(run, SIGCONT);
    (void)stream_hear_inspect(&fake);
    fake_daemon_say(&fake, STREAM_LOST);
    command_expect_end(run);
    ck_assert_uint_eq(stream_count(run->said, "\ntold\n"), 1);
    ck_assert_uint_eq(stream_count(run->said, "went on"), 0);
    ck_assert_int_eq(command_wait(run), 75);
}
END_TEST

/* For one that is stopped there is no hurry: a daemon that takes its time is waited for, however short the ttl. */
START_TEST(test_patience_before_it_goes_on)
{
    int64_t valid_until_ms = await_now_ms() + 2000;
    struct command *run;
    int64_t id;

    run = stream_run(&fake, command_start, "echo $$; kill -STOP $$; echo went on", &id);
    stream_grant(id, 2000, valid_until_ms);
    command_await_stop((pid_t)atol(command_line(run)));
    command_signal(run, SIGSTOP);
    AWAIT(await_now_ms() > valid_until_ms);
    command_signal(run, SIGCONT);
    id = stream_hear_inspect(&fake);
    (void)poll(NULL, 0, 100); /* a busy daemon */
    while (strstr(fake.request, "\"unlock\"") == NULL) {
        fake_daemon_answer(&fake, id, STREAM_RENEWED);
        id = fake_daemon_hear(&fake);
    }
    fake_daemon_answer(&fake, id, "\"result\":{\"key\":\"k\",\"fence\":7,\"held_ms\":1}");
    command_expect(run, "went on");
    ck_assert_int_eq(command_wait(run), 0);
}
END_TEST

/* One that was asleep when its lock was granted, and then for too long, must not start. */
START_TEST(test_grant_that_is_over)
{
    struct command *run;
    int64_t id;

    run = stream_run(&fake, command_start, "echo up", &id);
    stream_grant(id, 1000, 1);
    fake_daemon_answer(&fake, stream_hear_inspect(&fake), "\"result\":{\"key\":\"k\",\"state\":\"free\"}");
    command_expect_end(run);
    ck_assert(run->said == NULL || strstr(run->said, "up") == NULL);
    ck_assert_int_eq(command_wait(run), 75);
}
END_TEST

/* But what is over by its own clock may have been renewed. */
START_TEST(test_grant_that_was_renewed)
{
    struct command *run;
    int64_t id;

    run = stream_run(&fake, command_start, "echo up", &id);
    stream_grant(id, 1000, 1);
    fake_daemon_answer(&fake, stream_hear_inspect(&fake), STREAM_RENEWED);
    command_expect(run, "up");
    do { /* it may ask again before it gives back */
        id = fake_daemon_hear(&fake);
    } while (strstr(fake.request, "\"unlock\"") == NULL);
    fake_daemon_answer(&fake, id, "\"result\":{\"key\":\"k\",\"fence\":7,\"held_ms\":1}");
    ck_assert_int_eq(command_wait(run), 0);
}
END_TEST

START_TEST(test_no_answer)
{
    struct command *run;
    int64_t id;

    run = stream_run(&fake, command_start, "echo up", &id);
    command_expect(run, "the daemon does not answer");
    ck_assert_int_eq(command_wait(run), 69);
}
END_TEST

Suite *test_rlock_stream_suite(void)
{
    Suite *suite = suite_create("rlock_stream");
    TCase *tcase = tcase_create("stream");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, stream_open, stream_close);
    tcase_add_test(tcase, test_a_holder_is_named_once);
    tcase_add_test(tcase, test_answer_after_the_loss);
    tcase_add_test(tcase, test_question_before_it_goes_on);
    tcase_add_test(tcase, test_patience_before_it_goes_on);
    tcase_add_test(tcase, test_grant_that_is_over);
    tcase_add_test(tcase, test_grant_that_was_renewed);
    tcase_add_test(tcase, test_no_answer);
    suite_add_tcase(suite, tcase);
    return suite;
}
