/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * The daemon's counters, one struct, handed down by the composition root: no globals. Whoever
 * causes a thing counts it, with a plain ++. What they mean stands in stats.def.
 */

#include <stdint.h>

struct stats {
#define STAT(name, kind, sentence) uint64_t name;
#include "daemon/base/stats.def"
#undef STAT
};
