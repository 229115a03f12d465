/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * heap: the order in which timers come out, and that each knows its own place throughout.
 */

#include "daemon/base/heap.h"

#include <check.h>
#include <stdlib.h>

Suite *test_heap_suite(void);

enum { N_TIMERS = 500 };

/* One assertion for all of it: Check's own cost more than the heap. */
static bool is_heap(const struct heap *heap)
{
    for (size_t pos = 1; pos <= heap->len; pos++) {
        const struct timer *timer = heap->slots[pos - 1];
        const struct timer *parent = heap->slots[pos > 1 ? pos / 2 - 1 : 0];

        if (timer->pos != pos || parent->at_ms > timer->at_ms) {
            return false;
        }
        if (parent != timer && parent->at_ms == timer->at_ms && parent->seq > timer->seq) {
            return false;
        }
    }
    return true;
}

static void assert_is_heap(const struct heap *heap)
{
    ck_assert(is_heap(heap));
}

static struct timer *take(struct heap *heap)
{
    struct timer *timer = heap_peek(heap);

    heap_clear(heap, timer);
    assert_is_heap(heap);
    return timer;
}

START_TEST(an_empty_heap_has_nothing_to_show)
{
    struct heap heap;
    struct timer timer = {0};

    heap_init(&heap);
    ck_assert_ptr_null(heap_peek(&heap));
    ck_assert(!timer_is_set(&timer));
    heap_clear(&heap, &timer);
    heap_deinit(&heap);
}
END_TEST

START_TEST(the_earliest_comes_first)
{
    static const int64_t at_ms[] = {5, 1, 4, -3, INT64_MAX, 2, INT64_MIN, 0};
    enum { N = sizeof(at_ms) / sizeof(at_ms[0]) };
    struct heap heap;
    struct timer timers[N] = {0};
    int64_t last_ms = INT64_MIN;

    heap_init(&heap);
    for (int i = 0; i < N; i++) {
        heap_set(&heap, &timers[i], at_ms[i]);
        ck_assert(timer_is_set(&timers[i]));
        assert_is_heap(&heap);
    }
    for (int i = 0; i < N; i++) {
        struct timer *timer = take(&heap);

        ck_assert(!timer_is_set(timer));
        ck_assert_int_ge(timer->at_ms, last_ms);
        last_ms = timer->at_ms;
    }
    ck_assert_ptr_null(heap_peek(&heap));
    heap_deinit(&heap);
}
END_TEST

START_TEST(the_same_instant_comes_out_in_the_order_of_setting)
{
    struct heap heap;
    struct timer timers[N_TIMERS] = {0};

    heap_init(&heap);
    for (int i = 0; i < N_TIMERS; i++) {
        heap_set(&heap, &timers[i], 1000);
    }
    for (int i = 0; i < N_TIMERS; i++) {
        ck_assert_ptr_eq(take(&heap), &timers[i]);
    }
    heap_deinit(&heap);
}
END_TEST

START_TEST(setting_it_to_the_same_instant_keeps_its_turn)
{
    struct heap heap;
    struct timer first = {0}, second = {0};

    heap_init(&heap);
    heap_set(&heap, &first, 10);
    heap_set(&heap, &second, 10);
    heap_set(&heap, &first, 10);
    ck_assert_ptr_eq(heap_peek(&heap), &first);
    heap_deinit(&heap);
}
END_TEST

START_TEST(moving_it_away_and_back_loses_its_turn)
{
    struct heap heap;
    struct timer first = {0}, second = {0};

    heap_init(&heap);
    heap_set(&heap, &first, 10);
    heap_set(&heap, &second, 10);
    heap_set(&heap, &first, 20);
    ck_assert_ptr_eq(heap_peek(&heap), &second);
    heap_set(&heap, &first, 10);
    ck_assert_ptr_eq(take(&heap), &second);
    ck_assert_ptr_eq(take(&heap), &first);
    heap_deinit(&heap);
}
END_TEST

START_TEST(any_one_can_be_cleared)
{
    struct heap heap;
    struct timer timers[20];

    for (int cleared = 0; cleared < 20; cleared++) {
        heap_init(&heap);
        for (int i = 0; i < 20; i++) {
            timers[i] = (struct timer){.kind = i};
            heap_set(&heap, &timers[i], i * 7 % 20);
        }
        heap_clear(&heap, &timers[cleared]);
        heap_clear(&heap, &timers[cleared]);
        assert_is_heap(&heap);
        for (int at_ms = 0; at_ms < 20; at_ms++) {
            if (at_ms != cleared * 7 % 20) {
                ck_assert_int_eq(take(&heap)->at_ms, at_ms);
            }
        }
        ck_assert_ptr_null(heap_peek(&heap));
        heap_deinit(&heap);
    }
}
END_TEST

START_TEST(deinit_lets_the_timers_go)
{
    struct heap heap;
    struct timer timers[3] = {0};

    heap_init(&heap);
    for (int i = 0; i < 3; i++) {
        heap_set(&heap, &timers[i], i);
    }
    heap_deinit(&heap);
    for (int i = 0; i < 3; i++) {
        ck_assert(!timer_is_set(&timers[i]));
    }
    heap_init(&heap);
    heap_set(&heap, &timers[0], 1);
    ck_assert_ptr_eq(heap_peek(&heap), &timers[0]);
    heap_deinit(&heap);
}
END_TEST

/* What a heap should show: looked for among all. */
static struct timer *earliest(struct timer *timers)
{
    struct timer *best = NULL;

    for (int i = 0; i < N_TIMERS; i++) {
        struct timer *timer = &timers[i];

        if (timer_is_set(timer) && (best == NULL || timer->at_ms < best->at_ms ||
                                    (timer->at_ms == best->at_ms && timer->seq < best->seq))) {
            best = timer;
        }
    }
    return best;
}

START_TEST(random_operations_agree_with_a_search)
{
    struct heap heap;
    struct timer timers[N_TIMERS] = {0};

    srand(1);
    heap_init(&heap);
    for (int step = 0; step < 5000; step++) {
        struct timer *timer = &timers[rand() % N_TIMERS];

        if (rand() % 3 > 0) {
            heap_set(&heap, timer, rand() % 100);
        } else {
            heap_clear(&heap, timer);
        }
        ck_assert_ptr_eq(heap_peek(&heap), earliest(timers));
        assert_is_heap(&heap);
    }
    heap_deinit(&heap);
}
END_TEST

Suite *test_heap_suite(void)
{
    Suite *suite = suite_create("heap");
    TCase *tcase = tcase_create("heap");

    tcase_add_test(tcase, an_empty_heap_has_nothing_to_show);
    tcase_add_test(tcase, the_earliest_comes_first);
    tcase_add_test(tcase, the_same_instant_comes_out_in_the_order_of_setting);
    tcase_add_test(tcase, setting_it_to_the_same_instant_keeps_its_turn);
    tcase_add_test(tcase, moving_it_away_and_back_loses_its_turn);
    tcase_add_test(tcase, any_one_can_be_cleared);
    tcase_add_test(tcase, deinit_lets_the_timers_go);
    tcase_add_test(tcase, random_operations_agree_with_a_search);
    suite_add_tcase(suite, tcase);
    return suite;
}
