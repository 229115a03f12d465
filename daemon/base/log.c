/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * A line is put together on the stack and leaves in one write(2), or not at all.
 *
 * stderr belongs to others too (the shell that started us, its other children), so it cannot be made
 * non-blocking: that flag would be theirs as well. Instead poll(2) is asked first whether a line can
 * be taken now. A pipe that says yes has a page free, and no line is longer than PIPE_BUF, so the
 * write does not wait and lines of several writers do not mix.
 */

#include "daemon/base/log.h"

#include "daemon/base/clock.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static enum log_level log_level_max = LOG_LEVEL_INFO;
static bool log_has_priority;
static uint64_t log_n_dropped;

/* A line that grows and, when it is full, stays as it is. */
struct log_text {
    char bytes[PIPE_BUF];
    size_t len;
};

void log_setup(enum log_level level, bool with_priority)
{
    log_level_max = level;
    log_has_priority = with_priority;
}

bool log_is_on(enum log_level level)
{
    return level <= log_level_max;
}

uint64_t log_dropped(void)
{
    return log_n_dropped;
}

static void log_vappend(struct log_text *text, const char *fmt, va_list args) PRINTF_LIKE(2, 0);
static void log_vappend(struct log_text *text, const char *fmt, va_list args)
{
    size_t room = sizeof(text->bytes) - 1 - text->len; /* one stays for the newline */
    int len = vsnprintf(text->bytes + text->len, room, fmt, args);

    if (len > 0) {
        text->len += (size_t)len < room ? (size_t)len : room - 1;
    }
}

static void log_append(struct log_text *text, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void log_append(struct log_text *text, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    log_vappend(text, fmt, args);
    va_end(args);
}

static void log_write(struct log_text *text)
{
    struct pollfd target = {.fd = STDERR_FILENO, .events = POLLOUT};
    ssize_t written = -1;

    for (size_t i = 0; i < text->len; i++) {
        unsigned char byte = (unsigned char)text->bytes[i];

        if (byte < 0x20 || byte == 0x7f) {
            text->bytes[i] = '?';
        }
    }
    text->bytes[text->len++] = '\n';

    /* A hang-up counts as no room: the write would only bring SIGPIPE or EPIPE. */
    if (poll(&target, 1, /* timeout= */ 0) == 1 && target.revents == POLLOUT) {
        do {
            written = write(STDERR_FILENO, text->bytes, text->len);
        } while (written < 0 && errno == EINTR);
    }
    if (written != (ssize_t)text->len) {
        log_n_dropped++;
    }
}

/* The message behind its priority, and how many like it were not said. */
static void log_vline(enum log_level level, uint64_t held_back, const char *fmt, va_list args)
    PRINTF_LIKE(3, 0);
static void log_vline(enum log_level level, uint64_t held_back, const char *fmt, va_list args)
{
    struct log_text text;
    int saved_errno = errno;

    text.len = 0;
    if (log_has_priority) {
        log_append(&text, "<%d>", (int)level);
    }
    log_vappend(&text, fmt, args);
    if (held_back > 0) {
        log_append(&text, " (%llu more held back)", (unsigned long long)held_back);
    }
    log_write(&text);
    errno = saved_errno;
}

void log_line(enum log_level level, const char *fmt, ...)
{
    va_list args;

    if (!log_is_on(level)) {
        return;
    }
    va_start(args, fmt);
    log_vline(level, /* held_back= */ 0, fmt, args);
    va_end(args);
}

void log_limited(struct log_limit *limit, int64_t every_ms, enum log_level level, const char *fmt, ...)
{
    va_list args;

    if (!log_is_on(level)) {
        return;
    }
    int64_t now_ms = clock_now_ms();
    if (limit->last_ms != 0 && now_ms - limit->last_ms < every_ms) {
        limit->held_back++;
        return;
    }
    va_start(args, fmt);
    log_vline(level, limit->held_back, fmt, args);
    va_end(args);
    limit->last_ms = now_ms;
    limit->held_back = 0;
}
