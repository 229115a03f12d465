/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * redisReader cuts the stream into replies and calls back for each part; the parts are put together
 * in one block of memory that is used again for the next reply, so that a reply costs no allocation:
 *
 *     used                 RESP_REPLY_MAX in all, then the reader is told that memory is out
 *     |------------>
 *     [ items of a list ][ text ][ text ][ items ] ...     first block; larger replies chain more of them
 *
 * Commands are written into the output directly, because hiredis' formatter would allocate for each of
 * them; hiredis is the reader only.
 */

#include "daemon/redis/resp.h"

#include "daemon/base/alloc.h"

#include <assert.h>
#include <hiredis/hiredis.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

enum { RESP_BLOCK = 4096, RESP_HEADER_MAX = 24 };

struct resp_block {
    struct resp_block *next;
    size_t used, cap;
    alignas(max_align_t) char bytes[];
};

struct resp {
    redisReader *reader;       /* NULL: none yet */
    struct resp_block *blocks; /* the newest first; the last one stays */
    size_t used;               /* by the reply that is being read */
    struct reply root;
    bool is_lent;    /* the root was handed out whole: its memory may be used again */
    bool is_between; /* the last byte that came was the end of a reply */
    bool is_bad, is_too_large;
};

/* Memory of the reply that is being read; NULL if it would be too much. */
static void *resp_room(struct resp *resp, size_t len)
{
    struct resp_block *block = resp->blocks;

    len = (len + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    if (len > RESP_REPLY_MAX - resp->used) {
        resp->is_too_large = true;
        return NULL;
    }
    if (block == NULL || len > block->cap - block->used) {
        size_t cap = len > RESP_BLOCK ? len : RESP_BLOCK;

        block = alloc_bytes(sizeof(*block) + cap);
        *block = (struct resp_block){.next = resp->blocks, .cap = cap};
        resp->blocks = block;
    }
    void *room = block->bytes + block->used;
    block->used += len;
    resp->used += len;
    return room;
}

/* The reply that went before is not needed any more. */
static void resp_recycle(struct resp *resp)
{
    while (resp->blocks != NULL && resp->blocks->next != NULL) {
        struct resp_block *next = resp->blocks->next;

        free(resp->blocks);
        resp->blocks = next;
    }
    if (resp->blocks != NULL) {
        resp->blocks->used = 0;
    }
    resp->used = 0;
}

/* Where the reply belongs: into its list, or at the top. */
static struct reply *resp_place(const redisReadTask *task)
{
    struct resp *resp = task->privdata;

    if (task->parent == NULL) {
        return &resp->root;
    }
    struct reply *list = task->parent->obj;
    assert(list->kind == REPLY_LIST && task->idx >= 0 && (size_t)task->idx < list->n_items);
    return (struct reply *)&list->items[task->idx];
}

static void *resp_on_text(const redisReadTask *task, char *bytes, size_t len)
{
    struct resp *resp = task->privdata;
    enum reply_kind kind;

    switch (task->type) {
    case REDIS_REPLY_STRING:
        kind = REPLY_TEXT;
        break;
    case REDIS_REPLY_STATUS:
        kind = REPLY_STATUS;
        break;
    case REDIS_REPLY_ERROR:
        kind = REPLY_ERROR;
        break;
    default:
        return NULL; /* RESP3, which was not asked for */
    }
    char *text = len < RESP_REPLY_MAX ? resp_room(resp, len + 1) : NULL;
    if (text == NULL) {
        resp->is_too_large = true;
        return NULL;
    }
    memcpy(text, bytes, len);
    text[len] = '\0';
    struct reply *reply = resp_place(task);
    *reply = (struct reply){.kind = kind, .text = text, .len = len};
    return reply;
}

#if HIREDIS_MAJOR >= 1
static void *resp_on_list(const redisReadTask *task, size_t n_items)
#else
static void *resp_on_list(const redisReadTask *task, int n_items)
#endif
{
    struct resp *resp = task->privdata;
    struct reply *items = NULL;

    if (task->type != REDIS_REPLY_ARRAY) {
        return NULL; /* RESP3, which was not asked for */
    }
    if (n_items > 0) {
        items = (size_t)n_items <= RESP_REPLY_MAX / sizeof(*items)
                    ? resp_room(resp, (size_t)n_items * sizeof(*items))
                    : NULL;
        if (items == NULL) {
            resp->is_too_large = true;
            return NULL;
        }
        memset(items, 0, (size_t)n_items * sizeof(*items));
    }
    struct reply *reply = resp_place(task);
    *reply = (struct reply){.kind = REPLY_LIST, .items = items, .n_items = (size_t)n_items};
    return reply;
}

static void *resp_on_integer(const redisReadTask *task, long long value)
{
    struct reply *reply = resp_place(task);

    *reply = (struct reply){.kind = REPLY_INTEGER, .integer = value};
    return reply;
}

static void *resp_on_nil(const redisReadTask *task)
{
    struct reply *reply = resp_place(task);

    *reply = (struct reply){.kind = REPLY_NIL};
    return reply;
}

#if HIREDIS_MAJOR >= 1
/* Without these two the reader would hand out small numbers as if they were replies. */
static void *resp_on_double(const redisReadTask *task, double value, char *text, size_t len)
{
    (void)task, (void)value, (void)text, (void)len;
    return NULL;
}

static void *resp_on_bool(const redisReadTask *task, int value)
{
    (void)task, (void)value;
    return NULL;
}
#endif

static void resp_on_free(void *reply)
{
    (void)reply; /* its memory goes with the block */
}

static redisReplyObjectFunctions resp_functions = {
    .createString = resp_on_text,
    .createArray = resp_on_list,
    .createInteger = resp_on_integer,
    .createNil = resp_on_nil,
#if HIREDIS_MAJOR >= 1
    .createDouble = resp_on_double,
    .createBool = resp_on_bool,
#endif
    .freeObject = resp_on_free,
};

struct resp *resp_new(void)
{
    struct resp *resp = alloc_zeroed(1, sizeof(*resp));

    resp_reset(resp);
    return resp;
}

struct resp *resp_free(struct resp *resp)
{
    if (resp != NULL) {
        resp_recycle(resp);
        free(resp->blocks);
        redisReaderFree(resp->reader);
        free(resp);
    }
    return NULL;
}

void resp_reset(struct resp *resp)
{
    if (resp->reader != NULL) {
        redisReaderFree(resp->reader);
    }
    resp_recycle(resp);
    resp->is_lent = resp->is_bad = resp->is_too_large = false;
    resp->is_between = true;
    resp->reader = redisReaderCreateWithFunctions(&resp_functions);
    if (resp->reader == NULL) {
        alloc_failed(sizeof(*resp->reader));
    }
    resp->reader->privdata = resp;
}

void resp_feed(struct resp *resp, const char *bytes, size_t len)
{
    /* Nothing that comes after an error in the stream can be understood; resp_next() will say so. */
    if (!resp->is_bad && redisReaderFeed(resp->reader, bytes, len) != REDIS_OK) {
        alloc_failed(len);
    }
    resp->is_between = false;
}

int resp_next(struct resp *resp, const struct reply **ret)
{
    void *reply = NULL;

    if (resp->is_lent) {
        resp->is_lent = false;
        resp->is_between = resp->reader->pos == resp->reader->len;
        resp_recycle(resp);
    }
    if (resp->is_between) {
        return RESP_E_MORE;
    }
    if (resp->is_bad || redisReaderGetReply(resp->reader, &reply) != REDIS_OK) {
        resp->is_bad = true;
        return RESP_E_BAD;
    }
    if (reply != NULL) {
        assert(reply == &resp->root);
        resp->is_lent = true;
        *ret = reply;
        return 0;
    }
    /* A long text is not looked at before all of it is there, so this is where its length is limited. */
    if (resp->reader->len - resp->reader->pos > RESP_REPLY_MAX) {
        resp->is_bad = resp->is_too_large = true;
        return RESP_E_BAD;
    }
    return RESP_E_MORE;
}

bool resp_is_between(const struct resp *resp)
{
    return resp->is_between;
}

const char *resp_fault(const struct resp *resp)
{
    if (resp->is_too_large) {
        return "a reply of Redis is too large";
    }
    return resp->reader->err == REDIS_ERR_PROTOCOL ? resp->reader->errstr : "not a reply of Redis";
}

/* "*3\r\n" or "$12\r\n". */
static char *resp_print_header(char *at, char type, size_t number)
{
    char digits[RESP_HEADER_MAX];
    char *digit = digits + sizeof(digits);

    do {
        *--digit = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    size_t len = (size_t)(digits + sizeof(digits) - digit);
    *at++ = type;
    memcpy(at, digit, len);
    memcpy(at + len, "\r\n", 2);
    return at + len + 2;
}

void resp_print_command(struct buf *out, int argc, const char **argv, const size_t *argv_len)
{
    size_t room = RESP_HEADER_MAX;

    assert(argc > 0);
    for (int i = 0; i < argc; i++) {
        room += argv_len[i] + RESP_HEADER_MAX + 2;
    }
    char *start = buf_reserve(out, room);
    char *at = resp_print_header(start, '*', (size_t)argc);
    for (int i = 0; i < argc; i++) {
        at = resp_print_header(at, '$', argv_len[i]);
        memcpy(at, argv[i], argv_len[i]);
        memcpy(at + argv_len[i], "\r\n", 2);
        at += argv_len[i] + 2;
    }
    buf_commit(out, (size_t)(at - start));
}
