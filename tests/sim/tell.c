/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Words for the trace; nothing is decided here.
 */

#include "tests/sim/tell.h"

#include "tests/sim/host.h"
#include "tests/sim/world.h"

#include <inttypes.h>
#include <stdio.h>

const char *tell_ending(enum ending ending)
{
    static const char *const names[] = {"",        "never",    "released", "stale_fence", "expired", "taken",
                                        "deleted", "max_hold", "ttl",      "forced",      "shutdown"};
    return names[ending];
}

const char *tell_refusal(enum refusal refusal)
{
    static const char *const names[] = {
        "",  "held",  "not_held",  "timeout",      "unavailable", "already_held",
        "?", "limit", "cancelled", "shutting_down"};
    return names[refusal];
}

static const char *tell_answer(enum answer answer)
{
    static const char *const names[] = {"",        "ours",    "taken",   "gone",
                                        "not now", "refused", "unknown", "unsent"};
    return names[answer];
}

static void tell_request(const struct host *host, const struct ev_request *from, const char *what)
{
    world_print(host->world, "host %d: peer %" PRIu64 " asks #%" PRIu64 ": %s %.*s", host->idx, from->peer_id,
                from->request_id, what, (int)from->key_len, from->key != NULL ? from->key : "");
}

static void tell_claim(const struct host *host, const struct ev_claim *asked)
{
    world_print(host->world,
                "host %d: peer %" PRIu64 " asks #%" PRIu64 ": lock %.*s, ttl %d, wait %d, retry %d max %d, "
                "attempt %d, hold %d%s%s",
                host->idx, asked->from.peer_id, asked->from.request_id, (int)asked->from.key_len,
                asked->from.key, (int)asked->ttl_ms, (int)asked->wait_ms, (int)asked->retry_interval_ms,
                (int)asked->retry_max, (int)asked->attempt_timeout_ms, (int)asked->max_hold_ms,
                asked->fail_fast ? ", fail fast" : "", asked->auto_refresh ? "" : ", no refresh");
}

static void tell_outcome(const struct host *host, const struct ev_outcome *outcome)
{
    world_print(host->world, "host %d: answer to command %" PRIu64 " for lease %" PRIu64 ": %s %s", host->idx,
                outcome->op_id, outcome->lease_id, tell_answer(outcome->answer),
                outcome->text != NULL ? outcome->text : "");
}

void tell_event(const struct host *host, const struct event *event)
{
    static const char *const links[] = {"", "connecting", "up", "down"};
    if (!host->world->is_traced) {
        return;
    }
    switch (event->kind) {
    case EV_CLAIM:
        tell_claim(host, &event->claim);
        break;
    case EV_UNLOCK:
        tell_request(host, &event->unlock.from, "unlock");
        break;
    case EV_REFRESH:
        tell_request(host, &event->refresh.from, "refresh");
        break;
    case EV_CANCEL:
        tell_request(host, &event->cancel.from, "cancel");
        break;
    case EV_INSPECT:
        tell_request(host, &event->inspect, "inspect");
        break;
    case EV_FORCE:
        tell_request(host, &event->force, "force_unlock");
        break;
    case EV_ECHO:
        tell_request(host, &event->echo, "ping");
        break;
    case EV_PEER_GONE:
        world_print(host->world, "host %d: peer %" PRIu64 " is gone", host->idx, event->gone_peer_id);
        break;
    case EV_OUTCOME:
        tell_outcome(host, &event->outcome);
        break;
    case EV_QUERIED:
        world_print(host->world, "host %d: answer about %.*s: %s", host->idx,
                    (int)event->queried.from.key_len, event->queried.from.key,
                    tell_answer(event->queried.answer));
        break;
    case EV_LINK:
        world_print(host->world, "host %d: the link is %s", host->idx, links[event->link.state]);
        break;
    case EV_OFFERED:
    case EV_RECALLED:
        world_print(host->world, "host %d: hears that %.*s %s", host->idx, (int)event->hint.key_len,
                    event->hint.key, event->kind == EV_OFFERED ? "is offered to it" : "is wanted elsewhere");
        break;
    case EV_HEARING:
        world_print(host->world, "host %d: hears from now on", host->idx);
        break;
    case EV_STOP:
        world_print(host->world, "host %d: the daemon is to stop", host->idx);
        break;
    case EV_TIME:
    case EV_SETTINGS:
        break;
    }
}

static void tell_command(const struct host *host, const char *what, const struct fx_command *command)
{
    world_print(host->world,
                "host %d: command %" PRIu64 ": %s %.*s, lease %" PRIu64 ", ttl %d, fences %" PRId64 "%s%s",
                host->idx, command->op_id, what, (int)command->key_len, command->key, command->lease_id,
                (int)command->ttl_ms, command->fence_count, command->may_queue ? ", or queue" : "",
                command->offer_ms == 0 ? ", and leave it free" : "");
}

static void tell_reply(const struct host *host, const char *what, const struct fx_reply *reply)
{
    world_print(host->world,
                "host %d: peer %" PRIu64 " is answered #%" PRIu64 ": %s, fence %" PRId64 ", until %" PRId64,
                host->idx, reply->peer_id, reply->request_id, what, reply->fence, reply->valid_until_ms);
}

static void tell_notice(const struct host *host, const char *what, const struct fx_notice *notice)
{
    world_print(host->world, "host %d: peer %" PRIu64 " is told: %s %.*s, fence %" PRId64 " %s", host->idx,
                notice->peer_id, what, (int)notice->key_len, notice->key, notice->fence,
                tell_ending(notice->reason));
}

void tell_effect(const struct host *host, const struct effect *effect)
{
    char text[64];
    if (!host->world->is_traced) {
        return;
    }
    switch (effect->kind) {
    case FX_ACQUIRE:
        tell_command(host, "lock", &effect->command);
        break;
    case FX_RENEW:
        tell_command(host, "refresh", &effect->command);
        break;
    case FX_RELEASE:
        tell_command(host, "unlock", &effect->command);
        break;
    case FX_FORGET:
        world_print(host->world, "host %d: lease %" PRIu64 " is forgotten", host->idx,
                    effect->command.lease_id);
        break;
    case FX_QUERY:
    case FX_FORCE:
        world_print(host->world, "host %d: %s %.*s", host->idx,
                    effect->kind == FX_QUERY ? "who has" : "delete", (int)effect->query.key_len,
                    effect->query.key);
        break;
    case FX_GRANTED:
        tell_reply(host, "granted", &effect->reply);
        break;
    case FX_UNLOCKED:
        tell_reply(host, "unlocked", &effect->reply);
        break;
    case FX_REFRESHED:
        tell_reply(host, "refreshed", &effect->reply);
        break;
    case FX_CANCELLED:
        tell_reply(host, effect->reply.cancelled ? "cancelled" : "nothing to cancel", &effect->reply);
        break;
    case FX_INSPECTED:
    case FX_FORCED:
    case FX_ECHOED:
        tell_reply(host, "done", &effect->reply);
        break;
    case FX_REFUSED:
        snprintf(text, sizeof(text), "refused, %s %s", tell_refusal(effect->reply.refusal),
                 effect->reply.refusal == REFUSED_NOT_HELD ? tell_ending(effect->reply.why) : "");
        tell_reply(host, text, &effect->reply);
        break;
    case FX_AT_RISK:
        tell_notice(host, "at_risk", &effect->notice);
        break;
    case FX_SAFE:
        tell_notice(host, "safe", &effect->notice);
        break;
    case FX_LOST:
        tell_notice(host, "lost", &effect->notice);
        break;
    }
}
