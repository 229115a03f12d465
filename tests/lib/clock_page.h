/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * What a test and the clock that it gives to a process have in common: a page of a file that both map.
 * See tests/programs/preload_clock.c, which is the clock, and tests/lib/preload.h.
 */

#include <stdatomic.h>
#include <stdint.h>

#define CLOCK_PAGE_VARIABLE "RLOCK_TEST_CLOCK" /* names the file */

struct clock_page {
    _Atomic int64_t boottime_ms; /* CLOCK_BOOTTIME goes ahead by so much, as if the machine had slept */
    _Atomic int64_t realtime_ms; /* CLOCK_REALTIME likewise, as if somebody had set it */
    _Atomic int64_t early_ms;    /* timers come so much before their time */

    /* When CLOCK_BOOTTIME has been read so often, counted down to 0, it goes ahead by jump_ms, or the
     * reader stands still for stall_ms. */
    _Atomic int64_t countdown;
    _Atomic int64_t jump_ms;
    _Atomic int64_t stall_ms;

    _Atomic int64_t n_reads;  /* of CLOCK_BOOTTIME */
    _Atomic int64_t n_timers; /* how often a timer was set */
};
