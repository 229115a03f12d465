/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Text for people. UTF-8 throughout, as the daemon sends it. Knows nothing of commands.
 */

#include "proto/rlock_text.h"

#include "proto/rlock.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

enum { TEXT_LINE_CAP = 2048 };

/* How many bytes at `text` are a character that must not be printed; 0: it may. */
static size_t text_bad_len(const unsigned char *text)
{
    if (text[0] < 0x20 || text[0] == 0x7f) {
        return 1;
    }
    if (text[0] == 0xc2 && text[1] >= 0x80 && text[1] <= 0x9f) {
        return 2; /* C1: some terminals take them for escape sequences */
    }
    bool is_embedding = text[0] == 0xe2 && text[1] == 0x80 && text[2] >= 0xaa && text[2] <= 0xae;
    bool is_isolate = text[0] == 0xe2 && text[1] == 0x81 && text[2] >= 0xa6 && text[2] <= 0xa9;
    return is_embedding || is_isolate ? 3 : 0;
}

void text_clean(char *text)
{
    char *to = text;
    while (*text != '\0') {
        size_t len = text_bad_len((const unsigned char *)text);
        *to++ = len > 0 ? '?' : *text;
        text += len > 0 ? len : 1;
    }
    *to = '\0';
}

static bool text_is_start(char c)
{
    return ((unsigned char)c & 0xc0) != 0x80;
}

size_t text_width(const char *text)
{
    size_t width = 0;
    for (; *text != '\0'; text++) {
        width += text_is_start(*text);
    }
    return width;
}

void text_cut(char *text, size_t width)
{
    static const char ellipsis[] = "…";
    if (text_width(text) <= width || width == 0) {
        return;
    }
    for (; width > 0; text++) {
        width -= text_is_start(*text);
    }
    text--; /* at the character that becomes the ellipsis, which may need more room than there was */
    strcpy(text, strlen(text) >= sizeof(ellipsis) - 1 ? ellipsis : ".");
}

void text_warn(const char *fmt, ...)
{
    char line[TEXT_LINE_CAP] = "rlock: ";
    size_t len = strlen(line);
    va_list args;
    va_start(args, fmt);
    vsnprintf(line + len, sizeof(line) - len - 1, fmt, args);
    va_end(args);
    text_clean(line);
    len = strlen(line);
    line[len++] = '\n';
    (void)!write(STDERR_FILENO, line, len); /* nobody is left to be told */
}

int text_warn_failure(int code, const struct rlock_error *error, const char *what)
{
    const int errno_max = 4095;
    const char *sentence = error != NULL && error->message[0] != '\0' ? error->message : rlock_strerror(code);
    if (error != NULL && error->last_error[0] != '\0') {
        text_warn("%s%s (%s)", what, sentence, error->last_error);
    } else {
        text_warn("%s%s", what, sentence);
    }
    switch (code) {
    case RLOCK_E_INVALID_PARAMS:
    case RLOCK_E_METHOD_NOT_FOUND:
    case -EINVAL:
    case -EMSGSIZE:
        return EX_USAGE;
    case RLOCK_E_SHUTTING_DOWN:
        return EX_UNAVAILABLE;
    default:
        return code < 0 && code >= -errno_max ? EX_UNAVAILABLE : 1;
    }
}

const char *text_age(int64_t ms, char ret[TEXT_AGE_CAP])
{
    long long s = ms / 1000;
    if (ms < 0) {
        return strcpy(ret, "-");
    }
    if (s < 10) {
        snprintf(ret, TEXT_AGE_CAP, "%lld.%llds", s, (long long)(ms % 1000 / 100));
    } else if (s < 60) {
        snprintf(ret, TEXT_AGE_CAP, "%llds", s);
    } else if (s < 3600) {
        snprintf(ret, TEXT_AGE_CAP, "%lldm%llds", s / 60, s % 60);
    } else if (s < 86400) {
        snprintf(ret, TEXT_AGE_CAP, "%lldh%lldm", s / 3600, s % 3600 / 60);
    } else {
        snprintf(ret, TEXT_AGE_CAP, "%lldd%lldh", s / 86400, s % 86400 / 3600);
    }
    return ret;
}

const char *text_user(int64_t uid, char ret[TEXT_USER_CAP])
{
    char room[1024];
    struct passwd entry, *found = NULL;
    if (uid < 0) {
        return strcpy(ret, "-");
    }
    if (getpwuid_r((uid_t)uid, &entry, room, sizeof(room), &found) == 0 && found != NULL) {
        snprintf(ret, TEXT_USER_CAP, "%s", entry.pw_name);
    } else {
        snprintf(ret, TEXT_USER_CAP, "%lld", (long long)uid);
    }
    return ret;
}

const char *text_holder(const struct rlock_holder *holder, char ret[TEXT_HOLDER_CAP])
{
    char user[TEXT_USER_CAP];
    const char *command = holder->command != NULL ? holder->command : "";
    const char *note = holder->note != NULL ? holder->note : "";
    snprintf(ret, TEXT_HOLDER_CAP, "pid %lld (%s)%s%s%s%s%s", (long long)holder->pid,
             text_user(holder->uid, user), command[0] != '\0' ? ", " : "", command,
             note[0] != '\0' ? " [" : "", note, note[0] != '\0' ? "]" : "");
    text_clean(ret);
    return ret;
}
