/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * Requests under way: what has to be known of a request when its answer comes, by a number of its own
 * (which the core hands back) and, within its connection, by the id that the client chose. And
 * batches, whose answers leave together.
 */

#include "daemon/base/buf.h"
#include "daemon/base/table.h"
#include "proto/message.h"

struct peer;

struct batch {
    struct buf out;            /* its answers so far, with commas between them */
    size_t n_pending;          /* calls without an answer yet */
    bool is_open;              /* its line is still being read */
    struct batch *prev, *next; /* in peer->batches */
};

/* A piece of text kept behind its request. */
struct request_text {
    const char *bytes;
    size_t len;
};

struct request {
    uint64_t id; /* never reused */
    struct peer *peer;
    struct batch *batch;                   /* NULL: answered on a line of its own */
    enum method method;                    /* 0: no request of ours, to be answered with `error` */
    enum wire_error error;                 /* 0: none; else the answer is this, with `fault` */
    struct request_text wire_id;           /* as it stood in the line; bytes NULL: null */
    struct request_text canonical;         /* tells whether two ids are the same; len 0: it has no name */
    struct request_text key;               /* also LIST's prefix */
    struct request_text after;             /* LIST */
    struct request_text fault;             /* a sentence; bytes NULL: the standard one */
    int64_t limit;                         /* LIST */
    UT_hash_handle hh;                     /* in request_set.by_id */
    UT_hash_handle hh_name;                /* in request_table.by_name, by canonical */
    struct request *prev, *next;           /* in request_table.all */
    struct request *prev_list, *next_list; /* in request_table.lists */
    char bytes[];
};

/* The requests of one peer. */
struct request_table {
    struct request *all;
    struct request *by_name;           /* those that have an id */
    struct request *lists;             /* LIST, in the order of asking */
    size_t n_lasting;                  /* see request_may_last() */
    struct request_table *prev, *next; /* in request_set.listing */
};

/* The requests of all peers. */
struct request_set {
    struct request *by_id;
    struct request_table *listing; /* tables that have lists, in the order of their turns */
    uint64_t last_id;
};

/* What a new request is made of; all borrowed. */
struct request_seed {
    struct batch *batch;
    enum method method;
    enum wire_error error;
    struct rpc_id wire_id;
    const char *canonical;
    size_t canonical_len;
    struct request_text key, after;
    const char *fault; /* or NULL */
    int64_t limit;
};

struct request *request_new(struct request_set *set, struct request_table *table, struct peer *peer,
                            const struct request_seed *seed);
void request_free(struct request_set *set, struct request_table *table, struct request *request);

/* Whether it may wait for long while none of the core's limits counts it: not a claim, nor the unlock of
 * what is held, nor what is answered in the turn in which it is read. */
bool request_may_last(enum method method);

/* The LIST whose turn it is, or NULL: peers take turns, and a peer's own come in the order of asking. It
 * stays the next one until it is freed. */
const struct request *request_next_list(const struct request_set *set);

struct request *request_find(struct request_set *set, uint64_t id);
struct request *request_find_by_name(const struct request_table *table, const char *canonical, size_t len);
