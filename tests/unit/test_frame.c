/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * frame: each input goes in whole, one byte at a time, and cut in two at every place; what comes out
 * must be the same. Every piece is fed from memory of exactly its size that is freed when the frame
 * says that it wants more, so that a look beyond or behind it is caught by a sanitizer.
 */

#include "proto/frame.h"

#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

Suite *test_frame_suite(void);

enum { LINE_MAX = 8 };

/* Lines as they come out, each in angle brackets, and what ended them. */
struct output {
    char text[4096];
    size_t len;
    int outcome;
};

static void output_add(struct output *output, const char *bytes, size_t len)
{
    ck_assert_uint_lt(output->len + len, sizeof(output->text));
    memcpy(output->text + output->len, bytes, len);
    output->len += len;
}

static void feed(struct frame *frame, const char *bytes, size_t len, struct output *output)
{
    char *piece = malloc(len > 0 ? len : 1);
    const char *line;
    size_t line_len;

    memcpy(piece, bytes, len);
    frame_feed(frame, piece, len);
    while ((output->outcome = frame_next(frame, &line, &line_len)) == 0) {
        ck_assert_uint_le(line_len, LINE_MAX);
        output_add(output, "<", 1);
        output_add(output, line, line_len);
        output_add(output, ">", 1);
    }
    ck_assert_int_eq(frame_next(frame, &line, &line_len), output->outcome);
    ck_assert_uint_le(frame->kept_len, LINE_MAX + 1);
    free(piece);
}

static void assert_output(struct output *output, const char *lines, int outcome)
{
    output->text[output->len] = '\0';
    ck_assert_str_eq(output->text, lines);
    ck_assert_int_eq(output->outcome, outcome);
}

static const struct {
    const char *input, *lines;
    int outcome;
} cases[] = {
    {"", "", FRAME_E_MORE},
    {"\n", "<>", FRAME_E_MORE},
    {"\r\n", "<>", FRAME_E_MORE},
    {"a", "", FRAME_E_MORE},
    {"a\n", "<a>", FRAME_E_MORE},
    {"a\r\n", "<a>", FRAME_E_MORE},
    {"a\nb\nc\n", "<a><b><c>", FRAME_E_MORE},
    {"a\nb\nc", "<a><b>", FRAME_E_MORE},
    {"\n\n\r\n\n", "<><><><>", FRAME_E_MORE},
    {"a\rb\n", "<a\rb>", FRAME_E_MORE},
    {"a\r\r\n", "<a\r>", FRAME_E_MORE},
    {"\r", "", FRAME_E_MORE},
    {"12345678\n", "<12345678>", FRAME_E_MORE},
    {"12345678\r\n", "<12345678>", FRAME_E_MORE},
    {"12345678\r\n12345678\r\n", "<12345678><12345678>", FRAME_E_MORE},
    {"12345678", "", FRAME_E_MORE},
    {"12345678\r", "", FRAME_E_MORE},
    {"1234567\r\r\n", "<1234567\r>", FRAME_E_MORE},
    {"123456789\n", "", FRAME_E_TOO_LONG},
    {"123456789", "", FRAME_E_TOO_LONG},
    {"123456789\r\n", "", FRAME_E_TOO_LONG},
    {"12345678\r\r\n", "", FRAME_E_TOO_LONG},
    {"12345678\rx\n", "", FRAME_E_TOO_LONG},
    {"a\n123456789\nb\n", "<a>", FRAME_E_TOO_LONG},
    {"a\nb\n1234567890123456789012345678901234567890", "<a><b>", FRAME_E_TOO_LONG},
    {"a\n12345678\nb\n", "<a><12345678><b>", FRAME_E_MORE},
};

START_TEST(whole)
{
    struct frame frame;
    struct output output = {0};

    frame_init(&frame, LINE_MAX);
    feed(&frame, cases[_i].input, strlen(cases[_i].input), &output);
    assert_output(&output, cases[_i].lines, cases[_i].outcome);
    frame_deinit(&frame);
}
END_TEST

START_TEST(one_byte_at_a_time)
{
    struct frame frame;
    struct output output = {.outcome = FRAME_E_MORE};

    frame_init(&frame, LINE_MAX);
    for (const char *at = cases[_i].input; *at != '\0'; at++) {
        feed(&frame, at, 1, &output);
    }
    assert_output(&output, cases[_i].lines, cases[_i].outcome);
    frame_deinit(&frame);
}
END_TEST

START_TEST(cut_at_every_place)
{
    const char *input = cases[_i].input;
    size_t len = strlen(input);

    for (size_t first = 0; first <= len; first++) {
        for (size_t second = first; second <= len; second++) {
            struct frame frame;
            struct output output = {0};

            frame_init(&frame, LINE_MAX);
            feed(&frame, input, first, &output);
            feed(&frame, input + first, second - first, &output);
            feed(&frame, input + second, len - second, &output);
            assert_output(&output, cases[_i].lines, cases[_i].outcome);
            frame_deinit(&frame);
        }
    }
}
END_TEST

START_TEST(a_nul_is_a_byte_like_any_other)
{
    struct frame frame;
    struct output output = {0};

    frame_init(&frame, LINE_MAX);
    feed(&frame, "a\0b\n\0", 5, &output);
    feed(&frame, "\n", 1, &output);
    ck_assert_uint_eq(output.len, 8);
    ck_assert_mem_eq(output.text, "<a\0b><\0>", 8);
    frame_deinit(&frame);
}
END_TEST

START_TEST(too_long_is_for_good)
{
    struct frame frame;
    struct output output = {0};

    frame_init(&frame, LINE_MAX);
    feed(&frame, "123456789", 9, &output);
    ck_assert_int_eq(output.outcome, FRAME_E_TOO_LONG);
    feed(&frame, "\na\n", 3, &output);
    assert_output(&output, "", FRAME_E_TOO_LONG);
    frame_deinit(&frame);
}
END_TEST

START_TEST(a_whole_line_is_lent_without_a_copy)
{
    static const char bytes[] = "one\ntwo\n";
    struct frame frame;
    const char *line;
    size_t len;

    frame_init(&frame, LINE_MAX);
    frame_feed(&frame, bytes, strlen(bytes));
    ck_assert_int_eq(frame_next(&frame, &line, &len), 0);
    ck_assert_ptr_eq(line, bytes);
    ck_assert_int_eq(frame_next(&frame, &line, &len), 0);
    ck_assert_ptr_eq(line, bytes + 4);
    ck_assert_int_eq(frame_next(&frame, &line, &len), FRAME_E_MORE);
    ck_assert_ptr_null(frame.kept);
    frame_deinit(&frame);
}
END_TEST

/* 64 KiB lines in small pieces: what is kept stays within the limit, and is given back afterwards. */
START_TEST(a_large_line_does_not_stay_in_memory)
{
    enum { LARGE = 65536, PIECE = 100 };
    struct frame frame;
    char piece[PIECE];
    const char *line;
    size_t len, fed = 0;

    memset(piece, 'x', PIECE);
    frame_init(&frame, LARGE);
    while (fed + PIECE <= LARGE) {
        frame_feed(&frame, piece, PIECE);
        ck_assert_int_eq(frame_next(&frame, &line, &len), FRAME_E_MORE);
        fed += PIECE;
    }
    frame_feed(&frame, "\n", 1);
    ck_assert_int_eq(frame_next(&frame, &line, &len), 0);
    ck_assert_uint_eq(len, fed);
    ck_assert_int_eq(line[len - 1], 'x');
    ck_assert_int_eq(frame_next(&frame, &line, &len), FRAME_E_MORE);
    ck_assert_uint_le(frame.kept_cap, 4096);
    frame_deinit(&frame);
}
END_TEST

Suite *test_frame_suite(void)
{
    Suite *suite = suite_create("frame");
    TCase *tcase = tcase_create("frame");
    int n_cases = sizeof(cases) / sizeof(cases[0]);

    tcase_add_loop_test(tcase, whole, 0, n_cases);
    tcase_add_loop_test(tcase, one_byte_at_a_time, 0, n_cases);
    tcase_add_loop_test(tcase, cut_at_every_place, 0, n_cases);
    tcase_add_test(tcase, a_nul_is_a_byte_like_any_other);
    tcase_add_test(tcase, too_long_is_for_good);
    tcase_add_test(tcase, a_whole_line_is_lent_without_a_copy);
    tcase_add_test(tcase, a_large_line_does_not_stay_in_memory);
    suite_add_tcase(suite, tcase);
    return suite;
}
