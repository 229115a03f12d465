/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * message: which methods there are, what they take where nothing is said, what they do not take, and
 * ids, which are the same however they are spelled. The single parameters: test_message_params.c.
 */

#include "tests/lib/draft.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

Suite *test_message_suite(void);

#define N(array) ((int)(sizeof(array) / sizeof((array)[0])))

START_TEST(lock_has_the_configurations_defaults)
{
    draft_parse("lock", "{'key':'a'}");
    ck_assert_int_eq(draft.outcome, 0);
    const struct message *message = &draft.message;
    ck_assert_int_eq(message->method, METHOD_LOCK);
    ck_assert_int_eq(message->ttl_ms, 30000);
    ck_assert_int_eq(message->wait_ms, 20000);
    ck_assert_int_eq(message->retry_interval_ms, 100);
    ck_assert_int_eq(message->retry_max, MESSAGE_UNBOUNDED);
    ck_assert_int_eq(message->attempt_timeout_ms, 1000);
    ck_assert_int_eq(message->max_hold_ms, MESSAGE_UNBOUNDED);
    ck_assert(!message->fail_fast);
    ck_assert(message->auto_refresh);
    ck_assert_str_eq(message->note, "");
    ck_assert_uint_eq(message->note_len, 0);
    draft_done();
}
END_TEST

START_TEST(lock_takes_everything_at_once)
{
    draft_parse("lock", "{'key':'k','ttl_ms':1000,'wait_ms':null,'retry':{'interval_ms':5,'max':null},"
                        "'attempt_timeout_ms':300,'fail_fast':true,'auto_refresh':false,'max_hold_ms':60000,"
                        "'note':'backup'}");
    ck_assert_int_eq(draft.outcome, 0);
    const struct message *message = &draft.message;
    ck_assert_int_eq(message->ttl_ms, 1000);
    ck_assert_int_eq(message->wait_ms, MESSAGE_UNBOUNDED);
    ck_assert_int_eq(message->retry_interval_ms, 5);
    ck_assert_int_eq(message->retry_max, MESSAGE_UNBOUNDED);
    ck_assert_int_eq(message->attempt_timeout_ms, 300);
    ck_assert_int_eq(message->max_hold_ms, 60000);
    ck_assert(message->fail_fast);
    ck_assert(!message->auto_refresh);
    ck_assert_str_eq(message->note, "backup");
    ck_assert_uint_eq(message->note_len, 6);
    draft_done();
}
END_TEST

START_TEST(try_lock_neither_waits_nor_tries_again)
{
    draft_parse("try_lock", "{'key':'a','ttl_ms':500,'fail_fast':true}");
    ck_assert_int_eq(draft.outcome, 0);
    ck_assert_int_eq(draft.message.method, METHOD_TRY_LOCK);
    ck_assert_int_eq(draft.message.wait_ms, 0);
    ck_assert_int_eq(draft.message.retry_max, 0);
    ck_assert_int_eq(draft.message.ttl_ms, 500);
    ck_assert_int_eq(draft.message.attempt_timeout_ms, 1000);
    ck_assert(draft.message.auto_refresh);
    draft_done();
    draft_parse("try_lock", "{'key':'a','wait_ms':0}");
    draft_assert_refused("try_lock has no parameter \"wait_ms\"");
    draft_parse("try_lock", "{'key':'a','retry':{}}");
    draft_assert_refused("try_lock has no parameter \"retry\"");
}
END_TEST

START_TEST(what_is_absent_is_zero_or_empty)
{
    draft_parse("refresh", "{'key':'a'}");
    ck_assert_int_eq(draft.outcome, 0);
    ck_assert_int_eq(draft.message.ttl_ms, 0);
    ck_assert_int_eq(draft.message.fence, 0);
    draft_done();
    draft_parse("unlock", "{'key':'a'}");
    ck_assert_int_eq(draft.message.fence, 0);
    draft_done();
    draft_parse("list", NULL);
    ck_assert_int_eq(draft.outcome, 0);
    ck_assert_str_eq(draft.message.key, "");
    ck_assert_uint_eq(draft.message.key_len, 0);
    ck_assert_str_eq(draft.message.after, "");
    ck_assert_uint_eq(draft.message.after_len, 0);
    ck_assert_int_eq(draft.message.limit, 100);
    draft_done();
}
END_TEST

static const struct {
    enum method method;
    const char *name, *params;
} methods[] = {
    {METHOD_LOCK, "lock", "{'key':'a'}"},
    {METHOD_TRY_LOCK, "try_lock", "{'key':'a'}"},
    {METHOD_UNLOCK, "unlock", "{'key':'a'}"},
    {METHOD_REFRESH, "refresh", "{'key':'a'}"},
    {METHOD_CANCEL, "cancel", "{'id':1}"},
    {METHOD_INSPECT, "inspect", "{'key':'a'}"},
    {METHOD_LIST, "list", "{}"},
    {METHOD_STATS, "stats", "{}"},
    {METHOD_HELLO, "hello", "{}"},
    {METHOD_PING, "ping", "{}"},
    {METHOD_FORCE_UNLOCK, "force_unlock", "{'key':'a'}"},
};

START_TEST(every_method_is_known)
{
    ck_assert_int_eq(N(methods), N_METHODS - 1);
    ck_assert_str_eq(message_method_name(methods[_i].method), methods[_i].name);
    draft_parse(methods[_i].name, methods[_i].params);
    ck_assert_int_eq(draft.outcome, 0);
    ck_assert_int_eq(draft.message.method, methods[_i].method);
    draft_done();
}
END_TEST

START_TEST(no_method_takes_an_unknown_parameter)
{
    char fault[128];

    snprintf(fault, sizeof(fault), "%s has no parameter \"ttl\"", methods[_i].name);
    draft_parse(methods[_i].name, "{'ttl':1}");
    draft_assert_refused(fault);
    draft_parse(methods[_i].name, "[]");
    draft_assert_refused("params must be an object: parameters go by name");
    draft_parse(methods[_i].name, "['a',1000]");
    draft_assert_refused("params must be an object: parameters go by name");
}
END_TEST

START_TEST(stats_hello_and_ping_need_no_params)
{
    static const char *const names[] = {"stats", "hello", "ping"};

    for (int i = 0; i < N(names); i++) {
        draft_parse(names[i], NULL);
        ck_assert_int_eq(draft.outcome, 0);
        draft_done();
    }
}
END_TEST

static void assert_no_method(const char *method, const char *fault)
{
    draft_parse(method, NULL);
    ck_assert_int_eq(draft.outcome, MESSAGE_E_METHOD);
    ck_assert_str_eq(draft.fault, fault);
    draft_done();
}

START_TEST(an_unknown_method_is_named)
{
    char longest[1201];

    assert_no_method("", "there is no method \"\"");
    assert_no_method("Lock", "there is no method \"Lock\"");
    assert_no_method("lock ", "there is no method \"lock \"");
    assert_no_method("rpc.discover", "there is no method \"rpc.discover\"");
    assert_no_method("a\\n\\u001b[2J\\u2028\\\"", "there is no method \"a\\u000a\\u001b[2J\\u2028\\\"\"");

    /* two hundred of what takes the most room when escaped */
    for (int i = 0; i < 200; i++) {
        memcpy(longest + (ptrdiff_t)6 * i, "\\u0001", 6);
    }
    longest[1200] = '\0';
    draft_parse(longest, NULL);
    ck_assert_int_eq(draft.outcome, MESSAGE_E_METHOD);
    ck_assert_uint_eq(strlen(draft.fault), strlen("there is no method \"\"") + 64 * 6);
    draft_done();
}
END_TEST

START_TEST(an_unknown_parameter_of_the_worst_kind)
{
    char params[1300];
    int len = snprintf(params, sizeof(params), "{'");

    for (int i = 0; i < 200; i++) {
        len += snprintf(params + len, sizeof(params) - (size_t)len, "\\u0001");
    }
    snprintf(params + len, sizeof(params) - (size_t)len, "':1}");
    draft_parse("force_unlock", params);
    ck_assert_int_eq(draft.outcome, MESSAGE_E_PARAMS);
    ck_assert_uint_eq(strlen(draft.fault), strlen("force_unlock has no parameter \"\"") + 64 * 6);
    draft_done();
}
END_TEST

#define ID_MUST " must be the id of a request: a string or an integer, of at most 256 bytes, or null"

START_TEST(cancel_takes_an_id)
{
    static const struct {
        const char *json, *canonical;
    } ids[] = {
        {"{'id':7}", "7"},
        {"{'id':-0}", "0"},
        {"{'id':null}", "null"},
        {"{'id':''}", "\"\""},
        {"{'id':'a\\/\\u0062'}", "\"a/b\""},
        {"{'id':9223372036854775807}", "9223372036854775807"},
    };
    static const char *const never[] = {"{'id':1.0}", "{'id':true}", "{'id':[]}", "{'id':{}}"};
    char params[1100];

    for (int i = 0; i < N(ids); i++) {
        draft_parse("cancel", ids[i].json);
        ck_assert_int_eq(draft.outcome, 0);
        ck_assert_uint_eq(draft.message.target.len, strlen(ids[i].canonical));
        ck_assert_mem_eq(draft.message.target.text, ids[i].canonical, strlen(ids[i].canonical));
        draft_done();
    }
    for (int i = 0; i < N(never); i++) {
        draft_parse("cancel", never[i]);
        draft_assert_refused("id" ID_MUST);
    }
    snprintf(params, sizeof(params), "{'id':%s}", draft_quoted(254));
    draft_parse("cancel", params);
    ck_assert_int_eq(draft.outcome, 0);
    ck_assert_uint_eq(draft.message.target.len, 256);
    draft_done();
    snprintf(params, sizeof(params), "{'id':%s}", draft_quoted(255));
    draft_parse("cancel", params);
    draft_assert_refused("id" ID_MUST);
    draft_parse("cancel", NULL);
    draft_assert_refused("id is missing; it" ID_MUST);
}
END_TEST

/* The same id, spelled in two ways in a request and in the cancel for it, is the same. */
START_TEST(cancel_finds_an_id_spelled_otherwise)
{
    static const char *const spellings[] = {"'ab\\/'", "'\\u0061b/'", "'a\\u0062\\u002f'", "'ab/'",
                                            "'ab\\u002F'"};
    struct rpc rpc;
    struct rpc_call call;
    char line[256], params[64];

    for (int i = 0; i < N(spellings); i++) {
        for (int j = 0; j < N(spellings); j++) {
            int len = snprintf(line, sizeof(line), "{'jsonrpc':'2.0','method':'lock','id':%s}", spellings[i]);
            for (char *at = line; (at = strchr(at, '\'')) != NULL;) {
                *at = '"';
            }
            ck_assert_int_eq(rpc_open(&rpc, line, (size_t)len), 0);
            ck_assert(rpc_next(&rpc, &call));
            snprintf(params, sizeof(params), "{'id':%s}", spellings[j]);
            draft_parse("cancel", params);
            ck_assert_int_eq(draft.outcome, 0);
            ck_assert_uint_eq(call.canonical_len, draft.message.target.len);
            ck_assert_mem_eq(call.canonical, draft.message.target.text, call.canonical_len);
            draft_done();
            rpc_close(&rpc);
        }
    }
}
END_TEST

Suite *test_message_suite(void)
{
    Suite *suite = suite_create("message");
    TCase *tcase = tcase_create("message");

    tcase_add_test(tcase, cancel_takes_an_id);
    tcase_add_test(tcase, cancel_finds_an_id_spelled_otherwise);
    tcase_add_test(tcase, lock_has_the_configurations_defaults);
    tcase_add_test(tcase, lock_takes_everything_at_once);
    tcase_add_test(tcase, try_lock_neither_waits_nor_tries_again);
    tcase_add_test(tcase, what_is_absent_is_zero_or_empty);
    tcase_add_loop_test(tcase, every_method_is_known, 0, N(methods));
    tcase_add_loop_test(tcase, no_method_takes_an_unknown_parameter, 0, N(methods));
    tcase_add_test(tcase, stats_hello_and_ping_need_no_params);
    tcase_add_test(tcase, an_unknown_method_is_named);
    tcase_add_test(tcase, an_unknown_parameter_of_the_worst_kind);
    suite_add_tcase(suite, tcase);
    return suite;
}
