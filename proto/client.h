/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * The inside of librlock: what its files share. Programs include rlock.h and nothing else; names that begin
 * with rlock_ are theirs to see, those that begin with librlock_ are not.
 *
 *     client.c           the connection: bytes in and out, its end, and waiting for something on it
 *     client_request.c   requests in flight; a line that came --> an answer or a notice
 *     client_lock.c      struct rlock: the calls on it
 *     client_event.c     what answers and notices make of it
 *     client_list.c      calls that are about no lock of this client; lists of keys as structs
 *     client_error.c     codes and sentences
 *
 * A request in flight has a slot, and its id on the wire tells which, so an answer is found at once. It
 * may outlive the lock that it was for: then nobody is told, and a grant is given back.
 */

#include "proto/frame.h"
#include "proto/print.h"
#include "proto/rlock.h"

#include <jansson.h>
#include <stdatomic.h>

/* An element that finds no memory has no table afterwards, instead of ending the process. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

enum {
    LIBRLOCK_READ_MAX = 16384,
    LIBRLOCK_LINE_MAX = 64 << 20,  /* of the daemon; far above what it keeps for us */
    LIBRLOCK_REQUEST_MAX = 65536,  /* of ours: what the daemon reads as one line */
    LIBRLOCK_REQUEST_ROOM = 8192,  /* fits key, note and numbers, all escaped */
    LIBRLOCK_SLOT_BITS = 20,       /* of an id; the rest is the slot's serial number */
    LIBRLOCK_WITHDRAWAL_MS = 1000, /* how long to wait for the answer to a cancel */
};
#define LIBRLOCK_NONE UINT32_MAX

/* Where a blocking call gets its answer. Lives on the caller's stack. */
struct librlock_wait {
    bool is_done;
    json_t *result; /* owned; NULL after an error */
    struct rlock_error error;
};

enum librlock_kind {
    LIBRLOCK_LOCK = 1,
    LIBRLOCK_UNLOCK,
    LIBRLOCK_REFRESH,
    LIBRLOCK_CALL,
    LIBRLOCK_FORGOTTEN, /* whoever asked has left; the answer is passed over */
};

struct librlock_request {
    enum librlock_kind kind; /* 0: the slot is free */
    uint32_t serial;
    uint32_t next;              /* of the same lock's, or of the free ones; LIBRLOCK_NONE ends it */
    struct rlock *lock;         /* NULL: none, or it was freed */
    struct librlock_wait *wait; /* NULL: an event tells the outcome */
};

struct rlock {
    struct rlock_client *client;
    struct rlock *next, **link; /* in one of the client's lists */
    UT_hash_handle hh;          /* by fence, while it is active and was granted */
    uint32_t requests;          /* the first one in flight, LIBRLOCK_NONE */
    int64_t lock_id;            /* of the request that waits for the grant */
    enum rlock_state state;
    bool is_listed;  /* in the table by_fence */
    bool is_private; /* a blocking call has not returned it yet: no events */
    struct rlock_grant grant;
    char reason[32];
    void *ctx;
    _Atomic int64_t valid_until_ms; /* what rlock_valid() goes by, in any thread; 0: not held */
    _Atomic int64_t fence;
    char key[];
};

struct rlock_client {
    int fd;
    bool is_delivering;           /* an event function is running */
    int send_error;               /* what send(2) said; acted upon after all that came was read */
    struct rlock_error error;     /* of the last call that failed */
    struct rlock_error end_error; /* code 0: the connection stands */
    rlock_event_fn on_event;
    void *ctx;
    struct frame frame;
    char *out; /* waits to be sent */
    size_t out_len, out_cap;
    struct librlock_request *requests;
    uint32_t n_requests, free_request;
    struct rlock *locks;    /* those that have not had their last event */
    struct rlock *over;     /* those that have */
    struct rlock *graves;   /* freed by an event function, which may still look at them */
    struct rlock *by_fence; /* hash table */
    char room[LIBRLOCK_READ_MAX];
};

/* ---- client.c ---- */

int64_t librlock_now_ms(void);

/* Takes bytes to be sent, and sends what goes without waiting. 0 or -ENOMEM. */
int librlock_send(struct rlock_client *client, const char *bytes, size_t len);

/* 0, or the code with which a call that needs the connection must return. */
int librlock_check(struct rlock_client *client);
/* The same for a call that waits. */
int librlock_check_waiting(struct rlock_client *client);

/* Until the wait is done: its code, which may be 0. -ETIMEDOUT: the request is still in flight. */
int librlock_await(struct rlock_client *client, struct librlock_wait *wait, int timeout_ms);

void librlock_deliver(struct rlock_client *client, const struct rlock_event *event);

/* ---- client_request.c ---- */

/*
 * A request in a slot, not sent yet. Its id, or -ENOMEM. `lock` and `wait` may be NULL.
 */
int64_t librlock_request_open(struct rlock_client *client, enum librlock_kind kind, struct rlock *lock,
                              struct librlock_wait *wait);
/* From now on an event tells the outcome. */
void librlock_request_unwait(struct rlock_client *client, int64_t id);
/* Nobody is to be told: a grant is given back, anything else is forgotten. */
void librlock_request_abandon(struct rlock_client *client, int64_t id);
/* As if it had never been. */
void librlock_request_close(struct rlock_client *client, int64_t id);
void librlock_request_abandon_all(struct rlock *lock);
void librlock_request_fail_all(struct rlock_client *client, const struct rlock_error *error);

/* {"jsonrpc":"2.0","id":ID,"method":METHOD,"params":   ...print an object, then close; id 0: no id. */
void librlock_print_open(struct print *print, int64_t id, const char *method);
void librlock_print_close(struct print *print);

/* Acts upon a line of the daemon. 0, or the connection cannot go on: the code, with `ret_end` filled. */
int librlock_take_line(struct rlock_client *client, const char *line, size_t len,
                       struct rlock_error *ret_end);

/* ---- client_event.c ---- */

/* What an answer does to its lock, which may be NULL, and who is told. -EPROTO: it makes no sense; -ENOMEM.
 * `result` NULL: an error, which is never one too many. */
int librlock_lock_answer(struct rlock_client *client, const struct librlock_request *request, json_t *result,
                         const struct rlock_error *error);
int librlock_lock_notice(struct rlock_client *client, const char *method, json_t *params);
void librlock_lock_disconnect_all(struct rlock_client *client);

/* A lock is in exactly one list. */
void librlock_lock_link(struct rlock **list, struct rlock *lock);
void librlock_lock_unlink(struct rlock *lock);
void librlock_lock_move(struct rlock **list, struct rlock *lock);
/* Takes it out of the table of those that notices may be about, if it is there. */
void librlock_lock_unlist(struct rlock *lock);
bool librlock_lock_is_held(const struct rlock *lock);
void librlock_lock_set_valid(struct rlock *lock, int64_t valid_until_ms);

/* ---- client_lock.c ---- */

/* Gives a grant back without an answer. -EPROTO: no such key fits a request; -ENOMEM. */
int librlock_tell_unlock(struct rlock_client *client, const char *key, int64_t fence);
void librlock_lock_bury(struct rlock_client *client);
void librlock_lock_free_all(struct rlock_client *client);

/* ---- client_list.c ---- */

int librlock_call_answer(struct rlock_client *client, int64_t call_id, json_t *result,
                         const struct rlock_error *error);

/* ---- client_error.c ---- */

/* Fills an error of this side; `text` NULL: the sentence of the code. Returns the code. */
int librlock_error_set(struct rlock_error *error, int code, const char *text);
/* The same as what the client's last call met. In sight, so that analyzers see that it is no success. */
static inline int librlock_fail(struct rlock_client *client, int code, const char *text)
{
    (void)librlock_error_set(&client->error, code, text);
    return code;
}
/* Reads the error object of an answer. -EPROTO: it is none. */
int librlock_error_read(const json_t *object, struct rlock_error *ret_error);
