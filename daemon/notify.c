/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The service manager's protocol. libsystemd says whether the watchdog is on; the sending is our own,
 * because sd_notify() waits when the manager's queue is full, and a lock daemon that waits for its
 * manager loses leases.
 */

#include "daemon/notify.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

enum { NOTIFY_STATUS_CAP = 256 };

static void notify_send(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = path != NULL ? strlen(path) : 0;

    if (len < 2 || len >= sizeof(address.sun_path) || (path[0] != '/' && path[0] != '@')) {
        return;
    }
    memcpy(address.sun_path, path, len);
    if (path[0] == '@') {
        address.sun_path[0] = '\0'; /* an address without a file */
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return;
    }
    (void)sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&address,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)); /* what cannot be sent is lost */
    close(fd);
}

void notify_ready(void)
{
    notify_send("READY=1");
}

void notify_reloading(void)
{
    notify_send("RELOADING=1");
}

void notify_stopping(void)
{
    notify_send("STOPPING=1");
}

void notify_status(const char *fmt, ...)
{
    char text[NOTIFY_STATUS_CAP] = "STATUS=";
    size_t len = strlen(text);
    va_list args;

    va_start(args, fmt);
    vsnprintf(text + len, sizeof(text) - len, fmt, args);
    va_end(args);
    text[strcspn(text, "\n")] = '\0'; /* a newline would begin another message */
    notify_send(text);
}

int64_t notify_watchdog_interval_ms(void)
{
    uint64_t usec;

    if (sd_watchdog_enabled(/* unset_environment= */ 0, &usec) <= 0) {
        return 0;
    }
    int64_t interval_ms = (int64_t)(usec / 2000);
    return interval_ms > 0 ? interval_ms : 1;
}

void notify_watchdog(void)
{
    notify_send("WATCHDOG=1");
}
