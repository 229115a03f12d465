/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Tables and comparisons; keeps nothing, knows no link and no lease.
 */

#include "daemon/redis/judge.h"

#include <string.h>

static const int64_t judge_fence_max = (INT64_C(1) << 53) - 1;

static const struct {
    const char *token;
    enum answer answer;
} judge_errors[] = {
    {"LOADING", ANSWER_TRANSIENT},     {"READONLY", ANSWER_TRANSIENT}, {"MASTERDOWN", ANSWER_TRANSIENT},
    {"CLUSTERDOWN", ANSWER_TRANSIENT}, {"TRYAGAIN", ANSWER_TRANSIENT}, {"BUSY", ANSWER_TRANSIENT},
    {"OOM", ANSWER_TRANSIENT},         {"MISCONF", ANSWER_TRANSIENT},  {"NOREPLICAS", ANSWER_TRANSIENT},
    {"WRONGTYPE", ANSWER_TAKEN},
};

/* 0: the word means nothing to us. */
static enum answer judge_word(const char *word, size_t len)
{
    for (size_t i = 0; i < sizeof(judge_errors) / sizeof(judge_errors[0]); i++) {
        if (strlen(judge_errors[i].token) == len && memcmp(judge_errors[i].token, word, len) == 0) {
            return judge_errors[i].answer;
        }
    }
    return 0;
}

enum answer judge_error(const char *text)
{
    /* Up to 6.2, an error inside a script comes wrapped: "ERR Error running script (call to f_..):
     * @user_script:1: -READONLY You can't write ...", with or without that dash. */
    static const char wrapped[] = "ERR Error running script";
    bool is_wrapped = strncmp(text, wrapped, sizeof(wrapped) - 1) == 0;
    enum answer answer = judge_word(text, strcspn(text, " "));

    while (is_wrapped && answer == 0 && *text != '\0') {
        size_t len = strcspn(text, " ");
        size_t dash = text[0] == '-';

        answer = judge_word(text + dash, len - dash);
        text += len + (text[len] == ' ');
    }
    return answer != 0 ? answer : ANSWER_REFUSED;
}

static bool judge_is_triple(const struct reply *reply)
{
    return reply->kind == REPLY_LIST && reply->n_items == 3 && reply->items[0].kind == REPLY_INTEGER &&
           reply->items[1].kind == REPLY_INTEGER && reply->items[2].kind == REPLY_INTEGER;
}

bool judge_script(enum effect_kind kind, const struct reply *reply, struct judgement *ret)
{
    if (!judge_is_triple(reply) || reply->items[2].integer < 0) {
        return false;
    }
    int64_t verdict = reply->items[0].integer, number = reply->items[1].integer;
    bool is_lock = kind == FX_ACQUIRE;

    if (verdict == 1 || (verdict == 2 && is_lock)) {
        *ret = (struct judgement){.answer = ANSWER_OURS,
                                  .number = number,
                                  .is_found = verdict == 2,
                                  .others_wait = reply->items[2].integer > 0};
        return number >= (is_lock ? 1 : 0) && number <= judge_fence_max;
    }
    if (verdict == 0) {
        *ret = (struct judgement){.answer = ANSWER_TAKEN, .number = is_lock ? number : -1};
        return number >= -1;
    }
    *ret =
        (struct judgement){.answer = ANSWER_GONE, .number = -1, .others_wait = reply->items[2].integer > 0};
    return verdict == -1 && !is_lock;
}

bool judge_integer(enum effect_kind kind, const struct reply *reply, struct judgement *ret)
{
    if (reply->kind != REPLY_INTEGER) {
        return false;
    }
    *ret = (struct judgement){.answer = ANSWER_GONE, .number = -1};
    if (kind == FX_FORCE) {
        ret->answer = reply->integer == 1 ? ANSWER_OURS : ANSWER_GONE;
        return reply->integer == 0 || reply->integer == 1;
    }
    if (reply->integer >= -1) {
        *ret = (struct judgement){.answer = ANSWER_TAKEN, .number = reply->integer};
    }
    return reply->integer >= -2;
}
