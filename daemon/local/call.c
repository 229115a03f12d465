/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * A handler for each method. What is borrowed from the line is copied by whoever keeps it: the request that
 * waits for the answer, and the engine's inbox.
 */

#include "daemon/local/call.h"

#include "daemon/base/log.h"
#include "daemon/base/stats.h"
#include "daemon/core/event.h"
#include "daemon/local/peer.h"

#include <unistd.h>

enum { CALL_LASTING_MAX = 1000 }; /* requests beside limits.waiting_per_connection */

/* A call on its way to its handler. */
struct call {
    struct peer *peer;
    struct batch *batch;
    const struct rpc_call *rpc;
    const struct message *message;
};

static struct request *call_keep(const struct call *call, struct request_seed seed)
{
    struct peer *peer = call->peer;
    seed.batch = call->batch;
    seed.wire_id = call->rpc->id;
    if (call->batch != NULL) {
        call->batch->n_pending++;
    }
    conn_set_spend(&peer->peers->conns, sizeof(struct request));
    return request_new(&peer->peers->requests, &peer->requests, peer, &seed);
}

/* Keeps a request whose method will want to see its key again. */
static uint64_t call_keep_request(const struct call *call)
{
    const struct message *message = call->message;
    if (call->rpc->is_notification) {
        return 0;
    }
    return call_keep(call,
                     (struct request_seed){
                         .method = message->method,
                         .canonical = call->rpc->canonical,
                         .canonical_len = call->rpc->canonical_len,
                         .key = {message->key, message->key != NULL ? message->key_len : 0},
                         .after = {message->after, message->after != NULL ? message->after_len : 0},
                         .limit = message->limit,
                     })
        ->id;
}

static void call_post(const struct call *call, const struct event *event)
{
    struct peers *peers = call->peer->peers;
    conn_set_spend(&peers->conns, sizeof(*event));
    peers->post(peers->post_ctx, event);
}

static struct ev_request call_from(const struct call *call, uint64_t request_id)
{
    return (struct ev_request){
        .peer_id = call->peer->id,
        .request_id = request_id,
        .key = call->message->key,
        .key_len = call->message->key_len,
    };
}

static void call_echo(const struct call *call, uint64_t request_id)
{
    call_post(call, &(struct event){
                        .kind = EV_ECHO,
                        .echo = {.peer_id = call->peer->id, .request_id = request_id},
                    });
}

/* An error that is known already; it still waits for its turn. */
static void call_fail(const struct call *call, enum wire_error error, const char *fault)
{
    call->peer->peers->stats->request_errors++;
    call_echo(call, call_keep(call, (struct request_seed){.error = error, .fault = fault})->id);
}

static void handle_lock(const struct call *call)
{
    const struct message *message = call->message;
    if (call->rpc->is_notification) {
        return; /* nobody could be told of the grant, so nothing is acquired */
    }
    call_post(call, &(struct event){
                        .kind = EV_CLAIM,
                        .claim =
                            {
                                .from = call_from(call, call_keep_request(call)),
                                .user_id = call->peer->conn.creds.uid,
                                .ttl_ms = message->ttl_ms,
                                .wait_ms = message->wait_ms,
                                .retry_interval_ms = message->retry_interval_ms,
                                .retry_max = message->retry_max,
                                .attempt_timeout_ms = message->attempt_timeout_ms,
                                .max_hold_ms = message->max_hold_ms,
                                .fail_fast = message->fail_fast,
                                .auto_refresh = message->auto_refresh,
                                .note = message->note,
                                .note_len = message->note_len,
                            },
                    });
}

static void handle_unlock(const struct call *call)
{
    call_post(call,
              &(struct event){
                  .kind = EV_UNLOCK,
                  .unlock = {.from = call_from(call, call_keep_request(call)), .fence = call->message->fence},
              });
}

static void handle_refresh(const struct call *call)
{
    call_post(call, &(struct event){
                        .kind = EV_REFRESH,
                        .refresh =
                            {
                                .from = call_from(call, call_keep_request(call)),
                                .fence = call->message->fence,
                                .ttl_ms = call->message->ttl_ms,
                            },
                    });
}

/* The claim is named by the id of its request; the core wants its key and number. */
static void handle_cancel(const struct call *call)
{
    const struct rpc_id *target_id = &call->message->target;
    struct request *target = request_find_by_name(&call->peer->requests, target_id->text, target_id->len);
    struct ev_request from = call_from(call, call_keep_request(call));
    if (target == NULL || (target->method != METHOD_LOCK && target->method != METHOD_TRY_LOCK)) {
        call_echo(call, from.request_id);
        return;
    }
    from.key = target->key.bytes;
    from.key_len = target->key.len;
    call_post(call, &(struct event){
                        .kind = EV_CANCEL,
                        .cancel = {.from = from, .target_request_id = target->id},
                    });
}

static void handle_inspect(const struct call *call)
{
    if (!call->rpc->is_notification) {
        call_post(call,
                  &(struct event){.kind = EV_INSPECT, .inspect = call_from(call, call_keep_request(call))});
    }
}

/* For root and the daemon's own user: it takes a lock away from whoever believes to have it. */
static void handle_force_unlock(const struct call *call)
{
    const struct conn_creds *creds = &call->peer->conn.creds;
    char safe[TEXT_SAFE_CAP];
    if (creds->uid != 0 && creds->uid != geteuid()) {
        if (!call->rpc->is_notification) {
            call_fail(call, WIRE_DENIED, "force_unlock is for root and the daemon's own user");
        }
        return;
    }
    log_notice("force_unlock of \"%s\" by pid %d, uid %u",
               text_safe(call->message->key, call->message->key_len, safe), (int)creds->pid,
               (unsigned)creds->uid);
    call_post(call, &(struct event){.kind = EV_FORCE, .force = call_from(call, call_keep_request(call))});
}

/* Answered from what is known when its turn comes. */
static void handle_status(const struct call *call)
{
    if (!call->rpc->is_notification) {
        call_echo(call, call_keep_request(call));
    }
}

static void handle_list(const struct call *call)
{
    if (call->rpc->is_notification) {
        return;
    }
    (void)call_keep_request(call);
    peers_post_list(call->peer->peers);
}

static void (*const call_handlers[N_METHODS])(const struct call *) = {
    [METHOD_LOCK] = handle_lock,
    [METHOD_TRY_LOCK] = handle_lock,
    [METHOD_UNLOCK] = handle_unlock,
    [METHOD_REFRESH] = handle_refresh,
    [METHOD_CANCEL] = handle_cancel,
    [METHOD_INSPECT] = handle_inspect,
    [METHOD_LIST] = handle_list,
    [METHOD_STATS] = handle_status,
    [METHOD_HELLO] = handle_status,
    [METHOD_PING] = handle_status,
    [METHOD_FORCE_UNLOCK] = handle_force_unlock,
};

/* Requests without an answer are bounded, since Redis may not answer for a while: those that the core does
 * not bound itself (claims, by that very limit) or that may last, here. */
static bool call_is_one_too_many(const struct peer *peer)
{
    return (int64_t)peer->requests.n_lasting >=
           peer->peers->config.waiting_per_connection_max + CALL_LASTING_MAX;
}

void call_take(struct peer *peer, struct batch *batch, const struct rpc_call *rpc)
{
    struct message message;
    char fault[MESSAGE_FAULT_CAP];
    struct call call = {.peer = peer, .batch = batch, .rpc = rpc, .message = &message};
    peer->peers->stats->requests++;
    if (!rpc->is_valid) {
        call_fail(&call, WIRE_INVALID_REQUEST, NULL);
        return;
    }
    bool is_in_flight = rpc->canonical_len > 0 &&
                        request_find_by_name(&peer->requests, rpc->canonical, rpc->canonical_len) != NULL;
    if (is_in_flight) {
        call_fail(&call, WIRE_INVALID_REQUEST, "this id is still in flight on this connection");
        return;
    }
    int r = message_parse(rpc, &peer->peers->config.defaults, &message, fault);
    if (r == 0 && !rpc->is_notification && request_may_last(message.method) && call_is_one_too_many(peer)) {
        call_fail(&call, WIRE_LIMIT, NULL);
    } else if (r == 0) {
        call_handlers[message.method](&call);
    } else if (!rpc->is_notification) {
        call_fail(&call, r == MESSAGE_E_METHOD ? WIRE_METHOD_NOT_FOUND : WIRE_INVALID_PARAMS, fault);
    }
}

void call_take_bad_line(struct peer *peer, enum wire_error error, const char *fault)
{
    struct rpc_call nobody = {0};
    struct call call = {.peer = peer, .rpc = &nobody};
    peer->peers->stats->requests++;
    call_fail(&call, error, fault);
}
