/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * message_print: each result, error, notice and key, byte for byte.
 */

#include "proto/message.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

Suite *test_message_print_suite(void);

#define N(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* ---- errors ---- */

static const struct {
    int code;
    const char *reason;
} errors[] = {
    {-32700, "parse_error"},
    {-32600, "invalid_request"},
    {-32601, "method_not_found"},
    {-32602, "invalid_params"},
    {-32603, "internal"},
    {1, "held"},
    {2, "not_held"},
    {3, "timeout"},
    {4, "unavailable"},
    {5, "already_held"},
    {6, "denied"},
    {7, "limit"},
    {8, "cancelled"},
    {9, "shutting_down"},
};

START_TEST(every_error_has_its_code)
{
    static const int codes[] = {
#define WIRE_ERROR(name, code, reason, retryable, message) WIRE_##name,
#include "proto/errors.def"
#undef WIRE_ERROR
    };
    static const char *const sentences[] = {
#define WIRE_ERROR(name, code, reason, retryable, message) message,
#include "proto/errors.def"
#undef WIRE_ERROR
    };
    char room[PRINT_ROOM], expected[512];
    struct print print = print_into(room, sizeof(room));

    ck_assert_int_eq(N(codes), N(errors));
    ck_assert_int_eq(codes[_i], errors[_i].code);
    ck_assert_str_eq(message_error_reason((enum wire_error)codes[_i]), errors[_i].reason);
    message_print_error(&print, (struct rpc_id){0}, &MESSAGE_ERROR((enum wire_error)codes[_i]));
    *print.at = '\0';
    snprintf(expected, sizeof(expected),
             "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":%d,\"message\":\"%s\","
             "\"data\":{\"reason\":\"%s\"}}}",
             errors[_i].code, sentences[_i], errors[_i].reason);
    ck_assert_str_eq(room, expected);
}
END_TEST

/* ---- printing ---- */

static char room[PRINT_ROOM];
static struct print print;
static const struct rpc_id id = {.text = "17", .len = 2};
static const struct message_lock lock = {
    .key = "a\"b\xc3\xa9",
    .key_len = 5,
    .fence = INT64_C(9007199254740991),
    .ttl_ms = 30000,
    .valid_until_ms = INT64_C(1234567890123),
    .waited_ms = 0,
    .held_ms = 4321,
};
#define GRANT "{\"key\":\"a\\\"b\xc3\xa9\",\"fence\":9007199254740991"
#define RESULT "{\"jsonrpc\":\"2.0\",\"id\":17,\"result\":"
#define NOTICE(name) "{\"jsonrpc\":\"2.0\",\"method\":\"" name "\",\"params\":"
#define ERROR "{\"jsonrpc\":\"2.0\",\"id\":17,\"error\":"

static void begin(void)
{
    print = print_into(room, sizeof(room));
}

static void assert_printed(const char *text)
{
    ck_assert(!print.full);
    *print.at = '\0';
    ck_assert_str_eq(room, text);
    begin();
}

START_TEST(results)
{
    message_print_granted(&print, id, &lock);
    assert_printed(RESULT GRANT ",\"ttl_ms\":30000,\"valid_until_ms\":1234567890123,\"waited_ms\":0}}");
    message_print_unlocked(&print, id, &lock);
    assert_printed(RESULT GRANT ",\"held_ms\":4321}}");
    message_print_refreshed(&print, id, &lock);
    assert_printed(RESULT GRANT ",\"ttl_ms\":30000,\"valid_until_ms\":1234567890123}}");
    message_print_forced(&print, id, &lock);
    assert_printed(RESULT "{\"key\":\"a\\\"b\xc3\xa9\"}}");
    message_print_cancelled(&print, id, true);
    assert_printed(RESULT "{\"cancelled\":true}}");
    message_print_cancelled(&print, id, false);
    assert_printed(RESULT "{\"cancelled\":false}}");
    message_print_pong(&print, (struct rpc_id){.text = "\"\\u0041\"", .len = 8});
    assert_printed("{\"jsonrpc\":\"2.0\",\"id\":\"\\u0041\",\"result\":\"pong\"}");
}
END_TEST

START_TEST(notices)
{
    static const struct {
        const char *reason, *message;
    } losses[] = {
        {"expired", "the lease could not be renewed in time"},
        {"taken", "somebody else's value is at the key in Redis"},
        {"deleted", "the key is gone from Redis"},
        {"max_hold", "the lock was held for as long as it may be"},
        {"ttl", "the time to live is over, and nothing renews it"},
        {"forced", "an administrator took the lock away"},
        {"shutdown", "the daemon is stopping"},
    };
    char expected[512];

    message_print_at_risk(&print, &lock, 99);
    assert_printed(NOTICE("at_risk") GRANT ",\"lost_at_ms\":99}}");
    message_print_safe(&print, &lock);
    assert_printed(NOTICE("safe") GRANT ",\"valid_until_ms\":1234567890123}}");
    for (int i = 0; i < N(losses); i++) {
        message_print_lost(&print, &lock, losses[i].reason);
        snprintf(expected, sizeof(expected), NOTICE("lost") GRANT ",\"reason\":\"%s\",\"message\":\"%s\"}}",
                 losses[i].reason, losses[i].message);
        assert_printed(expected);
    }
}
END_TEST

START_TEST(error_details)
{
    struct message_error error = MESSAGE_ERROR(WIRE_HELD);

    error.key = "k";
    error.key_len = 1;
    error.remaining_ms = 0;
    message_print_error(&print, id, &error);
    assert_printed(ERROR "{\"code\":1,\"message\":\"somebody else holds the lock\","
                         "\"data\":{\"reason\":\"held\",\"key\":\"k\",\"remaining_ms\":0}}}");

    error = MESSAGE_ERROR(WIRE_NOT_HELD);
    error.key = "k\n";
    error.key_len = 2;
    error.why = "stale_fence";
    message_print_error(&print, id, &error);
    assert_printed(ERROR "{\"code\":2,\"message\":\"this connection does not hold the lock\","
                         "\"data\":{\"reason\":\"not_held\",\"key\":\"k\\n\",\"why\":\"stale_fence\"}}}");

    error = MESSAGE_ERROR(WIRE_LIMIT);
    error.limit = "limits.connections";
    message_print_error(&print, (struct rpc_id){0}, &error);
    assert_printed("{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":7,"
                   "\"message\":\"a limit of the daemon is reached\","
                   "\"data\":{\"reason\":\"limit\",\"limit\":\"limits.connections\"}}}");

    error = MESSAGE_ERROR(WIRE_UNAVAILABLE);
    error.last_error = "ERR \x1b[31m\xff \"x\"\r\n"
                       "0123456789012345678901234567890123456789012345678901234567890123";
    message_print_error(&print, id, &error);
    assert_printed(ERROR "{\"code\":4,\"message\":\"Redis cannot be reached or refuses\","
                         "\"data\":{\"reason\":\"unavailable\",\"last_error\":\"ERR \\u001b[31m\\ufffd "
                         "\\\"x\\\"\\u000d\\u000a012345678901234567890123456789012345678901234567\"}}}");

    error = MESSAGE_ERROR(WIRE_INVALID_PARAMS);
    error.message = "lock has no parameter \"x\"";
    message_print_error(&print, id, &error);
    assert_printed(ERROR "{\"code\":-32602,\"message\":\"lock has no parameter \\\"x\\\"\","
                         "\"data\":{\"reason\":\"invalid_params\"}}}");
}
END_TEST

START_TEST(keys)
{
    struct message_key key = {.key = "k", .key_len = 1, .state = "free", .lease_remaining_ms = -1};
    struct message_holder waiter = {.uid = 0, .gid = 0, .waited_ms = 12};

    message_print_key_open(&print, &key);
    message_print_key_close(&print, false, 0);
    assert_printed("{\"key\":\"k\",\"state\":\"free\"}");

    key.state = "elsewhere";
    key.lease_remaining_ms = 0;
    message_print_key_open(&print, &key);
    message_print_key_close(&print, false, 0);
    assert_printed("{\"key\":\"k\",\"state\":\"elsewhere\",\"lease\":{\"remaining_ms\":0}}");

    key = (struct message_key){
        .key = "k",
        .key_len = 1,
        .state = "held",
        .fence = 5,
        .held_ms = 0,
        .has_holder = true,
        .holder = {.pid = 10,
                   .uid = 1000,
                   .gid = 100,
                   .command = "ba\"ck\xff",
                   .note = "n\nx",
                   .note_len = 3,
                   .waited_ms = -1},
        .lease_ttl_ms = 30000,
        .lease_remaining_ms = 29000,
    };
    message_print_key_open(&print, &key);
    message_print_key_waiting(&print, &waiter, true);
    waiter =
        (struct message_holder){.pid = 11, .uid = 1, .gid = 2, .command = "c", .note = "", .waited_ms = 0};
    message_print_key_waiting(&print, &waiter, false);
    message_print_key_close(&print, true, 0);
    assert_printed("{\"key\":\"k\",\"state\":\"held\",\"fence\":5,\"held_ms\":0,"
                   "\"holder\":{\"pid\":10,\"uid\":1000,\"gid\":100,\"command\":\"ba\\\"ck\xef\xbf\xbd\","
                   "\"note\":\"n\\nx\"},\"lease\":{\"ttl_ms\":30000,\"remaining_ms\":29000},"
                   "\"waiting\":[{\"uid\":0,\"gid\":0,\"waited_ms\":12},"
                   "{\"pid\":11,\"uid\":1,\"gid\":2,\"command\":\"c\",\"waited_ms\":0}]}");

    key = (struct message_key){
        .key = "k", .key_len = 1, .state = "acquiring", .lease_ttl_ms = 7, .lease_remaining_ms = -1};
    message_print_key_open(&print, &key);
    message_print_key_close(&print, false, 0);
    assert_printed("{\"key\":\"k\",\"state\":\"acquiring\",\"lease\":{\"ttl_ms\":7}}");

    message_print_key_open(&print, &key);
    message_print_key_waiting(&print, &waiter, true);
    message_print_key_close(&print, true, 990);
    assert_printed("{\"key\":\"k\",\"state\":\"acquiring\",\"lease\":{\"ttl_ms\":7},"
                   "\"waiting\":[{\"pid\":11,\"uid\":1,\"gid\":2,\"command\":\"c\",\"waited_ms\":0}],"
                   "\"waiting_more\":990}");
}
END_TEST

/* PRINT_ROOM is said to be enough for anything: the largest of everything, all of it escaped. */
START_TEST(the_largest_of_each_fits)
{
    static char worst[4097];
    struct rpc_id long_id = {.text = worst, .len = RPC_ID_MAX};
    struct message_lock long_lock = {.key = worst,
                                     .key_len = MESSAGE_KEY_MAX,
                                     .fence = INT64_MIN,
                                     .ttl_ms = INT64_MIN,
                                     .valid_until_ms = INT64_MIN,
                                     .waited_ms = INT64_MIN};
    struct message_error error = {.error = WIRE_UNAVAILABLE,
                                  .key = worst,
                                  .key_len = MESSAGE_KEY_MAX,
                                  .why = "stale_fence",
                                  .limit = "limits.held_per_connection",
                                  .last_error = worst,
                                  .remaining_ms = INT64_MAX};
    struct message_holder holder = {.pid = INT64_MIN,
                                    .uid = INT64_MIN,
                                    .gid = INT64_MIN,
                                    .command = "sixteen bytes...",
                                    .note = worst,
                                    .note_len = MESSAGE_NOTE_MAX,
                                    .waited_ms = INT64_MAX};
    struct message_key key = {.key = worst,
                              .key_len = MESSAGE_KEY_MAX,
                              .state = "elsewhere",
                              .fence = INT64_MIN,
                              .held_ms = INT64_MIN,
                              .has_holder = true,
                              .holder = holder,
                              .lease_ttl_ms = INT64_MIN,
                              .lease_remaining_ms = INT64_MAX};

    memset(worst, 1, sizeof(worst) - 1);
    message_print_granted(&print, long_id, &long_lock);
    ck_assert(!print.full);
    begin();
    message_print_error(&print, long_id, &error);
    ck_assert(!print.full);
    begin();
    message_print_key_open(&print, &key);
    message_print_key_waiting(&print, &holder, true);
    message_print_key_close(&print, true, SIZE_MAX >> 1);
    ck_assert(!print.full);
}
END_TEST

Suite *test_message_print_suite(void)
{
    Suite *suite = suite_create("message_print");
    TCase *tcase = tcase_create("message_print");

    tcase_add_checked_fixture(tcase, begin, NULL);
    tcase_add_loop_test(tcase, every_error_has_its_code, 0, N(errors));
    tcase_add_test(tcase, results);
    tcase_add_test(tcase, notices);
    tcase_add_test(tcase, error_details);
    tcase_add_test(tcase, keys);
    tcase_add_test(tcase, the_largest_of_each_fits);
    suite_add_tcase(suite, tcase);
    return suite;
}
