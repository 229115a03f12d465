/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * What rlock says to people. Keys, commands and notes are other people's text: nothing of it reaches a
 * terminal that could move the cursor or turn the line around.
 */

#include <stddef.h>
#include <stdint.h>

struct rlock_error;
struct rlock_holder;

enum { TEXT_AGE_CAP = 32, TEXT_USER_CAP = 64, TEXT_HOLDER_CAP = 512 };

/* One line on stderr, with "rlock: " before it, in one write. */
void text_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * Says `what`, then the sentence of the error, or what librlock says of the code where there is none (NULL).
 * Returns the exit status that it calls for: EX_USAGE, EX_UNAVAILABLE if the daemon is the trouble, otherwise 1.
 */
int text_warn_failure(int code, const struct rlock_error *error, const char *what);

/* Makes a ? of each control character and of what changes the direction of writing. */
void text_clean(char *text);
size_t text_width(const char *text); /* in characters */
/* Cuts to that many characters, the last of them an ellipsis if something was cut. */
void text_cut(char *text, size_t width);

/* "0.4s", "12s", "3m20s", "5h12m", "2d3h"; "-" for what is not known (negative). Returns ret. */
const char *text_age(int64_t ms, char ret[TEXT_AGE_CAP]);
/* The user's name, or the number where there is none. Returns ret. */
const char *text_user(int64_t uid, char ret[TEXT_USER_CAP]);
/* "pid 12 (ada), make -j4 [note]", cleaned. Returns ret. */
const char *text_holder(const struct rlock_holder *holder, char ret[TEXT_HOLDER_CAP]);
