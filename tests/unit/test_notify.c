/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/* The service manager's end: what it gets, and that nobody ever waits for it. */

#include "daemon/notify.h"

#include <check.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

Suite *test_notify_suite(void);

/* Binds an abstract address and names it in NOTIFY_SOCKET. */
static int open_manager(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int len = snprintf(address.sun_path, sizeof(address.sun_path), "@rlockd-test-notify-%d", (int)getpid());

    ck_assert_int_ge(fd, 0);
    setenv("NOTIFY_SOCKET", address.sun_path, 1);
    address.sun_path[0] = '\0';
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len)),
                     0);
    return fd;
}

static void expect(int fd, const char *text)
{
    char got[1024];
    ssize_t len = recv(fd, got, sizeof(got) - 1, 0);

    ck_assert_int_ge(len, 0);
    got[len] = '\0';
    ck_assert_str_eq(got, text);
}

START_TEST(each_message_arrives)
{
    int fd = open_manager();

    notify_ready();
    expect(fd, "READY=1");
    notify_reloading();
    expect(fd, "RELOADING=1");
    notify_stopping();
    expect(fd, "STOPPING=1");
    notify_watchdog();
    expect(fd, "WATCHDOG=1");
    notify_status("%d locks held", 3);
    expect(fd, "STATUS=3 locks held");
    notify_status("a\nREADY=1");
    expect(fd, "STATUS=a");
    close(fd);
}
END_TEST

START_TEST(without_a_manager_nothing_happens)
{
    static const char *const paths[] = {"", "/", "relative", "/nonexistent/socket", "@rlockd-test-nobody"};
    char endless[256];

    unsetenv("NOTIFY_SOCKET");
    notify_ready();
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        setenv("NOTIFY_SOCKET", paths[i], 1);
        notify_ready();
    }
    memset(endless, '/', sizeof(endless) - 1);
    endless[sizeof(endless) - 1] = '\0';
    setenv("NOTIFY_SOCKET", endless, 1);
    notify_ready();
}
END_TEST

/* The queue of a Unix datagram socket is short; sending more than it takes must come back. */
START_TEST(a_manager_that_does_not_read_is_not_waited_for)
{
    int fd = open_manager(), n = 0;
    char got[64];

    for (int i = 0; i < 10000; i++) {
        notify_watchdog();
    }
    while (recv(fd, got, sizeof(got), 0) > 0) {
        n++;
    }
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_int_gt(n, 0);
    ck_assert_int_lt(n, 10000);
    notify_ready(); /* and it goes on when there is room again */
    expect(fd, "READY=1");
    close(fd);
}
END_TEST

START_TEST(watchdog_interval)
{
    char pid[16];

    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    ck_assert_int_eq(notify_watchdog_interval_ms(), 0);
    setenv("WATCHDOG_USEC", "10000000", 1);
    ck_assert_int_eq(notify_watchdog_interval_ms(), 5000);
    setenv("WATCHDOG_PID", pid, 1);
    ck_assert_int_eq(notify_watchdog_interval_ms(), 5000);
    setenv("WATCHDOG_PID", "1", 1); /* somebody else's */
    ck_assert_int_eq(notify_watchdog_interval_ms(), 0);
    unsetenv("WATCHDOG_PID");
    setenv("WATCHDOG_USEC", "100", 1);
    ck_assert_int_eq(notify_watchdog_interval_ms(), 1);
    setenv("WATCHDOG_USEC", "nonsense", 1);
    ck_assert_int_eq(notify_watchdog_interval_ms(), 0);
}
END_TEST

Suite *test_notify_suite(void)
{
    Suite *suite = suite_create("notify");
    TCase *tcase = tcase_create("manager");

    tcase_add_test(tcase, each_message_arrives);
    tcase_add_test(tcase, without_a_manager_nothing_happens);
    tcase_add_test(tcase, a_manager_that_does_not_read_is_not_waited_for);
    tcase_add_test(tcase, watchdog_interval);
    suite_add_tcase(suite, tcase);
    return suite;
}
