/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * rlock in a terminal, under a shell with job control: keys are typed and the screen is read.
 *
 * The terminal echoes what is typed, so commands are written in such a way that what they say never stands
 * in their own line: u''p says up.
 */

#include "tests/lib/command.h"
#include "tests/lib/scene.h"

#include <limits.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

Suite *test_rlock_terminal_suite(void);

#define CTRL_C "\x03"
#define CTRL_D "\x04"
#define CTRL_Z "\x1a"
#define CTRL_BACKSLASH "\x1c"

/* A loop, since a shell may miss a signal that comes just before it starts a program and waits for it. */
#define TERMINAL_LOOP "\"echo u''p; while :; do sleep 0.01; done\""

static struct command *terminal_shell(void)
{
    const char *argv[] = {"bash", "--norc", "--noprofile", "--noediting", "-i", NULL};
    struct command *shell;
    char directory[PATH_MAX];

    ck_assert_ptr_nonnull(realpath(rlock_program(), directory));
    *strrchr(directory, '/') = '\0';
    setenv("RLOCK_SOCKET", scene.rlockd->socket_path, 1);
    setenv("RLOCK_DIRECTORY", directory, 1);
    shell = command_start_on_terminal(argv);
    command_type(shell, "PS1='rea''dy> ' PATH=\"$RLOCK_DIRECTORY:$PATH\"\n");
    command_expect(shell, "ready> ");
    return shell;
}

static void terminal_expect_status(struct command *shell, int status)
{
    char wanted[32];

    command_expect(shell, "ready> ");
    command_type(shell, "echo status=$?.\n");
    snprintf(wanted, sizeof(wanted), "status=%d.\r\n", status);
    command_expect(shell, wanted);
}

static void terminal_exit(struct command *shell)
{
    command_type(shell, "exit 0\n");
    ck_assert_int_eq(command_wait(shell), 0);
}

static void terminal_expect_free(void)
{
    struct client *client = scene_client();

    client_call(client, "try_lock", "{'key':'k'}");
    client_close(client);
}

START_TEST(test_keys_that_end)
{
    struct command *shell = terminal_shell();

    command_type(shell, "rlock run k sh -c " TERMINAL_LOOP "\n");
    command_expect(shell, "up\r\n");
    command_type(shell, CTRL_C);
    terminal_expect_status(shell, 130);
    terminal_expect_free();
    command_type(shell, "rlock run k sh -c " TERMINAL_LOOP "\n");
    command_expect(shell, "up\r\n");
    command_type(shell, CTRL_BACKSLASH);
    terminal_expect_status(shell, 131);
    terminal_exit(shell);
}
END_TEST

/* Once it reads the terminal, the command has it, and Ctrl-C reaches it directly. */
START_TEST(test_ctrl_c_to_a_reader)
{
    struct command *shell = terminal_shell();

    command_type(shell, "rlock run k cat\n");
    command_type(shell, "one\n");
    command_expect(shell, "one\r\none\r\n");
    command_type(shell, CTRL_C);
    terminal_expect_status(shell, 130);
    terminal_exit(shell);
}
END_TEST

START_TEST(test_ctrl_c_while_waiting)
{
    struct command *shell = terminal_shell();

    client_lock(scene_client(), "k");
    command_type(shell, "rlock run k true\n");
    AWAIT(scene_stat("claims_waiting") == 1);
    command_type(shell, CTRL_C);
    terminal_expect_status(shell, 130);
    AWAIT(scene_stat("claims_waiting") == 0);
    terminal_exit(shell);
}
END_TEST

START_TEST(test_reading_the_terminal)
{
    struct command *shell = terminal_shell();

    command_type(shell, "rlock run k sh -c 'read -r a; read -r b; echo \"$b-$a\"'\n");
    command_type(shell, "one\ntwo\n");
    command_expect(shell, "two-one\r\n");
    terminal_expect_status(shell, 0);
    /* And one that changes its settings, as for a password. */
    command_type(shell, "rlock run k bash -c 'read -rsp \"na\"\"me? \" a; echo; echo \"[$a]\"'\n");
    command_expect(shell, "name? ");
    command_type(shell, "secret\n");
    command_expect(shell, "\r\n[secret]\r\n");
    terminal_expect_status(shell, 0);
    terminal_exit(shell);
}
END_TEST

START_TEST(test_ctrl_z_and_fg)
{
    struct command *shell = terminal_shell();

    command_type(shell, "rlock run k cat\n");
    command_type(shell, "one\n");
    command_expect(shell, "one\r\none\r\n");
    for (int i = 0; i < 2; i++) {
        command_type(shell, CTRL_Z);
        command_expect(shell, "Stopped");
        command_expect(shell, "ready> ");
        command_type(shell, "fg\n");
        command_expect(shell, "rlock run k cat\r\n");
        command_type(shell, "more\n");
        command_expect(shell, "more\r\nmore\r\n");
    }
    command_type(shell, CTRL_D);
    terminal_expect_status(shell, 0);
    terminal_exit(shell);
}
END_TEST

START_TEST(test_ctrl_z_stops_one_that_does_not_read)
{
    struct command *shell = terminal_shell();

    /* Not sh, which may be one that starts programs by vfork(): then it cannot be stopped at times. */
    command_type(shell, "rlock run k bash -c " TERMINAL_LOOP "\n");
    command_expect(shell, "up\r\n");
    command_type(shell, CTRL_Z);
    command_expect(shell, "Stopped");
    command_expect(shell, "ready> ");
    command_type(shell, "bg\n");
    command_expect(shell, "ready> ");
    command_type(shell, "kill %1; wait %1\n");
    terminal_expect_status(shell, 143);
    terminal_expect_free();
    terminal_exit(shell);
}
END_TEST

START_TEST(test_reader_in_the_background)
{
    struct command *shell = terminal_shell();

    command_type(shell, "rlock run k cat &\n");
    AWAIT(scene_stat("leases_held") == 1);
    do { /* bash tells of jobs when it prompts */
        command_type(shell, "jobs; echo do''ne\n");
        command_expect(shell, "done\r\n");
        command_type(shell, "jobs -s | wc -l; echo ag''ain\n");
        command_expect(shell, "echo ag''ain\r\n");
    } while (strtol(command_line(shell), NULL, 10) == 0);
    command_expect(shell, "again\r\n");
    command_expect(shell, "ready> "); /* behind all that bash has to tell, which names the command, too */
    command_type(shell, "fg\n");
    command_expect(shell, "rlock run k cat\r\n");
    command_type(shell, "one\n");
    command_expect(shell, "one\r\none\r\n");
    command_type(shell, CTRL_D);
    terminal_expect_status(shell, 0);
    terminal_exit(shell);
}
END_TEST

/* What happens to the lock meanwhile is known before the command goes on. */
START_TEST(test_lock_lost_while_stopped)
{
    struct command *shell = terminal_shell();

    command_type(shell, "rlock run k cat\n");
    command_type(shell, "one\n");
    command_expect(shell, "one\r\none\r\n");
    command_type(shell, CTRL_Z);
    command_expect(shell, "Stopped");
    command_expect(shell, "ready> ");
    client_call(scene_client(), "force_unlock", "{'key':'k'}");
    command_type(shell, "fg\n");
    command_expect(shell, "lost k");
    terminal_expect_status(shell, 75);
    terminal_exit(shell);
}
END_TEST

/* A daemon that renewed all the while has kept the lock for one who slept longer than the ttl. */
START_TEST(test_lock_kept_while_stopped)
{
    struct command *shell = terminal_shell();
    int64_t renewals;

    command_type(shell, "rlock run -t 0.5 k cat\n");
    command_type(shell, "one\n");
    command_expect(shell, "one\r\none\r\n");
    command_type(shell, CTRL_Z);
    command_expect(shell, "Stopped");
    command_expect(shell, "ready> ");
    renewals = scene_stat("renewals");
    AWAIT(scene_stat("renewals") > renewals + 5); /* five thirds of the ttl */
    command_type(shell, "fg\n");
    command_expect(shell, "rlock run -t 0.5 k cat\r\n");
    command_type(shell, "two\n" CTRL_D);
    command_expect(shell, "two\r\ntwo\r\n");
    terminal_expect_status(shell, 0);
    terminal_exit(shell);
}
END_TEST

START_TEST(test_nothing_of_the_terminal_is_inherited)
{
    struct command *shell = terminal_shell();

    command_type(shell, "rlock run k sh -c 'ls /proc/self/fd | tr \"\\n\" .; echo'\n");
    command_expect(shell, "0.1.2.3.\r\n"); /* the last is the directory */
    terminal_expect_status(shell, 0);
    terminal_exit(shell);
}
END_TEST

START_TEST(test_pipelines_and_scripts)
{
    struct command *shell = terminal_shell();

    /* The reader at the end of a pipeline keeps the terminal. */
    command_type(shell, "rlock run k echo u''p | sh -c 'cat; read -r a </dev/tty; echo \"[$a]\"'\n");
    command_expect(shell, "up\r\n");
    command_type(shell, "key\n");
    command_expect(shell, "[key]\r\n");
    /* A script that reads the terminal after the command has read it. */
    command_type(shell, "sh -c 'rlock run k head -n 1; read -r a; echo \"[$a]\"'\n");
    command_type(shell, "first\n");
    command_expect(shell, "first\r\n"); /* the terminal's echo, and the command */
    command_expect(shell, "first\r\n");
    command_type(shell, "second\n");
    command_expect(shell, "[second]\r\n");
    /* Ctrl-C ends a whole script, not only the command in it. */
    command_type(shell, "sh -c 'rlock run k sh -c " TERMINAL_LOOP "; sleep 60'\n");
    command_expect(shell, "up\r\n");
    command_type(shell, CTRL_C);
    terminal_expect_status(shell, 130);
    terminal_exit(shell);
}
END_TEST

START_TEST(test_window_size)
{
    struct winsize size = {.ws_row = 33, .ws_col = 99};
    struct command *shell = terminal_shell();

    command_type(
        shell,
        "rlock run k bash -c 'trap \"stty size; exit\" WINCH; echo u\"\"p; while :; do sleep 0.01; done'\n");
    command_expect(shell, "up\r\n");
    ck_assert_int_eq(ioctl(shell->out_fd, TIOCSWINSZ, &size), 0);
    command_expect(shell, "33 99\r\n");
    terminal_expect_status(shell, 0);
    terminal_exit(shell);
}
END_TEST

/* Without a shell there is nobody to whom a stopped job could go back. */
START_TEST(test_first_of_a_session)
{
    const char *argv[] = {rlock_program(), "run", "k", "cat", NULL};
    struct command *run;

    setenv("RLOCK_SOCKET", scene.rlockd->socket_path, 1);
    run = command_start_on_terminal(argv);
    command_type(run, "one\n");
    command_expect(run, "one\r\none\r\n");
    command_type(run, CTRL_Z "two\n");
    command_expect(run, "two\r\n");
    command_expect(run, "two\r\n");
    command_type(run, CTRL_C);
    ck_assert_int_eq(command_wait(run), 130);
}
END_TEST

START_TEST(test_who_is_waited_for)
{
    struct client *first = scene_client(), *second = scene_client();
    struct command *shell = terminal_shell();
    char wanted[128];

    client_call(first, "lock", "{'key':'k','note':'first\\u001b[31m'}");
    client_ask_lock(second, "k");
    command_type(shell, "rlock run k echo u''p\n");
    snprintf(wanted, sizeof(wanted), "waiting for k, held by pid %d", (int)getpid());
    command_expect(shell, wanted);
    command_expect(shell, "[first?[31m]"); /* nothing that others write moves the cursor */
    client_call(first, "unlock", "{'key':'k'}");
    command_expect(shell, wanted); /* the holder has changed: another note */
    ck_assert_ptr_null(strstr(command_line(shell), "first"));
    client_close(second);
    command_expect(shell, "up\r\n");
    terminal_exit(shell);
}
END_TEST

Suite *test_rlock_terminal_suite(void)
{
    Suite *suite = suite_create("rlock_terminal");
    TCase *tcase = scene_case(suite, "terminal", scene_open_default);

    tcase_add_test(tcase, test_keys_that_end);
    tcase_add_test(tcase, test_ctrl_c_to_a_reader);
    tcase_add_test(tcase, test_ctrl_c_while_waiting);
    tcase_add_test(tcase, test_reading_the_terminal);
    tcase_add_test(tcase, test_ctrl_z_and_fg);
    tcase_add_test(tcase, test_ctrl_z_stops_one_that_does_not_read);
    tcase_add_test(tcase, test_reader_in_the_background);
    tcase_add_test(tcase, test_lock_lost_while_stopped);
    tcase_add_test(tcase, test_lock_kept_while_stopped);
    tcase_add_test(tcase, test_nothing_of_the_terminal_is_inherited);
    tcase_add_test(tcase, test_pipelines_and_scripts);
    tcase_add_test(tcase, test_window_size);
    tcase_add_test(tcase, test_first_of_a_session);
    tcase_add_test(tcase, test_who_is_waited_for);
    return suite;
}
