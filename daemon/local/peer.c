/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The life of a peer, its lines on their way in, and where its answers gather. What a line's calls become is
 * call.c's matter, what the answers say is answer.c's.
 */

#include "daemon/local/peer.h"

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/stats.h"
#include "daemon/core/event.h"
#include "daemon/local/call.h"

#include <assert.h>

enum { PEER_LOG_EVERY_MS = 60000 };

/* --- answers --------------------------------------------------------------------------------------- */

/*
 * A list looks at every key, and a client may ask for a thousand of them in one write. So that everybody
 * else is served in between, one is under way at a time, whoever asks: the next is posted when it has been
 * answered, and what is posted meanwhile comes in the next turn of the loop.
 */
void peers_post_list(struct peers *peers)
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
            call_take(peer, batch, &call);
        }
        if (batch != NULL) {
            batch->is_open = false;
            peer_settle_batch(peer, batch);
        }
    } else {
        call_take_bad_line(peer, r == RPC_E_PARSE ? WIRE_PARSE : WIRE_INVALID_REQUEST, NULL);
    }
    rpc_close(&rpc);
}

/* --- life ------------------------------------------------------------------------------------------ */

static void peer_on_end(void *ctx, enum conn_end why)
{
    static struct log_limit log_limit;
    struct peer *peer = ctx;
    if (why == CONN_END_TOO_LONG) {
        call_take_bad_line(peer, WIRE_INVALID_REQUEST, "the line is longer than limits.line");
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
