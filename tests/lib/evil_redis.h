/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * A Redis for the built daemon that says what the test wants: the fake one, on a thread of its own. It
 * holds nothing; what is not ordered otherwise is answered as if it worked.
 *
 * Commands are called by their first word, those of the scripts "lock", "refresh" and "unlock". Each order
 * takes effect before its call returns.
 */

#include <stdbool.h>
#include <stddef.h>

struct evil_redis;

struct evil_redis *evil_redis_start(const char *unix_path);
void evil_redis_stop(struct evil_redis *evil);

/* The next `times` commands of that name get this reply, and all after them a good one. */
#define EVIL_ALWAYS (-1)
void evil_redis_answer(struct evil_redis *evil, const char *name, int times, const char *reply);
/* The same for no reply, and for the end of the connection instead of one. */
void evil_redis_ignore(struct evil_redis *evil, const char *name, int times);
void evil_redis_hang_up(struct evil_redis *evil, const char *name, int times);
void evil_redis_be_good(struct evil_redis *evil); /* no order stands any more */

/* Whoever connects is told this at once. NULL: nothing. */
void evil_redis_greet(struct evil_redis *evil, const char *text);
/* More lines for INFO's reply, with \r\n. */
void evil_redis_set_info(struct evil_redis *evil, const char *lines);
/* Each reply comes in so small pieces. 0: whole. */
void evil_redis_cut(struct evil_redis *evil, size_t piece_len);

int evil_redis_n(struct evil_redis *evil, const char *name); /* commands so far */
int evil_redis_n_evals(struct evil_redis *evil);             /* scripts that came with their text */
int evil_redis_n_clients(struct evil_redis *evil);           /* connections so far */
int evil_redis_n_values(struct evil_redis *evil);            /* different values with which "lock" came */
