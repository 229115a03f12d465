/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The kinds of values: how each is read, and what a value that is none is told.
 */

#include "daemon/option.h"

#include "daemon/base/alloc.h"
#include "daemon/base/log.h"
#include "daemon/url.h"
#include "daemon/value.h"

#include <grp.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* How a kind of number is read and shown. */
struct option_number {
    int (*parse)(const char *text, int64_t *ret);
    const char *(*format)(int64_t value, char ret[VALUE_CAP]);
    const char *noun;    /* must be a ... from min to max */
    const char *example; /* and such as ... */
    const char *endless; /* the word that lifts the bound; NULL: there is none */
};

static const char *option_format_count(int64_t value, char ret[VALUE_CAP])
{
    snprintf(ret, VALUE_CAP, "%" PRId64, value);
    return ret;
}

static const char *option_format_octal(int64_t value, char ret[VALUE_CAP])
{
    snprintf(ret, VALUE_CAP, "%04" PRIo64, value);
    return ret;
}

#define DURATIONS value_parse_duration, value_format_duration, "a duration", "250ms, 10s, 5m or 1h"

static const struct option_number option_numbers[] = {
    [OPTION_MODE] = {value_parse_octal, option_format_octal, "octal permission bits", "0660", NULL},
    [OPTION_COUNT] = {value_parse_count, option_format_count, "a whole number", NULL, NULL},
    [OPTION_COUNT_OR_UNLIMITED] = {value_parse_count, option_format_count, "a whole number", NULL,
                                   "unlimited"},
    [OPTION_SIZE] = {value_parse_size, value_format_size, "a size", "64k or 1m", NULL},
    [OPTION_PERCENT] = {value_parse_percent, value_format_percent, "a percentage", "0.5%", NULL},
    [OPTION_DURATION] = {DURATIONS, NULL},
    [OPTION_DURATION_OR_FOREVER] = {DURATIONS, "forever"},
    [OPTION_DURATION_OR_UNLIMITED] = {DURATIONS, "unlimited"},
};

static void option_hint_number(const struct option *option, char ret[OPTION_HINT_CAP])
{
    const struct option_number *number = &option_numbers[option->kind];
    char min[VALUE_CAP], max[VALUE_CAP];

    snprintf(ret, OPTION_HINT_CAP, "%s from %s to %s%s%s%s%s", number->noun, number->format(option->min, min),
             number->format(option->max, max), number->example != NULL ? ", such as " : "",
             number->example != NULL ? number->example : "", number->endless != NULL ? ", or " : "",
             number->endless != NULL ? number->endless : "");
}

const char *option_hint(const struct option *option, char ret[OPTION_HINT_CAP])
{
    static const char *const words[] = {
        [OPTION_GROUP] = "the name of a group of this host",
        [OPTION_URL] = "redis://[user[:password]@]host[:port][/db] or unix:///path[?db=N]",
        [OPTION_YES_NO] = "yes or no",
        [OPTION_LEVEL] = "error, warning, notice, info or debug",
        [OPTION_TARGET] = "stderr or journal",
    };

    if (option->kind == OPTION_TEXT || option->kind == OPTION_TEXT_OR_NONE) {
        snprintf(ret, OPTION_HINT_CAP, "%" PRId64 " to %" PRId64 " bytes, without control characters",
                 option->min, option->max);
    } else if (option->kind < OPTION_MODE) {
        snprintf(ret, OPTION_HINT_CAP, "%s", words[option->kind]);
    } else {
        option_hint_number(option, ret);
    }
    return ret;
}

/* Whether stderr is a stream to the journal: systemd names its device and inode. */
static bool option_stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    uintmax_t device, inode;
    struct stat st;

    return stream != NULL && sscanf(stream, "%ju:%ju", &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

static int option_set_text(const struct option *option, const char *text, char **field)
{
    size_t len = strlen(text);

    if (len < (size_t)option->min || len > (size_t)option->max) {
        return OPTION_E_VALUE;
    }
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f) {
            return OPTION_E_VALUE;
        }
    }
    free(*field);
    *field = len == 0 && option->kind == OPTION_TEXT_OR_NONE ? NULL : alloc_copy(text, len);
    return 0;
}

static int option_set_group(const char *text, gid_t *field)
{
    if (text[0] == '\0') {
        *field = (gid_t)-1;
        return 0;
    }
    const struct group *group = getgrnam(text);
    if (group == NULL) {
        return OPTION_E_VALUE;
    }
    *field = group->gr_gid;
    return 0;
}

static int option_set_url(const struct option *option, const char *text, char **field)
{
    struct url url;

    if (url_parse(text, &url) != 0) {
        return OPTION_E_VALUE;
    }
    url_deinit(&url);
    return option_set_text(option, text, field);
}

static int option_set_yes_no(const char *text, bool *field)
{
    if (strcmp(text, "yes") != 0 && strcmp(text, "no") != 0) {
        return OPTION_E_VALUE;
    }
    *field = text[0] == 'y';
    return 0;
}

static int option_set_level(const char *text, int64_t *field)
{
    static const char *const names[] = {
        [LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARNING] = "warning", [LOG_LEVEL_NOTICE] = "notice",
        [LOG_LEVEL_INFO] = "info",   [LOG_LEVEL_DEBUG] = "debug",
    };

    for (int64_t level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
        if (strcmp(text, names[level]) == 0) {
            *field = level;
            return 0;
        }
    }
    return OPTION_E_VALUE;
}

static int option_set_target(const char *text, bool *field)
{
    if (strcmp(text, "journal") != 0 && strcmp(text, "stderr") != 0) {
        return OPTION_E_VALUE;
    }
    *field = text[0] == 'j' || option_stderr_is_journal();
    return 0;
}

static int option_set_number(const struct option *option, const char *text, int64_t *field)
{
    const struct option_number *number = &option_numbers[option->kind];
    int64_t value;

    if (number->endless != NULL && strcmp(text, number->endless) == 0) {
        *field = OPTION_ENDLESS;
        return 0;
    }
    if (number->parse(text, &value) != 0 || value < option->min || value > option->max) {
        return OPTION_E_VALUE;
    }
    *field = value;
    return 0;
}

int option_set(const struct option *option, const char *text, void *field)
{
    switch (option->kind) {
    case OPTION_TEXT:
    case OPTION_TEXT_OR_NONE:
        return option_set_text(option, text, field);
    case OPTION_GROUP:
        return option_set_group(text, field);
    case OPTION_URL:
        return option_set_url(option, text, field);
    case OPTION_YES_NO:
        return option_set_yes_no(text, field);
    case OPTION_LEVEL:
        return option_set_level(text, field);
    case OPTION_TARGET:
        return option_set_target(text, field);
    default:
        return option_set_number(option, text, field);
    }
}
