/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The connection as a stream of bytes: in small pieces, in huge ones, without an end, with things in
 * it that are no bytes.
 */

#include "tests/lib/scene.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

Suite *test_stream_suite(void);

enum { PARSE = -32700, INVALID = -32600, STREAM_LINE_MAX = 65536 };

/* A hundred times the line, and what stays of it. A sanitizer's allocator needs more for each value, and gives
 * less back. */
#ifdef __SANITIZE_ADDRESS__
enum {
    STREAM_VALUES_KIB_MAX = 4 * 100 * STREAM_LINE_MAX / 1024,
    STREAM_KEPT_KIB_MAX = STREAM_VALUES_KIB_MAX
};
#else
enum {
    STREAM_VALUES_KIB_MAX = 100 * STREAM_LINE_MAX / 1024,
    STREAM_KEPT_KIB_MAX = STREAM_VALUES_KIB_MAX / 2
};
#endif

START_TEST(test_byte_by_byte)
{
    static const char text[] =
        "\r\n \n{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"lock\",\"params\":{\"key\":\"k\"}}\r\n";
    struct client *client = scene_client();

    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        client_send_bytes(client, text + i, 1);
        if (i % 10 == 0) {
            (void)scene_stat("requests"); /* a round trip elsewhere: the daemon has seen this byte alone */
        }
    }
    ck_assert_int_gt(member_int(client_expect_result(client, 7), "fence"), 0);
}
END_TEST

START_TEST(test_1000_requests_in_one_write)
{
    struct client *client = scene_client();
    char *text = NULL;
    size_t len = 0;
    FILE *stream = open_memstream(&text, &len);

    ck_assert_ptr_nonnull(stream);
    for (int i = 0; i < 1000; i++) {
        fprintf(stream, "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"ping\"}\n", i);
    }
    fclose(stream);
    client_send_bytes(client, text, len);
    free(text);
    for (int i = 0; i < 1000; i++) {
        client_expect_result(client, i);
    }
    client_expect_nothing(client);
}
END_TEST

START_TEST(test_end_inside_a_line)
{
    static const char line[] =
        "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"lock\",\"params\":{\"key\":\"k\"}}";
    struct client *client = scene_client();

    client_send_bytes(client, line, sizeof(line) - 1);
    ck_assert_int_eq(shutdown(client_fd(client), SHUT_WR), 0);
    client_expect_end(client);
    ck_assert(!probe_has(scene.probe, "k"));
    ck_assert_int_eq(scene_stat("attempts"), 0);
}
END_TEST

START_TEST(test_line_too_long)
{
    struct client *client = scene_client();
    size_t len = STREAM_LINE_MAX + 4096;
    char *text = malloc(len);
    long rss_kib = rlockd_rss_kib(scene.rlockd);

    memset(text, ' ', len);
    (void)!send(client_fd(client), text, len, MSG_NOSIGNAL); /* it may be cut off by the close */
    client_expect_error_of_null(client, INVALID);
    client_expect_end(client);
    free(text);
    ck_assert_int_lt(rlockd_rss_kib(scene.rlockd), rss_kib + 4096);
    (void)client_lock(scene_client(), "k");
}
END_TEST

START_TEST(test_line_as_long_as_allowed)
{
    static const char head[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}";
    struct client *client = scene_client();
    char *text = malloc(STREAM_LINE_MAX + 1);

    memset(text, ' ', STREAM_LINE_MAX);
    memcpy(text, head, sizeof(head) - 1);
    text[STREAM_LINE_MAX] = '\n';
    client_send_bytes(client, text, STREAM_LINE_MAX + 1);
    client_expect_result(client, 1);
    free(text);
}
END_TEST

START_TEST(test_endless_line)
{
    struct client *client = scene_client();
    char chunk[STREAM_LINE_MAX];
    long rss_kib = rlockd_rss_kib(scene.rlockd);

    memset(chunk, 'x', sizeof(chunk));
    for (int i = 0; i < 1024 && send(client_fd(client), chunk, sizeof(chunk), MSG_NOSIGNAL) > 0; i++) {
    }
    client_expect_error_of_null(client, INVALID);
    ck_assert_int_lt(rlockd_rss_kib(scene.rlockd), rss_kib + 4096);
}
END_TEST

START_TEST(test_deep_and_wide)
{
    struct client *client = scene_client();
    char *text = malloc(60001);
    long rss_kib = rlockd_rss_kib(scene.rlockd);

    for (int depth = 9; depth <= 30000; depth = depth * 3 + 1) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        text[2 * depth] = '\n';
        client_send_bytes(client, text, 2 * depth + 1);
        client_expect_error_of_null(client, PARSE);
    }
    free(text);
    ck_assert_int_lt(rlockd_rss_kib(scene.rlockd), rss_kib + 4096);
}
END_TEST

/* As many values as a line can hold, whole or broken off at its end: each costs the parser much more than
 * its bytes, but a limit keeps that small, and nothing of it stays. */
START_TEST(test_many_values_in_a_line)
{
    static const struct {
        const char *value, *end;
        int code;
    } rows[] = {{"[],", "[]]", INVALID}, {"{},", "{}]", INVALID}, {"\"\",", "1]", INVALID},
                {"1,", "1]", INVALID},   {"[],", "]", PARSE},     {"{},", "", PARSE}};
    struct client *client = scene_client();
    static char text[STREAM_LINE_MAX];
    long rss_kib;

    client_expect_nothing(client);
    rss_kib = rlockd_rss_kib(scene.rlockd);
    rlockd_forget_peak(scene.rlockd);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t len = strlen(rows[i].value), at = 1;

        text[0] = '[';
        for (; at + len + 4 < sizeof(text); at += len) {
            memcpy(text + at, rows[i].value, len);
        }
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s\n", rows[i].end);
        client_send_bytes(client, text, at);
        client_expect_error_of_null(client, rows[i].code);
    }
    client_expect_nothing(client);
    ck_assert_int_lt(rlockd_peak_rss_kib(scene.rlockd), rss_kib + STREAM_VALUES_KIB_MAX);
    ck_assert_int_lt(rlockd_rss_kib(scene.rlockd), rss_kib + STREAM_KEPT_KIB_MAX);
}
END_TEST

/* Integers that fit no variable: an error without an id, and nothing else happens. */
START_TEST(test_long_numbers)
{
    struct client *client = scene_client();

    for (int n_digits = 19; n_digits <= 40000; n_digits = n_digits * 3 / 2) {
        char *digits = malloc((size_t)n_digits + 1);

        memset(digits, '9', (size_t)n_digits);
        digits[n_digits] = '\0';
        client_send(client, "{'jsonrpc':'2.0','id':%s,'method':'ping'}", digits);
        client_expect_error_of_null(client, PARSE);
        client_send(client, "{'jsonrpc':'2.0','id':1,'method':'lock','params':{'key':'k','ttl_ms':-%s}}",
                    digits);
        client_expect_error_of_null(client, PARSE);
        free(digits);
    }
    client_expect_nothing(client);
    ck_assert_int_eq(scene_stat("attempts"), 0);
}
END_TEST

START_TEST(test_passed_descriptors_are_not_kept)
{
    enum { STREAM_N_FDS = 200 };
    union {
        char bytes[CMSG_SPACE(STREAM_N_FDS * sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    static char line[] = "{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"ping\"}\n";
    struct iovec iov = {line, sizeof(line) - 1};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
    struct client *client = scene_client();
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC), n_fds;
    int64_t requests = scene_stat("requests");

    client_expect_nothing(client);
    n_fds = rlockd_n_fds(scene.rlockd);
    *cmsg = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(STREAM_N_FDS * sizeof(int))};
    for (int i = 0; i < STREAM_N_FDS; i++) {
        memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &null_fd, sizeof(int));
    }
    ck_assert_int_eq(sendmsg(client_fd(client), &msg, MSG_NOSIGNAL), sizeof(line) - 1);
    client_expect_result(client, 9);
    ck_assert_int_eq(rlockd_n_fds(scene.rlockd), n_fds);
    ck_assert_int_gt(scene_stat("requests"), requests);
    close(null_fd);
}
END_TEST

/* A byte out of band is no part of the stream; nor does it keep the daemon busy. */
START_TEST(test_byte_out_of_band)
{
    struct client *client = scene_client();

    if (send(client_fd(client), "x", 1, MSG_OOB | MSG_NOSIGNAL) < 0) {
        ck_assert_int_eq(errno, EOPNOTSUPP); /* this kernel does not have it here */
    }
    client_expect_nothing(client);
    AWAIT(rlockd_is_asleep(scene.rlockd));
    (void)client_lock(client, "k");
}
END_TEST

Suite *test_stream_suite(void)
{
    Suite *suite = suite_create("system: stream");
    TCase *tcase = scene_case(suite, "stream", scene_open_default);

    tcase_add_test(tcase, test_byte_by_byte);
    tcase_add_test(tcase, test_1000_requests_in_one_write);
    tcase_add_test(tcase, test_end_inside_a_line);
    tcase_add_test(tcase, test_line_too_long);
    tcase_add_test(tcase, test_line_as_long_as_allowed);
    tcase_add_test(tcase, test_endless_line);
    tcase_add_test(tcase, test_deep_and_wide);
    tcase_add_test(tcase, test_many_values_in_a_line);
    tcase_add_test(tcase, test_long_numbers);
    tcase_add_test(tcase, test_passed_descriptors_are_not_kept);
    tcase_add_test(tcase, test_byte_out_of_band);
    return suite;
}
