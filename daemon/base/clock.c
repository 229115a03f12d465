/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Time since the machine was booted, sleep included. Rounded down, like every instant of the daemon.
 */

#include "daemon/base/clock.h"

#include <assert.h>
#include <time.h>

int64_t clock_now_ms(void)
{
    struct timespec now;
    int r = clock_gettime(CLOCK_BOOTTIME, &now);

    assert(r == 0);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
