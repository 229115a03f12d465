/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * A growable run of bytes: appended at the end, consumed at the front. Replies are printed straight
 * into the room that buf_reserve() hands out (proto/print.h), so that no reply is copied.
 */

#include "daemon/base/err.h"

#include <stddef.h>
#include <stdint.h>

struct buf {
    char *data;
    size_t start; /* first byte not consumed yet */
    size_t len;   /* bytes from start on */
    size_t cap;
};

void buf_init(struct buf *buf);
void buf_deinit(struct buf *buf);
const char *buf_bytes(const struct buf *buf); /* good until the next change; not NUL-terminated */

char *buf_reserve(struct buf *buf, size_t room); /* at least this much room at the end; see buf_commit */
void buf_commit(struct buf *buf, size_t len);    /* that many bytes were written at buf_reserve's pointer */
void buf_append(struct buf *buf, const char *bytes, size_t len);
void buf_printf(struct buf *buf, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_consume(struct buf *buf, size_t len);
void buf_clear(struct buf *buf); /* empty; keeps a small buffer, frees a large one */

/*
 * Copies foreign text for a message or a log line into `ret` (an array of TEXT_SAFE_CAP bytes):
 * cut to 64 bytes, everything outside printable ASCII as \xNN, the result NUL-terminated.
 */
#define TEXT_SAFE_CAP (64 * 4 + 1)
const char *text_safe(const char *bytes, size_t len, char ret[TEXT_SAFE_CAP]);
