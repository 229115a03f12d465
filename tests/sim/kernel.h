/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * What the daemon's own code gets from the kernel, here from the world: clock_now_ms() of
 * daemon/base/clock.h and getrandom(2), both for the host that runs at this moment.
 */

#include <stdint.h>

/* A new world: its random bytes begin anew. */
void kernel_reset(uint64_t seed);
/* What clock_now_ms() shows until the next call. */
void kernel_show_ms(int64_t now_ms);
