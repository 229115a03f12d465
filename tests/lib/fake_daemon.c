/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Waits on the socket itself; a deadline in the kernel ends what would wait for ever.
 */

#include "tests/lib/fake_daemon.h"

#include "tests/lib/await.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

void fake_daemon_open(struct fake_daemon *fake)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = AWAIT_MS_MAX / 1000};

    fake->fd = -1;
    fake->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", scratch_path(fake->path, "fake.sock"));
    ck_assert_int_eq(bind(fake->listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(fake->listen_fd, 1), 0);
    ck_assert_int_eq(setsockopt(fake->listen_fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
}

void fake_daemon_accept(struct fake_daemon *fake)
{
    struct timeval limit = {.tv_sec = AWAIT_MS_MAX / 1000};

    fake->fd = accept4(fake->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    ck_assert_int_ge(fake->fd, 0);
    ck_assert_int_eq(setsockopt(fake->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
}

void fake_daemon_hang_up(struct fake_daemon *fake)
{
    close(fake->fd);
    fake->fd = -1;
}

void fake_daemon_close(struct fake_daemon *fake)
{
    if (fake->fd >= 0) {
        fake_daemon_hang_up(fake);
    }
    close(fake->listen_fd);
}

int64_t fake_daemon_hear(struct fake_daemon *fake)
{
    size_t len = 0;
    const char *id;

    do {
        ck_assert_uint_lt(len, sizeof(fake->request) - 1);
        ck_assert_int_eq(recv(fake->fd, fake->request + len, 1, 0), 1);
    } while (fake->request[len++] != '\n');
    fake->request[len] = '\0';
    id = strstr(fake->request, "\"id\":");
    return id != NULL ? strtoll(id + strlen("\"id\":"), NULL, 10) : 0;
}

void fake_daemon_say(struct fake_daemon *fake, const char *text)
{
    ck_assert_int_eq(send(fake->fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

void fake_daemon_answer(struct fake_daemon *fake, int64_t id, const char *answer)
{
    char text[1024];

    (void)snprintf(text, sizeof(text), "{\"jsonrpc\":\"2.0\",\"id\":%lld,%s}\n", (long long)id, answer);
    fake_daemon_say(fake, text);
}
