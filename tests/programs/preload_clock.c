/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * A clock for a process under test, put before the C library with LD_PRELOAD. CLOCK_BOOTTIME and
 * CLOCK_REALTIME say what a page says that the test has mapped as well (tests/lib/clock_page.h);
 * CLOCK_MONOTONIC is left alone, since it stands still while a machine sleeps.
 *
 * The kernel wakes up who has set a timer on CLOCK_BOOTTIME when the machine has slept past it. Here, where
 * it has not slept, the poll is cut into slices, and the timer is set anew when the clock has moved.
 *
 * Without a page it changes nothing. It allocates nothing and looks up no name before it is asked the
 * time, because redis-server's allocator asks before anything else has begun.
 */

#include "tests/lib/clock_page.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { SLICE_MS = 5, MASK_LEN = 8 /* of the kernel's signals */ };

static struct clock_page *page;
static int timer_fd = -1;         /* the one that was set last, on an instant of CLOCK_BOOTTIME */
static struct itimerspec timer;   /* what it was set to, in the shifted clock */
static int64_t timer_boottime_ms; /* the shift at that time */

__attribute__((constructor)) static void clock_map(void)
{
    const char *path = getenv(CLOCK_PAGE_VARIABLE);
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;

    if (fd >= 0) {
        void *map = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

        page = map != MAP_FAILED ? map : NULL;
        close(fd);
    }
}

static void clock_add(struct timespec *time, int64_t ms)
{
    int64_t nsec = time->tv_nsec + ms % 1000 * 1000000;

    time->tv_sec += ms / 1000 + (nsec >= 1000000000) - (nsec < 0);
    time->tv_nsec = nsec + (nsec < 0) * INT64_C(1000000000) - (nsec >= 1000000000) * INT64_C(1000000000);
}

/* It is the reader's turn to find that time has passed. */
static void clock_happen(void)
{
    int64_t stall_ms = page->stall_ms;
    struct timespec stall = {.tv_sec = stall_ms / 1000, .tv_nsec = stall_ms % 1000 * 1000000};

    page->boottime_ms += page->jump_ms;
    if (stall_ms > 0) {
        (void)syscall(SYS_nanosleep, &stall, NULL);
    }
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
    if (page != NULL && clock == CLOCK_BOOTTIME) {
        page->n_reads++;
        if (page->countdown > 0 && --page->countdown == 0) {
            clock_happen();
        }
    }
    int r = (int)syscall(SYS_clock_gettime, clock, ret);
    if (r == 0 && page != NULL && clock == CLOCK_BOOTTIME) {
        clock_add(ret, page->boottime_ms);
    } else if (r == 0 && page != NULL && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        clock_add(ret, page->realtime_ms);
    }
    return r;
}

int gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    *ret = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *ret)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (ret != NULL) {
        *ret = now.tv_sec;
    }
    return now.tv_sec;
}

static int timer_set(void)
{
    struct itimerspec real = timer;

    timer_boottime_ms = page->boottime_ms;
    clock_add(&real.it_value, -(timer_boottime_ms + page->early_ms));
    if (real.it_value.tv_sec < 0) {
        real.it_value = (struct timespec){.tv_nsec = 1}; /* over; and 0 would mean that it is not set */
    }
    return (int)syscall(SYS_timerfd_settime, timer_fd, TFD_TIMER_ABSTIME, &real, NULL);
}

int timerfd_settime(int fd, int flags, const struct itimerspec *new, struct itimerspec *old)
{
    if (page == NULL || (flags & TFD_TIMER_ABSTIME) == 0) {
        return (int)syscall(SYS_timerfd_settime, fd, flags, new, old);
    }
    page->n_timers++;
    timer_fd = fd;
    timer = *new;
    return timer_set();
}

int epoll_pwait(int fd, struct epoll_event *events, int max, int timeout_ms, const sigset_t *mask)
{
    for (;;) {
        bool is_last = page == NULL || (timeout_ms >= 0 && timeout_ms <= SLICE_MS);
        int slice_ms = is_last ? timeout_ms : SLICE_MS;

        if (page != NULL && timer_fd >= 0 && timer_boottime_ms != page->boottime_ms) {
            (void)timer_set();
        }
        int n = (int)syscall(SYS_epoll_pwait, fd, events, max, slice_ms, mask, MASK_LEN);
        if (n != 0 || is_last) {
            return n;
        }
        timeout_ms -= timeout_ms > 0 ? slice_ms : 0;
    }
}

int epoll_wait(int fd, struct epoll_event *events, int max, int timeout_ms)
{
    return epoll_pwait(fd, events, max, timeout_ms, NULL);
}
