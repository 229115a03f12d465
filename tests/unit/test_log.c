/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * log: what a line looks like, and that a reader who does not read costs lines, never time. stderr is
 * replaced by a pipe; each test has a process of its own, or puts stderr back.
 */

#include "daemon/base/log.h"

#include <check.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Suite *test_log_suite(void);

static int pipe_fds[2];
static int saved_stderr;

static void open_pipe(void)
{
    signal(SIGPIPE, SIG_IGN);
    ck_assert_int_eq(pipe(pipe_fds), 0);
    saved_stderr = dup(STDERR_FILENO);
    ck_assert_int_ge(dup2(pipe_fds[1], STDERR_FILENO), 0);
    close(pipe_fds[1]);
    log_setup(LOG_LEVEL_INFO, /* with_priority= */ false);
}

static void close_pipe(void)
{
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    close(pipe_fds[0]);
}

/* What has been written so far; all of it is in the pipe already. */
static const char *written(void)
{
    static char text[4 * PIPE_BUF];
    int flags = fcntl(pipe_fds[0], F_GETFL);

    fcntl(pipe_fds[0], F_SETFL, flags | O_NONBLOCK);
    ssize_t len = read(pipe_fds[0], text, sizeof(text) - 1);
    text[len > 0 ? len : 0] = '\0';
    return text;
}

START_TEST(a_line_is_what_it_says)
{
    log_info("peer %d says \"%s\"", 7, "hello");
    ck_assert_str_eq(written(), "peer 7 says \"hello\"\n");
}
END_TEST

START_TEST(the_journal_gets_a_priority)
{
    log_setup(LOG_LEVEL_DEBUG, /* with_priority= */ true);
    log_error("a");
    log_warning("b");
    log_notice("c");
    log_info("d");
    log_debug("e");
    ck_assert_str_eq(written(), "<3>a\n<4>b\n<5>c\n<6>d\n<7>e\n");
}
END_TEST

START_TEST(a_level_that_is_off_says_nothing)
{
    struct log_limit limit = {0};

    log_setup(LOG_LEVEL_WARNING, /* with_priority= */ false);
    log_notice("no");
    log_limited(&limit, 1000, LOG_LEVEL_INFO, "no");
    log_warning("yes");
    ck_assert_str_eq(written(), "yes\n");
    ck_assert_uint_eq(limit.held_back, 0);
    ck_assert(log_is_on(LOG_LEVEL_ERROR));
    ck_assert(!log_is_on(LOG_LEVEL_NOTICE));
}
END_TEST

START_TEST(control_characters_cannot_make_a_second_line)
{
    log_info("a\nb\x1b[0m\tc\x7f \xc3\xa9");
    ck_assert_str_eq(written(), "a?b?[0m?c? \xc3\xa9\n");
}
END_TEST

START_TEST(a_long_line_is_cut)
{
    char *text = malloc(3 * PIPE_BUF);

    memset(text, 'x', 3 * PIPE_BUF - 1);
    text[3 * PIPE_BUF - 1] = '\0';
    log_info("%s", text);
    const char *line = written();
    ck_assert_uint_le(strlen(line), PIPE_BUF);
    ck_assert_uint_gt(strlen(line), PIPE_BUF - 8);
    ck_assert_int_eq(line[strlen(line) - 1], '\n');
    free(text);
}
END_TEST

/* If a line could block, this test would hang on its second half. */
START_TEST(a_full_pipe_loses_lines_and_counts_them)
{
    uint64_t before = log_dropped();

    for (int i = 0; i < 100000; i++) {
        log_info("a line that nobody reads, number %d", i);
    }
    ck_assert_uint_gt(log_dropped(), before);
    before = log_dropped();
    while (*written() != '\0') {
    }
    log_info("there is room again");
    ck_assert_str_eq(written(), "there is room again\n");
    ck_assert_uint_eq(log_dropped(), before);
}
END_TEST

START_TEST(a_reader_that_has_gone_loses_lines)
{
    uint64_t before = log_dropped();

    close(pipe_fds[0]);
    log_info("to nobody");
    ck_assert_uint_eq(log_dropped(), before + 1);
    pipe_fds[0] = -1;
}
END_TEST

START_TEST(a_limit_holds_lines_back_and_says_how_many)
{
    struct log_limit limit = {0};

    for (int i = 0; i < 4; i++) {
        log_limited(&limit, INT64_MAX, LOG_LEVEL_INFO, "again %d", i);
    }
    ck_assert_str_eq(written(), "again 0\n");
    log_limited(&limit, /* every_ms= */ 0, LOG_LEVEL_INFO, "at last");
    ck_assert_str_eq(written(), "at last (3 more held back)\n");
    log_limited(&limit, /* every_ms= */ 0, LOG_LEVEL_INFO, "and on");
    ck_assert_str_eq(written(), "and on\n");
}
END_TEST

Suite *test_log_suite(void)
{
    Suite *suite = suite_create("log");
    TCase *tcase = tcase_create("log");

    tcase_add_checked_fixture(tcase, open_pipe, close_pipe);
    tcase_add_test(tcase, a_line_is_what_it_says);
    tcase_add_test(tcase, the_journal_gets_a_priority);
    tcase_add_test(tcase, a_level_that_is_off_says_nothing);
    tcase_add_test(tcase, control_characters_cannot_make_a_second_line);
    tcase_add_test(tcase, a_long_line_is_cut);
    tcase_add_test(tcase, a_full_pipe_loses_lines_and_counts_them);
    tcase_add_test(tcase, a_reader_that_has_gone_loses_lines);
    tcase_add_test(tcase, a_limit_holds_lines_back_and_says_how_many);
    suite_add_tcase(suite, tcase);
    return suite;
}
