/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The clients in proto/examples/, which the README quotes: each takes a lock, works and gives it back, and
 * stops when the lock is lost. Those whose language is not on this machine are left out. The one in C is
 * built as a user would: against an installed librlock, with nothing but what pkg-config says.
 */

#include "tests/lib/command.h"
#include "tests/lib/instrumented.h"
#include "tests/lib/scene.h"

#include <limits.h>
#include <stdio.h>

Suite *test_snippets_suite(void);

#define SNIPPETS "proto/examples/client."

/* Runs a line of shell, which must end well. */
static void snippet_shell(const char *line)
{
    const char *argv[] = {"sh", "-euc", line, NULL};
    struct command *command = command_start(argv);

    command_expect_end(command);
    char *said = strdup(command->said != NULL ? command->said : "");
    int status = command_wait(command);
    ck_assert_msg(status == 0, "%s: status %d: %s", line, status, said);
    free(said);
}

static bool snippet_can_run(const char *program)
{
    const char *argv[] = {"sh", "-c", "command -v \"$0\"", program, NULL};

    if (command_wait(command_start(argv)) == 0) {
        return true;
    }
    fprintf(stderr, "snippets: %s is not here, so its client was not run\n", program);
    return false;
}

/* As if rlock were installed. */
static void snippet_find_rlock(void)
{
    char directory[PATH_MAX], path[2 * PATH_MAX];

    ck_assert_ptr_nonnull(realpath(rlock_program(), directory));
    *strrchr(directory, '/') = '\0';
    (void)snprintf(path, sizeof(path), "%s:%s", directory, getenv("PATH"));
    setenv("PATH", path, 1);
}

/* Starts one that has the lock when this returns. */
static struct command *snippet_start(const char *const *argv)
{
    struct command *command;
    char locked[64];

    setenv("RLOCK_SOCKET", scene.rlockd->socket_path, 1);
    command = command_start(argv);
    command_expect(command, "locked ");
    json_t *key = client_call(scene_client(), "inspect", "{'key':'k'}");
    (void)snprintf(locked, sizeof(locked), "%lld\n", (long long)member_int(key, "fence"));
    command_expect(command, locked);
    return command;
}

static void snippet_expect_both_ends(const char *const *argv)
{
    struct command *command = snippet_start(argv);

    command_expect(command, "done");
    ck_assert_int_eq(command_wait(command), 0);
    ck_assert(!probe_has(scene.probe, "k"));

    command = snippet_start(argv);
    client_call(scene_client(), "force_unlock", "{'key':'k'}");
    command_expect(command, "lost");
    ck_assert_int_eq(command_wait(command), 1);

    command = snippet_start(argv);
    rlockd_signal(scene.rlockd, SIGKILL);
    ck_assert_int_eq(rlockd_wait(scene.rlockd), 128 + SIGKILL);
    command_expect(command, "lost");
    ck_assert_int_eq(command_wait(command), 1);
}

static const struct snippet_row {
    const char *program;
    const char *argv[5];
} snippet_rows[] = {
    {"bash", {"bash", SNIPPETS "bash", "k"}},
    {"python3", {"python3", SNIPPETS "py", "k"}},
    {"node", {"node", SNIPPETS "mjs", "k"}},
    {"go", {"go", "run", SNIPPETS "go", "k"}},
};

START_TEST(test_without_the_library)
{
    snippet_find_rlock();
    if (snippet_can_run(snippet_rows[_i].program)) {
        snippet_expect_both_ends(snippet_rows[_i].argv);
    }
}
END_TEST

/* A copy of what `make install` puts there; what was built is taken as it is. */
static void snippet_install(void)
{
    char dir[SCRATCH_PATH_CAP];

    setenv("INSTALLED", scratch_path(dir, "installed"), 1);
    setenv("PKG_CONFIG_SYSROOT_DIR", dir, 1);
    setenv("RLOCK_BUILD", getenv("RLOCK_BUILD") != NULL ? getenv("RLOCK_BUILD") : "build", 1);
    snippet_shell("make -o all install BUILD=$RLOCK_BUILD DESTDIR=$INSTALLED PREFIX=/usr");
    snippet_shell("test -e $INSTALLED/usr/share/man/man3/librlock.3");
    snippet_shell("test -e $INSTALLED/usr/share/man/man7/rlock-protocol.7");
}

#define SNIPPET_PKG_CONFIG "PKG_CONFIG_LIBDIR=$INSTALLED/usr/lib/pkgconfig pkg-config"

START_TEST(test_with_the_library)
{
    char program[SCRATCH_PATH_CAP], library[SCRATCH_PATH_CAP + 16];
    const char *run[] = {program, "k", NULL};

    if (IS_INSTRUMENTED) {
        fprintf(stderr, "snippets: a library with sanitizers needs a program with them, so none was built\n");
        return;
    }
    snippet_install();
    setenv("PROGRAM", scratch_path(program, "client"), 1);
    snippet_shell("cc -o $PROGRAM " SNIPPETS "c $(" SNIPPET_PKG_CONFIG " --cflags --libs rlock)");
    snippet_shell("cc -o $PROGRAM.static " SNIPPETS "c $(" SNIPPET_PKG_CONFIG " --cflags rlock) "
                  "$INSTALLED/usr/lib/librlock.a -ljansson");
    snippet_shell("test -z \"$(nm -D --defined-only $INSTALLED/usr/lib/librlock.so | grep -v -i rlock_)\"");
    snippet_shell("test -z \"$(nm -g --defined-only $INSTALLED/usr/lib/librlock.a | grep ' [A-TV-Z] ' | "
                  "grep -v rlock_)\"");
    /* The program asks for this very interface, and a later librlock that has another can stand beside it. */
    snippet_shell("readelf -dW $PROGRAM | grep -q 'NEEDED.*\\[librlock\\.so\\.0\\]'");
    snippet_shell("nm -D $PROGRAM | grep -q 'U rlock_open@RLOCK_0$'");
    (void)snprintf(library, sizeof(library), "%s/usr/lib", getenv("INSTALLED"));
    setenv("LD_LIBRARY_PATH", library, 1);
    snippet_expect_both_ends(run);

    snippet_shell("make uninstall BUILD=$RLOCK_BUILD DESTDIR=$INSTALLED PREFIX=/usr");
    snippet_shell("test -z \"$(find $INSTALLED/usr -type f -o -type l)\"");
}
END_TEST

/* What was built, described by pkg-config where it was built. */
static void snippet_use_build(const char *program)
{
    setenv("RLOCK_SOCKET", scene.rlockd->socket_path, 1);
    setenv("RLOCK_BUILD", getenv("RLOCK_BUILD") != NULL ? getenv("RLOCK_BUILD") : "build", 1);
    setenv("PKG_CONFIG_PATH", getenv("RLOCK_BUILD"), 1);
    setenv("LD_LIBRARY_PATH", getenv("RLOCK_BUILD"), 1);
    setenv("PROGRAM", program, 1);
}

/* The library must tell that there is no memory, wherever that happens. */
START_TEST(test_no_memory)
{
    char program[SCRATCH_PATH_CAP];

    if (IS_INSTRUMENTED) {
        return; /* a sanitizer has a malloc() of its own */
    }
    snippet_use_build(scratch_path(program, "no_memory"));
    snippet_shell("cc -o $PROGRAM tests/programs/client_no_memory.c "
                  "$(pkg-config --cflags rlock) $RLOCK_BUILD/librlock.a -ljansson");
    snippet_shell("$PROGRAM");
    AWAIT(scene_stat("leases_held") == 0 && !probe_has(scene.probe, "k") && !probe_has(scene.probe, "m"));
}
END_TEST

START_TEST(test_in_cxx)
{
    char program[SCRATCH_PATH_CAP];
    const char *run[] = {program, "k", NULL};
    struct command *command;

    if (IS_INSTRUMENTED || !snippet_can_run("g++")) {
        return;
    }
    snippet_use_build(scratch_path(program, "cxx"));
    snippet_shell("g++ -std=c++11 -Wall -Wextra -pedantic -Werror -o $PROGRAM tests/programs/client_cxx.cc "
                  "$(pkg-config --cflags --libs rlock)");
    command = command_start(run);
    command_expect(command, "locked ");
    command_expect(command, "done");
    ck_assert_int_eq(command_wait(command), 0);
    AWAIT(!probe_has(scene.probe, "k"));
}
END_TEST

START_TEST(test_header_is_strict_c)
{
    snippet_shell("cc -std=c99 -fsyntax-only -Wall -Wextra -pedantic -Werror -x c proto/rlock.h");
}
END_TEST

Suite *test_snippets_suite(void)
{
    Suite *suite = suite_create("snippets");
    TCase *tcase = scene_case(suite, "snippets", scene_open_default);

    tcase_add_loop_test(tcase, test_without_the_library, 0, sizeof(snippet_rows) / sizeof(snippet_rows[0]));
    tcase_add_test(tcase, test_with_the_library);
    tcase_add_test(tcase, test_no_memory);
    tcase_add_test(tcase, test_in_cxx);
    tcase_add_test(tcase, test_header_is_strict_c);
    return suite;
}
