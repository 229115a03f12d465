/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * print: numbers, strings of every byte, and what happens at the end of the room. What is printed is
 * also read back by jansson, which has an opinion of its own on what JSON is.
 */

#include "proto/print.h"

#include <check.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Suite *test_print_suite(void);

static char room[PRINT_ROOM];

/* What has been printed, as a C string. */
static const char *printed(const struct print *print)
{
    ck_assert(!print->full);
    *print->at = '\0';
    return room;
}

START_TEST(ints_at_every_change_of_length)
{
    static const int64_t odd[] = {0, 1, 9, 10, 11, 99, 100, 101, INT64_MAX, INT64_MIN, INT64_MIN + 1};
    char expected[64];

    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        struct print print = print_into(room, sizeof(room));

        print_int(&print, odd[i]);
        snprintf(expected, sizeof(expected), "%" PRId64, odd[i]);
        ck_assert_str_eq(printed(&print), expected);
    }
    for (int64_t power = 1; power < INT64_MAX / 10; power *= 10) {
        for (int64_t value = power - 1; value <= power + 1; value++) {
            struct print print = print_into(room, sizeof(room));

            print_int(&print, value);
            print_literal(&print, " ");
            print_int(&print, -value);
            snprintf(expected, sizeof(expected), "%" PRId64 " %" PRId64, value, -value);
            ck_assert_str_eq(printed(&print), expected);
        }
    }
}
END_TEST

#define BAD "\xef\xbf\xbd"

static const struct {
    const char *bytes;
    size_t len;
    const char *string;  /* without its quotes */
    const char *foreign; /* NULL: the same */
} strings[] = {
#define S(bytes) bytes, sizeof(bytes) - 1
    {S(""), "", NULL},
    {S("a b~"), "a b~", NULL},
    {S("\"\\/"), "\\\"\\\\/", NULL},
    {S("\b\f\n\r\t"), "\\b\\f\\n\\r\\t", "\\u0008\\u000c\\u000a\\u000d\\u0009"},
    {S("\0\x01\x1f"), "\\u0000\\u0001\\u001f", NULL},
    {S("\x1b[31m"), "\\u001b[31m", NULL},
    {S("\x7f"), "\x7f", "\\u007f"},
    {S("\xc2\x80"), "\xc2\x80", "\\u0080"},
    {S("caf\xc3\xa9!"), "caf\xc3\xa9!", "caf\\u00e9!"},
    {S("\xdf\xbf"), "\xdf\xbf", "\\u07ff"},
    {S("\xe0\xa0\x80"), "\xe0\xa0\x80", "\\u0800"},
    {S("\xe2\x80\xa8"), "\xe2\x80\xa8", "\\u2028"},
    {S("\xed\x9f\xbf"), "\xed\x9f\xbf", "\\ud7ff"},
    {S("\xee\x80\x80"), "\xee\x80\x80", "\\ue000"},
    {S("\xef\xbf\xbf"), "\xef\xbf\xbf", "\\uffff"},
    {S("\xf0\x90\x80\x80"), "\xf0\x90\x80\x80", "\\ud800\\udc00"},
    {S("\xf0\x9f\x98\x80"), "\xf0\x9f\x98\x80", "\\ud83d\\ude00"},
    {S("\xf4\x8f\xbf\xbf"), "\xf4\x8f\xbf\xbf", "\\udbff\\udfff"},
    /* continuation without a beginning, beginning without a continuation */
    {S("\x80"), BAD, "\\ufffd"},
    {S("a\xbfz"), "a" BAD "z", "a\\ufffdz"},
    {S("\xc3"), BAD, "\\ufffd"},
    {S("\xc3z"), BAD "z", "\\ufffdz"},
    {S("\xe2\x80"), BAD BAD, "\\ufffd\\ufffd"},
    {S("\xe2\x80z"), BAD BAD "z", "\\ufffd\\ufffdz"},
    {S("\xf0\x9f\x98"), BAD BAD BAD, "\\ufffd\\ufffd\\ufffd"},
    {S("\xc3\xc3\xa9"), BAD "\xc3\xa9", "\\ufffd\\u00e9"},
    /* overlong */
    {S("\xc0\x80"), BAD BAD, "\\ufffd\\ufffd"},
    {S("\xc1\xbf"), BAD BAD, "\\ufffd\\ufffd"},
    {S("\xe0\x9f\xbf"), BAD BAD BAD, "\\ufffd\\ufffd\\ufffd"},
    {S("\xf0\x8f\xbf\xbf"), BAD BAD BAD BAD, "\\ufffd\\ufffd\\ufffd\\ufffd"},
    /* surrogates */
    {S("\xed\xa0\x80"), BAD BAD BAD, "\\ufffd\\ufffd\\ufffd"},
    {S("\xed\xbf\xbf"), BAD BAD BAD, "\\ufffd\\ufffd\\ufffd"},
    /* beyond U+10FFFF, and bytes that never occur */
    {S("\xf4\x90\x80\x80"), BAD BAD BAD BAD, "\\ufffd\\ufffd\\ufffd\\ufffd"},
    {S("\xf5\x80\x80\x80"), BAD BAD BAD BAD, "\\ufffd\\ufffd\\ufffd\\ufffd"},
    {S("\xfe\xff"), BAD BAD, "\\ufffd\\ufffd"},
#undef S
};

START_TEST(strings_become_valid_json)
{
    struct print print = print_into(room, sizeof(room));
    char expected[256];

    print_string(&print, strings[_i].bytes, strings[_i].len);
    snprintf(expected, sizeof(expected), "\"%s\"", strings[_i].string);
    ck_assert_str_eq(printed(&print), expected);
    json_t *value = json_loads(room, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    ck_assert_ptr_nonnull(value);
    json_decref(value);
}
END_TEST

START_TEST(foreign_text_becomes_ascii)
{
    struct print print = print_into(room, sizeof(room));
    const char *expected = strings[_i].foreign != NULL ? strings[_i].foreign : strings[_i].string;

    print_foreign(&print, strings[_i].bytes, strings[_i].len);
    ck_assert_str_eq(printed(&print), expected);
}
END_TEST

START_TEST(utf8_is_what_is_not_replaced)
{
    bool is_utf8 = strstr(strings[_i].string, BAD) == NULL;

    ck_assert_int_eq(print_is_utf8(strings[_i].bytes, strings[_i].len), is_utf8);
}
END_TEST

/* Every pair of bytes is valid JSON when printed. */
START_TEST(any_two_bytes)
{
    for (int first = 0; first < 256; first++) {
        for (int second = 0; second < 256; second++) {
            char bytes[2] = {(char)first, (char)second};
            struct print print = print_into(room, sizeof(room));

            print_literal(&print, "[");
            print_string(&print, bytes, 2);
            print_literal(&print, ",\"");
            print_foreign(&print, bytes, 2);
            print_literal(&print, "\"]");
            json_t *value = json_loads(printed(&print), JSON_ALLOW_NUL, NULL);
            ck_assert_ptr_nonnull(value);
            json_decref(value);
        }
    }
}
END_TEST

START_TEST(foreign_text_is_cut_to_64_bytes)
{
    char bytes[80];

    memset(bytes, 'x', sizeof(bytes));
    for (size_t len = 60; len < sizeof(bytes); len++) {
        struct print print = print_into(room, sizeof(room));

        print_foreign(&print, bytes, len);
        ck_assert_uint_eq(strlen(printed(&print)), len < 64 ? len : 64);
    }
}
END_TEST

/* The cut falls into a character: that is left out. A broken one there is told as such. */
START_TEST(foreign_text_is_cut_between_characters)
{
    char bytes[80];

    memset(bytes, 'x', sizeof(bytes));
    memcpy(bytes + 62, "\xf0\x9f\x98\x80", 4);
    struct print print = print_into(room, sizeof(room));
    print_foreign(&print, bytes, sizeof(bytes));
    ck_assert_uint_eq(strlen(printed(&print)), 62);

    memcpy(bytes + 62, "\xf0\x9f\x98x", 4);
    print = print_into(room, sizeof(room));
    print_foreign(&print, bytes, sizeof(bytes));
    ck_assert_str_eq(printed(&print) + 62, "\\ufffd\\ufffd");
}
END_TEST

START_TEST(nothing_is_written_past_the_end)
{
    for (size_t len = 0; len < 24; len++) {
        char *small = malloc(len + 1);
        struct print print = print_into(small, len);

        small[len] = '#';
        print_string(&print, "a\nb", 3);
        print_int(&print, -123456789);
        print_text(&print, "more");
        ck_assert(small[len] == '#');
        ck_assert(print.full == (len < 6 + 10 + 4));
        ck_assert(print.at <= print.end);
        free(small);
    }
}
END_TEST

/* What comes after something that did not fit is left out too, though it would fit. */
START_TEST(full_is_for_good)
{
    struct print print = print_into(room, 4);

    print_literal(&print, "ab");
    print_literal(&print, "cde");
    ck_assert(print.full);
    print_literal(&print, "f");
    print_int(&print, 1);
    ck_assert(print.full);
    ck_assert_uint_eq((size_t)(print.at - room), 2);
}
END_TEST

Suite *test_print_suite(void)
{
    Suite *suite = suite_create("print");
    TCase *tcase = tcase_create("print");
    int n_strings = sizeof(strings) / sizeof(strings[0]);

    tcase_add_test(tcase, ints_at_every_change_of_length);
    tcase_add_loop_test(tcase, strings_become_valid_json, 0, n_strings);
    tcase_add_loop_test(tcase, foreign_text_becomes_ascii, 0, n_strings);
    tcase_add_loop_test(tcase, utf8_is_what_is_not_replaced, 0, n_strings);
    tcase_add_test(tcase, any_two_bytes);
    tcase_add_test(tcase, foreign_text_is_cut_to_64_bytes);
    tcase_add_test(tcase, foreign_text_is_cut_between_characters);
    tcase_add_test(tcase, nothing_is_written_past_the_end);
    tcase_add_test(tcase, full_is_for_good);
    suite_add_tcase(suite, tcase);
    return suite;
}
