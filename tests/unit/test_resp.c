/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Replies from bytes, whole and byte by byte, and bytes that are no replies.
 */

#include "daemon/redis/resp.h"

#include <check.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A reply as text: 7 "text" nil +status -error [items]. */
static void describe(const struct reply *reply, struct buf *out)
{
    switch (reply->kind) {
    case REPLY_INTEGER:
        buf_printf(out, "%" PRId64, reply->integer);
        break;
    case REPLY_TEXT:
    case REPLY_STATUS:
    case REPLY_ERROR:
        ck_assert_int_eq(reply->text[reply->len], '\0');
        buf_printf(out, "%s", reply->kind == REPLY_TEXT ? "\"" : reply->kind == REPLY_STATUS ? "+" : "-");
        buf_append(out, reply->text, reply->len);
        buf_printf(out, "%s", reply->kind == REPLY_TEXT ? "\"" : "");
        break;
    case REPLY_NIL:
        buf_printf(out, "nil");
        break;
    case REPLY_LIST:
        buf_printf(out, "[");
        for (size_t i = 0; i < reply->n_items; i++) {
            buf_printf(out, "%s", i > 0 ? " " : "");
            describe(&reply->items[i], out);
        }
        buf_printf(out, "]");
        break;
    default:
        ck_abort_msg("kind %d", reply->kind);
    }
}

static const struct good_row {
    const char *bytes, *want;
} good_rows[] = {
    {":7\r\n:-9223372036854775808\r\n", "7 -9223372036854775808 "},
    {"+OK\r\n-ERR no\r\n$3\r\na\nb\r\n$0\r\n\r\n$-1\r\n*-1\r\n", "+OK -ERR no \"a\nb\" \"\" nil nil "},
    {"*0\r\n*2\r\n:1\r\n:8388608\r\n", "[] [1 8388608] "},
    {"*3\r\n*2\r\n$1\r\na\r\n*1\r\n:1\r\n$-1\r\n*0\r\n:5\r\n", "[[\"a\" [1]] nil []] 5 "},
};

START_TEST(test_replies)
{
    const struct good_row *row = &good_rows[_i / 2];
    size_t len = strlen(row->bytes), step = _i % 2 == 0 ? len : 1;
    struct resp *resp = resp_new();
    const struct reply *reply;
    struct buf out;
    int r;

    buf_init(&out);
    ck_assert(resp_is_between(resp));
    for (size_t at = 0; at < len; at += step) {
        resp_feed(resp, row->bytes + at, step);
        while ((r = resp_next(resp, &reply)) == 0) {
            describe(reply, &out);
            buf_printf(&out, " ");
        }
        ck_assert_int_eq(r, RESP_E_MORE);
        ck_assert(at > 0 || step > 1 || !resp_is_between(resp));
    }
    ck_assert(resp_is_between(resp));
    buf_append(&out, "", 1);
    ck_assert_str_eq(buf_bytes(&out), row->want);
    buf_deinit(&out);
    resp_free(resp);
}
END_TEST

static const struct bad_row {
    const char *bytes;
    int repeat;
} bad_rows[] = {
    {"HTTP/1.1 400 Bad Request\r\n\r\n", 1},
    {"*2147483647\r\n", 1},
    {"*9223372036854775807\r\n", 1},
    {"*1\r\n", 100000},
    {":12x\r\n", 1},
    {"#t\r\n", 1},
    {"%1\r\n+a\r\n+b\r\n", 1},
    {",1.5\r\n", 1},
    {"\r\n", 1},
    {">1\r\n+a\r\n", 1},
    {"*5000\r\n", 5000},
};

START_TEST(test_no_replies)
{
    const struct bad_row *row = &bad_rows[_i];
    struct resp *resp = resp_new();
    const struct reply *reply;
    size_t before = mallinfo2().uordblks;
    int r = RESP_E_MORE;

    for (int i = 0; i < row->repeat && r == RESP_E_MORE; i++) {
        resp_feed(resp, row->bytes, strlen(row->bytes));
        r = resp_next(resp, &reply);
    }
    ck_assert_int_eq(r, RESP_E_BAD);
    ck_assert_uint_gt(strlen(resp_fault(resp)), 0);
    ck_assert_uint_lt(mallinfo2().uordblks, before + 1024 * 1024);

    /* It stays bad until it is told of a new connection. */
    resp_feed(resp, "+OK\r\n", 5);
    ck_assert_int_eq(resp_next(resp, &reply), RESP_E_BAD);
    resp_reset(resp);
    resp_feed(resp, "+OK\r\n", 5);
    ck_assert_int_eq(resp_next(resp, &reply), 0);
    ck_assert_str_eq(reply->text, "OK");
    resp_free(resp);
}
END_TEST

/* The header is not believed, and the bytes are only taken up to a limit. */
START_TEST(test_huge_text)
{
    struct resp *resp = resp_new();
    const struct reply *reply;
    size_t before = mallinfo2().uordblks, n_fed = 0;
    char block[16384];
    int r;

    memset(block, 'x', sizeof(block));
    resp_feed(resp, "$2147483647\r\n", 13);
    ck_assert_int_eq(resp_next(resp, &reply), RESP_E_MORE);
    ck_assert_uint_lt(mallinfo2().uordblks, before + 65536);
    do {
        resp_feed(resp, block, sizeof(block));
        n_fed += sizeof(block);
        r = resp_next(resp, &reply);
    } while (r == RESP_E_MORE && n_fed < 64 * 1024 * 1024);
    ck_assert_int_eq(r, RESP_E_BAD);
    ck_assert_uint_le(n_fed, RESP_REPLY_MAX + sizeof(block));
    resp_free(resp);
}
END_TEST

/* What INFO may be, and a reply behind it. */
START_TEST(test_large_text)
{
    struct resp *resp = resp_new();
    const struct reply *reply;
    static char text[200000];

    memset(text, 'y', sizeof(text));
    for (int i = 0; i < 3; i++) {
        resp_feed(resp, "*2\r\n:1\r\n$200000\r\n", 17);
        ck_assert_int_eq(resp_next(resp, &reply), RESP_E_MORE);
        resp_feed(resp, text, sizeof(text));
        resp_feed(resp, "\r\n:3\r\n", 6);
        ck_assert_int_eq(resp_next(resp, &reply), 0);
        ck_assert_uint_eq(reply->n_items, 2);
        ck_assert_int_eq(reply->items[0].integer, 1);
        ck_assert_uint_eq(reply->items[1].len, sizeof(text));
        ck_assert_int_eq(memcmp(reply->items[1].text, text, sizeof(text)), 0);
        ck_assert_int_eq(resp_next(resp, &reply), 0);
        ck_assert_int_eq(reply->integer, 3);
    }
    resp_free(resp);
}
END_TEST

START_TEST(test_command)
{
    const char *argv[] = {"EVALSHA", "", "a\r\n\0b"};
    const size_t argv_len[] = {7, 0, 5};
    static const char want[] = "*3\r\n$7\r\nEVALSHA\r\n$0\r\n\r\n$5\r\na\r\n\0b\r\n";
    struct buf out;

    buf_init(&out);
    resp_print_command(&out, 3, argv, argv_len);
    ck_assert_uint_eq(out.len, sizeof(want) - 1);
    ck_assert_int_eq(memcmp(buf_bytes(&out), want, out.len), 0);
    buf_deinit(&out);
}
END_TEST

Suite *test_resp_suite(void);
Suite *test_resp_suite(void)
{
    Suite *suite = suite_create("resp");
    TCase *tcase = tcase_create("resp");

    tcase_add_loop_test(tcase, test_replies, 0, 2 * sizeof(good_rows) / sizeof(good_rows[0]));
    tcase_add_loop_test(tcase, test_no_replies, 0, sizeof(bad_rows) / sizeof(bad_rows[0]));
    tcase_add_test(tcase, test_huge_text);
    tcase_add_test(tcase, test_large_text);
    tcase_add_test(tcase, test_command);
    suite_add_tcase(suite, tcase);
    return suite;
}
