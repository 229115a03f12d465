/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * Deadlines, the earliest first: a binary heap whose elements know their own place, so that moving
 * or clearing one costs O(log n) without a search. Two deadlines of the same instant come out in the
 * order in which they were set, so that a run can be repeated exactly.
 *
 * The element is embedded in its owner; the heap only borrows it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timer {
    int64_t at_ms;
    uint64_t seq; /* breaks ties: lower was set earlier */
    size_t pos;   /* place in the heap, counted from 1; 0: not set */
    int kind;     /* the owner's to use: tells which struct surrounds this one */
};

struct heap {
    struct timer **slots;
    size_t len, cap;
    uint64_t next_seq;
};

void heap_init(struct heap *heap);
void heap_deinit(struct heap *heap); /* the timers in it are simply let go */

/* Sets or moves a timer. Setting it to the instant that it already has keeps its turn. */
void heap_set(struct heap *heap, struct timer *timer, int64_t at_ms);
void heap_clear(struct heap *heap, struct timer *timer); /* no-op if not set */
bool timer_is_set(const struct timer *timer);

/* The earliest timer, or NULL. It stays in the heap until cleared or moved. */
struct timer *heap_peek(const struct heap *heap);
