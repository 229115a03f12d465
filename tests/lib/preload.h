/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * Processes with a clock of their own, which the test sets, and with libraries before the C library in
 * general. Whoever is started between preload_begin() and preload_end() gets it.
 */

#include "tests/lib/clock_page.h"

#include <stddef.h>

/* The page of a clock that goes right as yet. Never unmapped: it is the test's own process. */
struct clock_page *shifted_clock_begin(void);
/* Takes effect for all that is started from here on. */
void shifted_clock_end(void);

/* The same for any library of the tests: "clock" is build/preload/clock.so. A file of zeroes, `len` bytes
 * long, is mapped and named in the environment by `variable`. */
void *preload_begin(const char *name, const char *variable, size_t len);
void preload_end(const char *variable);
