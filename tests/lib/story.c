/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * See story.h. Redis is the story's teller: nothing is answered but by story_answer().
 */

#include "tests/lib/story.h"

#include "daemon/base/alloc.h"
#include "daemon/base/buf.h"
#include "daemon/base/stats.h"

#include <check.h>
#include <string.h>

enum { STORY_OPS_MAX = 4096 };

struct story_op {
    uint64_t lease_id;
    int64_t sent_at_ms, ttl_ms, fence_count;
};

struct story {
    struct broker_settings settings;
    struct stats stats;
    struct broker *broker;
    struct buf trace;
    int64_t now_ms;
    int64_t next_fence;
    struct story_op ops[STORY_OPS_MAX];
};

struct story *story_new(void)
{
    struct story *story = alloc_zeroed(1, sizeof(*story));
    story->settings = (struct broker_settings){
        .renew_fraction = 3,
        .drift_per_10k = 100,
        .redis_timeout_ms = 500,
        .held_per_peer_max = 100,
        .waiting_per_peer_max = 100,
        .locks_per_user_max = 1000,
    };
    story->broker = broker_new(&story->settings, &story->stats);
    story->next_fence = 100;
    buf_init(&story->trace);
    return story;
}

struct story *story_free(struct story *story)
{
    broker_free(story->broker);
    buf_deinit(&story->trace);
    free(story);
    return NULL;
}

/* --- writing the trace ----------------------------------------------------------------------------- */

static const char *story_ending(enum ending ending)
{
    static const char *const names[] = {"",        "never",    "released", "stale_fence", "expired", "taken",
                                        "deleted", "max_hold", "ttl",      "forced",      "shutdown"};
    return names[ending];
}

static const char *story_refusal(enum refusal refusal)
{
    static const char *const names[] = {
        "",  "held",  "not_held",  "timeout",      "unavailable", "already_held",
        "?", "limit", "cancelled", "shutting_down"};
    return names[refusal];
}

static void story_write_command(struct story *story, const char *verb, const struct fx_command *command)
{
    buf_printf(&story->trace, "%s %.*s #%d", verb, (int)command->key_len, command->key, (int)command->op_id);
    ck_assert_uint_lt(command->op_id, STORY_OPS_MAX);
    story->ops[command->op_id] = (struct story_op){
        .lease_id = command->lease_id,
        .sent_at_ms = story->now_ms,
        .ttl_ms = command->ttl_ms,
        .fence_count = command->fence_count,
    };
}

static void story_write_refusal(struct story *story, const struct fx_reply *reply)
{
    buf_printf(&story->trace, "refused %.*s %s", (int)reply->key_len, reply->key,
               story_refusal(reply->refusal));
    if (reply->refusal == REFUSED_NOT_HELD) {
        buf_printf(&story->trace, " (%s)", story_ending(reply->why));
    }
    if (reply->refusal == REFUSED_HELD && reply->remaining_ms >= 0) {
        buf_printf(&story->trace, " remaining %d", (int)reply->remaining_ms);
    }
    if (reply->limit != NULL) {
        buf_printf(&story->trace, " %s", reply->limit);
    }
    if (reply->last_error != NULL) {
        buf_printf(&story->trace, " (%s)", reply->last_error);
    }
}

static void story_write_reply(struct story *story, enum effect_kind kind, const struct fx_reply *reply)
{
    buf_printf(&story->trace, "%d:%d ", (int)reply->peer_id, (int)reply->request_id);
    switch (kind) {
    case FX_GRANTED:
        buf_printf(&story->trace, "granted %.*s fence %d until %d", (int)reply->key_len, reply->key,
                   (int)reply->fence, (int)reply->valid_until_ms);
        break;
    case FX_UNLOCKED:
        buf_printf(&story->trace, "unlocked %.*s after %d", (int)reply->key_len, reply->key,
                   (int)reply->held_ms);
        break;
    case FX_REFRESHED:
        buf_printf(&story->trace, "refreshed %.*s ttl %d until %d", (int)reply->key_len, reply->key,
                   (int)reply->ttl_ms, (int)reply->valid_until_ms);
        break;
    case FX_CANCELLED:
        buf_printf(&story->trace, "cancelled %s", reply->cancelled ? "yes" : "no");
        break;
    case FX_FORCED:
        buf_printf(&story->trace, "forced %.*s", (int)reply->key_len, reply->key);
        break;
    case FX_REFUSED:
        story_write_refusal(story, reply);
        break;
    default:
        ck_abort_msg("no story has told of effect %d", kind);
    }
}

static void story_write_notice(struct story *story, enum effect_kind kind, const struct fx_notice *notice)
{
    const char *verb = kind == FX_AT_RISK ? "at_risk" : kind == FX_SAFE ? "safe" : "lost";
    buf_printf(&story->trace, "%d %s %.*s fence %d", (int)notice->peer_id, verb, (int)notice->key_len,
               notice->key, (int)notice->fence);
    if (kind == FX_AT_RISK) {
        buf_printf(&story->trace, " lost at %d", (int)notice->lost_at_ms);
    } else if (kind == FX_SAFE) {
        buf_printf(&story->trace, " until %d", (int)notice->valid_until_ms);
    } else {
        buf_printf(&story->trace, " (%s)", story_ending(notice->reason));
    }
}

static void story_write(struct story *story, const struct effect *effect)
{
    buf_printf(&story->trace, "[%4d] ", (int)story->now_ms);
    switch (effect->kind) {
    case FX_ACQUIRE:
        story_write_command(story, "lock", &effect->command);
        buf_printf(&story->trace, " ttl %d value %d%s", (int)effect->command.ttl_ms,
                   (int)effect->command.lease_id, effect->command.may_queue ? "" : " no queue");
        break;
    case FX_RENEW:
        story_write_command(story, "renew", &effect->command);
        if (effect->command.fence_count > 0) {
            buf_printf(&story->trace, " fences %d", (int)effect->command.fence_count);
        }
        break;
    case FX_RELEASE:
        story_write_command(story, "release", &effect->command);
        buf_printf(&story->trace, " value %d%s", (int)effect->command.lease_id,
                   effect->command.offer_ms > 0 ? "" : " left free");
        break;
    case FX_FORGET:
        buf_printf(&story->trace, "forget value %d", (int)effect->command.lease_id);
        break;
    case FX_QUERY:
    case FX_FORCE:
        buf_printf(&story->trace, "%s %.*s", effect->kind == FX_QUERY ? "query" : "force",
                   (int)effect->query.key_len, effect->query.key);
        break;
    case FX_AT_RISK:
    case FX_SAFE:
    case FX_LOST:
        story_write_notice(story, effect->kind, &effect->notice);
        break;
    default:
        story_write_reply(story, effect->kind, &effect->reply);
        break;
    }
    buf_append(&story->trace, "\n", 1);
}

static void story_step(struct story *story, struct event event)
{
    event.now_ms = story->now_ms;
    const struct effects *effects = broker_step(story->broker, &event);
    for (size_t i = 0; i < effects->len; i++) {
        story_write(story, &effects->list[i]);
    }
    broker_audit(story->broker);
}

/* --- telling --------------------------------------------------------------------------------------- */

void story_until(struct story *story, int64_t at_ms)
{
    int64_t due_ms;
    while ((due_ms = broker_deadline(story->broker)) <= at_ms) {
        ck_assert_int_gt(due_ms, story->now_ms - 1);
        story->now_ms = due_ms;
        story_step(story, (struct event){.kind = EV_TIME});
    }
    story->now_ms = at_ms;
}

void story_sleep_until(struct story *story, int64_t at_ms)
{
    story->now_ms = at_ms;
}

void story_link(struct story *story, enum link_state state, const char *text)
{
    story_step(story, (struct event){.kind = EV_LINK, .link = {.state = state, .text = text}});
}

static struct ev_request story_from(uint64_t peer_id, uint64_t request_id, const char *key)
{
    return (struct ev_request){
        .peer_id = peer_id, .request_id = request_id, .key = key, .key_len = strlen(key)};
}

void story_claim(struct story *story, uint64_t peer_id, uint64_t request_id, const char *key,
                 struct ev_claim asked)
{
    asked.from = story_from(peer_id, request_id, key);
    story_step(story, (struct event){.kind = EV_CLAIM, .claim = asked});
}

void story_unlock(struct story *story, uint64_t peer_id, uint64_t request_id, const char *key, int64_t fence)
{
    story_step(story, (struct event){
                          .kind = EV_UNLOCK,
                          .unlock = {.from = story_from(peer_id, request_id, key), .fence = fence},
                      });
}

void story_refresh(struct story *story, uint64_t peer_id, uint64_t request_id, const char *key, int64_t fence,
                   int64_t ttl_ms)
{
    story_step(
        story,
        (struct event){
            .kind = EV_REFRESH,
            .refresh = {.from = story_from(peer_id, request_id, key), .fence = fence, .ttl_ms = ttl_ms},
        });
}

void story_cancel(struct story *story, uint64_t peer_id, uint64_t request_id, const char *key,
                  uint64_t target)
{
    story_step(story,
               (struct event){
                   .kind = EV_CANCEL,
                   .cancel = {.from = story_from(peer_id, request_id, key), .target_request_id = target},
               });
}

void story_force(struct story *story, uint64_t peer_id, uint64_t request_id, const char *key)
{
    story_step(story, (struct event){.kind = EV_FORCE, .force = story_from(peer_id, request_id, key)});
}

void story_gone(struct story *story, uint64_t peer_id)
{
    story_step(story, (struct event){.kind = EV_PEER_GONE, .gone_peer_id = peer_id});
}

void story_stop(struct story *story)
{
    story_step(story, (struct event){.kind = EV_STOP});
}

void story_offered(struct story *story, const char *key)
{
    story_step(story, (struct event){.kind = EV_OFFERED, .hint = {.key = key, .key_len = strlen(key)}});
}

void story_recalled(struct story *story, const char *key)
{
    story_step(story, (struct event){.kind = EV_RECALLED, .hint = {.key = key, .key_len = strlen(key)}});
}

void story_hearing(struct story *story)
{
    story_step(story, (struct event){.kind = EV_HEARING});
}

struct story_said {
    enum answer answer;
    int64_t remaining_ms;
    bool without_fences, is_found, others_wait;
};

static void story_outcome(struct story *story, uint64_t op_id, struct story_said said)
{
    const struct story_op *op = &story->ops[op_id];
    struct ev_outcome outcome = {
        .lease_id = op->lease_id,
        .op_id = op_id,
        .answer = said.answer,
        .sent_at_ms = op->sent_at_ms,
        .ttl_ms = op->ttl_ms,
        .remaining_ms = said.remaining_ms,
        .is_found = said.is_found,
        .others_wait = said.others_wait,
        .text = said.answer >= ANSWER_TRANSIENT ? "it says no" : NULL,
    };
    if (said.answer == ANSWER_OURS && !said.without_fences && op->fence_count > 0) {
        outcome.fence_first = story->next_fence;
        outcome.fence_count = op->fence_count;
        story->next_fence += op->fence_count;
    }
    story_step(story, (struct event){.kind = EV_OUTCOME, .outcome = outcome});
}

void story_answer(struct story *story, uint64_t op_id, enum answer answer)
{
    story_outcome(story, op_id, (struct story_said){.answer = answer, .remaining_ms = -1});
}

void story_answer_taken(struct story *story, uint64_t op_id, int64_t remaining_ms)
{
    story_outcome(story, op_id, (struct story_said){.answer = ANSWER_TAKEN, .remaining_ms = remaining_ms});
}

void story_answer_without_fences(struct story *story, uint64_t op_id)
{
    story_outcome(story, op_id,
                  (struct story_said){.answer = ANSWER_OURS, .remaining_ms = -1, .without_fences = true});
}

void story_answer_wanted(struct story *story, uint64_t op_id)
{
    story_outcome(story, op_id,
                  (struct story_said){.answer = ANSWER_OURS, .remaining_ms = -1, .others_wait = true});
}

void story_answer_found(struct story *story, uint64_t op_id)
{
    story_outcome(story, op_id,
                  (struct story_said){.answer = ANSWER_OURS, .remaining_ms = -1, .is_found = true});
}

void story_forced(struct story *story, uint64_t peer_id, uint64_t request_id, const char *key)
{
    struct ev_queried queried = {
        .from = story_from(peer_id, request_id, key),
        .was_force = true,
        .answer = ANSWER_OURS,
    };
    story_step(story, (struct event){.kind = EV_QUERIED, .queried = queried});
}

void story_expect(struct story *story, const char *trace)
{
    buf_append(&story->trace, "", 1);
    ck_assert_str_eq(buf_bytes(&story->trace), trace);
    buf_clear(&story->trace);
}

void story_skip(struct story *story)
{
    buf_clear(&story->trace);
}

void story_expect_nothing_left(struct story *story)
{
    ck_assert(broker_is_idle(story->broker));
    ck_assert_uint_eq(story->stats.leases_held, 0);
    ck_assert_uint_eq(story->stats.claims_waiting, 0);
    ck_assert_uint_eq(story->stats.keys, 0);
}

const struct stats *story_stats(const struct story *story)
{
    return &story->stats;
}

struct broker_settings *story_settings(struct story *story)
{
    return &story->settings;
}

void story_apply(struct story *story)
{
    story_step(story, (struct event){.kind = EV_SETTINGS, .settings = story->settings});
}
