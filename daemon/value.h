/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * Values of the configuration file: text to numbers and back. Nothing but the whole text counts: no
 * sign, no blank, no rest behind the unit.
 */

#include "daemon/base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { VALUE_E_BAD = 1 }; /* not that kind of value; the result is untouched */

int value_parse_count(const char *text, int64_t *ret) MUST_CHECK;           /* 4096 */
int value_parse_octal(const char *text, int64_t *ret) MUST_CHECK;           /* 0660 */
int value_parse_duration(const char *text, int64_t *ret_ms) MUST_CHECK;     /* 250ms 10s 5m 1h 0 */
int value_parse_size(const char *text, int64_t *ret_bytes) MUST_CHECK;      /* 64k 4m */
int value_parse_percent(const char *text, int64_t *ret_per_10k) MUST_CHECK; /* 1% 0.25% */

/* In the largest unit that divides it; the other way round of the functions above. */
#define VALUE_CAP 32
const char *value_format_duration(int64_t ms, char ret[VALUE_CAP]);
const char *value_format_size(int64_t bytes, char ret[VALUE_CAP]);
const char *value_format_percent(int64_t per_10k, char ret[VALUE_CAP]);
