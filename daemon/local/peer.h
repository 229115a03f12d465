/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * Bridge one: lines of clients become events, effects become lines.
 *
 * A peer is one connected local process. Every request of it goes through the engine and is answered
 * when its turn comes there, also one that needs no decision, so that no answer overtakes what the
 * passing of time made true before it.
 *
 *      line --> rpc --> message --> request (kept here) + event --> engine
 *      line <-- message <--------- request (found by id) <-- effect
 */

#include "daemon/local/conn.h"
#include "daemon/local/request.h"

struct broker;
struct effect;
struct event;
struct peer;
struct peer_user;
struct stats;

struct peers_config {
    const char *version, *instance; /* for hello; borrowed */
    struct message_defaults defaults;
    int64_t connections_max, connections_per_user_max;
    int64_t held_per_connection_max, waiting_per_connection_max, locks_per_user_max; /* for hello */
    int64_t line_max, output_max;
};

struct peers {
    struct peers_config config;
    struct conn_set conns;
    struct request_set requests;
    uint64_t list_id; /* the request of the list that was posted last */
    struct peer *all; /* by id */
    uint64_t last_peer_id;
    struct peer_user *users; /* who is connected how often */
    struct broker *broker;   /* read only, for the status methods */
    struct stats *stats;
    int64_t started_at_ms;
    void (*post)(void *ctx, const struct event *event);
    void *post_ctx;
    void (*on_empty)(void *ctx); /* after peers_close(): the last connection has gone */
    void *on_empty_ctx;
    bool is_closing;
};

struct peer {
    struct conn conn;
    struct peers *peers;
    uint64_t id;
    struct request_table requests;
    struct batch *batches;
    size_t batch_len; /* bytes in all batches */
    char *command;    /* of its process, as it was when first shown; NULL: not looked at, "": not visible */
    bool is_counted;  /* against its user */
    bool is_gone;     /* EV_PEER_GONE was posted */
    UT_hash_handle hh;
};

struct peer_user {
    uid_t uid;
    int64_t n_connections;
    UT_hash_handle hh;
};

/* `peers` is the owner's memory, zeroed, with config, broker, stats, post and post_ctx set. */
void peers_init(struct peers *peers, uv_loop_t *loop);
void peers_reconfigure(struct peers *peers, const struct peers_config *config);

/* A listening socket has a connection to be taken. */
void peers_accept(struct peers *peers, uv_stream_t *server);

/* The other kinds of effects than the store's: replies and notices (answer.c). `peers` is a
 * struct peers, so that this fits an engine_sinks. */
void peers_carry_out(void *peers, const struct effect *effect);

/* Closes all connections, what was printed first being written as far as the sockets take it. Calls
 * on_empty when the last has gone, maybe at once. */
void peers_close(struct peers *peers, void (*on_empty)(void *ctx), void *ctx);

struct peer *peers_find(struct peers *peers, uint64_t peer_id);

/* For call.c: another list has been asked for. */
void peers_post_list(struct peers *peers);

/* For answer.c: where the answer to a request goes. Reserve room there, print, then call the other,
 * which ends the request. */
struct buf *peer_open_answer(struct request *request);
void peer_close_answer(struct request *request);
