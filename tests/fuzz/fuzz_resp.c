/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * What a Redis, or something in its place, may send: the reader of replies and the judge of errors.
 */

#include "daemon/redis/judge.h"
#include "daemon/redis/resp.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Looks at every byte that a reply claims to have. */
static size_t walk(const struct reply *reply, int depth)
{
    size_t sum = 0;
    assert(depth < 16);
    switch (reply->kind) {
    case REPLY_TEXT:
    case REPLY_STATUS:
    case REPLY_ERROR:
        for (size_t i = 0; i <= reply->len; i++) {
            sum += (unsigned char)reply->text[i];
        }
        assert(reply->text[reply->len] == '\0');
        if (reply->kind == REPLY_ERROR) {
            assert(judge_error(reply->text) >= ANSWER_OURS);
        }
        break;
    case REPLY_LIST:
        for (size_t i = 0; i < reply->n_items; i++) {
            sum += walk(&reply->items[i], depth + 1);
        }
        break;
    case REPLY_INTEGER:
    case REPLY_NIL:
        break;
    default:
        assert(0 && "a reply of no kind");
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct resp *resp;
    const struct reply *reply;
    if (resp == NULL) {
        resp = resp_new();
    }
    if (len == 0) {
        return 0;
    }
    resp_reset(resp);
    size_t piece = data[0] + 1u;
    int r = RESP_E_MORE;
    for (size_t at = 1; at < len && r == RESP_E_MORE; at += piece) {
        resp_feed(resp, (const char *)data + at, len - at < piece ? len - at : piece);
        while ((r = resp_next(resp, &reply)) == 0) {
            walk(reply, 0);
        }
    }
    if (r == RESP_E_BAD) {
        assert(resp_fault(resp) != NULL);
    }
    return 0;
}
