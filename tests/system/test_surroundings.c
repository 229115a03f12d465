/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * What stands around the daemon: a service manager that wants to hear from it, a log that nobody reads,
 * programs that it might start, and somebody at its command line.
 */

#include "tests/lib/scene.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

Suite *test_surroundings_suite(void);

/* The next message to the service manager; "": none has come yet. */
static void surroundings_hear(char ret[256])
{
    ssize_t len = recv(scene.rlockd->notify_fd, ret, 255, MSG_DONTWAIT);

    ret[len > 0 ? len : 0] = '\0';
}

START_TEST(test_watchdog)
{
    char text[256] = "";

    for (int i = 0; i < 5; i++) {
        AWAIT((surroundings_hear(text), strcmp(text, "WATCHDOG=1") == 0));
    }
    /* It comes from the loop: who stands still says nothing. */
    rlockd_signal(scene.rlockd, SIGSTOP);
    do {
        surroundings_hear(text);
    } while (text[0] != '\0');
    (void)poll(NULL, 0, 300);
    surroundings_hear(text);
    ck_assert_str_eq(text, "");
    rlockd_signal(scene.rlockd, SIGCONT);
    AWAIT((surroundings_hear(text), strcmp(text, "WATCHDOG=1") == 0));
}
END_TEST

static void surroundings_open_watched(void)
{
    setenv("WATCHDOG_USEC", "100000", 1);
    scene_open_default();
    unsetenv("WATCHDOG_USEC");
}

/* Its stderr is a pipe that is full: lines are lost, and nothing waits for it. */
START_TEST(test_nobody_reads_the_log)
{
    struct rlockd *rlockd = rlockd_prepare(redis_server_socket(scene.redis), "[log]\nlevel = debug\n");
    char bytes[4096] = "";
    struct client *client, *admin;
    int fd, id;

    ck_assert_int_eq(mkfifo(rlockd->log_path, 0600), 0);
    fd = open(rlockd->log_path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    while (write(fd, bytes, sizeof(bytes)) > 0) {
    }
    rlockd_spawn(rlockd, NULL);
    ck_assert(rlockd_await_ready(rlockd));
    client = client_open(rlockd->socket_path);
    admin = client_open(rlockd->socket_path);
    for (int i = 0; i < 100; i++) {
        (void)client_lock(client, "k");
        id = client_ask(admin, "force_unlock", "{'key':'k'}"); /* which is logged */
        client_expect_result(admin, id);
        client_expect_notice(client, "lost");
    }
    client_close(client);
    client_close(admin);
    rlockd_signal(rlockd, SIGTERM);
    ck_assert_int_eq(rlockd_wait(rlockd), 0);
    close(fd);
    unlink(rlockd->log_path);
    rlockd_free(rlockd);
}
END_TEST

static bool surroundings_is_closed_on_exec(const char *fd)
{
    char path[320], line[128];
    unsigned flags = 0;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/fdinfo/%s", (int)scene.rlockd->pid, fd);
    file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof(line), file) != NULL && sscanf(line, "flags: %o", &flags) != 1) {
    }
    fclose(file);
    return (flags & O_CLOEXEC) != 0;
}

/* The test runner leaves it open to everybody. */
static bool surroundings_is_the_runners(const char *fd)
{
    char path[320];
    struct stat ours, its;

    snprintf(path, sizeof(path), "/proc/%d/fd/%s", (int)scene.rlockd->pid, fd);
    return stat(path, &its) == 0 && fstat(atoi(fd), &ours) == 0 && ours.st_dev == its.st_dev &&
           ours.st_ino == its.st_ino;
}

/* It starts none; a library might one day. Nothing but the standard descriptors would be inherited. */
START_TEST(test_no_descriptor_is_inherited)
{
    struct client *client = scene_client();
    char path[64];
    int n_looked_at = 0;
    struct dirent *entry;
    DIR *dir;

    (void)client_lock(client, "k");
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)scene.rlockd->pid);
    dir = opendir(path);
    ck_assert_ptr_nonnull(dir);
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.' && atoi(entry->d_name) > STDERR_FILENO &&
            !surroundings_is_the_runners(entry->d_name)) {
            ck_assert_msg(surroundings_is_closed_on_exec(entry->d_name), "descriptor %s", entry->d_name);
            n_looked_at++;
        }
    }
    closedir(dir);
    ck_assert_int_gt(n_looked_at, 5);
}
END_TEST

static const struct usage_row {
    const char *option;
    int status;
    const char *text;
} usage_rows[] = {
    {"--version", 0, "rlockd "},
    {"--help", 0, "usage: rlockd [-c FILE] [-t]"},
    {"--nonsense", 64, "Try: rlockd --help"},
    {"argument", 64, "takes no argument: argument"},
};

START_TEST(test_usage)
{
    const struct usage_row *row = &usage_rows[_i];
    struct rlockd *rlockd = rlockd_prepare_text("");

    rlockd_spawn(rlockd, row->option);
    ck_assert_int_eq(rlockd_wait(rlockd), row->status);
    ck_assert(rlockd_log_has(rlockd, row->text));
    rlockd_free(rlockd);
}
END_TEST

Suite *test_surroundings_suite(void)
{
    Suite *suite = suite_create("system: surroundings");
    TCase *tcase = scene_case(suite, "watchdog", surroundings_open_watched);

    tcase_add_test(tcase, test_watchdog);
    tcase = scene_case(suite, "surroundings", scene_open_default);
    tcase_add_test(tcase, test_nobody_reads_the_log);
    tcase_add_test(tcase, test_no_descriptor_is_inherited);
    tcase_add_loop_test(tcase, test_usage, 0, sizeof(usage_rows) / sizeof(usage_rows[0]));
    return suite;
}
