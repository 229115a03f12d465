/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * What a Redis, or something in its place, may send: the reader of replies, the judge of what they mean, and
 * the introduction, which takes what comes first as answers to its questions.
 */

#include "daemon/redis/hello.h"
#include "daemon/redis/judge.h"
#include "daemon/redis/link.h"
#include "daemon/redis/resp.h"
#include "daemon/redis/script.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Looks at every byte that a reply claims to have. */
static size_t walk(const struct reply *reply, int depth)
{
    size_t sum = 0;
    assert(depth < 16);
    switch (reply->kind) {
    case REPLY_TEXT:
    case REPLY_STATUS:
    case REPLY_ERROR:
        for (size_t i = 0; i <= reply->len; i++) {
            sum += (unsigned char)reply->text[i];
        }
        assert(reply->text[reply->len] == '\0');
        if (reply->kind == REPLY_ERROR) {
            assert(judge_error(reply->text) >= ANSWER_OURS);
        }
        break;
    case REPLY_LIST:
        for (size_t i = 0; i < reply->n_items; i++) {
            sum += walk(&reply->items[i], depth + 1);
        }
        break;
    case REPLY_INTEGER:
    case REPLY_NIL:
        break;
    default:
        assert(0 && "a reply of no kind");
    }
    return sum;
}

/* As the answer to each command that the store sends: within bounds, or it does not fit. */
static void judge(const struct reply *reply)
{
    static const enum effect_kind scripts[] = {FX_ACQUIRE, FX_RENEW, FX_RELEASE};
    static const enum effect_kind queries[] = {FX_QUERY, FX_FORCE};
    struct judgement answer;

    for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
        if (reply->kind != REPLY_ERROR && judge_script(scripts[i], reply, &answer)) {
            assert(answer.answer >= ANSWER_OURS && answer.number >= -1);
            assert(answer.number < INT64_C(1) << 53 || answer.answer == ANSWER_TAKEN);
            assert(scripts[i] != FX_ACQUIRE || answer.answer != ANSWER_OURS || answer.number > 0);
        }
    }
    for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
        if (reply->kind != REPLY_ERROR && judge_integer(queries[i], reply, &answer)) {
            assert(answer.answer >= ANSWER_OURS && answer.number >= -1);
        }
    }
}

/* True: the introduction goes on. */
static bool introduce(struct hello *hello, const struct link_config *config, const struct reply *reply)
{
    struct hello_command command;
    char reason[HELLO_REASON_CAP] = "";

    if (!hello_next(hello, config, &command)) {
        hello_done(hello);
        return false;
    }
    assert(command.argc >= 1 && command.argv[0] != NULL);
    if (hello_take(hello, config, reply, reason) != 0) {
        assert(strlen(reason) < sizeof(reason));
        return false;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct script scripts[N_SCRIPTS];
    struct link_config config = {.scripts = scripts, .n_scripts = N_SCRIPTS};
    struct hello hello = {0};
    static struct resp *resp;
    const struct reply *reply;
    if (resp == NULL) {
        resp = resp_new();
    }
    if (len == 0) {
        return 0;
    }
    resp_reset(resp);
    script_table(scripts);
    hello_start(&hello);
    config.db = data[0] & 1;
    config.password = data[0] & 2 ? "secret" : NULL;
    config.strict = (data[0] & 4) != 0;
    bool is_greeted = false;
    size_t piece = data[0] + 1u;
    int r = RESP_E_MORE;
    for (size_t at = 1; at < len && r == RESP_E_MORE; at += piece) {
        resp_feed(resp, (const char *)data + at, len - at < piece ? len - at : piece);
        while ((r = resp_next(resp, &reply)) == 0) {
            walk(reply, 0);
            judge(reply);
            is_greeted = is_greeted || !introduce(&hello, &config, reply);
        }
    }
    if (r == RESP_E_BAD) {
        assert(resp_fault(resp) != NULL);
    }
    return 0;
}
