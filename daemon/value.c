/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Durations, sizes and the like. Knows no option and no range. A bare number is no duration and no
 * size, since nobody can see whether milliseconds or seconds were meant; 0 is the same in all units.
 */

#include "daemon/value.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct value_unit {
    const char *name;
    int64_t factor;
};

/* From the smallest to the largest, for formatting. */
static const struct value_unit value_durations[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {NULL, 0}};
static const struct value_unit value_sizes[] = {{"k", 1024}, {"m", 1048576}, {"g", 1073741824}, {NULL, 0}};

/* Reads the digits at the start, at least one of them, and says where they end. */
static int value_parse_digits(const char *text, int base, int64_t *ret, const char **ret_end)
{
    int64_t sum = 0;
    const char *at = text;

    for (; *at >= '0' && *at < '0' + base; at++) {
        if (__builtin_mul_overflow(sum, base, &sum) || __builtin_add_overflow(sum, *at - '0', &sum)) {
            return VALUE_E_BAD;
        }
    }
    if (at == text) {
        return VALUE_E_BAD;
    }
    *ret = sum;
    *ret_end = at;
    return 0;
}

static int value_parse_whole(const char *text, int base, int64_t *ret)
{
    int64_t sum;
    const char *end;

    if (value_parse_digits(text, base, &sum, &end) != 0 || *end != '\0') {
        return VALUE_E_BAD;
    }
    *ret = sum;
    return 0;
}

static int value_parse_with_unit(const char *text, const struct value_unit *units, int64_t *ret)
{
    int64_t sum;
    const char *end;

    if (value_parse_digits(text, 10, &sum, &end) != 0) {
        return VALUE_E_BAD;
    }
    if (sum == 0 && *end == '\0') {
        *ret = 0;
        return 0;
    }
    for (; units->name != NULL; units++) {
        if (strcmp(end, units->name) != 0) {
            continue;
        }
        if (__builtin_mul_overflow(sum, units->factor, &sum)) {
            return VALUE_E_BAD;
        }
        *ret = sum;
        return 0;
    }
    return VALUE_E_BAD;
}

int value_parse_count(const char *text, int64_t *ret)
{
    return value_parse_whole(text, 10, ret);
}

int value_parse_octal(const char *text, int64_t *ret)
{
    return value_parse_whole(text, 8, ret);
}

int value_parse_duration(const char *text, int64_t *ret_ms)
{
    return value_parse_with_unit(text, value_durations, ret_ms);
}

int value_parse_size(const char *text, int64_t *ret_bytes)
{
    return value_parse_with_unit(text, value_sizes, ret_bytes);
}

int value_parse_percent(const char *text, int64_t *ret_per_10k)
{
    int64_t whole, hundredths = 0;
    const char *end;

    if (value_parse_digits(text, 10, &whole, &end) != 0 || whole > 100) {
        return VALUE_E_BAD;
    }
    if (*end == '.') {
        const char *point = end;
        if (value_parse_digits(point + 1, 10, &hundredths, &end) != 0 || end - point > 3) {
            return VALUE_E_BAD;
        }
        if (end - point == 2) {
            hundredths *= 10; /* 0.5% is 0.50% */
        }
    }
    if (strcmp(end, "%") != 0) {
        return VALUE_E_BAD;
    }
    *ret_per_10k = whole * 100 + hundredths;
    return 0;
}

static const char *value_format_with_unit(int64_t value, const struct value_unit *units, char ret[VALUE_CAP])
{
    const struct value_unit *best = NULL;

    assert(value >= 0);
    for (; value != 0 && units->name != NULL; units++) {
        if (value % units->factor == 0) {
            best = units;
        }
    }
    if (best == NULL) {
        snprintf(ret, VALUE_CAP, "%" PRId64, value);
    } else {
        snprintf(ret, VALUE_CAP, "%" PRId64 "%s", value / best->factor, best->name);
    }
    return ret;
}

const char *value_format_duration(int64_t ms, char ret[VALUE_CAP])
{
    return value_format_with_unit(ms, value_durations, ret);
}

const char *value_format_size(int64_t bytes, char ret[VALUE_CAP])
{
    return value_format_with_unit(bytes, value_sizes, ret);
}

const char *value_format_percent(int64_t per_10k, char ret[VALUE_CAP])
{
    assert(per_10k >= 0);
    int64_t whole = per_10k / 100, hundredths = per_10k % 100;

    if (hundredths == 0) {
        snprintf(ret, VALUE_CAP, "%" PRId64 "%%", whole);
    } else if (hundredths % 10 == 0) {
        snprintf(ret, VALUE_CAP, "%" PRId64 ".%" PRId64 "%%", whole, hundredths / 10);
    } else {
        snprintf(ret, VALUE_CAP, "%" PRId64 ".%02" PRId64 "%%", whole, hundredths);
    }
    return ret;
}
