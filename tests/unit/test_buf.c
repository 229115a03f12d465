/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * buf: every operation by itself, then a long run of random ones beside a plain array that says what
 * the bytes must be.
 */

#include "daemon/base/buf.h"

#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

Suite *test_buf_suite(void);

static void assert_holds(const struct buf *buf, const char *text)
{
    ck_assert_uint_eq(buf->len, strlen(text));
    ck_assert_mem_eq(buf_bytes(buf), text, strlen(text));
}

static void append(struct buf *buf, const char *text)
{
    buf_append(buf, text, strlen(text));
}

START_TEST(appends_at_the_end_and_consumes_at_the_front)
{
    struct buf buf;

    buf_init(&buf);
    assert_holds(&buf, "");
    buf_append(&buf, NULL, 0);
    buf_append(&buf, "one ", 4);
    append(&buf, "two 3");
    assert_holds(&buf, "one two 3");
    buf_consume(&buf, 4);
    assert_holds(&buf, "two 3");
    buf_consume(&buf, 0);
    buf_consume(&buf, 5);
    assert_holds(&buf, "");
    append(&buf, "again");
    assert_holds(&buf, "again");
    buf_deinit(&buf);
    assert_holds(&buf, "");
}
END_TEST

START_TEST(reserved_room_counts_only_when_committed)
{
    struct buf buf;

    buf_init(&buf);
    append(&buf, "abc");
    char *room = buf_reserve(&buf, 1000);
    memset(room, 'x', 1000);
    assert_holds(&buf, "abc");
    buf_commit(&buf, 2);
    assert_holds(&buf, "abcxx");
    ck_assert_ptr_nonnull(buf_reserve(&buf, 0));
    buf_commit(&buf, 0);
    assert_holds(&buf, "abcxx");
    buf_deinit(&buf);
}
END_TEST

START_TEST(clear_keeps_a_small_buffer_and_frees_a_large_one)
{
    struct buf buf;

    buf_init(&buf);
    append(&buf, "small");
    buf_consume(&buf, 1);
    buf_clear(&buf);
    assert_holds(&buf, "");
    ck_assert_uint_gt(buf.cap, 0);
    ck_assert_uint_eq(buf.start, 0);
    buf_reserve(&buf, 4096);
    buf_clear(&buf);
    ck_assert_uint_gt(buf.cap, 0);
    buf_reserve(&buf, 4097);
    buf_clear(&buf);
    ck_assert_uint_eq(buf.cap, 0);
    append(&buf, "usable");
    assert_holds(&buf, "usable");
    buf_deinit(&buf);
}
END_TEST

/* A queue that never empties must not grow for ever, since what was consumed leaves room. */
START_TEST(a_queue_that_never_empties_stays_small)
{
    struct buf buf;
    char chunk[100];

    memset(chunk, 'q', sizeof(chunk));
    buf_init(&buf);
    buf_append(&buf, chunk, sizeof(chunk));
    for (int i = 0; i < 100000; i++) {
        buf_append(&buf, chunk, sizeof(chunk));
        buf_consume(&buf, sizeof(chunk));
    }
    ck_assert_uint_eq(buf.len, sizeof(chunk));
    ck_assert_uint_le(buf.cap, 1024);
    buf_deinit(&buf);
}
END_TEST

/* Around the size that buf_printf tries first. */
START_TEST(printf_of_any_length)
{
    for (int len = 0; len < 600; len++) {
        struct buf buf;

        buf_init(&buf);
        append(&buf, "<");
        buf_printf(&buf, "%*s%d", len, "", 42);
        append(&buf, ">");
        ck_assert_uint_eq(buf.len, (size_t)len + 4);
        ck_assert_mem_eq(buf_bytes(&buf) + len + 1, "42>", 3);
        buf_deinit(&buf);
    }
}
END_TEST

START_TEST(random_operations_agree_with_a_plain_array)
{
    enum { MODEL_CAP = 1 << 20 };
    char *model = malloc(MODEL_CAP);
    size_t begin = 0, end = 0;
    struct buf buf;

    srand(1);
    buf_init(&buf);
    for (int step = 0; step < 20000; step++) {
        size_t n = (size_t)rand() % 40;

        if (rand() % 100 < 55) {
            char *room = buf_reserve(&buf, n + (size_t)rand() % 64);
            for (size_t i = 0; i < n; i++) {
                room[i] = model[end + i] = (char)rand();
            }
            buf_commit(&buf, n);
            end += n;
        } else {
            n = n < buf.len ? n : buf.len;
            buf_consume(&buf, n);
            begin += n;
        }
        ck_assert_uint_eq(buf.len, end - begin);
        ck_assert_mem_eq(buf_bytes(&buf), model + begin, buf.len);
    }
    buf_deinit(&buf);
    free(model);
}
END_TEST

static const struct {
    const char *bytes;
    size_t len;
    const char *safe;
} texts[] = {
    {"", 0, ""},
    {"plain text, ~", 13, "plain text, ~"},
    {"a\nb\x1b[31m", 8, "a\\x0ab\\x1b[31m"},
    {"nul\0nul", 7, "nul\\x00nul"},
    {"\x7f\x80\xff", 3, "\\x7f\\x80\\xff"},
    {"caf\xc3\xa9", 5, "caf\\xc3\\xa9"},
    {"%s%n", 4, "%s%n"},
    {"0123456789012345678901234567890123456789012345678901234567890123", 64,
     "0123456789012345678901234567890123456789012345678901234567890123"},
    {"0123456789012345678901234567890123456789012345678901234567890123!", 65,
     "0123456789012345678901234567890123456789012345678901234567890123"},
};

START_TEST(foreign_text_is_made_safe)
{
    char safe[TEXT_SAFE_CAP];

    ck_assert_ptr_eq(text_safe(texts[_i].bytes, texts[_i].len, safe), safe);
    ck_assert_str_eq(safe, texts[_i].safe);
}
END_TEST

START_TEST(foreign_text_of_the_worst_kind_fits)
{
    char bytes[1000], safe[TEXT_SAFE_CAP];

    memset(bytes, 0xff, sizeof(bytes));
    text_safe(bytes, sizeof(bytes), safe);
    ck_assert_uint_eq(strlen(safe), TEXT_SAFE_CAP - 1);
}
END_TEST

Suite *test_buf_suite(void)
{
    Suite *suite = suite_create("buf");
    TCase *tcase = tcase_create("buf");

    tcase_add_test(tcase, appends_at_the_end_and_consumes_at_the_front);
    tcase_add_test(tcase, reserved_room_counts_only_when_committed);
    tcase_add_test(tcase, clear_keeps_a_small_buffer_and_frees_a_large_one);
    tcase_add_test(tcase, a_queue_that_never_empties_stays_small);
    tcase_add_test(tcase, printf_of_any_length);
    tcase_add_test(tcase, random_operations_agree_with_a_plain_array);
    tcase_add_loop_test(tcase, foreign_text_is_made_safe, 0, sizeof(texts) / sizeof(texts[0]));
    tcase_add_test(tcase, foreign_text_of_the_worst_kind_fits);
    suite_add_tcase(suite, tcase);
    return suite;
}
