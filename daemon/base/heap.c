/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * A binary heap in an array of pointers. Places are counted from 1, as in the picture, so that 0 can
 * mean "not set"; slots[] itself counts from 0.
 *
 *                 1                 the parent of p is p / 2,
 *             2       3             its children are 2p and 2p + 1;
 *           4   5   6   7           no child is due before its parent
 */

#include "daemon/base/heap.h"

#include "daemon/base/alloc.h"

#include <assert.h>
#include <stdlib.h>

enum { HEAP_CAP_MIN = 16 };

void heap_init(struct heap *heap)
{
    *heap = (struct heap){.next_seq = 1};
}

void heap_deinit(struct heap *heap)
{
    for (size_t i = 0; i < heap->len; i++) {
        heap->slots[i]->pos = 0;
    }
    free(heap->slots);
    heap_init(heap);
}

static bool heap_is_before(const struct timer *a, const struct timer *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->seq < b->seq;
}

static void heap_put(struct heap *heap, size_t pos, struct timer *timer)
{
    heap->slots[pos - 1] = timer;
    timer->pos = pos;
}

/* Moves a timer up from a free place, until its parent is due no later. */
static void heap_sift_up(struct heap *heap, size_t pos, struct timer *timer)
{
    while (pos > 1 && heap_is_before(timer, heap->slots[pos / 2 - 1])) {
        heap_put(heap, pos, heap->slots[pos / 2 - 1]);
        pos /= 2;
    }
    heap_put(heap, pos, timer);
}

/* Moves a timer down from a free place, until no child is due earlier. */
static void heap_sift_down(struct heap *heap, size_t pos, struct timer *timer)
{
    while (pos <= heap->len / 2) {
        size_t child = 2 * pos;

        if (child < heap->len && heap_is_before(heap->slots[child], heap->slots[child - 1])) {
            child++;
        }
        if (heap_is_before(timer, heap->slots[child - 1])) {
            break;
        }
        heap_put(heap, pos, heap->slots[child - 1]);
        pos = child;
    }
    heap_put(heap, pos, timer);
}

/* A timer that belongs at a free place or above or below it, as the case may be. */
static void heap_settle(struct heap *heap, size_t pos, struct timer *timer)
{
    if (pos > 1 && heap_is_before(timer, heap->slots[pos / 2 - 1])) {
        heap_sift_up(heap, pos, timer);
    } else {
        heap_sift_down(heap, pos, timer);
    }
}

void heap_set(struct heap *heap, struct timer *timer, int64_t at_ms)
{
    if (timer->pos != 0) {
        assert(heap->slots[timer->pos - 1] == timer);
        if (timer->at_ms == at_ms) {
            return;
        }
    } else {
        if (heap->len == heap->cap) {
            heap->cap = heap->cap > 0 ? 2 * heap->cap : HEAP_CAP_MIN;
            heap->slots = alloc_resize(heap->slots, heap->cap * sizeof(struct timer *));
        }
        heap->len++;
        timer->pos = heap->len;
    }
    timer->at_ms = at_ms;
    timer->seq = heap->next_seq++;
    heap_settle(heap, timer->pos, timer);
}

void heap_clear(struct heap *heap, struct timer *timer)
{
    size_t pos = timer->pos;

    if (pos == 0) {
        return;
    }
    assert(pos <= heap->len);
    assert(heap->slots[pos - 1] == timer);
    timer->pos = 0;

    struct timer *last = heap->slots[--heap->len];
    if (last != timer) {
        heap_settle(heap, pos, last);
    }
}

bool timer_is_set(const struct timer *timer)
{
    return timer->pos != 0;
}

struct timer *heap_peek(const struct heap *heap)
{
    return heap->len > 0 ? heap->slots[0] : NULL;
}
