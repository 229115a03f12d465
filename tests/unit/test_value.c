/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/* Durations, sizes and percentages: there and back, and what is none. */

#include "daemon/value.h"

#include <check.h>

Suite *test_value_suite(void);

START_TEST(values_that_are_none)
{
    static const char *const texts[] = {
        "",
        " ",
        "s",
        "-1s",
        "+1s",
        " 1s",
        "1 s",
        "1s ",
        "1S",
        "1d",
        "1.5s",
        "1ss",
        "0x10s",
        "1k5",
        "%",
        "1.%",
        ".5%",
        "1.234%",
        "101%",
        "1",
        "99999999999999999999s",
        "9223372036854775807h",
        "9223372036854775807g",
        "1kb",
        "1K",
        "1sm",
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        int64_t value = 42;
        ck_assert_int_eq(value_parse_duration(texts[i], &value), VALUE_E_BAD);
        ck_assert_int_eq(value_parse_size(texts[i], &value), VALUE_E_BAD);
        ck_assert_int_eq(value_parse_percent(texts[i], &value), VALUE_E_BAD);
        ck_assert_int_eq(value, 42);
    }
}
END_TEST

START_TEST(values_come_back_as_they_were)
{
    static const char *const durations[] = {"0", "1ms", "999ms", "1s", "90s", "1m", "5m", "1h", "87600h"};
    static const char *const sizes[] = {"0", "1k", "1000k", "1m", "1g"};
    static const char *const percents[] = {"0%", "0.01%", "0.1%", "0.5%", "1%", "1.05%", "20%", "100%"};
    char text[VALUE_CAP];
    int64_t value;

    for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
        ck_assert_int_eq(value_parse_duration(durations[i], &value), 0);
        ck_assert_str_eq(value_format_duration(value, text), durations[i]);
    }
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        ck_assert_int_eq(value_parse_size(sizes[i], &value), 0);
        ck_assert_str_eq(value_format_size(value, text), sizes[i]);
    }
    for (size_t i = 0; i < sizeof(percents) / sizeof(percents[0]); i++) {
        ck_assert_int_eq(value_parse_percent(percents[i], &value), 0);
        ck_assert_str_eq(value_format_percent(value, text), percents[i]);
    }
}
END_TEST

START_TEST(whole_numbers)
{
    int64_t value = 42;

    ck_assert_int_eq(value_parse_count("9223372036854775807", &value), 0);
    ck_assert(value == INT64_MAX);
    ck_assert_int_eq(value_parse_count("9223372036854775808", &value), VALUE_E_BAD);
    ck_assert_int_eq(value_parse_count("1k", &value), VALUE_E_BAD);
    ck_assert_int_eq(value_parse_count("", &value), VALUE_E_BAD);
    ck_assert_int_eq(value_parse_octal("0660", &value), 0);
    ck_assert_int_eq(value, 0660);
    ck_assert_int_eq(value_parse_octal("0680", &value), VALUE_E_BAD);
    ck_assert_int_eq(value, 0660);
}
END_TEST

Suite *test_value_suite(void)
{
    Suite *suite = suite_create("value");
    TCase *tcase = tcase_create("parse");

    tcase_add_test(tcase, values_that_are_none);
    tcase_add_test(tcase, values_come_back_as_they_were);
    tcase_add_test(tcase, whole_numbers);
    suite_add_tcase(suite, tcase);
    return suite;
}
