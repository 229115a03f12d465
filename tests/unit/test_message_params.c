/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * message: each parameter at its bounds and just beyond, as every wrong type, and what is said then.
 */

#include "tests/lib/draft.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

Suite *test_message_params_suite(void);

#define N(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* ---- integers ---- */

static const struct integer {
    const char *method, *before, *behind; /* the number in its params */
    const char *name;
    int64_t min, max;
    bool is_nullable;
    size_t offset;
} integers[] = {
#define AT(member) offsetof(struct message, member)
    {"lock", "{'key':'a','ttl_ms':", "}", "ttl_ms", 100, 86400000, false, AT(ttl_ms)},
    {"lock", "{'wait_ms':", ",'key':'a'}", "wait_ms", 0, INT64_C(315360000000), true, AT(wait_ms)},
    {"lock", "{'key':'a','attempt_timeout_ms':", "}", "attempt_timeout_ms", 1, 86400000, false,
     AT(attempt_timeout_ms)},
    {"lock", "{'key':'a','max_hold_ms':", "}", "max_hold_ms", 1, INT64_C(315360000000), true,
     AT(max_hold_ms)},
    {"lock", "{'key':'a','retry':{'interval_ms':", "}}", "retry.interval_ms", 1, 86400000, false,
     AT(retry_interval_ms)},
    {"lock", "{'key':'a','retry':{'max':", "}}", "retry.max", 0, 1000000000, true, AT(retry_max)},
    {"try_lock", "{'key':'a','ttl_ms':", "}", "ttl_ms", 100, 86400000, false, AT(ttl_ms)},
    {"try_lock", "{'key':'a','attempt_timeout_ms':", "}", "attempt_timeout_ms", 1, 86400000, false,
     AT(attempt_timeout_ms)},
    {"try_lock", "{'key':'a','max_hold_ms':", "}", "max_hold_ms", 1, INT64_C(315360000000), true,
     AT(max_hold_ms)},
    {"unlock", "{'key':'a','fence':", "}", "fence", 1, INT64_C(9007199254740991), false, AT(fence)},
    {"refresh", "{'key':'a','fence':", "}", "fence", 1, INT64_C(9007199254740991), false, AT(fence)},
    {"refresh", "{'key':'a','ttl_ms':", "}", "ttl_ms", 100, 86400000, false, AT(ttl_ms)},
    {"list", "{'limit':", "}", "limit", 1, 1000, false, AT(limit)},
#undef AT
};

static void parse_integer(const struct integer *row, const char *number)
{
    char params[128];

    snprintf(params, sizeof(params), "%s%s%s", row->before, number, row->behind);
    draft_parse(row->method, params);
}

static void assert_integer_taken(const struct integer *row, const char *number, int64_t value)
{
    parse_integer(row, number);
    ck_assert_int_eq(draft.outcome, 0);
    ck_assert_int_eq(*(int64_t *)((char *)&draft.message + row->offset), value);
    draft_done();
}

static void assert_integer_refused(const struct integer *row, const char *number)
{
    char fault[256];

    snprintf(fault, sizeof(fault), "%s must be an integer from %lld to %lld%s", row->name,
             (long long)row->min, (long long)row->max, row->is_nullable ? ", or null" : "");
    parse_integer(row, number);
    draft_assert_refused(fault);
}

START_TEST(an_integer_has_bounds)
{
    static const char *const never[] = {"1000.0",
                                        "1e3",
                                        "'1000'",
                                        "true",
                                        "false",
                                        "[]",
                                        "{}",
                                        "[1000]",
                                        "-1",
                                        "-9223372036854775808",
                                        "9223372036854775807",
                                        "1.5",
                                        "''"};
    const struct integer *row = &integers[_i];
    char number[32];

    snprintf(number, sizeof(number), "%lld", (long long)row->min);
    assert_integer_taken(row, number, row->min);
    snprintf(number, sizeof(number), "%lld", (long long)row->max);
    assert_integer_taken(row, number, row->max);
    snprintf(number, sizeof(number), "%lld", (long long)row->min - 1);
    assert_integer_refused(row, number);
    snprintf(number, sizeof(number), "%lld", (long long)row->max + 1);
    assert_integer_refused(row, number);
    for (int i = 0; i < N(never); i++) {
        assert_integer_refused(row, never[i]);
    }
    if (row->is_nullable) {
        assert_integer_taken(row, "null", MESSAGE_UNBOUNDED);
    } else {
        assert_integer_refused(row, "null");
    }
}
END_TEST

/* ---- texts ---- */

static const char key_must[] = "key must be a string of 1 to 512 bytes without control characters";
static const char *const key_methods[] = {"lock", "try_lock", "unlock", "refresh", "inspect", "force_unlock"};

static void parse_key(const char *method, const char *key)
{
    char params[2048];

    snprintf(params, sizeof(params), "{'key':%s}", key);
    draft_parse(method, params);
}

START_TEST(a_key_is_taken)
{
    static const struct {
        const char *json, *bytes;
    } keys[] = {
        {"'a'", "a"},
        {"' '", " "},
        {"'caf\xc3\xa9 {x} ~'", "caf\xc3\xa9 {x} ~"},
        {"'a\\u003ax'", "a:x"},
        {"'rlockd'", "rlockd"},
        {"'Rlockd:'", "Rlockd:"},
        {"'xrlockd:'", "xrlockd:"},
        {"'\\u00a0\xc3\x80'", "\xc2\xa0\xc3\x80"},
        {"'../*?[%s]'", "../*?[%s]"},
    };

    for (int i = 0; i < N(keys); i++) {
        parse_key(key_methods[_i], keys[i].json);
        ck_assert_int_eq(draft.outcome, 0);
        ck_assert_uint_eq(draft.message.key_len, strlen(keys[i].bytes));
        ck_assert_mem_eq(draft.message.key, keys[i].bytes, strlen(keys[i].bytes));
        draft_done();
    }
    parse_key(key_methods[_i], draft_quoted(512));
    ck_assert_int_eq(draft.outcome, 0);
    ck_assert_uint_eq(draft.message.key_len, 512);
    draft_done();
}
END_TEST

START_TEST(a_key_is_refused)
{
    static const char *const keys[] = {
        "''",        "null",  "1",     "true",      "[]",    "{}",        "['a']",      "'a\\u001fb'",
        "'\\u007f'", "'\\n'", "'\\t'", "'\\u0001'", "'\\r'", "'\\u0080'", "'a\\u009f'", "'\xc2\x85'"};
    static const char *const own[] = {"'rlockd:'", "'rlockd:fence'", "'\\u0072lockd:x'"};

    for (int i = 0; i < N(keys); i++) {
        parse_key(key_methods[_i], keys[i]);
        draft_assert_refused(key_must);
    }
    parse_key(key_methods[_i], draft_quoted(513));
    draft_assert_refused(key_must);
    for (int i = 0; i < N(own); i++) {
        parse_key(key_methods[_i], own[i]);
        draft_assert_refused("key must be another: names that begin with rlockd: are the daemon's own");
    }
}
END_TEST

START_TEST(a_key_is_required)
{
    static const char missing[] =
        "key is missing; it must be a string of 1 to 512 bytes without control characters";

    draft_parse(key_methods[_i], NULL);
    draft_assert_refused(missing);
    draft_parse(key_methods[_i], "{}");
    draft_assert_refused(missing);
}
END_TEST

static const struct {
    const char *method, *before, *name;
    size_t max, offset, len_offset;
} texts[] = {
#define AT(member) offsetof(struct message, member), offsetof(struct message, member##_len)
    {"lock", "{'key':'a','note':", "note", 256, AT(note)},
    {"try_lock", "{'key':'a','note':", "note", 256, AT(note)},
    {"list", "{'prefix':", "prefix", 512, AT(key)},
    {"list", "{'after':", "after", 512, AT(after)},
#undef AT
};

static void parse_text(int i, const char *text)
{
    char params[2048];

    snprintf(params, sizeof(params), "%s%s}", texts[i].before, text);
    draft_parse(texts[i].method, params);
}

static void assert_text_len(int i, const char *text, size_t len)
{
    parse_text(i, text);
    ck_assert_int_eq(draft.outcome, 0);
    ck_assert_ptr_nonnull(*(const char **)((char *)&draft.message + texts[i].offset));
    ck_assert_uint_eq(*(size_t *)((char *)&draft.message + texts[i].len_offset), len);
    draft_done();
}

START_TEST(a_text_has_a_length)
{
    static const char *const never[] = {"null", "1", "false", "[]", "{}"};
    char fault[128];

    snprintf(fault, sizeof(fault), "%s must be a string of at most %zu bytes", texts[_i].name, texts[_i].max);
    assert_text_len(_i, "''", 0);
    assert_text_len(_i, "'rlockd:'", 7);
    assert_text_len(_i, "'a\\u001b\xc3\xa9'", 4);
    assert_text_len(_i, draft_quoted(texts[_i].max), texts[_i].max);
    parse_text(_i, draft_quoted(texts[_i].max + 1));
    draft_assert_refused(fault);
    for (int i = 0; i < N(never); i++) {
        parse_text(_i, never[i]);
        draft_assert_refused(fault);
    }
}
END_TEST

/* ---- booleans, retry ---- */

START_TEST(a_boolean_is_true_or_false)
{
    static const char *const names[] = {"fail_fast", "auto_refresh"};
    static const char *const never[] = {"0", "1", "null", "'true'", "[]", "{}", "1.0"};
    char params[128], fault[64];

    for (int i = 0; i < N(names); i++) {
        for (int value = 0; value < 2; value++) {
            snprintf(params, sizeof(params), "{'key':'a','%s':%s}", names[i], value ? "true" : "false");
            draft_parse(_i == 0 ? "lock" : "try_lock", params);
            ck_assert_int_eq(draft.outcome, 0);
            ck_assert_int_eq(i == 0 ? draft.message.fail_fast : draft.message.auto_refresh, value);
            draft_done();
        }
        snprintf(fault, sizeof(fault), "%s must be true or false", names[i]);
        for (int j = 0; j < N(never); j++) {
            snprintf(params, sizeof(params), "{'key':'a','%s':%s}", names[i], never[j]);
            draft_parse(_i == 0 ? "lock" : "try_lock", params);
            draft_assert_refused(fault);
        }
    }
}
END_TEST

START_TEST(retry_is_an_object_of_two)
{
    static const char *const never[] = {"null", "1", "true", "'x'", "[]", "[1,2]"};
    char params[128];

    draft_parse("lock", "{'key':'a','retry':{}}");
    ck_assert_int_eq(draft.outcome, 0);
    ck_assert_int_eq(draft.message.retry_interval_ms, 100);
    ck_assert_int_eq(draft.message.retry_max, MESSAGE_UNBOUNDED);
    draft_done();
    draft_parse("lock", "{'retry':{'max':3,'interval_ms':250},'key':'a'}");
    ck_assert_int_eq(draft.outcome, 0);
    ck_assert_int_eq(draft.message.retry_interval_ms, 250);
    ck_assert_int_eq(draft.message.retry_max, 3);
    draft_done();
    draft_parse("lock", "{'key':'a','retry':{'max':3,'ms':250}}");
    draft_assert_refused("retry has no parameter \"ms\"");
    for (int i = 0; i < N(never); i++) {
        snprintf(params, sizeof(params), "{'key':'a','retry':%s}", never[i]);
        draft_parse("lock", params);
        draft_assert_refused(
            "retry must be an object of interval_ms and max, either of which may be left out");
    }
}
END_TEST

Suite *test_message_params_suite(void)
{
    Suite *suite = suite_create("message_params");
    TCase *tcase = tcase_create("message_params");

    tcase_add_loop_test(tcase, an_integer_has_bounds, 0, N(integers));
    tcase_add_loop_test(tcase, a_key_is_taken, 0, N(key_methods));
    tcase_add_loop_test(tcase, a_key_is_refused, 0, N(key_methods));
    tcase_add_loop_test(tcase, a_key_is_required, 0, N(key_methods));
    tcase_add_loop_test(tcase, a_text_has_a_length, 0, N(texts));
    tcase_add_loop_test(tcase, a_boolean_is_true_or_false, 0, 2);
    tcase_add_test(tcase, retry_is_an_object_of_two);
    suite_add_tcase(suite, tcase);
    return suite;
}
