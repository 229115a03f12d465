/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * rpc: lines, and what they are taken for. A line is given in memory of exactly its size, so that a
 * look beyond its end is caught by a sanitizer.
 */

#include "proto/rpc.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

Suite *test_rpc_suite(void);

#define N(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* A line in memory of its own, opened. */
static int open_line(struct rpc *rpc, const char *line, size_t len)
{
    char *bytes = malloc(len > 0 ? len : 1);

    memcpy(bytes, line, len);
    int r = rpc_open(rpc, bytes, len);
    if (r != 0) {
        rpc_close(rpc);
        free(bytes);
    }
    return r;
}

static void close_line(struct rpc *rpc)
{
    char *bytes = (char *)rpc->line;

    rpc_close(rpc);
    free(bytes);
}

static int outcome_of(const char *line, size_t len)
{
    struct rpc rpc;
    int r = open_line(&rpc, line, len);

    if (r == 0) {
        struct rpc_call call;

        while (rpc_next(&rpc, &call)) {
        }
        close_line(&rpc);
    }
    return r;
}

static void assert_id(const struct rpc_call *call, const char *id)
{
    if (id == NULL) {
        ck_assert_ptr_null(call->id.text);
        return;
    }
    ck_assert_ptr_nonnull(call->id.text);
    ck_assert_uint_eq(call->id.len, strlen(id));
    ck_assert_mem_eq(call->id.text, id, strlen(id));
}

/* ---- lines ---- */

#define L(line) line, sizeof(line) - 1
#define PING "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}"

static const struct {
    const char *line;
    size_t len;
    int outcome;
} lines[] = {
    {L(PING), 0},
    {L("  " PING "\t\r "), 0},
    {L("[" PING "]"), 0},
    {L(" [ " PING " , " PING " ] "), 0},
    {L("{}"), 0},
    {L("[1]"), 0},
    /* JSON, but neither an object nor an array of anything */
    {L("1"), RPC_E_INVALID},
    {L("-0"), RPC_E_INVALID},
    {L("1.5"), RPC_E_INVALID},
    {L("\"x\""), RPC_E_INVALID},
    {L("true"), RPC_E_INVALID},
    {L("null"), RPC_E_INVALID},
    {L("[]"), RPC_E_INVALID},
    {L(" [ ] "), RPC_E_INVALID},
    /* no JSON */
    {L(""), RPC_E_PARSE},
    {L(" "), RPC_E_PARSE},
    {L("x"), RPC_E_PARSE},
    {L("{"), RPC_E_PARSE},
    {L("["), RPC_E_PARSE},
    {L("}"), RPC_E_PARSE},
    {L("\""), RPC_E_PARSE},
    {L("\"\\"), RPC_E_PARSE},
    {L("[1,]"), RPC_E_PARSE},
    {L("{\"a\":1,}"), RPC_E_PARSE},
    {L("{'a':1}"), RPC_E_PARSE},
    {L("{a:1}"), RPC_E_PARSE},
    {L("// comment\n{}"), RPC_E_PARSE},
    {L("{} x"), RPC_E_PARSE},
    {L("{}{}"), RPC_E_PARSE},
    {L(PING PING), RPC_E_PARSE},
    {L("[01]"), RPC_E_PARSE},
    {L("[+1]"), RPC_E_PARSE},
    {L("[NaN]"), RPC_E_PARSE},
    {L("[1e400]"), RPC_E_PARSE},
    {L("\xef\xbb\xbf" PING), RPC_E_PARSE},
    {L("GET / HTTP/1.1"), RPC_E_PARSE},
    {L("*1\r\n$4\r\nPING"), RPC_E_PARSE},
    {L("\x16\x03\x01\x02\x00\x01\x00\x01\xfc"), RPC_E_PARSE},
    /* NUL, raw and escaped, in, behind and before */
    {L("{\"a\":\"x\0y\"}"), RPC_E_PARSE},
    {L("{\"a\":\"x\\u0000y\"}"), RPC_E_PARSE},
    {L("{\"a\\u0000\":1}"), RPC_E_PARSE},
    {L("{}\0"), RPC_E_PARSE},
    {L("\0{}"), RPC_E_PARSE},
    {L("[\"\\u0000\"]"), RPC_E_PARSE},
    /* control characters in a string */
    {L("[\"a\tb\"]"), RPC_E_PARSE},
    {L("[\"a\x1f\"]"), RPC_E_PARSE},
    {L("[\"a\x7f\"]"), 0},
    /* UTF-8: well-formed at each end of each length, then not */
    {L("[\"\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\"]"), 0},
    {L("[\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"]"), 0},
    {L("[\"\x80\"]"), RPC_E_PARSE},
    {L("[\"\xbf\"]"), RPC_E_PARSE},
    {L("[\"\xc3\"]"), RPC_E_PARSE},
    {L("[\"\xe2\x80\"]"), RPC_E_PARSE},
    {L("[\"\xf0\x9f\x98\"]"), RPC_E_PARSE},
    {L("[\"\xc0\x80\"]"), RPC_E_PARSE},
    {L("[\"\xc1\xbf\"]"), RPC_E_PARSE},
    {L("[\"\xe0\x9f\xbf\"]"), RPC_E_PARSE},
    {L("[\"\xf0\x8f\xbf\xbf\"]"), RPC_E_PARSE},
    {L("[\"\xed\xa0\x80\"]"), RPC_E_PARSE},
    {L("[\"\xed\xbf\xbf\"]"), RPC_E_PARSE},
    {L("[\"\xf4\x90\x80\x80\"]"), RPC_E_PARSE},
    {L("[\"\xf5\x80\x80\x80\"]"), RPC_E_PARSE},
    {L("[\"\xfe\xff\"]"), RPC_E_PARSE},
    /* escapes */
    {L("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\ud83d\\ude00\"]"), 0},
    {L("[\"\\x41\"]"), RPC_E_PARSE},
    {L("[\"\\u004\"]"), RPC_E_PARSE},
    {L("[\"\\ud83d\"]"), RPC_E_PARSE},
    {L("[\"\\ude00\"]"), RPC_E_PARSE},
    {L("[\"\\ud83d\\u0041\"]"), RPC_E_PARSE},
    /* a member twice, also where its name is spelled in another way */
    {L("{\"id\":1,\"id\":1}"), RPC_E_PARSE},
    {L("{\"id\":1,\"\\u0069d\":2}"), RPC_E_PARSE},
    {L("{\"params\":{\"key\":\"a\",\"k\\u0065y\":\"b\"}}"), RPC_E_PARSE},
    {L("[{\"id\":1,\"id\":2}]"), RPC_E_PARSE},
    /* integers as large as they may be, and beyond */
    {L("[9223372036854775807,-9223372036854775808]"), 0},
    {L("[9223372036854775808]"), RPC_E_PARSE},
    {L("[-9223372036854775809]"), RPC_E_PARSE},
    {L("{\"jsonrpc\":\"2.0\",\"id\":1000000000000000000000000000000,\"method\":\"ping\"}"), RPC_E_PARSE},
    /* eight deep and nine, brackets in strings do not count */
    {L("[[[[[[[[]]]]]]]]"), 0},
    {L("[[[[[[[[[]]]]]]]]]"), RPC_E_PARSE},
    {L("[{\"a\":[{\"a\":[{\"a\":[{}]}]}]}]"), 0},
    {L("[{\"a\":[{\"a\":[{\"a\":[{\"a\":[]}]}]}]}]"), RPC_E_PARSE},
    {L("[\"[[[[[[[[[[{{{{{{{{{{\"]"), 0},
    {L("[\"\\\"[[[[[[[[[[{{{{{{{{{{\"]"), 0},
    {L("[\"\\\\\",[[[[[[[[]]]]]]]]]"), RPC_E_PARSE},
    {L("[[],[],[],[],[],[],[],[],[],[],[]]"), 0},
    {L("]]]]]]]]]]"), RPC_E_PARSE},
};

START_TEST(a_line_is_taken_for)
{
    ck_assert_int_eq(outcome_of(lines[_i].line, lines[_i].len), lines[_i].outcome);
}
END_TEST

/* ---- calls ---- */

#define V "\"jsonrpc\":\"2.0\""
#define LONG_63 "123456789012345678901234567890123456789012345678901234567890123"
#define LONG_254 LONG_63 LONG_63 LONG_63 LONG_63 "12"

static const struct {
    const char *line;
    bool is_valid, is_notification;
    const char *id;        /* NULL: none */
    const char *canonical; /* NULL: as it stands in the line */
} calls[] = {
    /* ids, byte by byte */
    {"{" V ",\"id\":1,\"method\":\"m\"}", true, false, "1", NULL},
    {"{" V ",\"id\":-0,\"method\":\"m\"}", true, false, "-0", "0"},
    {"{" V ",\"id\":-17,\"method\":\"m\"}", true, false, "-17", NULL},
    {"{" V ",\"id\":9223372036854775807,\"method\":\"m\"}", true, false, "9223372036854775807", NULL},
    {"{" V ",\"id\":-9223372036854775808,\"method\":\"m\"}", true, false, "-9223372036854775808", NULL},
    {"{" V ",\"id\":null,\"method\":\"m\"}", true, false, "null", NULL},
    {"{" V ",\"id\":\"\",\"method\":\"m\"}", true, false, "\"\"", NULL},
    {"{" V ",\"id\":\"a b\",\"method\":\"m\"}", true, false, "\"a b\"", NULL},
    {"{" V ",\"id\":\"a\\/b\",\"method\":\"m\"}", true, false, "\"a\\/b\"", "\"a/b\""},
    {"{" V ",\"id\":\"\\u0041\",\"method\":\"m\"}", true, false, "\"\\u0041\"", "\"A\""},
    {"{" V ",\"id\":\"\\u000A\",\"method\":\"m\"}", true, false, "\"\\u000A\"", "\"\\n\""},
    {"{" V ",\"id\":\"\\ud83d\\ude00\",\"method\":\"m\"}", true, false, "\"\\ud83d\\ude00\"",
     "\"\xf0\x9f\x98\x80\""},
    {"{" V ",\"id\":\"\xc3\xa9\",\"method\":\"m\"}", true, false, "\"\xc3\xa9\"", NULL},
    {"{" V ",\"id\":\"\\\"\\\\\",\"method\":\"m\"}", true, false, "\"\\\"\\\\\"", NULL},
    {"{" V ",\"id\":\"}],{\\\"id\\\":2\",\"method\":\"m\"}", true, false, "\"}],{\\\"id\\\":2\"", NULL},
    {"{" V ",\"id\":\"" LONG_254 "\",\"method\":\"m\"}", true, false, "\"" LONG_254 "\"", NULL},
    {"{" V ",\"id\":\"" LONG_254 "x\",\"method\":\"m\"}", false, false, NULL, NULL},
    {"{" V ",\"id\":\"" LONG_63 LONG_63 LONG_63 "\\u0041\\u0041\\u0041\\u0041\\u0041\\u0041\\u0041\\u0041"
     "\\u0041\\u0041123456\",\"method\":\"m\"}",
     false, false, NULL, NULL},
    /* where it stands */
    {"{\"id\":7," V ",\"method\":\"m\"}", true, false, "7", NULL},
    {"{\"method\":\"m\"," V ",\"id\":7}", true, false, "7", NULL},
    {" {\t\"id\" : 7 ,\r \"method\" : \"m\" , " V " } ", true, false, "7", NULL},
    {"{\"params\":{\"id\":5,\"x\":[{\"id\":6}]},\"id\":7," V ",\"method\":\"m\"}", true, false, "7", NULL},
    {"{\"x\":\"\\\"id\\\":5\",\"id\":7," V ",\"method\":\"m\"}", true, false, "7", NULL},
    {"{\"x\":\"\\\\\",\"y\":\"id\",\"id\":7," V ",\"method\":\"m\"}", true, false, "7", NULL},
    {"{\"\":1,\"ID\":2,\"i\":3,\"idd\":4,\"id\":7," V ",\"method\":\"m\"}", true, false, "7", NULL},
    {"{\"a\":true,\"b\":null,\"c\":-1.5e+3,\"d\":[],\"e\":{},\"id\":7," V ",\"method\":\"m\"}", true, false,
     "7", NULL},
    /* however its name is spelled */
    {"{\"\\u0069d\":7," V ",\"method\":\"m\"}", true, false, "7", NULL},
    {"{\"i\\u0064\":7," V ",\"method\":\"m\"}", true, false, "7", NULL},
    {"{\"\\u0069\\u0064\" : \"\\u0041\" ," V ",\"method\":\"m\"}", true, false, "\"\\u0041\"", "\"A\""},
    {"{\"\\u0049d\":8,\"\\u0069d\":7," V ",\"method\":\"m\"}", true, false, "7", NULL},
    /* no id at all is a notification */
    {"{" V ",\"method\":\"m\"}", true, true, NULL, ""},
    {"{" V ",\"method\":\"m\",\"params\":{\"id\":1}}", true, true, NULL, ""},
    /* no ids */
    {"{" V ",\"id\":1.0,\"method\":\"m\"}", false, false, NULL, NULL},
    {"{" V ",\"id\":1e3,\"method\":\"m\"}", false, false, NULL, NULL},
    {"{" V ",\"id\":true,\"method\":\"m\"}", false, false, NULL, NULL},
    {"{" V ",\"id\":false,\"method\":\"m\"}", false, false, NULL, NULL},
    {"{" V ",\"id\":{},\"method\":\"m\"}", false, false, NULL, NULL},
    {"{" V ",\"id\":[1],\"method\":\"m\"}", false, false, NULL, NULL},
    /* the envelope */
    {"{}", false, false, NULL, NULL},
    {"{" V "}", false, false, NULL, NULL},
    {"{\"id\":1,\"method\":\"m\"}", false, false, "1", NULL},
    {"{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"m\"}", false, false, "1", NULL},
    {"{\"jsonrpc\":\"2\",\"id\":1,\"method\":\"m\"}", false, false, "1", NULL},
    {"{\"jsonrpc\":2.0,\"id\":1,\"method\":\"m\"}", false, false, "1", NULL},
    {"{\"jsonrpc\":null,\"id\":1,\"method\":\"m\"}", false, false, "1", NULL},
    {"{\"jsonrpc\":\"2.0\\u0020\",\"id\":1,\"method\":\"m\"}", false, false, "1", NULL},
    {"{" V ",\"id\":1}", false, false, "1", NULL},
    {"{" V ",\"id\":1,\"method\":1}", false, false, "1", NULL},
    {"{" V ",\"id\":1,\"method\":null}", false, false, "1", NULL},
    {"{" V ",\"id\":1,\"method\":[\"m\"]}", false, false, "1", NULL},
    {"{" V ",\"id\":1,\"method\":\"\"}", true, false, "1", NULL},
    {"{" V ",\"id\":1,\"method\":\"m\",\"params\":{}}", true, false, "1", NULL},
    {"{" V ",\"id\":1,\"method\":\"m\",\"params\":[]}", true, false, "1", NULL},
    {"{" V ",\"id\":1,\"method\":\"m\",\"params\":null}", false, false, "1", NULL},
    {"{" V ",\"id\":1,\"method\":\"m\",\"params\":1}", false, false, "1", NULL},
    {"{" V ",\"id\":1,\"method\":\"m\",\"params\":\"x\"}", false, false, "1", NULL},
    {"{" V ",\"id\":1,\"method\":\"m\",\"params\":true}", false, false, "1", NULL},
    {"{" V ",\"id\":1,\"method\":\"m\",\"extra\":{\"a\":[1]}}", true, false, "1", NULL},
    {"{\"json\\u0072pc\":\"2.0\",\"id\":1,\"m\\u0065thod\":\"m\"}", true, false, "1", NULL},
    /* responses: not to be answered as if they were the request with that id */
    {"{" V ",\"id\":1,\"result\":\"pong\"}", false, false, NULL, NULL},
    {"{" V ",\"id\":1,\"result\":null}", false, false, NULL, NULL},
    {"{" V ",\"id\":1,\"error\":{\"code\":-32600,\"message\":\"no\"}}", false, false, NULL, NULL},
    {"{" V ",\"id\":1,\"method\":\"m\",\"result\":1}", true, false, "1", NULL},
};

static void assert_call(const struct rpc_call *call, int i)
{
    const char *canonical = calls[i].canonical != NULL ? calls[i].canonical : calls[i].id;

    ck_assert_int_eq(call->is_valid, calls[i].is_valid);
    assert_id(call, calls[i].id);
    if (call->is_valid) {
        ck_assert_int_eq(call->is_notification, calls[i].is_notification);
        ck_assert_uint_eq(call->canonical_len, strlen(canonical));
        ck_assert_mem_eq(call->canonical, canonical, strlen(canonical));
        ck_assert_ptr_nonnull(call->method);
    }
}

START_TEST(a_call_is_taken_for)
{
    struct rpc rpc;
    struct rpc_call call;

    ck_assert_int_eq(open_line(&rpc, calls[_i].line, strlen(calls[_i].line)), 0);
    ck_assert(!rpc.is_batch);
    ck_assert(rpc_next(&rpc, &call));
    assert_call(&call, _i);
    ck_assert(!rpc_next(&rpc, &call));
    close_line(&rpc);
}
END_TEST

START_TEST(all_calls_in_one_batch)
{
    enum { CAP = 1 << 16 };
    char *line = malloc(CAP);
    struct rpc rpc;
    struct rpc_call call;
    size_t len = 0;

    for (int i = 0; i < N(calls); i++) {
        len += (size_t)snprintf(line + len, CAP - len, "%s %s\t", i == 0 ? " [" : ",", calls[i].line);
    }
    len += (size_t)snprintf(line + len, CAP - len, "] ");
    ck_assert_int_eq(open_line(&rpc, line, len), 0);
    free(line);
    ck_assert(rpc.is_batch);
    for (int i = 0; i < N(calls); i++) {
        ck_assert(rpc_next(&rpc, &call));
        assert_call(&call, i);
    }
    ck_assert(!rpc_next(&rpc, &call));
    ck_assert(!rpc_next(&rpc, &call));
    close_line(&rpc);
}
END_TEST

START_TEST(method_and_params_are_handed_over)
{
    static const char line[] = "{" V ",\"id\":1,\"method\":\"lo\\u0063k\",\"params\":{\"key\":\"a\"}}";
    struct rpc rpc;
    struct rpc_call call;

    ck_assert_int_eq(open_line(&rpc, line, strlen(line)), 0);
    ck_assert(rpc_next(&rpc, &call));
    ck_assert_str_eq(call.method, "lock");
    ck_assert(!call.params_by_position);
    ck_assert_str_eq(json_string_value(json_object_get(call.params, "key")), "a");
    close_line(&rpc);
}
END_TEST

START_TEST(params_by_position_are_told)
{
    static const char line[] =
        "[{" V ",\"id\":1,\"method\":\"m\",\"params\":[1]},{" V ",\"id\":2,\"method\":\"m\"}]";
    struct rpc rpc;
    struct rpc_call call;

    ck_assert_int_eq(open_line(&rpc, line, strlen(line)), 0);
    ck_assert(rpc_next(&rpc, &call));
    ck_assert(call.is_valid && call.params_by_position);
    ck_assert_ptr_null(call.params);
    ck_assert(rpc_next(&rpc, &call));
    ck_assert(call.is_valid && !call.params_by_position);
    ck_assert_ptr_null(call.params);
    close_line(&rpc);
}
END_TEST

/* What is no object gets an error each, and does not put the ids of its neighbours out of step. */
START_TEST(a_batch_of_odd_things)
{
    static const char line[] =
        "[1,\"a,]\\\"b\",null,[1,[2,{\"id\":3}]],true,-1.5e3,{\"id\":\"x\"},{}," PING "]";
    static const struct {
        bool is_valid;
        const char *id;
    } expected[] = {
        {false, NULL}, {false, NULL},    {false, NULL}, {false, NULL}, {false, NULL},
        {false, NULL}, {false, "\"x\""}, {false, NULL}, {true, "1"},
    };
    struct rpc rpc;
    struct rpc_call call;

    ck_assert_int_eq(open_line(&rpc, line, strlen(line)), 0);
    for (int i = 0; i < N(expected); i++) {
        ck_assert(rpc_next(&rpc, &call));
        ck_assert_int_eq(call.is_valid, expected[i].is_valid);
        assert_id(&call, expected[i].id);
    }
    ck_assert(!rpc_next(&rpc, &call));
    close_line(&rpc);
}
END_TEST

static const struct {
    size_t n;
    int outcome;
} batches[] = {{0, RPC_E_INVALID}, {1, 0}, {2, 0}, {RPC_BATCH_MAX, 0}, {RPC_BATCH_MAX + 1, RPC_E_INVALID}};

START_TEST(a_batch_has_a_size)
{
    static const char call_fmt[] = "{" V ",\"id\":%zu,\"method\":\"ping\"}";
    size_t n = batches[_i].n, cap = 64 * (n + 1), len = 0, taken = 0;
    char *line = malloc(cap), id[32];
    struct rpc rpc;
    struct rpc_call call;

    line[len++] = '[';
    for (size_t i = 0; i < n; i++) {
        len += (size_t)snprintf(line + len, cap - len, "%s", i > 0 ? "," : "");
        len += (size_t)snprintf(line + len, cap - len, call_fmt, i);
    }
    line[len++] = ']';
    int r = open_line(&rpc, line, len);
    free(line);
    ck_assert_int_eq(r, batches[_i].outcome);
    if (r != 0) {
        return;
    }
    ck_assert_uint_eq(rpc.n_calls, n);
    while (rpc_next(&rpc, &call)) {
        snprintf(id, sizeof(id), "%zu", taken++);
        ck_assert(call.is_valid);
        assert_id(&call, id);
    }
    ck_assert_uint_eq(taken, n);
    close_line(&rpc);
}
END_TEST

/* ---- canonical ids, and printing ---- */

START_TEST(an_id_has_one_canonical_text)
{
    static const struct {
        const char *json, *canonical;
    } ids[] = {
        {"1", "1"},
        {"-0", "0"},
        {"null", "null"},
        {"\"a\\/\\u0062\"", "\"a/b\""},
        {"\"\\u001B\"", "\"\\u001b\""},
        {"\"" LONG_254 "\"", "\"" LONG_254 "\""},
        {"\"" LONG_254 "x\"", ""},
        {"1.0", ""},
        {"true", ""},
        {"[]", ""},
        {"{}", ""},
    };
    char canonical[RPC_ID_MAX];

    for (int i = 0; i < N(ids); i++) {
        json_t *id = json_loads(ids[i].json, JSON_DECODE_ANY, NULL);
        size_t len = rpc_id_canonical(id, canonical);

        ck_assert_uint_eq(len, strlen(ids[i].canonical));
        ck_assert_mem_eq(canonical, ids[i].canonical, len);
        json_decref(id);
    }
}
END_TEST

START_TEST(envelopes_are_printed)
{
    char room[PRINT_ROOM];
    struct print print = print_into(room, sizeof(room));

    rpc_print_result_open(&print, (struct rpc_id){.text = "\"a\\/b\"", .len = 6});
    print_literal(&print, "true");
    rpc_print_close(&print);
    print_literal(&print, "\n");
    rpc_print_error_open(&print, (struct rpc_id){0});
    print_literal(&print, "{}");
    rpc_print_close(&print);
    print_literal(&print, "\n");
    rpc_print_notice_open(&print, "lost");
    print_literal(&print, "{}");
    rpc_print_close(&print);
    *print.at = '\0';
    ck_assert_str_eq(room, "{\"jsonrpc\":\"2.0\",\"id\":\"a\\/b\",\"result\":true}\n"
                           "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{}}\n"
                           "{\"jsonrpc\":\"2.0\",\"method\":\"lost\",\"params\":{}}");
}
END_TEST

Suite *test_rpc_suite(void)
{
    Suite *suite = suite_create("rpc");
    TCase *tcase = tcase_create("rpc");

    tcase_add_loop_test(tcase, a_line_is_taken_for, 0, N(lines));
    tcase_add_loop_test(tcase, a_call_is_taken_for, 0, N(calls));
    tcase_add_test(tcase, all_calls_in_one_batch);
    tcase_add_test(tcase, method_and_params_are_handed_over);
    tcase_add_test(tcase, params_by_position_are_told);
    tcase_add_test(tcase, a_batch_of_odd_things);
    tcase_add_loop_test(tcase, a_batch_has_a_size, 0, N(batches));
    tcase_add_test(tcase, an_id_has_one_canonical_text);
    tcase_add_test(tcase, envelopes_are_printed);
    suite_add_tcase(suite, tcase);
    return suite;
}
