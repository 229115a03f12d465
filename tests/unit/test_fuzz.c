/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The fuzzers' corpora (tests/fuzz/corpus), replayed: each input that once led somewhere new, and each
 * that once found a bug.
 */

#include <check.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

Suite *test_fuzz_suite(void);

static const char *const fuzzers[] = {"lines", "resp", "config", "events", "client"};

START_TEST(the_corpus_passes)
{
    const char *build = getenv("RLOCK_BUILD");
    char program[512], pattern[128];
    glob_t inputs = {0};
    snprintf(program, sizeof(program), "%s/fuzz/replay_%s", build != NULL ? build : "build", fuzzers[_i]);
    snprintf(pattern, sizeof(pattern), "tests/fuzz/corpus/%s/*", fuzzers[_i]);
    ck_assert_int_eq(glob(pattern, 0, NULL, &inputs), 0);
    ck_assert_uint_gt(inputs.gl_pathc, 10);
    char **argv = calloc(inputs.gl_pathc + 2, sizeof(*argv));
    ck_assert_ptr_nonnull(argv);
    argv[0] = program;
    memcpy(argv + 1, inputs.gl_pathv, inputs.gl_pathc * sizeof(*argv));
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        execv(program, argv);
        _exit(127);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s ended with status 0x%x", program,
                  status);
    free(argv);
    globfree(&inputs);
}
END_TEST

Suite *test_fuzz_suite(void)
{
    Suite *suite = suite_create("fuzz");
    TCase *tcase = tcase_create("corpus");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, the_corpus_passes, 0, (int)(sizeof(fuzzers) / sizeof(fuzzers[0])));
    suite_add_tcase(suite, tcase);
    return suite;
}
