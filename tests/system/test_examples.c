/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Replays the dialogues of proto/examples/, so that the protocol's description cannot drift from
 * what the daemon does. A file reads
 *
 *     # a comment; blank lines are skipped
 *     > {"jsonrpc":"2.0", ...}     the client sends this line
 *     < {"jsonrpc":"2.0", ...}     and this is the daemon's next message
 *     @2                           from here on connection 2 (the first is 1)
 *
 * where in an expected message "*int*" stands for any integer, "*text*" for any text, and "*any*" for any
 * value at all.
 */

#include "tests/lib/scene.h"

#include <glob.h>

Suite *test_examples_suite(void);

enum { EXAMPLES_CONNECTIONS = 9 };

#ifndef EXAMPLES_DIR
#define EXAMPLES_DIR "proto/examples"
#endif

static bool example_matches(const json_t *expected, const json_t *got);

static bool example_object_matches(const json_t *expected, const json_t *got)
{
    const char *name;
    json_t *member;

    if (json_object_size(expected) != json_object_size(got)) {
        return false;
    }
    json_object_foreach ((json_t *)expected, name, member) {
        if (!example_matches(member, json_object_get(got, name))) {
            return false;
        }
    }
    return true;
}

static bool example_array_matches(const json_t *expected, const json_t *got)
{
    if (json_array_size(expected) != json_array_size(got)) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(expected); i++) {
        if (!example_matches(json_array_get(expected, i), json_array_get(got, i))) {
            return false;
        }
    }
    return true;
}

static bool example_matches(const json_t *expected, const json_t *got)
{
    const char *text = json_string_value(expected);

    if (text && strcmp(text, "*any*") == 0) {
        return got != NULL;
    }
    if (text && strcmp(text, "*int*") == 0) {
        return json_is_integer(got);
    }
    if (text && strcmp(text, "*text*") == 0) {
        return json_is_string(got);
    }
    if (json_is_object(expected) && json_is_object(got)) {
        return example_object_matches(expected, got);
    }
    if (json_is_array(expected) && json_is_array(got)) {
        return example_array_matches(expected, got);
    }
    return json_equal(expected, got);
}

static void example_expect(struct client *client, const char *text, const char *where)
{
    json_error_t error;
    json_t *expected = json_loads(text, JSON_DECODE_ANY, &error);
    json_t *got;

    ck_assert_msg(expected != NULL, "%s is not JSON: %s", where, error.text);
    got = client_message(client);
    ck_assert_msg(example_matches(expected, got), "%s: expected %s, got %s", where, text,
                  json_dumps(got, JSON_COMPACT | JSON_ENCODE_ANY));
    json_decref(expected);
}

static void example_replay(const char *path)
{
    struct client *clients[EXAMPLES_CONNECTIONS + 1] = {NULL};
    FILE *file = fopen(path, "re");
    char *line = NULL, where[512];
    size_t cap = 0;
    int at = 1, number = 0;

    ck_assert_ptr_nonnull(file);
    while (getline(&line, &cap, file) >= 0) {
        line[strcspn(line, "\n")] = '\0';
        snprintf(where, sizeof(where), "%s:%d", path, ++number);
        if (line[0] == '@') {
            at = atoi(line + 1);
            ck_assert_msg(at >= 1 && at <= EXAMPLES_CONNECTIONS, "%s: no such connection", where);
        }
        clients[at] = clients[at] ? clients[at] : scene_client();
        if (line[0] == '>') {
            const char *text = line + 1 + strspn(line + 1, " ");

            client_send_bytes(clients[at], text, strlen(text));
            client_send_bytes(clients[at], "\n", 1);
        } else if (line[0] == '<') {
            example_expect(clients[at], line + 1, where);
        } else {
            ck_assert_msg(!line[0] || strchr("@#", line[0]), "%s: what is this?", where);
        }
    }
    for (int i = 1; i <= EXAMPLES_CONNECTIONS; i++) {
        if (clients[i]) {
            client_expect_nothing(clients[i]);
        }
    }
    free(line);
    fclose(file);
}

static glob_t examples;

START_TEST(test_example)
{
    example_replay(examples.gl_pathv[_i]);
}
END_TEST

START_TEST(test_there_are_examples)
{
    ck_assert_uint_gt(examples.gl_pathc, 0);
}
END_TEST

Suite *test_examples_suite(void)
{
    Suite *suite = suite_create("system: examples");
    TCase *tcase = scene_case(suite, "examples", scene_open_default);

    (void)glob(EXAMPLES_DIR "/*.jsonl", 0, NULL, &examples); /* none: the first test says so */
    tcase_add_test(tcase, test_there_are_examples);
    tcase_add_loop_test(tcase, test_example, 0, (int)examples.gl_pathc);
    return suite;
}
