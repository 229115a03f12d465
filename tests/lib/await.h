/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * How tests wait: for something to be true, with a deadline that a good run never meets.
 *
 * Where there is a descriptor to poll, a test polls it. Where there is none (a counter in the
 * daemon's stats, a key in Redis) it asks again and again with AWAIT.
 */

#include <check.h>
#include <poll.h>
#include <stdint.h>
#include <time.h>

#define AWAIT_MS_MAX 10000 /* then the test has failed */

/* The clock in which the daemon gives its instants. */
static inline int64_t await_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline int64_t await_now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Looks every millisecond until `condition` holds; fails the test when that takes too long. */
#define AWAIT(condition)                                                                    \
    do {                                                                                    \
        int64_t await_end_ms = await_now_ms() + AWAIT_MS_MAX;                               \
        while (!(condition)) {                                                              \
            ck_assert_msg(await_now_ms() < await_end_ms, "never became true: " #condition); \
            (void)poll(NULL, 0, 1);                                                         \
        }                                                                                   \
    } while (0)
