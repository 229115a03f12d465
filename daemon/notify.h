/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * What the service manager is told: datagrams to the socket that it names in NOTIFY_SOCKET. Without
 * one, all of this does nothing. Nothing here waits: a manager that does not read loses the message.
 */

#include "daemon/base/err.h"

#include <stdint.h>

void notify_ready(void);     /* the socket can be connected to; also after a reload */
void notify_reloading(void); /* to be followed by notify_ready() */
void notify_stopping(void);
void notify_status(const char *fmt, ...) PRINTF_LIKE(1, 2); /* one line for `systemctl status` */

/*
 * How often notify_watchdog() is to be called, from the loop, so that a loop that hangs is noticed:
 * twice in the time that the manager allows. 0: it does not watch.
 */
int64_t notify_watchdog_interval_ms(void);
void notify_watchdog(void);
