/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The test runner: every suite in one run, or those named as arguments.
 *
 * gen/suites.h is made from the names of the files in tests/unit/ and tests/system/: a file
 * test_frame.c defines test_frame_suite() and is called "frame" here. Knows nothing about any test.
 */

#include <check.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUITE(name) Suite *test_##name##_suite(void);
#include "gen/suites.h"
#undef SUITE

static const struct suite_row {
    const char *name;
    Suite *(*make)(void);
} suite_rows[] = {
#define SUITE(name) {#name, test_##name##_suite},
#include "gen/suites.h"
#undef SUITE
};

enum { N_SUITES = sizeof(suite_rows) / sizeof(suite_rows[0]) };

static const struct suite_row *suite_find(const char *name)
{
    for (size_t i = 0; i < N_SUITES; i++) {
        if (strcmp(suite_rows[i].name, name) == 0) {
            return &suite_rows[i];
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    SRunner *runner = srunner_create(NULL);

    /* As in the daemon: a closed socket is an error of write(), not the end. */
    signal(SIGPIPE, SIG_IGN);
    /* With the output in a file or pipe, lines come as they are written, so that a hang can be seen. */
    setvbuf(stdout, NULL, _IOLBF, 0);

    for (int i = 1; i < argc; i++) {
        const struct suite_row *row = suite_find(argv[i]);
        if (row == NULL) {
            fprintf(stderr, "runner: there is no suite \"%s\"; there are:", argv[i]);
            for (size_t j = 0; j < N_SUITES; j++) {
                fprintf(stderr, " %s", suite_rows[j].name);
            }
            fprintf(stderr, "\n");
            srunner_free(runner);
            return 64;
        }
        srunner_add_suite(runner, row->make());
    }
    for (size_t i = 0; argc == 1 && i < N_SUITES; i++) {
        srunner_add_suite(runner, suite_rows[i].make());
    }

    srunner_run_all(runner, CK_NORMAL);
    int n_failed = srunner_ntests_failed(runner);
    int n_run = srunner_ntests_run(runner);
    srunner_free(runner);
    return n_failed == 0 && n_run > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
