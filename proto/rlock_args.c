/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Options and operands. Names and meanings are flock(1)'s where flock has them. Options of `run` and
 * `hold` end at the first operand, since what follows belongs to the command that is run.
 */

#include "proto/rlock_args.h"

#include "proto/rlock.h"
#include "proto/rlock_text.h"

#include <getopt.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

enum {
    ARGS_KILL_AFTER_MS = 5000,
    ARGS_JSON = CHAR_MAX + 1,
};

static const struct option args_run_options[] = {
    {"nonblock", no_argument, NULL, 'n'},
    {"nb", no_argument, NULL, 'n'},
    {"wait", required_argument, NULL, 'w'},
    {"timeout", required_argument, NULL, 'w'},
    {"ttl", required_argument, NULL, 't'},
    {"conflict-exit-code", required_argument, NULL, 'E'},
    {"help", no_argument, NULL, 'h'},
    {"kill-after", required_argument, NULL, 'k'},
    {NULL, 0, NULL, 0},
};
static const struct option args_hold_options[] = {
    {"nonblock", no_argument, NULL, 'n'},   {"nb", no_argument, NULL, 'n'},
    {"wait", required_argument, NULL, 'w'}, {"timeout", required_argument, NULL, 'w'},
    {"ttl", required_argument, NULL, 't'},  {"conflict-exit-code", required_argument, NULL, 'E'},
    {"help", no_argument, NULL, 'h'},       {NULL, 0, NULL, 0},
};

static const struct option args_show_options[] = {
    {"json", no_argument, NULL, ARGS_JSON},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};
static const struct args_rule {
    const char *letters; /* + at the beginning: options end at the first operand */
    const struct option *options;
    int n_min, n_max; /* operands */
} args_rules[] = {
    [ARGS_RUN] = {"+nw:t:E:k:h", args_run_options, 2, INT_MAX},
    [ARGS_HOLD] = {"+nw:t:E:h", args_hold_options, 1, 1},
    [ARGS_SHOW] = {"h", args_show_options, 0, 0},
    [ARGS_SHOW_ONE] = {"h", args_show_options, 1, 1},
    [ARGS_SHOW_SOME] = {"h", args_show_options, 0, 1},
    [ARGS_CALL] = {"h", args_show_options, 1, 2},
};

/*
 * Seconds with a fraction, "2", "0.25" or ".5", in ms; what is finer counts as one ms more, so that only 0
 * is 0. False for anything else.
 */
static bool args_parse_seconds(const char *text, int64_t *ret_ms)
{
    const int64_t s_max = 315360000; /* ten years, which is the protocol's bound */
    int64_t s = 0, ms = 0, weight = 100;
    bool is_finer = false, has_digit = false;
    for (; *text >= '0' && *text <= '9'; text++) {
        s = s * 10 + (*text - '0');
        has_digit = true;
        if (s > s_max) {
            return false;
        }
    }
    if (*text == '.') {
        for (text++; *text >= '0' && *text <= '9'; text++) {
            ms += (*text - '0') * weight;
            is_finer = is_finer || (weight == 0 && *text != '0');
            has_digit = true;
            weight /= 10;
        }
    }
    if (*text != '\0' || !has_digit) {
        return false;
    }
    *ret_ms = s * 1000 + ms + is_finer;
    return true;
}

static bool args_parse_status(const char *text, int *ret)
{
    char *end;
    long status = strtol(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || status > 255) {
        return false;
    }
    *ret = (int)status;
    return true;
}

/* Takes in one option with a value; false: it is none that makes sense. */
static bool args_take_value(struct args *args, int option, const char *value)
{
    switch (option) {
    case 'w':
        if (strcmp(value, "forever") == 0) {
            args->wait_ms = RLOCK_UNBOUNDED;
            return true;
        }
        if (!args_parse_seconds(value, &args->wait_ms)) {
            return false;
        }
        if (args->wait_ms == 0) {
            args->wait_ms = RLOCK_ZERO;
        }
        return true;
    case 't':
        return args_parse_seconds(value, &args->ttl_ms) && args->ttl_ms > 0;
    case 'k':
        return args_parse_seconds(value, &args->kill_after_ms);
    default:
        return args_parse_status(value, &args->conflict_status);
    }
}

static int args_complain(const char *command)
{
    text_warn("usage of \"%s\": see rlock --help", command);
    return EX_USAGE;
}

static int args_parse_options(const struct args_rule *rule, int argc, char **argv, struct args *ret)
{
    char *command = argv[0];
    static char program[] = "rlock";
    int c;
    argv[0] = program; /* the name under which getopt complains */
    optind = 0;
    while ((c = getopt_long(argc, argv, rule->letters, rule->options, NULL)) != -1) {
        switch (c) {
        case 'h':
            return -1;
        case 'n':
            ret->wait_ms = RLOCK_ZERO;
            break;
        case ARGS_JSON:
            ret->is_json = true;
            break;
        case '?': /* getopt_long() has said what is wrong */
            return args_complain(command);
        default:
            if (!args_take_value(ret, c, optarg)) {
                text_warn("-%c: not a %s: %s", c, c == 'E' ? "status from 0 to 255" : "number of seconds",
                          optarg);
                return EX_USAGE;
            }
        }
    }
    return 0;
}

int args_parse(enum args_shape shape, int argc, char **argv, struct args *ret)
{
    const struct args_rule *rule = &args_rules[shape];
    const char *command = argv[0];
    *ret = (struct args){.kill_after_ms = ARGS_KILL_AFTER_MS, .conflict_status = 1};
    int status = args_parse_options(rule, argc, argv, ret);
    if (status != 0) {
        return status;
    }
    int n = argc - optind;
    if (n > 0) {
        ret->operand = argv[optind];
        ret->rest = argv + optind + 1;
        if (shape == ARGS_RUN && n > 1 && strcmp(ret->rest[0], "--") == 0) {
            ret->rest++;
            n--;
        }
    }
    if (n < rule->n_min || n > rule->n_max) {
        text_warn("%s: %s operands", command, n < rule->n_min ? "too few" : "too many");
        return args_complain(command);
    }
    return 0;
}
