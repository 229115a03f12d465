/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The commands of rlock that show something or change something at a stroke.
 */

#include "tests/lib/command.h"
#include "tests/lib/scene.h"

#include <stdio.h>
#include <unistd.h>

Suite *test_rlock_show_suite(void);

enum { SHOW_WAITERS = 103 };

static struct client *show_holder, *show_waiter;

/* "disk" is held with a note and waited for; "tape" is held by another program. */
static void show_open(void)
{
    scene_open_default();
    show_holder = scene_client();
    show_waiter = scene_client();
    client_call(show_holder, "lock", "{'key':'disk','note':'de\\u001bfrag\\u202e'}");
    client_ask_lock(show_waiter, "disk");
    probe_do(scene.probe, "SET tape x PX 60000");
}

/* What rlock says, as JSON. */
static json_t *show_json(const char *command, const char *operand)
{
    char *said = rlock_says(0, command, "--json", operand, NULL);
    json_t *json = json_loads(said, JSON_DECODE_ANY, NULL);

    ck_assert_msg(json != NULL, "no JSON: %s", said);
    free(said);
    return json;
}

static bool show_says(const char *said, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool show_says(const char *said, const char *fmt, ...)
{
    char text[256];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return strstr(said, text) != NULL;
}

START_TEST(test_list)
{
    char *said = rlock_says(0, "list", NULL);

    ck_assert(show_says(said, "KEY "));
    ck_assert(show_says(said, "disk  %d  ", (int)getpid()));
    ck_assert(show_says(said, "de?frag?\n"));
    free(said);
    said = rlock_says(0, "list", "nothing", NULL);
    ck_assert_str_eq(said, "");
    free(said);
}
END_TEST

START_TEST(test_list_json)
{
    json_t *json = show_json("list", NULL);

    ck_assert_uint_eq(json_array_size(json_object_get(json, "locks")), 1);
    ck_assert(member_is(json_array_get(json_object_get(json, "locks"), 0), "key", "disk"));
    json_decref(json);
}
END_TEST

START_TEST(test_list_of_many)
{
    char key[64], *said;
    const char *last;
    size_t n_lines = 0;
    json_t *json;

    for (int i = 0; i < 1500; i++) { /* more than a page */
        snprintf(key, sizeof(key), "many/%04d", i);
        client_lock(show_holder, key);
    }
    said = rlock_says(0, "list", "many/", NULL);
    for (const char *line = said; (line = strchr(line, '\n')) != NULL; line++) {
        n_lines++;
    }
    ck_assert_uint_eq(n_lines, 1501);
    last = strstr(said, "many/1499 ");
    ck_assert_ptr_nonnull(last);
    free(said);
    json = show_json("list", "many/");
    ck_assert_uint_eq(json_array_size(json_object_get(json, "locks")), 1500);
    json_decref(json);
}
END_TEST

/* The daemon names only the first of many waiters, but all of them count. */
START_TEST(test_all_waiters_count)
{
    char *said;

    for (int i = 0; i < SHOW_WAITERS - 1; i++) {
        client_ask_lock(scene_client(), "disk");
    }
    AWAIT(scene_stat("claims_waiting") == SHOW_WAITERS);
    said = rlock_says(0, "list", NULL);
    ck_assert_msg(show_says(said, "   %d  ", SHOW_WAITERS), "%s", said);
    free(said);
    said = rlock_says(0, "show", "disk", NULL);
    ck_assert(show_says(said, " 100. for "));
    ck_assert(show_says(said, "\n           and %d more\n", SHOW_WAITERS - 100));
    free(said);
}
END_TEST

START_TEST(test_what_is_not_utf8)
{
    ck_assert_int_eq(rlock_status("list", "\xff", NULL), 64);
    ck_assert_int_eq(rlock_status("list", "--json", "\xff", NULL), 64);
    ck_assert_int_eq(rlock_status("show", "\xff", NULL), 64);
    ck_assert_int_eq(rlock_status("show", "--json", "\xff", NULL), 64);
    ck_assert_int_eq(rlock_status("force-unlock", "\xff", NULL), 64);
}
END_TEST

START_TEST(test_list_fits_the_terminal)
{
    const char *argv[] = {rlock_program(), "list", NULL};
    char key[301], *line;
    struct command *list;

    memset(key, 'x', sizeof(key) - 1);
    key[300] = '\0';
    client_lock(show_holder, key);
    setenv("RLOCK_SOCKET", scene.rlockd->socket_path, 1);
    list = command_start_on_terminal(argv); /* 80 columns */
    command_expect(list, "KEY");
    command_expect(list, "\r\n");
    while ((line = command_line(list)) != NULL) {
        size_t width = 0;

        for (const char *c = line; *c && *c != '\r'; c++) {
            width += ((unsigned char)*c & 0xc0) != 0x80;
        }
        ck_assert_uint_le(width, 80);
    }
    ck_assert_int_eq(command_wait(list), 0);
}
END_TEST

START_TEST(test_show)
{
    char *said = rlock_says(0, "show", "disk", NULL);
    json_t *json;

    ck_assert(show_says(said, "holder     pid %d (", (int)getpid()));
    ck_assert(show_says(said, "[de?frag?]"));
    ck_assert(show_says(said, "waiting    1. for "));
    ck_assert(show_says(said, "left of 30s"));
    free(said);
    said = rlock_says(0, "show", "tape", NULL);
    ck_assert(show_says(said, "held on another host"));
    free(said);
    said = rlock_says(0, "show", "door", NULL);
    ck_assert(show_says(said, "state      free\n"));
    free(said);
    json = show_json("show", "disk");
    ck_assert(member_is(json_object_get(json, "holder"), "note",
                        "de\x1b"
                        "frag\xe2\x80\xae"));
    json_decref(json);
}
END_TEST

START_TEST(test_stats_and_ping)
{
    char *said = rlock_says(0, "stats", NULL);
    json_t *json = show_json("stats", NULL);

    ck_assert(show_says(said, "\nclaims_waiting                       1\n"));
    ck_assert_int_eq(member_int(json, "claims_waiting"), 1);
    free(said);
    json_decref(json);
    said = rlock_says(0, "ping", NULL);
    ck_assert_str_eq(said, "pong\n");
    free(said);
    said = rlock_says(0, "ping", "--json", NULL);
    ck_assert_str_eq(said, "\"pong\"\n");
    free(said);
}
END_TEST

START_TEST(test_force_unlock)
{
    char *said = rlock_says(0, "force-unlock", "disk", NULL);

    ck_assert(show_says(said, "disk: taken from pid %d (", (int)getpid()));
    free(said);
    client_expect_notice(show_holder, "lost");
    said = rlock_says(0, "force-unlock", "tape", NULL);
    ck_assert(show_says(said, "tape: deleted in Redis"));
    ck_assert(!probe_has(scene.probe, "tape"));
    free(said);
    said = rlock_says(0, "force-unlock", "door", NULL);
    ck_assert_str_eq(said, "door: nobody held it\n");
    free(said);
    probe_do(scene.probe, "SET tape x PX 60000");
    said = rlock_says(0, "force-unlock", "--json", "tape", NULL);
    ck_assert_str_eq(said, "{\"key\":\"tape\"}\n");
    ck_assert(!probe_has(scene.probe, "tape"));
    free(said);
}
END_TEST

START_TEST(test_call)
{
    char *said = rlock_says(0, "call", "inspect", "{\"key\":\"door\"}", NULL);

    ck_assert_str_eq(said, "{\"key\":\"door\",\"state\":\"free\"}\n");
    free(said);
    said = rlock_says(0, "call", "ping", "--json", NULL); /* it always is */
    ck_assert_str_eq(said, "\"pong\"\n");
    free(said);
    said = rlock_says(1, "call", "try_lock", "{\"key\":\"disk\"}", NULL);
    ck_assert(show_says(said, "rlock: "));
    free(said);
    ck_assert_int_eq(rlock_status("call", "no_such_method", NULL), 64);
    ck_assert_int_eq(rlock_status("call", "ping", "[", NULL), 64);
    ck_assert_int_eq(rlock_status("call", NULL), 64);
}
END_TEST

Suite *test_rlock_show_suite(void)
{
    Suite *suite = suite_create("rlock_show");
    TCase *tcase = scene_case(suite, "show", show_open);

    tcase_add_test(tcase, test_list);
    tcase_add_test(tcase, test_list_json);
    tcase_add_test(tcase, test_list_of_many);
    tcase_add_test(tcase, test_all_waiters_count);
    tcase_add_test(tcase, test_what_is_not_utf8);
    tcase_add_test(tcase, test_list_fits_the_terminal);
    tcase_add_test(tcase, test_show);
    tcase_add_test(tcase, test_stats_and_ping);
    tcase_add_test(tcase, test_force_unlock);
    tcase_add_test(tcase, test_call);
    return suite;
}
