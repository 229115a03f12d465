/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 *     wire_queue() ---> out ---> wire_flush() ------------------> socket
 *          |                        | what it does not take
 *          |                        +-----> writing ------------> socket, then flushed again
 *          v
 *        ring of callbacks <--- replies, in order <--- resp <--- socket
 *
 * `out` and `writing` are two buffers because libuv keeps the bytes that it was given until it has
 * written them, while new commands go on being gathered.
 */

#include "daemon/redis/wire.h"

#include "daemon/base/alloc.h"
#include "daemon/base/clock.h"
#include "daemon/base/stats.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { WIRE_CAP_MIN = 64 };

void wire_init(struct wire *wire, struct stats *stats, void (*on_broken)(void *ctx, const char *reason),
               void *ctx)
{
    wire->stats = stats;
    wire->on_broken = on_broken;
    wire->on_message = NULL;
    wire->ctx = ctx;
    wire->stream = NULL;
    wire->is_writing = wire->is_halted = false;
    wire->resp = resp_new();
    buf_init(&wire->out);
    buf_init(&wire->writing);
    wire->slots = NULL;
    wire->head = wire->len = wire->cap = 0;
    wire->n_answered = 0;
    wire->fresh_len = 0;
}

void wire_deinit(struct wire *wire)
{
    assert(wire->stream == NULL && wire->len == 0);
    resp_free(wire->resp);
    buf_deinit(&wire->out);
    buf_deinit(&wire->writing);
    free(wire->slots);
}

static void wire_grow(struct wire *wire)
{
    size_t cap = wire->cap > 0 ? 2 * wire->cap : WIRE_CAP_MIN;
    struct wire_command *slots = alloc_bytes(cap * sizeof(*slots));

    for (size_t i = 0; i < wire->len; i++) {
        slots[i] = wire->slots[(wire->head + i) & (wire->cap - 1)];
    }
    free(wire->slots);
    wire->slots = slots;
    wire->head = 0;
    wire->cap = cap;
}

void wire_queue(struct wire *wire, int argc, const char **argv, const size_t *argv_len,
                const struct wire_command *command)
{
    size_t len = wire->out.len;

    assert(wire->stream != NULL);
    resp_print_command(&wire->out, argc, argv, argv_len);
    wire->fresh_len += wire->out.len - len;
    if (wire->len == wire->cap) {
        wire_grow(wire);
    }
    wire->slots[(wire->head + wire->len) & (wire->cap - 1)] = *command;
    wire->len++;
    wire->stats->redis_commands++;
}

const struct wire_command *wire_oldest(const struct wire *wire)
{
    return wire->len > 0 ? &wire->slots[wire->head] : NULL;
}

size_t wire_gathered_len(const struct wire *wire)
{
    return wire->out.len;
}

size_t wire_late_len(const struct wire *wire)
{
    size_t len = wire->out.len + (wire->is_writing ? uv_stream_get_write_queue_size(wire->stream) : 0);

    return len > wire->fresh_len ? len - wire->fresh_len : 0;
}

void wire_mark(struct wire *wire)
{
    wire->fresh_len = 0;
}

static bool wire_pop(struct wire *wire, struct wire_command *ret)
{
    if (wire->len == 0) {
        return false;
    }
    *ret = wire->slots[wire->head];
    wire->head = (wire->head + 1) & (wire->cap - 1);
    wire->len--;
    return true;
}

/* What comes unasked to who has subscribed: "message", the channel, the text. */
static bool wire_is_message(const struct wire *wire, const struct reply *reply)
{
    return wire->on_message != NULL && reply->kind == REPLY_LIST && reply->n_items == 3 &&
           reply->items[0].kind == REPLY_TEXT && strcmp(reply->items[0].text, "message") == 0 &&
           reply->items[2].kind == REPLY_TEXT;
}

/* Hands a reply to its command. */
static void wire_answer(struct wire *wire, const struct reply *reply)
{
    struct wire_command command;

    if (wire_is_message(wire, reply)) {
        wire->on_message(wire->ctx, reply->items[2].text, reply->items[2].len);
        return;
    }
    wire->stats->redis_errors += reply->kind == REPLY_ERROR;
    if (wire_pop(wire, &command)) {
        wire->n_answered++;
        command.on_reply(command.ctx, reply, NULL);
    } else if (reply->kind == REPLY_ERROR) {
        wire->on_broken(wire->ctx, reply->text); /* "ERR max number of clients reached", and such */
    } else {
        wire->on_broken(wire->ctx, "a reply that nobody had asked for");
    }
}

static void wire_on_read(uv_stream_t *stream, ssize_t n_read, const uv_buf_t *room)
{
    struct wire *wire = stream->data;
    const struct reply *reply;
    int r = RESP_E_MORE;

    if (wire->is_halted || n_read == 0) {
        return;
    }
    if (n_read < 0) {
        wire->on_broken(wire->ctx,
                        n_read == UV_EOF ? "Redis closed the connection" : uv_strerror((int)n_read));
        return;
    }
    wire->heard_at_ms = clock_now_ms();
    resp_feed(wire->resp, room->base, (size_t)n_read);
    /* Each callback may be the one after which this stream is none of ours any more. */
    while (wire->stream == stream && !wire->is_halted && (r = resp_next(wire->resp, &reply)) == 0) {
        wire_answer(wire, reply);
    }
    if (wire->stream != stream || wire->is_halted) {
        return;
    }
    if (r == RESP_E_BAD) {
        wire->on_broken(wire->ctx, resp_fault(wire->resp));
    } else if (wire->len == 0 && wire->on_message == NULL && !resp_is_between(wire->resp)) {
        wire->on_broken(wire->ctx, "bytes that nobody had asked for");
    }
}

static void wire_on_alloc(uv_handle_t *handle, size_t wanted, uv_buf_t *ret)
{
    struct wire *wire = handle->data;

    (void)wanted;
    *ret = uv_buf_init(wire->room, sizeof(wire->room));
}

static void wire_on_written(uv_write_t *write, int status)
{
    struct wire *wire = write->data;

    wire->is_writing = false;
    buf_clear(&wire->writing);
    if (wire->stream == NULL || wire->is_halted) {
        return;
    }
    int r = status < 0 ? status : wire_flush(wire);
    if (r < 0) {
        wire->on_broken(wire->ctx, uv_strerror(r));
    }
}

int wire_flush(struct wire *wire)
{
    if (wire->out.len == 0 || wire->is_writing || wire->is_halted) {
        return 0;
    }
    uv_buf_t bytes = uv_buf_init((char *)buf_bytes(&wire->out), (unsigned)wire->out.len);
    int n_written = uv_try_write(wire->stream, &bytes, 1);
    wire->stats->redis_writes++;
    if (n_written < 0 && n_written != UV_EAGAIN) {
        return n_written;
    }
    buf_consume(&wire->out, n_written > 0 ? (size_t)n_written : 0);
    if (wire->out.len == 0) {
        buf_clear(&wire->out);
        return 0;
    }
    struct buf empty = wire->writing;
    wire->writing = wire->out;
    wire->out = empty;
    bytes = uv_buf_init((char *)buf_bytes(&wire->writing), (unsigned)wire->writing.len);
    wire->write.data = wire;
    int r = uv_write(&wire->write, wire->stream, &bytes, 1, wire_on_written);
    wire->is_writing = r == 0;
    return r;
}

int wire_start(struct wire *wire, uv_stream_t *stream)
{
    assert(wire->stream == NULL && wire->len == 0 && !wire->is_writing);
    stream->data = wire;
    wire->stream = stream;
    wire->is_halted = false;
    wire->heard_at_ms = clock_now_ms();
    resp_reset(wire->resp);
    return uv_read_start(stream, wire_on_alloc, wire_on_read);
}

void wire_halt(struct wire *wire)
{
    wire->is_halted = true;
}

void wire_stop(struct wire *wire, const char *reason)
{
    struct wire_command command;

    wire->stream = NULL;
    buf_clear(&wire->out);
    while (wire_pop(wire, &command)) {
        command.on_reply(command.ctx, NULL, reason);
    }
}
