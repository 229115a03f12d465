/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The way of a line through rpc and message, for tests. Knows no field and no method.
 */

#include "tests/lib/draft.h"

#include <assert.h>
#include <check.h>
#include <stdio.h>
#include <string.h>

struct draft draft;

const struct message_defaults draft_defaults = {
    .ttl_ms = 30000,
    .wait_ms = 20000,
    .retry_interval_ms = 100,
    .retry_max = MESSAGE_UNBOUNDED,
    .attempt_timeout_ms = 1000,
    .max_hold_ms = MESSAGE_UNBOUNDED,
};

void draft_parse(const char *method, const char *params)
{
    int len = snprintf(draft.line, sizeof(draft.line), "{'jsonrpc':'2.0','id':1,'method':'%s'%s%s}", method,
                       params != NULL ? ",'params':" : "", params != NULL ? params : "");

    ck_assert_int_lt(len, (int)sizeof(draft.line));
    for (char *at = draft.line; (at = strchr(at, '\'')) != NULL;) {
        *at = '"';
    }
    ck_assert_int_eq(rpc_open(&draft.rpc, draft.line, (size_t)len), 0);
    ck_assert(rpc_next(&draft.rpc, &draft.call));
    ck_assert(draft.call.is_valid);
    memset(draft.fault, '#', sizeof(draft.fault));
    draft.outcome = message_parse(&draft.call, &draft_defaults, &draft.message, draft.fault);
}

void draft_done(void)
{
    rpc_close(&draft.rpc);
}

void draft_assert_refused(const char *fault)
{
    ck_assert_int_eq(draft.outcome, MESSAGE_E_PARAMS);
    ck_assert_str_eq(draft.fault, fault);
    draft_done();
}

const char *draft_quoted(size_t len)
{
    static char text[1003];

    assert(len <= 1000);
    memset(text, 'k', sizeof(text));
    text[0] = '\'';
    text[len + 1] = '\'';
    text[len + 2] = '\0';
    return text;
}
