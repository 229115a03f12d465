/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * A home for the one seed of all hash tables. Whoever composes the program sets it; nothing here
 * draws random numbers.
 */

#include "daemon/base/table.h"

uint64_t table_seed;
