/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * A turn of the loop:
 *
 *      timers, closed handles --> prepare: drain --> sockets are read --> check: drain --> ...
 *
 *      drain:   clock --> what has run out --> inbox, event by event --> effects --> flush
 *
 * The inbox keeps events in an array and their text in blocks that never move; both stay allocated.
 * The one timer is a timerfd on CLOCK_BOOTTIME, which wakes the loop also when the machine has slept.
 * While it is set, it is only ever set to an earlier instant: to wake once for nothing costs less than
 * to set it anew for each event.
 */

#include "daemon/engine.h"

#include "daemon/base/alloc.h"
#include "daemon/base/clock.h"
#include "daemon/core/broker.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum {
    ENGINE_BLOCK_LEN = 64 * 1024,
    ENGINE_EVENTS_PER_CLOCK = 64, /* the clock is read anew that often in a long drain */
};

/* Text of events that wait in the inbox. */
struct engine_block {
    struct engine_block *next;
    size_t used, len;
    char bytes[];
};

struct engine {
    uv_loop_t *loop;
    struct broker *broker;
    struct engine_sinks sinks;

    uv_prepare_t prepare;
    uv_check_t check;
    uv_poll_t timer;
    int timer_fd;
    int64_t timer_at_ms; /* what it is set to; DEADLINE_NEVER if it is not */
    int n_handles;       /* open ones; the memory goes with the last */

    struct event *inbox;
    size_t inbox_len, inbox_cap;
    struct engine_block *blocks; /* the newest first; the oldest is kept for ever */
};

/* --- the inbox ------------------------------------------------------------------------------------- */

static struct engine_block *engine_new_block(struct engine *engine, size_t len)
{
    struct engine_block *block = alloc_bytes(sizeof(*block) + len);
    *block = (struct engine_block){.next = engine->blocks, .len = len};
    engine->blocks = block;
    return block;
}

/* A copy of the text that lives until the drain is done, NUL-terminated. */
static const char *engine_keep(struct engine *engine, const char *text, size_t len)
{
    if (text == NULL)
        return NULL;
    struct engine_block *block = engine->blocks;
    if (block == NULL || block->len - block->used <= len)
        block = engine_new_block(engine, len < ENGINE_BLOCK_LEN ? ENGINE_BLOCK_LEN : len + 1);
    char *copy = block->bytes + block->used;
    memcpy(copy, text, len);
    copy[len] = '\0';
    block->used += len + 1;
    return copy;
}

static void engine_keep_request(struct engine *engine, struct ev_request *from)
{
    from->key = engine_keep(engine, from->key, from->key_len);
}

static void engine_keep_text(struct engine *engine, const char **text)
{
    *text = engine_keep(engine, *text, *text != NULL ? strlen(*text) : 0);
}

void engine_post(struct engine *engine, const struct event *event)
{
    if (engine->inbox_len == engine->inbox_cap) {
        engine->inbox_cap = engine->inbox_cap == 0 ? 256 : engine->inbox_cap * 2;
        engine->inbox = alloc_resize(engine->inbox, engine->inbox_cap * sizeof(*engine->inbox));
    }
    struct event *copy = &engine->inbox[engine->inbox_len++];
    *copy = *event;
    switch (copy->kind) {
    case EV_CLAIM:
        engine_keep_request(engine, &copy->claim.from);
        copy->claim.note = engine_keep(engine, copy->claim.note, copy->claim.note_len);
        break;
    case EV_UNLOCK:
        engine_keep_request(engine, &copy->unlock.from);
        break;
    case EV_REFRESH:
        engine_keep_request(engine, &copy->refresh.from);
        break;
    case EV_CANCEL:
        engine_keep_request(engine, &copy->cancel.from);
        break;
    case EV_INSPECT:
        engine_keep_request(engine, &copy->inspect);
        break;
    case EV_FORCE:
        engine_keep_request(engine, &copy->force);
        break;
    case EV_OUTCOME:
        engine_keep_text(engine, &copy->outcome.text);
        break;
    case EV_QUERIED:
        engine_keep_request(engine, &copy->queried.from);
        engine_keep_text(engine, &copy->queried.text);
        break;
    case EV_LINK:
        engine_keep_text(engine, &copy->link.text);
        break;
    case EV_TIME:
    case EV_ECHO:
    case EV_PEER_GONE:
    case EV_STOP:
    case EV_SETTINGS:
        break;
    }
}

static void engine_empty_inbox(struct engine *engine)
{
    engine->inbox_len = 0;
    while (engine->blocks != NULL && engine->blocks->next != NULL) {
        struct engine_block *block = engine->blocks;
        engine->blocks = block->next;
        free(block);
    }
    if (engine->blocks != NULL)
        engine->blocks->used = 0;
}

/* --- the drain ------------------------------------------------------------------------------------- */

static void engine_step(struct engine *engine, const struct event *event)
{
    const struct effects *effects = broker_step(engine->broker, event);
    for (size_t i = 0; i < effects->len; i++) {
        const struct effect *effect = &effects->list[i];
        if (effect->kind <= FX_FORCE)
            engine->sinks.to_store(engine->sinks.store_ctx, effect);
        else
            engine->sinks.to_peer(engine->sinks.peer_ctx, effect);
    }
}

static void engine_set_timer(struct engine *engine)
{
    int64_t at_ms = broker_deadline(engine->broker);
    if (at_ms >= engine->timer_at_ms)
        return;
    engine->timer_at_ms = at_ms;
    struct itimerspec spec = {
        .it_value.tv_sec = at_ms / 1000,
        .it_value.tv_nsec = at_ms % 1000 * 1000000,
    };
    int r = timerfd_settime(engine->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
    assert(r == 0);
}

/*
 * Ends because an event that a sink posts in answer to an effect (a command that could not be sent)
 * makes the broker wait for time, not ask again.
 */
static void engine_drain_inbox(struct engine *engine)
{
    int64_t now_ms = clock_now_ms();
    if (broker_deadline(engine->broker) <= now_ms)
        engine_step(engine, &(struct event){.kind = EV_TIME, .now_ms = now_ms});
    for (size_t i = 0; i < engine->inbox_len; i++) {
        if (i % ENGINE_EVENTS_PER_CLOCK == ENGINE_EVENTS_PER_CLOCK - 1)
            now_ms = clock_now_ms();
        struct event event = engine->inbox[i]; /* the array may move while sinks post */
        event.now_ms = now_ms;
        engine_step(engine, &event);
    }
    engine_empty_inbox(engine);
}

static void engine_drain(struct engine *engine)
{
    do {
        engine_drain_inbox(engine);
        engine->sinks.flush(engine->sinks.flush_ctx);
    } while (engine->inbox_len > 0); /* a client turned out to be gone when it was written to */
    engine_set_timer(engine);
}

static void engine_on_prepare(uv_prepare_t *prepare)
{
    engine_drain(prepare->data);
}

static void engine_on_check(uv_check_t *check)
{
    engine_drain(check->data);
}

/* Only wakes the loop: the check handle comes next. */
static void engine_on_timer(uv_poll_t *poll, int status, int events)
{
    struct engine *engine = poll->data;
    uint64_t n_expired;
    (void)status;
    (void)events;
    if (read(engine->timer_fd, &n_expired, sizeof(n_expired)) > 0)
        engine->timer_at_ms = DEADLINE_NEVER;
}

/* --- opening and closing --------------------------------------------------------------------------- */

static void engine_on_closed(uv_handle_t *handle)
{
    struct engine *engine = handle->data;
    if (--engine->n_handles > 0)
        return;
    close(engine->timer_fd);
    engine_empty_inbox(engine);
    free(engine->blocks);
    free(engine->inbox);
    free(engine);
}

int engine_open(struct engine **ret, uv_loop_t *loop, struct broker *broker, const struct engine_sinks *sinks)
{
    int timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (timer_fd < 0)
        return -errno;
    struct engine *engine = alloc_zeroed(1, sizeof(*engine));
    engine->loop = loop;
    engine->broker = broker;
    engine->sinks = *sinks;
    engine->timer_fd = timer_fd;
    engine->timer_at_ms = DEADLINE_NEVER;
    engine->prepare.data = engine->check.data = engine->timer.data = engine;
    int r = uv_poll_init(loop, &engine->timer, timer_fd);
    if (r < 0) {
        close(timer_fd);
        free(engine);
        return r;
    }
    uv_prepare_init(loop, &engine->prepare);
    uv_check_init(loop, &engine->check);
    engine->n_handles = 3;
    uv_prepare_start(&engine->prepare, engine_on_prepare);
    uv_check_start(&engine->check, engine_on_check);
    r = uv_poll_start(&engine->timer, UV_READABLE, engine_on_timer);
    assert(r == 0); /* a fresh descriptor, a fresh handle */
    *ret = engine;
    return 0;
}

void engine_close(struct engine *engine)
{
    uv_close((uv_handle_t *)&engine->prepare, engine_on_closed);
    uv_close((uv_handle_t *)&engine->check, engine_on_closed);
    uv_close((uv_handle_t *)&engine->timer, engine_on_closed);
}
