/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Stands in for daemon/base/clock.c, for what the store needs of log.c, and for libc's getrandom(), by
 * their very names.
 */

#include "tests/sim/kernel.h"

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "tests/sim/dice.h"

#include <string.h>
#include <sys/random.h>

static int64_t kernel_now_ms;
static struct dice kernel_dice;

void kernel_reset(uint64_t seed)
{
    kernel_dice.state = ~seed;
    kernel_now_ms = 0;
}

void kernel_show_ms(int64_t now_ms)
{
    kernel_now_ms = now_ms;
}

int64_t clock_now_ms(void)
{
    return kernel_now_ms;
}

/* What goes wrong in a world is told by the world. */
void log_limited(struct log_limit *limit, int64_t every_ms, enum log_level level, const char *fmt, ...)
{
    (void)limit, (void)every_ms, (void)level, (void)fmt;
}

ssize_t getrandom(void *bytes, size_t len, unsigned flags)
{
    char *at = bytes;
    (void)flags;
    for (size_t done = 0; done < len;) {
        uint64_t roll = dice_roll(&kernel_dice);
        size_t part = len - done < sizeof(roll) ? len - done : sizeof(roll);
        memcpy(at + done, &roll, part);
        done += part;
    }
    return (ssize_t)len;
}
