/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * One line per fact, to stderr, with the syslog priority in front ("<6>...") when the journal reads
 * it. Never blocks: stderr that does not take a line loses it, and the loss is counted.
 * Foreign text must have gone through text_safe() (buf.h).
 */

#include "daemon/base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum log_level {
    LOG_LEVEL_ERROR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_NOTICE = 5,
    LOG_LEVEL_INFO = 6,
    LOG_LEVEL_DEBUG = 7
};

void log_setup(enum log_level level, bool with_priority);
bool log_is_on(enum log_level level);
void log_line(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);
uint64_t log_dropped(void); /* lines that could not be written since the start */

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...) log_line(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                              \
    do {                                            \
        if (log_is_on(LOG_LEVEL_DEBUG))             \
            log_line(LOG_LEVEL_DEBUG, __VA_ARGS__); \
    } while (0)

/* At most one line in `every_ms` from this place in the code; says how many were held back. */
struct log_limit {
    int64_t last_ms;
    uint64_t held_back;
};
void log_limited(struct log_limit *limit, int64_t every_ms, enum log_level level, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
