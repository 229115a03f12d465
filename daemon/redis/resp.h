/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * Redis's protocol, both ways: replies are read by hiredis' redisReader, commands are written by us.
 * The only file that includes hiredis. Knows no socket: bytes in, replies out.
 *
 *     resp_feed(resp, bytes, len);
 *     while ((r = resp_next(resp, &reply)) == 0)
 *         ... the reply is good until the next call ...
 *     r is RESP_E_MORE: all whole replies are out. RESP_E_BAD: for good, until resp_reset().
 *
 * Lengths in a reply's headers are believed only as far as RESP_REPLY_MAX: a server that announces
 * more gets its connection broken, not our memory.
 */

#include "daemon/base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RESP_REPLY_MAX = 262144, /* bytes of one reply, on the wire and in our memory; INFO has some 6 KiB */
};

/* A reply of Redis, in this house's own words. */
enum reply_kind { REPLY_INTEGER = 1, REPLY_TEXT, REPLY_NIL, REPLY_STATUS, REPLY_ERROR, REPLY_LIST };

struct reply {
    enum reply_kind kind;
    int64_t integer;
    const char *text; /* TEXT, STATUS, ERROR: NUL-terminated behind its len bytes */
    size_t len;
    const struct reply *items; /* LIST */
    size_t n_items;
};

enum {
    RESP_E_MORE = 1, /* no whole reply is left in what was fed */
    RESP_E_BAD,      /* not RESP, or too large: see resp_fault() */
};

struct resp;

struct resp *resp_new(void);
struct resp *resp_free(struct resp *resp); /* returns NULL */

void resp_reset(struct resp *resp);                               /* a new connection: nothing was fed yet */
void resp_feed(struct resp *resp, const char *bytes, size_t len); /* copies them */
int resp_next(struct resp *resp, const struct reply **ret) MUST_CHECK;
bool resp_is_between(const struct resp *resp);   /* nothing of a further reply has come */
const char *resp_fault(const struct resp *resp); /* after RESP_E_BAD: what was wrong; not escaped */

/* Appends one command to `out`. */
void resp_print_command(struct buf *out, int argc, const char **argv, const size_t *argv_len);
