/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * Writes JSON text into room that the caller gives. Never writes past its end: what does not fit sets
 * `full`, for good, and is left out. Callers give room for the largest message (PRINT_ROOM), so that
 * `full` means a mistake of ours, to be asserted.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct print {
    char *at, *end;
    bool full;
};

/* Enough for any one message or list entry: five foreign strings of the largest kind, all escaped. */
#define PRINT_ROOM 16384

struct print print_into(char *room, size_t len);
void print_bytes(struct print *print, const char *bytes, size_t len);
void print_text(struct print *print, const char *text);
#define print_literal(print, text) print_bytes((print), "" text, sizeof(text) - 1)
void print_int(struct print *print, int64_t value);

/*
 * A JSON string with its quotes. `bytes` should be UTF-8; a byte that is not part of a well-formed
 * sequence is written as U+FFFD, so that the result is valid JSON whatever comes in.
 */
void print_string(struct print *print, const char *bytes, size_t len);
/* Whether print_string() would replace nothing. */
bool print_is_utf8(const char *bytes, size_t len);

/* As print_string(), of at most 64 bytes, and with everything outside printable ASCII as \uXXXX: for foreign
 * text inside messages of our own. Does not write the quotes. */
void print_foreign(struct print *print, const char *bytes, size_t len);
