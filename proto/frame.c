/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Newline framing. Knows nothing of what a line says.
 *
 *     kept                fed
 *     [{"jsonrpc":"2.0"]  [,"method":"ping"}\n{"jsonrpc":"2.0","m]
 *      no \n in here       |- joined to kept -||- kept next -----|
 *
 * The \r of a line that ends in \r\n does not count towards its length. As long as the \n has not
 * come, nobody knows what the \r will be, so one byte more than line_max may be kept if it is a \r.
 */

#include "proto/frame.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    FRAME_CAP_MIN = 256,
    FRAME_CAP_IDLE = 4096, /* what a frame keeps when nothing is in it: a large line is rare */
};

void frame_init(struct frame *frame, size_t line_max)
{
    assert(line_max > 0);
    *frame = (struct frame){.line_max = line_max};
}

void frame_deinit(struct frame *frame)
{
    free(frame->kept);
    *frame = (struct frame){.line_max = frame->line_max};
}

void frame_feed(struct frame *frame, const char *bytes, size_t len)
{
    assert(frame->fed_len == 0 || frame->failed);
    frame->fed = bytes;
    frame->fed_len = len;
}

/* Appends to what is kept. Grows by doubling. False: no memory. */
static bool frame_keep(struct frame *frame, const char *bytes, size_t len)
{
    size_t needed = frame->kept_len + len;

    if (len == 0) {
        return true;
    }
    if (needed > frame->kept_cap) {
        size_t cap = 2 * frame->kept_cap > FRAME_CAP_MIN ? 2 * frame->kept_cap : FRAME_CAP_MIN;

        cap = needed > cap ? needed : cap;
        char *kept = realloc(frame->kept, cap);
        if (kept == NULL) {
            return false;
        }
        frame->kept = kept;
        frame->kept_cap = cap;
    }
    memcpy(frame->kept + frame->kept_len, bytes, len);
    frame->kept_len = needed;
    return true;
}

static void frame_forget(struct frame *frame)
{
    frame->lent = 0;
    frame->kept_len = 0;
    if (frame->kept_cap > FRAME_CAP_IDLE) {
        free(frame->kept);
        frame->kept = NULL;
        frame->kept_cap = 0;
    }
}

/* Whether kept and the next `len` bytes make a line that is too long, wherever it may end. */
static bool frame_is_too_long(const struct frame *frame, size_t len)
{
    size_t line_len = frame->kept_len + len;
    char last = '\0';

    if (line_len <= frame->line_max) {
        return false;
    }
    if (len > 0) {
        last = frame->fed[len - 1];
    } else if (frame->kept_len > 0) {
        last = frame->kept[frame->kept_len - 1];
    }
    return line_len > frame->line_max + 1 || last != '\r';
}

static int frame_fail(struct frame *frame, int outcome)
{
    frame_forget(frame);
    frame->fed_len = 0;
    frame->failed = outcome;
    return outcome;
}

int frame_next(struct frame *frame, const char **ret_line, size_t *ret_len)
{
    if (frame->lent) {
        frame_forget(frame);
    }
    if (frame->failed) {
        return frame->failed;
    }
    if (frame->fed_len == 0) {
        return FRAME_E_MORE;
    }

    /* Never looks further than a line of the largest size, its \r and its \n could reach. */
    size_t reach = frame->line_max + 2 - frame->kept_len;
    const char *end = memchr(frame->fed, '\n', frame->fed_len < reach ? frame->fed_len : reach);
    size_t len = end != NULL ? (size_t)(end - frame->fed) : frame->fed_len;
    if (frame_is_too_long(frame, len)) {
        return frame_fail(frame, FRAME_E_TOO_LONG);
    }
    if (end == NULL) {
        if (!frame_keep(frame, frame->fed, len)) {
            return frame_fail(frame, FRAME_E_NO_MEMORY);
        }
        frame->fed_len = 0;
        return FRAME_E_MORE;
    }

    const char *line = frame->fed;
    size_t line_len = len;
    if (frame->kept_len > 0) {
        if (!frame_keep(frame, frame->fed, len)) {
            return frame_fail(frame, FRAME_E_NO_MEMORY);
        }
        frame->lent = 1;
        line = frame->kept;
        line_len = frame->kept_len;
    }
    frame->fed += len + 1;
    frame->fed_len -= len + 1;
    if (line_len > 0 && line[line_len - 1] == '\r') {
        line_len--;
    }
    *ret_line = line;
    *ret_len = line_len;
    return 0;
}
