/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * One run of memory with a hole at its front:
 *
 *     data          start              start + len        cap
 *      |  consumed   |   the bytes      |   room           |
 *
 * The hole is closed only when room is wanted and the hole is no smaller than what has to be moved,
 * so that each byte is moved at most once for each byte consumed.
 */

#include "daemon/base/buf.h"

#include "daemon/base/alloc.h"

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BUF_CAP_MIN = 256,
    BUF_KEEP_MAX = 4096, /* what an empty buffer may keep: room for the replies of a usual turn */
    BUF_PRINTF_GUESS = 256,
    TEXT_SAFE_MAX = 64,
};

void buf_init(struct buf *buf)
{
    *buf = (struct buf){0};
}

void buf_deinit(struct buf *buf)
{
    free(buf->data);
    buf_init(buf);
}

const char *buf_bytes(const struct buf *buf)
{
    return buf->data != NULL ? buf->data + buf->start : "";
}

char *buf_reserve(struct buf *buf, size_t room)
{
    size_t needed;
    bool is_too_much = __builtin_add_overflow(buf->len, room, &needed);

    assert(!is_too_much);
    if (buf->data != NULL && room <= buf->cap - buf->start - buf->len) {
        return buf->data + buf->start + buf->len;
    }
    if (buf->start >= buf->len && needed <= buf->cap && buf->data != NULL) {
        memcpy(buf->data, buf->data + buf->start, buf->len);
    } else {
        size_t cap = buf->cap > SIZE_MAX / 2 ? SIZE_MAX : 2 * buf->cap;

        cap = cap < BUF_CAP_MIN ? BUF_CAP_MIN : cap;
        cap = cap < needed ? needed : cap;
        char *data = alloc_bytes(cap);
        if (buf->data != NULL) {
            memcpy(data, buf->data + buf->start, buf->len);
        }
        free(buf->data);
        buf->data = data;
        buf->cap = cap;
    }
    buf->start = 0;
    return buf->data + buf->len;
}

void buf_commit(struct buf *buf, size_t len)
{
    assert(len <= buf->cap - buf->start - buf->len);
    buf->len += len;
}

void buf_append(struct buf *buf, const char *bytes, size_t len)
{
    if (len > 0) {
        memcpy(buf_reserve(buf, len), bytes, len);
        buf_commit(buf, len);
    }
}

void buf_printf(struct buf *buf, const char *fmt, ...)
{
    va_list args, again;
    char *room = buf_reserve(buf, BUF_PRINTF_GUESS);

    va_start(args, fmt);
    va_copy(again, args);
    int len = vsnprintf(room, BUF_PRINTF_GUESS, fmt, args);
    assert(len >= 0);
    if (len >= BUF_PRINTF_GUESS) {
        room = buf_reserve(buf, (size_t)len + 1);
        vsnprintf(room, (size_t)len + 1, fmt, again);
    }
    va_end(again);
    va_end(args);
    buf_commit(buf, (size_t)len);
}

void buf_consume(struct buf *buf, size_t len)
{
    assert(len <= buf->len);
    buf->len -= len;
    buf->start = buf->len > 0 ? buf->start + len : 0;
}

void buf_clear(struct buf *buf)
{
    if (buf->cap > BUF_KEEP_MAX) {
        buf_deinit(buf);
    }
    buf->start = 0;
    buf->len = 0;
}

const char *text_safe(const char *bytes, size_t len, char ret[TEXT_SAFE_CAP])
{
    static const char hex[] = "0123456789abcdef";
    char *at = ret;

    len = len < TEXT_SAFE_MAX ? len : TEXT_SAFE_MAX;
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)bytes[i];

        if (byte >= 0x20 && byte < 0x7f) {
            *at++ = (char)byte;
            continue;
        }
        *at++ = '\\';
        *at++ = 'x';
        *at++ = hex[byte >> 4];
        *at++ = hex[byte & 15];
    }
    *at = '\0';
    return ret;
}
