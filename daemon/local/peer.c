/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The life of a peer, and its lines on their way in. The way out is answer.c.
 */

#include "daemon/local/peer.h"

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/stats.h"
#include "daemon/core/event.h"

#include <assert.h>
#include <unistd.h>

enum {
    PEER_LASTING_MAX = 1000, /* requests beside limits.waiting_per_connection; see peer_is_full() */
    PEER_LOG_EVERY_MS = 60000,
};

/* --- answers --------------------------------------------------------------------------------------- */

/*
 * A list looks at every key, and a client may ask for a thousand of them in one write. So that everybody
 * else is served in between, one is under way at a time, whoever asks: the next is posted when it has been
 * answered, and what is posted meanwhile comes in the next turn of the loop.
 */
static void peers_post_list(struct peers *peers)
{
    const struct request *next = request_next_list(&peers->requests);
    if (next == NULL || next->id == peers->list_id) {
        return;
    }
    peers->list_id = next->id;
    peers->post(peers->post_ctx, &(struct event){
                                     .kind = EV_ECHO,
                                     .echo = {.peer_id = next->peer->id, .request_id = next->id},
                                 });
}

struct buf *peer_open_answer(struct request *request)
{
    struct batch *batch = request->batch;
    if (batch == NULL) {
        return conn_out(&request->peer->conn);
    }
    request->peer->batch_len -= batch->out.len; /* counted anew when it has grown */
    if (batch->out.len > 0) {
        buf_append(&batch->out, ",", 1);
    }
    return &batch->out;
}

static void peer_post_gone(struct peer *peer)
{
    if (peer->is_gone) {
        return;
    }
    peer->is_gone = true;
    peer->peers->post(peer->peers->post_ctx, &(struct event){.kind = EV_PEER_GONE, .gone_peer_id = peer->id});
}

static void peer_free_batch(struct peer *peer, struct batch *batch)
{
    DL_DELETE(peer->batches, batch);
    peer->batch_len -= batch->out.len;
    buf_deinit(&batch->out);
    free(batch);
}

/* A batch of which all is read and all is answered leaves as one line; of nothing but notifications,
 * as none. */
static void peer_settle_batch(struct peer *peer, struct batch *batch)
{
    if (batch->is_open || batch->n_pending > 0) {
        return;
    }
    if (batch->out.len > 0) {
        struct buf *out = conn_out(&peer->conn);
        buf_append(out, "[", 1);
        buf_append(out, buf_bytes(&batch->out), batch->out.len);
        buf_append(out, "]\n", 2);
        conn_printed(&peer->conn);
    }
    peer_free_batch(peer, batch);
}

void peer_close_answer(struct request *request)
{
    struct peer *peer = request->peer;
    struct batch *batch = request->batch;
    request_free(&peer->peers->requests, &peer->requests, request);
    peers_post_list(peer->peers);
    if (batch == NULL) {
        buf_append(conn_out(&peer->conn), "\n", 1);
        conn_printed(&peer->conn);
        return;
    }
    peer->batch_len += batch->out.len;
    batch->n_pending--;
    peer_settle_batch(peer, batch);
    if (peer->batch_len > peer->peers->conns.output_max) {
        conn_abort(&peer->conn);
        peer_post_gone(peer);
    }
}

/* --- one call -------------------------------------------------------------------------------------- */

/* What on_line has made of a call, on its way to its handler. */
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

static void (*const peer_handlers[N_METHODS])(const struct call *) = {
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
static bool peer_is_full(const struct peer *peer)
{
    return (int64_t)peer->requests.n_lasting >=
           peer->peers->config.waiting_per_connection_max + PEER_LASTING_MAX;
}

static void peer_on_call(struct peer *peer, struct batch *batch, const struct rpc_call *rpc)
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
    if (r == 0 && !rpc->is_notification && request_may_last(message.method) && peer_is_full(peer)) {
        call_fail(&call, WIRE_LIMIT, NULL);
    } else if (r == 0) {
        peer_handlers[message.method](&call);
    } else if (!rpc->is_notification) {
        call_fail(&call, r == MESSAGE_E_METHOD ? WIRE_METHOD_NOT_FOUND : WIRE_INVALID_PARAMS, fault);
    }
}

/* --- lines ----------------------------------------------------------------------------------------- */

static bool peer_is_blank(const char *line, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r') {
            return false;
        }
    }
    return true;
}

/* A line that is no request at all: answered, and the connection goes on. */
static void peer_on_bad_line(struct peer *peer, enum wire_error error, const char *fault)
{
    struct rpc_call nobody = {0};
    struct call call = {.peer = peer, .rpc = &nobody};
    peer->peers->stats->requests++;
    call_fail(&call, error, fault);
}

static struct batch *peer_open_batch(struct peer *peer)
{
    struct batch *batch = alloc_zeroed(1, sizeof(*batch));
    batch->is_open = true;
    buf_init(&batch->out);
    DL_APPEND(peer->batches, batch);
    return batch;
}

static void peer_on_line(void *ctx, const char *line, size_t len)
{
    struct peer *peer = ctx;
    struct rpc rpc;
    if (peer_is_blank(line, len)) {
        return;
    }
    int r = rpc_open(&rpc, line, len);
    if (r == 0) {
        struct batch *batch = rpc.is_batch ? peer_open_batch(peer) : NULL;
        struct rpc_call call;
        while (rpc_next(&rpc, &call)) {
            peer_on_call(peer, batch, &call);
        }
        if (batch != NULL) {
            batch->is_open = false;
            peer_settle_batch(peer, batch);
        }
    } else {
        peer_on_bad_line(peer, r == RPC_E_PARSE ? WIRE_PARSE : WIRE_INVALID_REQUEST, NULL);
    }
    rpc_close(&rpc);
}

/* --- life ------------------------------------------------------------------------------------------ */

static void peer_on_end(void *ctx, enum conn_end why)
{
    static struct log_limit log_limit;
    struct peer *peer = ctx;
    if (why == CONN_END_TOO_LONG) {
        peer_on_bad_line(peer, WIRE_INVALID_REQUEST, "the line is longer than limits.line");
    }
    if (why == CONN_END_TOO_LONG || why == CONN_END_OVERFLOW) {
        peer->peers->stats->connections_dropped++;
        log_limited(&log_limit, PEER_LOG_EVERY_MS, LOG_LEVEL_INFO, "client pid %d, uid %u dropped: %s",
                    (int)peer->conn.creds.pid, (unsigned)peer->conn.creds.uid,
                    why == CONN_END_TOO_LONG ? "a line exceeds limits.line" : "it does not read its replies");
    }
    peer_post_gone(peer);
}

static void peer_uncount(struct peer *peer)
{
    struct peers *peers = peer->peers;
    struct peer_user *user;
    if (!peer->is_counted) {
        return;
    }
    peers->stats->connections--;
    HASH_FIND(hh, peers->users, &peer->conn.creds.uid, sizeof(peer->conn.creds.uid), user);
    assert(user != NULL);
    if (--user->n_connections == 0) {
        HASH_DEL(peers->users, user);
        free(user);
    }
}

static void peer_on_closed(void *ctx)
{
    struct peer *peer = ctx;
    struct peers *peers = peer->peers;
    peer_post_gone(peer);
    peer_uncount(peer);
    while (peer->requests.all != NULL) {
        request_free(&peers->requests, &peer->requests, peer->requests.all);
    }
    peers_post_list(peers);
    while (peer->batches != NULL) {
        peer_free_batch(peer, peer->batches);
    }
    HASH_DEL(peers->all, peer);
    free(peer->command);
    free(peer);
    if (peers->is_closing && peers->all == NULL) {
        peers->on_empty(peers->on_empty_ctx);
    }
}

void peers_init(struct peers *peers, uv_loop_t *loop)
{
    static const struct conn_sinks sinks = {
        .on_line = peer_on_line,
        .on_end = peer_on_end,
        .on_closed = peer_on_closed,
    };
    peers->started_at_ms = clock_now_ms();
    conn_set_init(&peers->conns, loop, &sinks, (size_t)peers->config.line_max,
                  (size_t)peers->config.output_max);
}

void peers_reconfigure(struct peers *peers, const struct peers_config *config)
{
    peers->config = *config;
    peers->conns.line_max = (size_t)config->line_max; /* of connections to come */
    peers->conns.output_max = (size_t)config->output_max;
}

struct peer *peers_find(struct peers *peers, uint64_t peer_id)
{
    struct peer *peer;
    HASH_FIND(hh, peers->all, &peer_id, sizeof(peer_id), peer);
    return peer;
}

/* Counts the connection against its user; the name of the limit that does not allow that, or NULL. */
static const char *peer_count(struct peer *peer)
{
    struct peers *peers = peer->peers;
    uid_t uid = peer->conn.creds.uid;
    struct peer_user *user;
    HASH_FIND(hh, peers->users, &uid, sizeof(uid), user);
    if (peers->stats->connections >= (uint64_t)peers->config.connections_max) {
        return "connections";
    }
    if (user != NULL && user->n_connections >= peers->config.connections_per_user_max) {
        return "connections_per_user";
    }
    if (user == NULL) {
        user = alloc_zeroed(1, sizeof(*user));
        user->uid = uid;
        HASH_ADD(hh, peers->users, uid, sizeof(user->uid), user);
    }
    user->n_connections++;
    peer->is_counted = true;
    peers->stats->connections++;
    peers->stats->connections_total++;
    return NULL;
}

/* Says why, and ends. Such a connection never gets to say anything. */
static void peer_turn_away(struct peer *peer, const char *limit)
{
    static struct log_limit log_limit;
    struct message_error error = MESSAGE_ERROR(WIRE_LIMIT);
    struct buf *out = conn_out(&peer->conn);
    struct print print = print_into(buf_reserve(out, PRINT_ROOM), PRINT_ROOM);
    char *start = print.at;
    error.limit = limit;
    message_print_error(&print, (struct rpc_id){0}, &error);
    print_literal(&print, "\n");
    buf_commit(out, (size_t)(print.at - start));
    conn_finish(&peer->conn);
    peer->peers->stats->connections_refused++;
    log_limited(&log_limit, PEER_LOG_EVERY_MS, LOG_LEVEL_WARNING,
                "connection of pid %d, uid %u refused: limits.%s", (int)peer->conn.creds.pid,
                (unsigned)peer->conn.creds.uid, limit);
}

void peers_accept(struct peers *peers, uv_stream_t *server)
{
    struct peer *peer = alloc_zeroed(1, sizeof(*peer));
    bool is_closing;
    peer->peers = peers;
    peer->id = ++peers->last_peer_id;
    int r = conn_open(&peer->conn, &peers->conns, server, peer, &is_closing);
    if (r < 0 && !is_closing) {
        free(peer);
        return;
    }
    HASH_ADD(hh, peers->all, id, sizeof(peer->id), peer);
    if (r < 0) {
        return;
    }
    const char *limit = peer_count(peer);
    if (limit != NULL) {
        peer_turn_away(peer, limit);
    }
}

void peers_close(struct peers *peers, void (*on_empty)(void *ctx), void *ctx)
{
    peers->is_closing = true;
    peers->on_empty = on_empty;
    peers->on_empty_ctx = ctx;
    conn_set_flush(&peers->conns);
    conn_set_close(&peers->conns);
    for (struct peer *peer = peers->all; peer != NULL; peer = peer->hh.next) {
        conn_abort(&peer->conn);
    }
    if (peers->all == NULL) {
        on_empty(ctx);
    }
}
