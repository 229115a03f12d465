/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * Stories: a broker on a virtual clock, told event by event; what it asks for is written down as a
 * trace of readable lines, which the story then states. The audit runs after every step.
 *
 *      [   0] lock a #1 ttl 1000            command 1 for Redis; "no queue": if another has it, that is that
 *      [   2] 7:1 granted a fence 100 ...   the answer to request 1 of peer 7
 *      [ 600] 7 at_risk a fence 100 ...     a notice to peer 7
 */

#include "daemon/base/stats.h"
#include "daemon/core/broker.h"

struct story;

struct story *story_new(void);
struct story *story_free(struct story *story);

/* Lets time pass; whatever is due on the way is settled at its very instant. */
void story_until(struct story *story, int64_t at_ms);
/* Time jumps, as after a stop of the process: the next event finds it late. */
void story_sleep_until(struct story *story, int64_t at_ms);

void story_link(struct story *story, enum link_state state, const char *text);
void story_claim(struct story *story, uint64_t peer_id, uint64_t request_id, const char *key,
                 struct ev_claim asked);
void story_unlock(struct story *story, uint64_t peer_id, uint64_t request_id, const char *key, int64_t fence);
void story_refresh(struct story *story, uint64_t peer_id, uint64_t request_id, const char *key, int64_t fence,
                   int64_t ttl_ms);
void story_cancel(struct story *story, uint64_t peer_id, uint64_t request_id, const char *key,
                  uint64_t target);
void story_force(struct story *story, uint64_t peer_id, uint64_t request_id, const char *key);
void story_gone(struct story *story, uint64_t peer_id);
void story_stop(struct story *story);

/* What other hosts say. */
void story_offered(struct story *story, const char *key);
void story_recalled(struct story *story, const char *key);
void story_hearing(struct story *story);

/* Redis answers command number `op_id`. OURS brings a block of fences if one was asked for. */
void story_answer(struct story *story, uint64_t op_id, enum answer answer);
/* OURS, but the counter of fences gave none. */
void story_answer_without_fences(struct story *story, uint64_t op_id);
/* OURS, and other hosts wait for the key; to a release: it was passed on to one. */
void story_answer_wanted(struct story *story, uint64_t op_id);
/* OURS, and it was so already. */
void story_answer_found(struct story *story, uint64_t op_id);
/* The answer to `force`: the key has been deleted. */
void story_forced(struct story *story, uint64_t peer_id, uint64_t request_id, const char *key);
/* TAKEN, and how long the other's lease will be. */
void story_answer_taken(struct story *story, uint64_t op_id, int64_t remaining_ms);

/* A claim's parameters, with the usual ones where none are given: ttl 1 s, wait for ever, retry each
 * 100 ms without bound, attempts may take 500 ms. */
#ifdef __clang__
#pragma GCC diagnostic ignored "-Winitializer-overrides"
#else
#pragma GCC diagnostic ignored "-Woverride-init" /* to give a parameter is to override its default */
#endif
#define CLAIM(...)                                \
    ((struct ev_claim){.ttl_ms = 1000,            \
                       .wait_ms = FOREVER,        \
                       .retry_interval_ms = 100,  \
                       .retry_max = FOREVER,      \
                       .attempt_timeout_ms = 500, \
                       .max_hold_ms = FOREVER,    \
                       .auto_refresh = true,      \
                       __VA_ARGS__})

/* Fails unless the trace since the last call is just this. */
void story_expect(struct story *story, const char *trace);
/* What came so far was told already. */
void story_skip(struct story *story);
/* The core holds nothing any more: no key, no lease, no claim. */
void story_expect_nothing_left(struct story *story);

const struct stats *story_stats(const struct story *story);
struct broker_settings *story_settings(struct story *story); /* to be changed before story_apply() */
void story_apply(struct story *story);
