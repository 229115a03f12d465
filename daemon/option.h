/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * One option of the configuration file: what its value may be, and how the text becomes the field of
 * a struct. options.def lists them all; this file knows the kinds and none of the options.
 */

#include "daemon/base/err.h"

#include <stddef.h>
#include <stdint.h>

/* The kind of a value, and the C type of its field. */
enum option_kind {
    OPTION_TEXT = 1,     /* char * */
    OPTION_TEXT_OR_NONE, /* char *; empty is NULL */
    OPTION_GROUP,        /* gid_t; empty is -1 */
    OPTION_URL,          /* char *, as it was given */
    OPTION_YES_NO,       /* bool */
    OPTION_LEVEL,        /* int64_t, an enum log_level */
    OPTION_TARGET,       /* bool: whether lines carry priorities */
    OPTION_MODE,         /* int64_t from here on, with a range */
    OPTION_COUNT,
    OPTION_COUNT_OR_UNLIMITED,
    OPTION_SIZE,
    OPTION_PERCENT,
    OPTION_DURATION,
    OPTION_DURATION_OR_FOREVER,
    OPTION_DURATION_OR_UNLIMITED,
};

#define OPTION_ENDLESS (-1) /* the field's value for `forever` and `unlimited` */

struct option {
    const char *section, *key;
    enum option_kind kind;
    size_t offset;      /* of the field in its struct */
    int64_t min, max;   /* of a text: bytes */
    const char *normal; /* the default, as text */
};

enum { OPTION_E_VALUE = 1 }; /* not that kind of value, or out of range; the field is untouched */

/* A text that the field held before is freed. */
int option_set(const struct option *option, const char *text, void *field) MUST_CHECK;

/* "a duration from 1ms to 1m, such as 250ms, 10s, 5m or 1h": to follow "must be". */
#define OPTION_HINT_CAP 160
const char *option_hint(const struct option *option, char ret[OPTION_HINT_CAP]);
