/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * What bash offers behind `rlock`: the completion is called as bash calls it, with the words of a line.
 */

#include "tests/lib/command.h"
#include "tests/lib/scene.h"

#include <stdarg.h>
#include <unistd.h>

Suite *test_completion_suite(void);

enum { COMPLETION_WORDS_MAX = 8 };

static const char completion_script[] =
    ". conf/rlock.bash-completion; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _rlock; "
    "for word in \"${COMPREPLY[@]}\"; do echo -n \"<$word>\"; done";

/* What is offered for the last of these words (NULL ends them): "<one><another>", good until the next call. */
static const char *completion_of(const char *word, ...)
{
    static char *said;
    const char *argv[COMPLETION_WORDS_MAX + 6] = {"bash", "-euc", completion_script, "bash", rlock_program()};
    struct command *bash;
    size_t n = 5;
    va_list words;

    va_start(words, word);
    for (; word != NULL; word = va_arg(words, const char *)) {
        ck_assert_uint_lt(n, 5 + COMPLETION_WORDS_MAX);
        argv[n++] = word;
    }
    va_end(words);
    setenv("RLOCK_SOCKET", scene.rlockd->socket_path, 1);
    bash = command_start(argv);
    command_expect_end(bash);
    free(said);
    said = strdup(bash->said != NULL ? bash->said : "");
    ck_assert_int_eq(command_wait(bash), 0);
    return said;
}

static void completion_open(void)
{
    struct client *client;

    scene_open_default();
    client = scene_client();
    client_lock(client, "disk/a");
    client_lock(client, "tape one");
    client_lock(client, "$(touch pwned)`touch pwned`");
}

#define COMPLETION_KEYS "<\\$\\(touch\\ pwned\\)\\`touch\\ pwned\\`><disk/a><tape\\ one>"

START_TEST(test_commands)
{
    ck_assert_str_eq(completion_of("", NULL), "<run><hold><list><show><stats><ping><force-unlock><call>"
                                              "<--help><--version>");
    ck_assert_str_eq(completion_of("s", NULL), "<show><stats>");
    ck_assert_str_eq(completion_of("x", NULL), "");
}
END_TEST

START_TEST(test_keys)
{
    ck_assert_str_eq(completion_of("run", "", NULL), COMPLETION_KEYS);
    ck_assert_str_eq(completion_of("run", "-n", "-w", "5", "d", NULL), "<disk/a>");
    ck_assert_str_eq(completion_of("hold", "--ttl=5", "t", NULL), "<tape\\ one>");
    ck_assert_str_eq(completion_of("show", "di", NULL), "<disk/a>");
    ck_assert_str_eq(completion_of("list", "--json", "di", NULL), "<disk/a>");
    ck_assert_str_eq(completion_of("force-unlock", "", NULL), COMPLETION_KEYS);
    ck_assert_str_eq(completion_of("show", "disk/a", "", NULL), ""); /* one is enough */
    ck_assert_int_ne(access("pwned", F_OK), 0);
}
END_TEST

START_TEST(test_options)
{
    ck_assert_str_eq(completion_of("run", "--k", NULL), "<--kill-after>");
    ck_assert_str_eq(completion_of("hold", "--k", NULL), "");
    ck_assert_str_eq(completion_of("ping", "--", NULL), "<--json><--help>");
    ck_assert_str_eq(completion_of("run", "-w", "", NULL), ""); /* a number */
    ck_assert_str_eq(completion_of("call", "force", NULL), "<force_unlock>");
}
END_TEST

START_TEST(test_the_command_to_run)
{
    ck_assert_ptr_nonnull(strstr(completion_of("run", "k", "printen", NULL), "<printenv>"));
    ck_assert_ptr_nonnull(strstr(completion_of("run", "k", "--", "printen", NULL), "<printenv>"));
    ck_assert_ptr_nonnull(strstr(completion_of("run", "-w", "5", "k", "cat", "READM", NULL), "<README.md>"));
}
END_TEST

START_TEST(test_without_a_daemon)
{
    rlockd_signal(scene.rlockd, SIGKILL);
    (void)rlockd_wait(scene.rlockd);
    ck_assert_str_eq(completion_of("run", "", NULL), "");
    ck_assert_str_eq(completion_of("p", NULL), "<ping>");
}
END_TEST

Suite *test_completion_suite(void)
{
    Suite *suite = suite_create("completion");
    TCase *tcase = scene_case(suite, "completion", completion_open);

    tcase_add_test(tcase, test_commands);
    tcase_add_test(tcase, test_keys);
    tcase_add_test(tcase, test_options);
    tcase_add_test(tcase, test_the_command_to_run);
    tcase_add_test(tcase, test_without_a_daemon);
    return suite;
}
