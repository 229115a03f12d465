/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * The command line of rlock, understood. What is wrong with it is said on stderr here.
 */

#include <stdbool.h>
#include <stdint.h>

struct args {
    const char *operand; /* the key, prefix or method; NULL: not given */
    char **rest;         /* what follows it: the command with its arguments, up to a NULL */
    int64_t wait_ms;     /* these two as in struct rlock_options: 0 is the daemon's default */
    int64_t ttl_ms;
    int64_t kill_after_ms;
    int conflict_status;
    bool is_json;
};

/* Which options a command has, and how many operands. */
enum args_shape {
    ARGS_RUN = 1,   /* all of run's, a key and a command */
    ARGS_HOLD,      /* -n -w -t -E, a key */
    ARGS_SHOW,      /* --json, no operand */
    ARGS_SHOW_ONE,  /* --json, an operand */
    ARGS_SHOW_SOME, /* --json, perhaps an operand */
    ARGS_CALL       /* --json, which changes nothing, a method and perhaps its parameters */
};

/* `argv[0]` is the command's name. Returns 0; or -1 when help is wanted; or EX_USAGE. */
int args_parse(enum args_shape shape, int argc, char **argv, struct args *ret);
