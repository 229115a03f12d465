/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * What Redis's words mean in the core's: each reply is one of the few answers of core/event.h.
 */

#include "daemon/core/effect.h"
#include "daemon/core/event.h"
#include "daemon/redis/resp.h"

#include <stdbool.h>
#include <stdint.h>

struct judgement {
    enum answer answer;
    int64_t number; /* the first fence, or how long it stays another's; -1: not known */
    const char *text;
    bool is_found;    /* lock: it was ours already */
    bool others_wait; /* lock, refresh: other hosts queue; unlock: it was passed on to one of them */
};

/* {verdict, number, how many queue} of a script. False: no script of ours says that. */
bool judge_script(enum effect_kind kind, const struct reply *reply, struct judgement *ret);
/* Of PTTL (FX_QUERY) and DEL (FX_FORCE). False likewise. */
bool judge_integer(enum effect_kind kind, const struct reply *reply, struct judgement *ret);

/*
 * What an error reply to a command means, by its first word: ANSWER_TRANSIENT, ANSWER_REFUSED or, for
 * WRONGTYPE, ANSWER_TAKEN (whoever put something else at the key has taken it; the caller knows whether
 * that is a loss or a refusal). `text` is NUL-terminated.
 */
enum answer judge_error(const char *text);
