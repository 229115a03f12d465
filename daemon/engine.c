/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * A turn of the loop:
 *
 *      timers, closed handles --> prepare: drain --> sockets are read --> check: drain --> ...
 *
 *      drain:   inbox, event by event: clock --> what has run out --> the event --> effects; flush
 *
 * There are two inboxes: one is drained while the other is filled. So a drain does what there was when it
 * began, and no more; what its sinks post comes in the next turn, for which the loop does not sleep. An
 * inbox keeps events in an array and their text in blocks that never move.
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
    ENGINE_EVENTS_KEPT = 4096, /* what an empty inbox may keep allocated */
};

/* Text of events that wait in the inbox. */
struct engine_block {
    struct engine_block *next;
    size_t used, len;
    char bytes[];
};

struct engine_inbox {
    struct event *events;
    size_t len, cap;
    struct engine_block *blocks; /* the newest first */
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

    uv_idle_t more; /* active while an inbox waits: keeps the loop from sleeping */
    struct engine_inbox inboxes[2];
    struct engine_inbox *filling; /* the one that engine_post() fills */
};

/* --- the inbox ------------------------------------------------------------------------------------- */

static struct engine_block *engine_new_block(struct engine_inbox *inbox, size_t len)
{
    struct engine_block *block = alloc_bytes(sizeof(*block) + len);
    *block = (struct engine_block){.next = inbox->blocks, .len = len};
    inbox->blocks = block;
    return block;
}

/* A copy of the text that lives until its event has been carried out, NUL-terminated. */
static const char *engine_keep(struct engine *engine, const char *text, size_t len)
{
    struct engine_inbox *inbox = engine->filling;
    if (text == NULL) {
        return NULL;
    }
    struct engine_block *block = inbox->blocks;
    if (block == NULL || block->len - block->used <= len) {
        block = engine_new_block(inbox, len < ENGINE_BLOCK_LEN ? ENGINE_BLOCK_LEN : len + 1);
    }
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
    struct engine_inbox *inbox = engine->filling;
    if (inbox->len == inbox->cap) {
        inbox->cap = inbox->cap == 0 ? 256 : inbox->cap * 2;
        inbox->events = alloc_resize(inbox->events, inbox->cap * sizeof(*inbox->events));
    }
    struct event *copy = &inbox->events[inbox->len++];
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
    case EV_OFFERED:
    case EV_RECALLED:
        copy->hint.key = engine_keep(engine, copy->hint.key, copy->hint.key_len);
        break;
    case EV_TIME:
    case EV_ECHO:
    case EV_PEER_GONE:
    case EV_HEARING:
    case EV_STOP:
    case EV_SETTINGS:
        break;
    }
}

/* Forgets what was in it, and gives back what a burst has made it allocate. */
static void engine_empty_inbox(struct engine_inbox *inbox)
{
    inbox->len = 0;
    while (inbox->blocks != NULL && inbox->blocks->next != NULL) {
        struct engine_block *block = inbox->blocks;
        inbox->blocks = block->next;
        free(block);
    }
    if (inbox->blocks != NULL) {
        inbox->blocks->used = 0;
    }
    if (inbox->cap > ENGINE_EVENTS_KEPT) {
        free(inbox->events);
        inbox->events = NULL;
        inbox->cap = 0;
    }
}

static void engine_free_inbox(struct engine_inbox *inbox)
{
    engine_empty_inbox(inbox);
    free(inbox->blocks);
    free(inbox->events);
}

/* --- the drain ------------------------------------------------------------------------------------- */

static void engine_step(struct engine *engine, const struct event *event)
{
    const struct effects *effects = broker_step(engine->broker, event);
    for (size_t i = 0; i < effects->len; i++) {
        const struct effect *effect = &effects->list[i];
        if (effect->kind <= FX_FORCE) {
            engine->sinks.to_store(engine->sinks.store_ctx, effect);
        } else {
            engine->sinks.to_peer(engine->sinks.peer_ctx, effect);
        }
    }
}

static void engine_set_timer(struct engine *engine)
{
    int64_t at_ms = broker_deadline(engine->broker);
    if (at_ms >= engine->timer_at_ms) {
        return;
    }
    engine->timer_at_ms = at_ms;
    struct itimerspec spec = {
        .it_value.tv_sec = at_ms / 1000,
        .it_value.tv_nsec = at_ms % 1000 * 1000000,
    };
    int r = timerfd_settime(engine->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
    assert(r == 0);
}

/* The clock is read for each event, so that a process that was stopped between two of them grants
 * nothing on what ran out meanwhile. */
static void engine_drain_inbox(struct engine *engine)
{
    struct engine_inbox *inbox = engine->filling;
    engine->filling = inbox == &engine->inboxes[0] ? &engine->inboxes[1] : &engine->inboxes[0];
    for (size_t i = 0; i < inbox->len; i++) {
        inbox->events[i].now_ms = clock_now_ms();
        engine_step(engine, &inbox->events[i]);
    }
    engine_empty_inbox(inbox);
}

static void engine_on_more(uv_idle_t *idle)
{
    (void)idle;
}

static void engine_drain(struct engine *engine)
{
    int64_t now_ms = clock_now_ms();
    if (broker_deadline(engine->broker) <= now_ms) {
        engine_step(engine, &(struct event){.kind = EV_TIME, .now_ms = now_ms});
    }
    engine_drain_inbox(engine);
    engine->sinks.flush(engine->sinks.flush_ctx);
    engine_set_timer(engine);
    if (engine->filling->len > 0) {
        uv_idle_start(&engine->more, engine_on_more);
    } else {
        uv_idle_stop(&engine->more);
    }
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
    if (read(engine->timer_fd, &n_expired, sizeof(n_expired)) > 0) {
        engine->timer_at_ms = DEADLINE_NEVER;
    }
}

/* --- opening and closing --------------------------------------------------------------------------- */

static void engine_on_closed(uv_handle_t *handle)
{
    struct engine *engine = handle->data;
    if (--engine->n_handles > 0) {
        return;
    }
    close(engine->timer_fd);
    engine_free_inbox(&engine->inboxes[0]);
    engine_free_inbox(&engine->inboxes[1]);
    free(engine);
}

int engine_open(struct engine **ret, uv_loop_t *loop, struct broker *broker, const struct engine_sinks *sinks)
{
    int timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (timer_fd < 0) {
        return -errno;
    }
    struct engine *engine = alloc_zeroed(1, sizeof(*engine));
    engine->loop = loop;
    engine->broker = broker;
    engine->sinks = *sinks;
    engine->timer_fd = timer_fd;
    engine->timer_at_ms = DEADLINE_NEVER;
    engine->prepare.data = engine->check.data = engine->timer.data = engine->more.data = engine;
    engine->filling = &engine->inboxes[0];
    int r = uv_poll_init(loop, &engine->timer, timer_fd);
    if (r < 0) {
        close(timer_fd);
        free(engine);
        return r;
    }
    uv_prepare_init(loop, &engine->prepare);
    uv_check_init(loop, &engine->check);
    uv_idle_init(loop, &engine->more);
    engine->n_handles = 4;
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
    uv_close((uv_handle_t *)&engine->more, engine_on_closed);
}
