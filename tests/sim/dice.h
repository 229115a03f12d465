/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * All chance of a simulated world: one seed, one row of numbers (the generator is SplitMix64's
 * arithmetic, which takes any seed).
 */

#include <stdbool.h>
#include <stdint.h>

struct dice {
    uint64_t state;
};

static inline uint64_t dice_roll(struct dice *dice)
{
    uint64_t x = dice->state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* From `low` to `high`, both included. */
static inline int64_t dice_between(struct dice *dice, int64_t low, int64_t high)
{
    return low + (int64_t)(dice_roll(dice) % (uint64_t)(high - low + 1));
}

static inline bool dice_chance(struct dice *dice, int per_mille)
{
    return dice_between(dice, 0, 999) < per_mille;
}

/* As dice_between(), but small numbers come more often: half of them from the lowest eighth. */
static inline int64_t dice_small(struct dice *dice, int64_t low, int64_t high)
{
    int64_t eighth = low + (high - low) / 8;
    return dice_chance(dice, 500) ? dice_between(dice, low, eighth) : dice_between(dice, low, high);
}
