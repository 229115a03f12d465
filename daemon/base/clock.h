/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * The only reader of the clock: CLOCK_BOOTTIME, which goes on while the machine sleeps, so that a
 * suspended host finds its leases over when it wakes. Wall-clock time is never used.
 */

#include <stdint.h>

int64_t clock_now_ms(void);
