/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * Bytes in, lines out: the framing of both directions.
 *
 * A line ends with \n; a \r before it is not part of it. No byte is looked at twice, and a line that
 * arrives whole is lent from the fed bytes without a copy; only what is left of a line whose end has
 * not come yet is kept, at most `line_max` bytes of it and a \r that may belong to its end.
 *
 *     frame_feed(&frame, bytes, len);
 *     while ((r = frame_next(&frame, &line, &line_len)) == 0)
 *         ... the line is good until the next call ...
 *     r is FRAME_E_MORE: all is consumed; feed the next bytes. Anything else: for good.
 */

#include <stddef.h>

enum {
    FRAME_E_MORE = 1,  /* no whole line left in what was fed */
    FRAME_E_TOO_LONG,  /* a line exceeds line_max (its end not counted); no way back into the stream */
    FRAME_E_NO_MEMORY, /* for a line in pieces; as little a way back */
};

struct frame {
    const char *fed; /* borrowed, what frame_next has not consumed yet */
    size_t fed_len;
    char *kept; /* the beginning of a line whose end has not come yet */
    size_t kept_len, kept_cap;
    size_t line_max;
    int lent;   /* whether `kept` was lent as a line and is to be forgotten at the next call */
    int failed; /* the outcome that is for good, or 0 */
};

void frame_init(struct frame *frame, size_t line_max);
void frame_deinit(struct frame *frame);

/* `bytes` stay the caller's and must stay until frame_next() has said FRAME_E_MORE. */
void frame_feed(struct frame *frame, const char *bytes, size_t len);

/* 0 and a line (without its end, not NUL-terminated, maybe empty), or an outcome above. */
int frame_next(struct frame *frame, const char **ret_line, size_t *ret_len);
