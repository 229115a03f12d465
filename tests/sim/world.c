/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Time, the queue, memory and the trace. Knows nothing of locks.
 */

#include "tests/sim/world.h"

#include "daemon/base/alloc.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CONTAINER_OF(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

enum { WORLD_BLOCK_LEN = 256 * 1024 };

struct world_block {
    struct world_block *next;
    _Alignas(16) char bytes[WORLD_BLOCK_LEN];
};

struct world *world_new(void)
{
    struct world *world = alloc_zeroed(1, sizeof(*world));
    buf_init(&world->trace);
    return world;
}

static void world_drop_blocks(struct world *world)
{
    while (world->blocks != NULL) {
        struct world_block *block = world->blocks;
        world->blocks = block->next;
        free(block);
    }
}

struct world *world_free(struct world *world)
{
    world_drop_blocks(world);
    buf_deinit(&world->trace);
    free(world);
    return NULL;
}

void world_begin(struct world *world, uint64_t seed)
{
    struct world_block *kept = world->blocks;
    struct buf trace = world->trace;
    bool is_traced = world->is_traced, is_unaudited = world->is_unaudited;
    *world = (struct world){.trace = trace, .blocks = kept, .dice = {seed}};
    world->is_traced = is_traced;
    world->is_unaudited = is_unaudited;
    buf_clear(&world->trace);
    heap_init(&world->queue);
}

void world_end(struct world *world)
{
    heap_deinit(&world->queue);
    while (world->blocks != NULL && world->blocks->next != NULL) {
        struct world_block *block = world->blocks;
        world->blocks = block->next;
        free(block);
    }
}

void world_at(struct world *world, struct task *task, int64_t at_us)
{
    /* Set anew even for the same instant: its turn comes after those that are set already. */
    heap_clear(&world->queue, &task->timer);
    heap_set(&world->queue, &task->timer, at_us > world->now_us ? at_us : world->now_us);
}

void world_cancel(struct world *world, struct task *task)
{
    heap_clear(&world->queue, &task->timer);
}

void world_run(struct world *world, int64_t until_us)
{
    struct timer *timer;
    while (world->verdict[0] == '\0' && (timer = heap_peek(&world->queue)) != NULL &&
           timer->at_ms <= until_us) {
        struct task *task = CONTAINER_OF(timer, struct task, timer);
        world->now_us = timer->at_ms; /* the heap orders numbers; here they are microseconds */
        world->tally.n_events++;
        heap_clear(&world->queue, timer);
        task->run(task->ctx);
    }
    if (world->verdict[0] == '\0' && world->now_us < until_us) {
        world->now_us = until_us;
    }
}

void *world_alloc(struct world *world, size_t len)
{
    len = (len + 15) & ~(size_t)15;
    if (world->blocks == NULL || world->block_used + len > WORLD_BLOCK_LEN) {
        struct world_block *block = alloc_bytes(sizeof(*block));
        block->next = world->blocks;
        world->blocks = block;
        world->block_used = 0;
    }
    void *bytes = world->blocks->bytes + world->block_used;
    world->block_used += len;
    memset(bytes, 0, len);
    return bytes;
}

PRINTF_LIKE(2, 0)
static void world_vprint(struct world *world, const char *fmt, va_list args)
{
    char line[512];
    vsnprintf(line, sizeof(line), fmt, args);
    buf_printf(&world->trace, "[%5" PRId64 ".%06" PRId64 "] %s\n", world->now_us / 1000000,
               world->now_us % 1000000, line);
}

void world_print(struct world *world, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    world_vprint(world, fmt, args);
    va_end(args);
}

void world_judge(struct world *world, const char *fmt, ...)
{
    va_list args;
    if (world->verdict[0] != '\0') {
        return;
    }
    va_start(args, fmt);
    vsnprintf(world->verdict, sizeof(world->verdict), fmt, args);
    va_end(args);
    world_print(world, "ORACLE: %s", world->verdict);
}

int64_t clock_at_us(const struct rate_clock *clock, int64_t true_us)
{
    return clock->offset_us + true_us + true_us * clock->rate_ppm / 1000000; /* never goes back */
}

int64_t clock_when_us(const struct rate_clock *clock, int64_t shown_ms)
{
    int64_t wanted_us = shown_ms * 1000 - clock->offset_us;
    int64_t true_us = wanted_us - wanted_us / 1000 * clock->rate_ppm / (1000 + clock->rate_ppm / 1000) - 1000;
    /* An estimate, a little early: the clock's own reading decides. */
    while (clock_at_us(clock, true_us) < shown_ms * 1000) {
        int64_t missing_us = shown_ms * 1000 - clock_at_us(clock, true_us);
        true_us += missing_us > 8 ? missing_us * 7 / 8 : 1;
    }
    return true_us;
}
