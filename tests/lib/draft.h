/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * One request as a test of messages writes it, with ' for ", read by rpc and message. There is one at
 * a time: each parse is followed by a look at `draft` and draft_done(), or by an assertion that
 * ends it.
 */

#include "proto/message.h"

struct draft {
    char line[8192];
    struct rpc rpc;
    struct rpc_call call;
    struct message message;
    char fault[MESSAGE_FAULT_CAP];
    int outcome;
};

extern struct draft draft;
extern const struct message_defaults draft_defaults;

/* `params` NULL: none are given. */
void draft_parse(const char *method, const char *params);
void draft_done(void);

/* The request was refused for its parameters, in these words. */
void draft_assert_refused(const char *fault);

/* A string of so many bytes, at most 1000, as JSON with ' for ". Good until the next call. */
const char *draft_quoted(size_t len);
