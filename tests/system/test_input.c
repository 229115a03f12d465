/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * What a client may send that it should not, or hardly ever does: the answer to each, and that the
 * connection and the daemon go on. Line by line; what is odd about the stream stands in test_stream.c.
 */

#include "tests/lib/scene.h"

Suite *test_input_suite(void);

enum { PARSE = -32700, INVALID = -32600, NO_METHOD = -32601, PARAMS = -32602, SILENCE = 0 };

#define INPUT_N(table) (sizeof(table) / sizeof((table)[0]))

struct input {
    int code;         /* of the error with id null; SILENCE: no answer at all */
    const char *line; /* ' stands for " */
};

/* Answered without an id, since none can be read, or the request is none. */
static const struct input input_without_id[] = {
    {PARSE, "x"},
    {PARSE, "{"},
    {PARSE, "{'jsonrpc':'2.0','id':1,'method':'ping'}{'jsonrpc':'2.0','id':2,'method':'ping'}"},
    {PARSE, "{'jsonrpc':'2.0','id':1,'method':'ping'} x"},
    {PARSE, "{'jsonrpc':'2.0','id':1,'\\u0069d':2,'method':'ping'}"},
    {PARSE, "{'jsonrpc':'2.0','id':1,'id':1,'method':'ping'}"},
    {PARSE, "{'jsonrpc':'2.0','id':1,'method':'lock','params':{'key':'a\\u0000b'}}"},
    {PARSE, "{'jsonrpc':'2.0','id':1,'method':'lock','params':{'key':'\\ud800'}}"},
    {PARSE, "{'jsonrpc':'2.0','id':1,'method':'lock','params':{'key':'k','ttl_ms':9223372036854775808}}"},
    {PARSE, "{'jsonrpc':'2.0','id':1,'method':'lock','params':{'key':'k','ttl_ms':-9223372036854775809}}"},
    {PARSE, "{'jsonrpc':'2.0','id':1,'method':'lock','params':{'key':'k','ttl_ms':1e999}}"},
    {PARSE, "[[[[[[[[[]]]]]]]]]"},
    {PARSE, "GET / HTTP/1.1"},
    {PARSE, "*1"},
    {PARSE, "PING"},
    {INVALID, "[]"},
    {INVALID, "1"},
    {INVALID, "null"},
    {INVALID, "'ping'"},
    {INVALID, "{}"},
    {INVALID, "{'jsonrpc':'2.0','id':null,'result':1}"},
    {INVALID, "{'jsonrpc':'2.0','id':1.5,'method':'ping'}"},
    {INVALID, "{'jsonrpc':'2.0','id':true,'method':'ping'}"},
    {INVALID, "{'jsonrpc':'2.0','id':{},'method':'ping'}"},
    {INVALID, "{'jsonrpc':'2.0','id':[],'method':'ping'}"},
    {SILENCE, ""},
    {SILENCE, " \t "},
    {SILENCE, "\r"},
    {SILENCE, "{'jsonrpc':'2.0','method':'ping'}"},
    {SILENCE, "{'jsonrpc':'2.0','method':'no_such'}"},
    {SILENCE, "{'jsonrpc':'2.0','method':'unlock','params':{'key':'k'}}"},
    {SILENCE, "{'jsonrpc':'2.0','method':'lock','params':{'key':'k'}}"},
    {SILENCE, "{'jsonrpc':'2.0','method':'try_lock','params':{'key':'k'}}"},
    {SILENCE, "[{'jsonrpc':'2.0','method':'ping'},{'jsonrpc':'2.0','method':'ping'}]"},
};

START_TEST(test_answered_without_id)
{
    for (size_t i = 0; i < INPUT_N(input_without_id); i++) {
        struct client *client = scene_client();
        const struct input *input = &input_without_id[i];

        client_send(client, "%s", input->line);
        if (input->code) {
            client_expect_error_of_null(client, input->code);
        }
        client_expect_nothing(client);
    }
    ck_assert_int_eq(scene_stat("attempts"), 0);
}
END_TEST

/* A complete envelope with id 1; params or method are at fault. */
static const struct input input_with_id[] = {
    {INVALID, "{'id':1,'method':'ping'}"},
    {INVALID, "{'jsonrpc':'1.0','id':1,'method':'ping'}"},
    {INVALID, "{'jsonrpc':2.0,'id':1,'method':'ping'}"},
    {INVALID, "{'jsonrpc':'2.0','id':1}"},
    {INVALID, "{'jsonrpc':'2.0','id':1,'method':7}"},
    {INVALID, "{'jsonrpc':'2.0','id':1,'method':'ping','params':3}"},
    {NO_METHOD, "{'jsonrpc':'2.0','id':1,'method':'no_such'}"},
    {NO_METHOD, "{'jsonrpc':'2.0','id':1,'method':''}"},
    {NO_METHOD, "{'jsonrpc':'2.0','id':1,'method':'LOCK','params':{'key':'k'}}"},
    {PARAMS, "{'jsonrpc':'2.0','id':1,'method':'lock'}"},
    {PARAMS, "{'jsonrpc':'2.0','id':1,'method':'lock','params':['k']}"},
    {PARAMS, "{'jsonrpc':'2.0','id':1,'method':'lock','params':{}}"},
    {PARAMS, "{'jsonrpc':'2.0','id':1,'method':'lock','params':{'key':'k','color':1}}"},
    {PARAMS, "{'jsonrpc':'2.0','id':1,'method':'unlock','params':{'key':'k','ttl_ms':1000}}"},
};

static void input_expect_code(struct client *client, int id, int code)
{
    json_t *message = client_message(client);
    json_t *error = json_object_get(message, "error");

    ck_assert_ptr_nonnull(error);
    ck_assert_int_eq(member_int(message, "id"), id);
    ck_assert_int_eq(member_int(error, "code"), code);
    ck_assert_str_ne(member_text(json_object_get(error, "data"), "reason"), "");
}

START_TEST(test_answered_with_id)
{
    for (size_t i = 0; i < INPUT_N(input_with_id); i++) {
        struct client *client = scene_client();

        client_send(client, "%s", input_with_id[i].line);
        input_expect_code(client, 1, input_with_id[i].code);
        client_expect_nothing(client);
    }
}
END_TEST

/* Members that `lock` does not take as they are. */
static const char *const input_params[] = {
    "'key':''",
    "'key':5",
    "'key':null",
    "'key':['k']",
    "'key':'a\\u0001b'",
    "'key':'a\\u007fb'",
    "'key':'a\\nb'",
    "'key':'k','ttl_ms':99",
    "'key':'k','ttl_ms':0",
    "'key':'k','ttl_ms':-1",
    "'key':'k','ttl_ms':86400001",
    "'key':'k','ttl_ms':9223372036854775807",
    "'key':'k','ttl_ms':1000.0",
    "'key':'k','ttl_ms':1e3",
    "'key':'k','ttl_ms':'1000'",
    "'key':'k','ttl_ms':true",
    "'key':'k','ttl_ms':null",
    "'key':'k','wait_ms':-1",
    "'key':'k','wait_ms':'0'",
    "'key':'k','wait_ms':0.0",
    "'key':'k','wait_ms':false",
    "'key':'k','wait_ms':9223372036854775807",
    "'key':'k','retry':5",
    "'key':'k','retry':{'interval_ms':-1}",
    "'key':'k','retry':{'max':-1}",
    "'key':'k','retry':{'max':1.0}",
    "'key':'k','retry':{'other':1}",
    "'key':'k','retry':{'interval_ms':'5'}",
    "'key':'k','attempt_timeout_ms':0",
    "'key':'k','attempt_timeout_ms':'1'",
    "'key':'k','fail_fast':1",
    "'key':'k','fail_fast':'true'",
    "'key':'k','auto_refresh':0",
    "'key':'k','max_hold_ms':-5",
    "'key':'k','max_hold_ms':1.5",
    "'key':'k','note':7",
};

START_TEST(test_params_of_lock)
{
    struct client *client = scene_client();

    for (size_t i = 0; i < INPUT_N(input_params); i++) {
        client_expect_error(client, client_ask(client, "lock", "{%s}", input_params[i]), PARAMS,
                            "invalid_params");
        client_expect_nothing(client);
    }
    ck_assert_int_eq(scene_stat("attempts"), 0);
}
END_TEST

/* Bytes that may not stand in a line; NUL among them. */
static const struct {
    size_t len;
    const char *bytes;
} input_bytes[] = {
#define INPUT_KEY(text)                                                                                    \
    {                                                                                                      \
        sizeof("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"lock\",\"params\":{\"key\":\"" text "\"}}\n") - \
            1,                                                                                             \
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"lock\",\"params\":{\"key\":\"" text "\"}}\n"       \
    }
    INPUT_KEY("a\0b"),
    INPUT_KEY("\x80"),
    INPUT_KEY("\xc3"),
    INPUT_KEY("\xc0\xaf"),
    INPUT_KEY("\xed\xa0\x80"),
    INPUT_KEY("\xf5\x80\x80\x80"),
    INPUT_KEY("\xf8\x88\x80\x80\x80"),
    INPUT_KEY("\xff"),
    INPUT_KEY("\x1b"),
    {3 + 2 + 1, "\xef\xbb\xbf{}\n"},
    {2, "\0\n"},
    {8, "\x16\x03\x01\x02\x00\x01\x00\n"},
#undef INPUT_KEY
};

START_TEST(test_bytes)
{
    for (size_t i = 0; i < INPUT_N(input_bytes); i++) {
        struct client *client = scene_client();

        client_send_bytes(client, input_bytes[i].bytes, input_bytes[i].len);
        client_expect_error_of_null(client, PARSE);
        client_expect_nothing(client);
    }
    ck_assert_int_eq(scene_stat("attempts"), 0);
}
END_TEST

START_TEST(test_ids_come_back_as_they_were)
{
    static const char *const ids[] = {
        "1", "0", "-7", "9223372036854775807", "'a'", "''", "'\\u00e4\\/x'", "null", "'\xc3\xa4'"};
    struct client *client = scene_client();

    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        char *expected = NULL;
        const char *line;

        client_send(client, "{'jsonrpc':'2.0','id': %s ,'method':'ping'}", ids[i]);
        line = client_line(client);
        ck_assert_ptr_nonnull(line);
        ck_assert_int_gt(asprintf(&expected, "\"id\":%s,", ids[i]), 0);
        for (char *at = expected; *at; at++) {
            *at = *at == '\'' ? '"' : *at;
        }
        ck_assert_msg(strstr(line, expected) != NULL, "no %s in %s", expected, line);
        ck_assert_ptr_nonnull(strstr(line, "\"pong\""));
        free(expected);
    }
}
END_TEST

START_TEST(test_long_id)
{
    struct client *client = scene_client();

    client_send(client, "{'jsonrpc':'2.0','id':'%0300d','method':'ping'}", 0);
    client_expect_error_of_null(client, INVALID);
    client_expect_nothing(client);
}
END_TEST

START_TEST(test_id_in_flight)
{
    struct client *client = scene_client(), *holder = scene_client();

    (void)client_lock(holder, "k");
    client_send(client, "{'jsonrpc':'2.0','id':'w','method':'lock','params':{'key':'k'}}");
    client_send(client, "{'jsonrpc':'2.0','id':'w','method':'ping'}");
    ck_assert_ptr_nonnull(strstr(client_line(client), "-32600"));
    client_expect_nothing(client);
    client_call(holder, "unlock", "{'key':'k'}");
    ck_assert_ptr_nonnull(strstr(client_line(client), "\"fence\""));
    client_send(client, "{'jsonrpc':'2.0','id':'w','method':'ping'}"); /* free again */
    ck_assert_ptr_nonnull(strstr(client_line(client), "\"pong\""));
}
END_TEST

START_TEST(test_null_id_twice_in_flight)
{
    struct client *client = scene_client(), *holder = scene_client();

    (void)client_lock(holder, "k");
    client_send(client, "{'jsonrpc':'2.0','id':null,'method':'lock','params':{'key':'k'}}");
    client_send(client, "{'jsonrpc':'2.0','id':null,'method':'ping'}");
    client_expect_nothing(holder);
    ck_assert(member_is_null(client_message(client), "id"));
}
END_TEST

START_TEST(test_keys)
{
    struct client *client = scene_client();

    client_call(client, "lock", "{'key':'%0512d'}", 0);
    client_expect_error(client, client_ask(client, "lock", "{'key':'%0513d'}", 0), PARAMS, "invalid_params");
    client_expect_error(client, client_ask(client, "lock", "{'key':'k','note':'%0257d'}", 0), PARAMS,
                        "invalid_params");
    client_call(client, "lock", "{'key':'k','note':'%0256d'}", 0);
    client_call(client, "lock", "{'key':'K'}");
    client_call(client, "lock", "{'key':'{a}b'}");
    client_call(client, "lock", "{'key':'../x'}");
    client_call(client, "lock", "{'key':'\\u00e4'}");
    client_expect_error(client, client_ask(client, "lock", "{'key':'\xc3\xa4'}"), 5, "already_held");
    ck_assert(probe_has(scene.probe, "\xc3\xa4"));
    client_ask(client, "lock", "{'key':'rlockd:fence'}"); /* the daemon's own name in Redis */
    ck_assert_ptr_nonnull(json_object_get(client_message(client), "error"));
}
END_TEST

START_TEST(test_messages_do_not_carry_foreign_text_far)
{
    struct client *client = scene_client();
    char *method = malloc(60001);
    const char *line;

    memset(method, 'm', 60000);
    method[60000] = '\0';
    client_send(client, "{'jsonrpc':'2.0','id':1,'method':'%s'}", method);
    line = client_line(client);
    ck_assert_uint_lt(strlen(line), 1024);
    ck_assert_ptr_nonnull(strstr(line, "-32601"));
    client_send(client, "{'jsonrpc':'2.0','id':1,'method':'a\\u001b[31m\\nb'}");
    line = member_text(json_object_get(client_message(client), "error"), "message");
    for (const char *at = line; *at; at++) {
        ck_assert_msg(*at >= ' ' && *at <= '~', "a character that is not for print: %s", line);
    }
    free(method);
}
END_TEST

START_TEST(test_batches)
{
    struct client *client = scene_client();
    json_t *replies;

    client_send(client, "[{'jsonrpc':'2.0','id':1,'method':'ping'},{'jsonrpc':'2.0','method':'ping'},5,"
                        "{'jsonrpc':'2.0','id':2,'method':'no_such'},"
                        "{'jsonrpc':'2.0','id':3,'method':'lock','params':{'key':'k'}}]");
    replies = client_message(client);
    ck_assert(json_is_array(replies));
    ck_assert_uint_eq(json_array_size(replies), 4);
    client_expect_nothing(client);
    ck_assert(probe_has(scene.probe, "k"));

    client_send(client, "[1,2,3]");
    replies = client_message(client);
    ck_assert_uint_eq(json_array_size(replies), 3);
    ck_assert_int_eq(member_int(json_object_get(json_array_get(replies, 2), "error"), "code"), INVALID);
    client_expect_nothing(client);
}
END_TEST

Suite *test_input_suite(void)
{
    Suite *suite = suite_create("system: input");
    TCase *tcase = scene_case(suite, "input", scene_open_default);

    tcase_add_test(tcase, test_answered_without_id);
    tcase_add_test(tcase, test_answered_with_id);
    tcase_add_test(tcase, test_params_of_lock);
    tcase_add_test(tcase, test_bytes);
    tcase_add_test(tcase, test_ids_come_back_as_they_were);
    tcase_add_test(tcase, test_long_id);
    tcase_add_test(tcase, test_id_in_flight);
    tcase_add_test(tcase, test_null_id_twice_in_flight);
    tcase_add_test(tcase, test_keys);
    tcase_add_test(tcase, test_messages_do_not_carry_foreign_text_far);
    tcase_add_test(tcase, test_batches);
    return suite;
}
