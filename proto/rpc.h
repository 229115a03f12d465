/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * One line <-> JSON-RPC 2.0. Knows envelopes: ids, methods, batches, errors; not what a method means.
 *
 * Text is checked before it is parsed (length by the frame, depth here), parsed by jansson with
 * duplicate members refused, and NUL refused even as \u0000, so that all strings are C strings.
 * An id is kept as the very bytes of the line, since it is to be echoed exactly. One id can be
 * spelled in several ways ("a", "\u0061"); which id is in flight is told by its canonical text.
 */

#include "proto/print.h"

#include <jansson.h>

enum {
    RPC_ID_MAX = 256,  /* bytes of an id's JSON text */
    RPC_DEPTH_MAX = 8, /* nested arrays and objects in a line */
    RPC_BATCH_MAX = 1024,
};

enum {
    RPC_E_PARSE = 1, /* not JSON, or JSON that we refuse: answer -32700, id null */
    RPC_E_INVALID,   /* JSON, but no request and no batch of 1 to RPC_BATCH_MAX: answer -32600, id null */
};

struct rpc_id {
    const char *text; /* JSON text, borrowed from the line; NULL: none, printed as null */
    size_t len;
};

struct rpc_call {
    bool is_valid; /* false: answer -32600 with `id`; nothing else here counts */
    bool is_notification;
    struct rpc_id id;     /* as it stands in the line; null if there was none, or none that can be echoed */
    size_t canonical_len; /* 0 without an id */
    char canonical[RPC_ID_MAX]; /* the id printed anew: two ids are the same if these bytes are */
    const char *method;         /* NUL-terminated; borrowed from the parsed text, as is params */
    json_t *params;             /* an object, or NULL if there were none or they came by position */
    bool params_by_position;    /* an array: legal JSON-RPC that our methods do not take: answer -32602 */
};

/* One parsed line. */
struct rpc {
    const char *line;
    size_t line_len;
    json_t *root;
    bool is_batch;
    size_t n_calls, n_taken;
    const char *raw; /* where in the line the next call's text begins */
};

/* Once, before the first line: the allocator that jansson is to use, and a random seed for its tables. */
void rpc_setup(void *(*alloc)(size_t), void (*release)(void *));

/* 0 or an outcome above. `line` must stay until rpc_close(), which is harmless after an outcome. */
int rpc_open(struct rpc *rpc, const char *line, size_t len);
/* The next call of the line (one, unless it is a batch); false after the last. */
bool rpc_next(struct rpc *rpc, struct rpc_call *ret_call);
void rpc_close(struct rpc *rpc);

/*
 * The canonical text of a parsed id: a string, an integer or null. Returns its length, or 0 if this
 * can be no id, by its type or because its text is longer than RPC_ID_MAX.
 */
size_t rpc_id_canonical(const json_t *id, char ret[RPC_ID_MAX]);

/* {"jsonrpc":"2.0","id":ID,"result":  ...print the result...  }   and the same with an error */
void rpc_print_result_open(struct print *print, struct rpc_id id);
void rpc_print_error_open(struct print *print, struct rpc_id id);
void rpc_print_close(struct print *print);

/* {"jsonrpc":"2.0","method":METHOD,"params":  ...print an object...  } */
void rpc_print_notice_open(struct print *print, const char *method);
