/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Effects on their way out: each becomes one answer or one notice, printed into its client's buffer.
 */

#include "daemon/base/stats.h"
#include "daemon/core/effect.h"
#include "daemon/local/peer.h"
#include "daemon/local/status.h"

#include <assert.h>

enum { ANSWER_ROOM = 1280 }; /* for all of a message but its key and id */

#define SAME_CODE(name) \
    static_assert((int)REFUSED_##name == (int)WIRE_##name, "the core's refusals are the wire's codes")
SAME_CODE(HELD);
SAME_CODE(NOT_HELD);
SAME_CODE(TIMEOUT);
SAME_CODE(UNAVAILABLE);
SAME_CODE(ALREADY_HELD);
SAME_CODE(LIMIT);
SAME_CODE(CANCELLED);
SAME_CODE(SHUTTING_DOWN);

static const char *const answer_endings[] = {
    [ENDING_NEVER] = "never",       [ENDING_RELEASED] = "released", [ENDING_STALE_FENCE] = "stale_fence",
    [ENDING_EXPIRED] = "expired",   [ENDING_TAKEN] = "taken",       [ENDING_DELETED] = "deleted",
    [ENDING_MAX_HOLD] = "max_hold", [ENDING_TTL] = "ttl",           [ENDING_FORCED] = "forced",
    [ENDING_SHUTDOWN] = "shutdown",
};

/* A key's bytes may need six each in JSON. */
static size_t answer_room(size_t key_len)
{
    return ANSWER_ROOM + 6 * key_len;
}

static void answer_printed(struct buf *out, const struct print *print, const char *start)
{
    assert(!print->full);
    buf_commit(out, (size_t)(print->at - start));
}

static void answer_print_refusal(struct print *print, struct rpc_id id, const struct fx_reply *reply)
{
    struct message_error error = MESSAGE_ERROR((enum wire_error)reply->refusal);
    error.key = reply->key;
    error.key_len = reply->key_len;
    if (reply->refusal == REFUSED_NOT_HELD) {
        error.why = answer_endings[reply->why];
    }
    error.limit = reply->limit;
    error.last_error = reply->last_error;
    error.remaining_ms = reply->remaining_ms;
    message_print_error(print, id, &error);
}

static void answer_print_reply(struct print *print, struct rpc_id id, enum effect_kind kind,
                               const struct fx_reply *reply)
{
    struct message_lock lock = {
        .key = reply->key,
        .key_len = reply->key_len,
        .fence = reply->fence,
        .ttl_ms = reply->ttl_ms,
        .valid_until_ms = reply->valid_until_ms,
        .waited_ms = reply->waited_ms,
        .held_ms = reply->held_ms,
    };
    switch (kind) {
    case FX_GRANTED:
        message_print_granted(print, id, &lock);
        break;
    case FX_UNLOCKED:
        message_print_unlocked(print, id, &lock);
        break;
    case FX_REFRESHED:
        message_print_refreshed(print, id, &lock);
        break;
    case FX_CANCELLED:
        message_print_cancelled(print, id, reply->cancelled);
        break;
    case FX_FORCED:
        message_print_forced(print, id, &lock);
        break;
    default:
        answer_print_refusal(print, id, reply);
        break;
    }
}

/* An error that was known when the request was read. */
static void answer_print_fault(struct print *print, struct rpc_id id, const struct request *request)
{
    struct message_error error = MESSAGE_ERROR(request->error);
    error.message = request->fault.bytes;
    if (request->error == WIRE_LIMIT) {
        error.limit = "waiting_per_connection"; /* the only one that is looked at so early */
    }
    message_print_error(print, id, &error);
}

/* What is answered from the state at this moment. Prints into `out` itself, as it may be long. */
static void answer_echo(struct peers *peers, struct request *request, struct buf *out, struct rpc_id id)
{
    if (request->method == METHOD_LIST) {
        status_print_list(out, id, peers, request);
    } else if (request->method == METHOD_STATS) {
        status_print_stats(out, id, peers);
    } else if (request->method == METHOD_HELLO) {
        status_print_hello(out, id, peers);
    } else {
        char *start = buf_reserve(out, answer_room(request->fault.len));
        struct print print = print_into(start, answer_room(request->fault.len));
        if (request->error != 0) {
            answer_print_fault(&print, id, request);
        } else if (request->method == METHOD_CANCEL) {
            message_print_cancelled(&print, id, false);
        } else {
            message_print_pong(&print, id);
        }
        answer_printed(out, &print, start);
    }
}

static void answer_request(struct peers *peers, enum effect_kind kind, const struct fx_reply *reply)
{
    struct request *request = request_find(&peers->requests, reply->request_id);
    if (request == NULL || request->peer->conn.is_closing) {
        return; /* its client has gone, or goes: nothing is worked out for nobody */
    }
    struct rpc_id id = {.text = request->wire_id.bytes, .len = request->wire_id.len};
    struct buf *out = peer_open_answer(request);
    if (kind == FX_REFUSED) {
        peers->stats->request_errors++;
    }
    if (kind == FX_ECHOED) {
        answer_echo(peers, request, out, id);
    } else if (kind == FX_INSPECTED) {
        status_print_inspect(out, id, peers, reply);
    } else {
        char *start = buf_reserve(out, answer_room(reply->key_len));
        struct print print = print_into(start, answer_room(reply->key_len));
        answer_print_reply(&print, id, kind, reply);
        answer_printed(out, &print, start);
    }
    peer_close_answer(request);
}

static void answer_notice(struct peers *peers, enum effect_kind kind, const struct fx_notice *notice)
{
    struct peer *peer = peers_find(peers, notice->peer_id);
    if (peer == NULL) {
        return;
    }
    struct message_lock lock = {
        .key = notice->key,
        .key_len = notice->key_len,
        .fence = notice->fence,
        .valid_until_ms = notice->valid_until_ms,
    };
    struct buf *out = conn_out(&peer->conn);
    char *start = buf_reserve(out, answer_room(notice->key_len));
    struct print print = print_into(start, answer_room(notice->key_len));
    if (kind == FX_AT_RISK) {
        message_print_at_risk(&print, &lock, notice->lost_at_ms);
    } else if (kind == FX_SAFE) {
        message_print_safe(&print, &lock);
    } else {
        message_print_lost(&print, &lock, answer_endings[notice->reason]);
    }
    print_literal(&print, "\n");
    answer_printed(out, &print, start);
    conn_printed(&peer->conn);
}

void peers_carry_out(void *ctx, const struct effect *effect)
{
    if (effect->kind >= FX_AT_RISK) {
        answer_notice(ctx, effect->kind, &effect->notice);
    } else {
        answer_request(ctx, effect->kind, &effect->reply);
    }
}
