/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The configuration file.
 *
 *     file --> config_read_line --> libinih --> config_on_value --> struct config --> config_check
 *              counts and cuts      syntax      options.def         defaults first     across options
 *
 * libinih knows neither line numbers in its callback nor what to do with a line that is too long
 * for it, so it is fed line by line from here. The first fault ends the reading. Knows what options
 * may be, and not what any of them does.
 */

#include "daemon/config.h"

#include "daemon/base/alloc.h"
#include "daemon/base/buf.h"
#include "daemon/base/log.h"
#include "daemon/option.h"
#include "daemon/secret.h"
#include "daemon/url.h"
#include "daemon/value.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MINUTE INT64_C(60000)
#define HOUR (60 * MINUTE)
#define KIB INT64_C(1024)
#define MIB (1024 * KIB)

enum option_name {
#define OPTION(section, key, kind, field, min, max, normal, help) OPTION_IS_##field,
#include "daemon/options.def"
#undef OPTION
    N_OPTIONS,
};

static const struct option config_options[N_OPTIONS] = {
#define OPTION(section, key, kind, field, min, max, normal, help) \
    {#section, #key, OPTION_##kind, offsetof(struct config, field), min, max, normal},
#include "daemon/options.def"
#undef OPTION
};

/* One reading of one file. */
struct config_reading {
    struct config *config;
    const char *path;
    FILE *file;
    int line;                    /* of the file, counted from 1 */
    int option_lines[N_OPTIONS]; /* where each was given; 0: not at all */
    bool failed;
    char *error; /* the caller's room for the sentence */
};

/* Notes the first fault; later ones are its consequences. line 0: of the file as a whole. */
static void PRINTF_LIKE(3, 4) config_fault(struct config_reading *reading, int line, const char *fmt, ...)
{
    va_list args;
    int len;

    if (reading->failed) {
        return;
    }
    reading->failed = true;
    if (line > 0) {
        len = snprintf(reading->error, CONFIG_ERROR_CAP, "%s:%d: ", reading->path, line);
    } else {
        len = snprintf(reading->error, CONFIG_ERROR_CAP, "%s: ", reading->path);
    }
    if (len < 0 || len >= CONFIG_ERROR_CAP) {
        return; /* a path that long says it all */
    }
    va_start(args, fmt);
    vsnprintf(reading->error + len, (size_t)(CONFIG_ERROR_CAP - len), fmt, args);
    va_end(args);
}

static int config_set(struct config_reading *reading, size_t i, const char *text)
{
    return option_set(&config_options[i], text, (char *)reading->config + config_options[i].offset);
}

static bool config_has_section(const char *section)
{
    for (size_t i = 0; i < N_OPTIONS; i++) {
        if (strcmp(config_options[i].section, section) == 0) {
            return true;
        }
    }
    return false;
}

/* Called by libinih for each `key = value`. Always 1: faults are noted here, with better words. */
static int config_on_value(void *ctx, const char *section, const char *key, const char *value)
{
    struct config_reading *reading = ctx;
    char shown_key[TEXT_SAFE_CAP], hint[OPTION_HINT_CAP];
    size_t i = 0;

    text_safe(key, strlen(key), shown_key);
    if (section[0] == '\0') {
        config_fault(reading, reading->line, "%s: must come after a [section]", shown_key);
        return 1;
    }
    while (i < N_OPTIONS &&
           (strcmp(config_options[i].section, section) != 0 || strcmp(config_options[i].key, key) != 0)) {
        i++;
    }
    if (i == N_OPTIONS) {
        config_fault(reading, reading->line, "[%s] %s: there is no such option", section, shown_key);
        return 1;
    }
    if (reading->option_lines[i] != 0) {
        config_fault(reading, reading->line, "[%s] %s: is already given in line %d", section, key,
                     reading->option_lines[i]);
        return 1;
    }
    reading->option_lines[i] = reading->line;
    if (config_set(reading, i, value) != 0) {
        config_fault(reading, reading->line, "[%s] %s: must be %s", section, key,
                     option_hint(&config_options[i], hint));
    }
    return 1;
}

/* libinih says nothing about a section without keys, nor about what stands behind its ]. */
static void config_check_section(struct config_reading *reading, const char *text)
{
    char name[TEXT_SAFE_CAP];
    const char *end = strchr(text, ']');

    if (end == NULL) {
        return; /* a fault of syntax, which libinih reports */
    }
    text_safe(text + 1, (size_t)(end - text - 1), name);
    end += 1 + strspn(end + 1, " \t\r\v\f");
    if (strcmp(name, "acl") == 0) {
        config_fault(reading, reading->line, "[acl]: access rules are not supported by this version");
    } else if (!config_has_section(name)) {
        config_fault(reading, reading->line, "[%s]: there is no such section", name);
    } else if (*end != '\0' && *end != ';' && *end != '#') {
        config_fault(reading, reading->line, "[%s]: must stand alone in its line", name);
    }
}

/*
 * Hands libinih the next line, in the manner of fgets(). Blanks at its start are dropped, so that an
 * indented line is a line like all others and not the continuation of the one before. Comments may
 * be as long as they like.
 */
static char *config_read_line(char *room, int room_len, void *ctx)
{
    struct config_reading *reading = ctx;
    int len = 0, c;
    bool too_long = false, has_nul = false, any = false;

    if (reading->failed) {
        return NULL;
    }
    while ((c = getc(reading->file)) != EOF) {
        any = true;
        if (c == '\n') {
            break;
        }
        if (len == 0 && isspace(c)) {
            continue;
        }
        has_nul = has_nul || c == '\0';
        if (len < room_len - 2) {
            room[len++] = (char)c;
        } else {
            too_long = true;
        }
    }
    if (!any) {
        return NULL;
    }
    reading->line++;
    room[len] = '\0';
    if (reading->line == 1 && strncmp(room, "\xef\xbb\xbf", 3) == 0) {
        memmove(room, room + 3, (size_t)len - 2); /* the mark with which some editors begin a file */
    }
    if (room[0] == ';' || room[0] == '#') {
        room[0] = '\0';
    } else if (has_nul) {
        config_fault(reading, reading->line, "holds a NUL byte");
    } else if (too_long) {
        config_fault(reading, reading->line, "is longer than %d bytes", room_len - 2);
    } else if (room[0] == '[') {
        config_check_section(reading, room);
    }
    return reading->failed ? NULL : room;
}

static void config_parse(struct config_reading *reading)
{
    int bad_line = ini_parse_stream(config_read_line, reading, config_on_value, reading);

    if (ferror(reading->file)) {
        config_fault(reading, 0, "cannot be read: %s", strerror(errno));
    } else if (bad_line > 0) {
        /* libinih reads on behind a line that it does not understand: it comes before any other fault. */
        reading->failed = false;
        config_fault(reading, bad_line, "must be a [section], a `key = value` or a comment");
    }
}

/* Key and prefix together must never be a name that the daemon uses itself. That no key alone is one,
 * the protocol sees to. */
static void config_check_prefix(struct config_reading *reading)
{
    static const char own[] = "rlockd:";
    const char *prefix = reading->config->lease_prefix;
    size_t len = strlen(prefix), own_len = sizeof(own) - 1;

    if (len > 0 && memcmp(prefix, own, len < own_len ? len : own_len) == 0) {
        config_fault(
            reading, reading->option_lines[OPTION_IS_lease_prefix],
            "[lease] prefix: must not begin with \"%s\" nor be a beginning of it: the daemon's own names do",
            own);
    }
}

/* The parts of the URL become fields; what has an option of its own is the option's. */
static void config_take_url(struct config_reading *reading)
{
    struct config *config = reading->config;
    struct url url;
    struct stat st;

    int r = url_parse(config->redis_url, &url);
    assert(r == 0); /* or it would not have been set */
    (void)r;
    if (url.password != NULL && fstat(fileno(reading->file), &st) == 0 && (st.st_mode & S_IRWXO) != 0) {
        config_fault(reading, reading->option_lines[OPTION_IS_redis_url],
                     "[redis] url: must not hold a password in a file that others can read (chmod 640)");
    }
    secret_free(config->redis_url); /* its password, if any, goes with it */
    config->redis_url = url.shown;
    config->redis_unix_path = url.unix_path;
    config->redis_host = url.host;
    config->redis_port = url.port;
    config->redis_db = url.db;
    if (config->redis_username == NULL) {
        config->redis_username = url.username;
        url.username = NULL;
    }
    if (config->redis_password == NULL) {
        config->redis_password = url.password;
        url.password = NULL;
    }
    url.shown = url.unix_path = url.host = NULL; /* the configuration's now */
    url_deinit(&url);
}

/* What no option can be judged for alone. */
static void config_check(struct config_reading *reading)
{
    struct config *config = reading->config;
    const char *fault;
    char max[VALUE_CAP];

    if (config->redis_reconnect_min_ms > config->redis_reconnect_max_ms) {
        int line = reading->option_lines[OPTION_IS_redis_reconnect_min_ms];
        config_fault(reading, line != 0 ? line : reading->option_lines[OPTION_IS_redis_reconnect_max_ms],
                     "[redis] reconnect_min: must be at most reconnect_max, which is %s",
                     value_format_duration(config->redis_reconnect_max_ms, max));
    }
    if (!reading->failed && config->redis_password_file != NULL &&
        secret_read(config->redis_password_file, &config->redis_password, &fault) != 0) {
        config_fault(reading, reading->option_lines[OPTION_IS_redis_password_file],
                     "[redis] password_file: %s", fault);
    }
    config_check_prefix(reading);
    config_take_url(reading);
    if (config->redis_username != NULL && config->redis_password == NULL) {
        int line = reading->option_lines[OPTION_IS_redis_username];
        config_fault(reading, line != 0 ? line : reading->option_lines[OPTION_IS_redis_url],
                     "[redis] username: must come with a password (password_file)");
    }
}

int config_load(struct config **ret, const char *path, char ret_error[CONFIG_ERROR_CAP])
{
    struct config_reading reading = {.path = path != NULL ? path : CONFIG_PATH, .error = ret_error};

    reading.file = fopen(reading.path, "re");
    if (reading.file == NULL && path == NULL && errno == ENOENT) {
        reading.file = fopen("/dev/null", "re");
    }
    if (reading.file == NULL) {
        config_fault(&reading, 0, "cannot be opened: %s", strerror(errno));
        return CONFIG_E_BAD;
    }
    reading.config = alloc_zeroed(1, sizeof(*reading.config));
    for (size_t i = 0; i < N_OPTIONS; i++) {
        int r = config_set(&reading, i, config_options[i].normal);
        assert(r == 0); /* a default is a legal value */
        (void)r;
    }
    config_parse(&reading);
    if (!reading.failed) {
        config_check(&reading);
    }
    fclose(reading.file);
    if (reading.failed) {
        config_free(reading.config);
        return CONFIG_E_BAD;
    }
    *ret = reading.config;
    return 0;
}

struct config *config_free(struct config *config)
{
    if (config == NULL) {
        return NULL;
    }
    secret_free(config->redis_password);
    free(config->listen_socket);
    secret_free(config->redis_url); /* a password may still be in it, if loading failed half-way */
    free(config->redis_unix_path);
    free(config->redis_host);
    free(config->redis_username);
    free(config->redis_password_file);
    free(config->lease_prefix);
    free(config);
    return NULL;
}
