/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The simulator as a test: fresh seeds, those that ever failed, and that one seed is one trace.
 */

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

Suite *test_sim_suite(void);

/* What the simulator prints with these arguments; the caller frees it. */
static char *run_sim(const char *args, int *ret_status)
{
    const char *build = getenv("RLOCK_BUILD");
    char line[256], *said = NULL;
    size_t said_len = 0;
    snprintf(line, sizeof(line), "%s/sim %s 2>&1", build != NULL ? build : "build", args);
    FILE *pipe = popen(line, "r");
    ck_assert_ptr_nonnull(pipe);
    if (getdelim(&said, &said_len, '\0', pipe) < 0) {
        ck_abort_msg("%s prints nothing", line);
    }
    *ret_status = pclose(pipe);
    return said;
}

static void expect_success(const char *args)
{
    int status;
    char *said = run_sim(args, &status);
    bool is_good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    /* Which seeds these were; or all of it, which is too long for a message of the test's. */
    bool is_told = !is_good || strncmp(said, "sim: ", 5) == 0;
    printf("%.*s", !is_told ? 0 : is_good ? (int)strcspn(said, "\n") + 1 : (int)strlen(said), said);
    fflush(stdout);
    free(said);
    ck_assert_msg(is_good, "%s: see above", args);
}

START_TEST(fresh_seeds)
{
    expect_success("-n 500"); /* it says first which ones, and how to see one that fails again */
}
END_TEST

START_TEST(kept_seeds)
{
    expect_success("-f tests/sim/seeds.txt");
}
END_TEST

/* Byte for byte, in worlds with much trouble and with little. */
START_TEST(one_seed_is_one_trace)
{
    for (int seed = 1; seed <= 5; seed++) {
        char args[64];
        int status;
        snprintf(args, sizeof(args), "-v -t 20 -s %d", seed);
        char *first = run_sim(args, &status), *second = run_sim(args, &status);
        ck_assert_uint_gt(strlen(first), 10000);
        ck_assert(strcmp(first, second) == 0);
        free(first);
        free(second);
    }
}
END_TEST

/* A world does not depend on those that were simulated before it in the same process. */
START_TEST(a_world_begins_anew)
{
    int status;
    char *alone = run_sim("-v -t 20 -s 8", &status);
    char *later = run_sim("-v -t 20 -s 6 -n 3", &status);
    size_t alone_len = strlen(alone), later_len = strlen(later);
    ck_assert_uint_gt(later_len, alone_len);
    ck_assert_str_eq(later + later_len - alone_len, alone);
    free(alone);
    free(later);
}
END_TEST

Suite *test_sim_suite(void)
{
    Suite *suite = suite_create("sim");
    TCase *tcase = tcase_create("worlds");
    tcase_set_timeout(tcase, 300);
    tcase_add_test(tcase, fresh_seeds);
    tcase_add_test(tcase, kept_seeds);
    tcase_add_test(tcase, one_seed_is_one_trace);
    tcase_add_test(tcase, a_world_begins_anew);
    suite_add_tcase(suite, tcase);
    return suite;
}
