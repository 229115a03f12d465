/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * Whatever goes wrong, by the plan's faults and trouble; and the stranger, a program of another make that
 * locks the same keys in Redis.
 */

#include "tests/sim/world.h"

struct nemesis {
    struct world *world;
    struct task task, failover, stranger;
    int64_t span_us;  /* how long the fault just begun will last */
    int stranger_key; /* -1: it holds nothing */
};

void nemesis_begin(struct nemesis *nemesis, struct world *world);
/* The last fault is over: ways are open, those who stood still go on, Redis and the daemons are up. */
void nemesis_end(struct nemesis *nemesis);
