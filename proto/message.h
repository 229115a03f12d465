/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * JSON-RPC envelope <-> typed messages: the only place that knows what the fields are called, what
 * they may be, and how replies look. protocol.md says the same in prose.
 */

#include "proto/rpc.h"

enum method {
    METHOD_LOCK = 1,
    METHOD_TRY_LOCK,
    METHOD_UNLOCK,
    METHOD_REFRESH,
    METHOD_CANCEL,
    METHOD_INSPECT,
    METHOD_LIST,
    METHOD_STATS,
    METHOD_HELLO,
    METHOD_PING,
    METHOD_FORCE_UNLOCK,
    N_METHODS,
};

enum wire_error {
#define WIRE_ERROR(name, code, reason, retryable, message) WIRE_##name = code,
#include "proto/errors.def"
#undef WIRE_ERROR
};

enum {
    MESSAGE_KEY_MAX = 512,
    MESSAGE_NOTE_MAX = 256,
    MESSAGE_TTL_MS_MIN = 100,
    MESSAGE_TTL_MS_MAX = 86400000,
    MESSAGE_INTERVAL_MS_MAX = 86400000, /* attempt_timeout_ms, retry.interval_ms */
    MESSAGE_RETRY_MAX = 1000000000,
    MESSAGE_LIST_LIMIT = 100, /* default */
    MESSAGE_LIST_LIMIT_MAX = 1000,
};
#define MESSAGE_MS_MAX INT64_C(315360000000) /* ten years: bound of every other duration */
#define MESSAGE_FENCE_MAX ((INT64_C(1) << 53) - 1)
#define MESSAGE_OWN_NAMES "rlockd:" /* keys that begin so are refused: the daemon uses them itself */
#define MESSAGE_UNBOUNDED (-1)      /* null on the wire: for ever, without bound */

/* The parameters of any request, as far as its method has them; borrowed from the rpc_call. */
struct message {
    enum method method;
    const char *key; /* also LIST's prefix ("" if absent) */
    size_t key_len;
    int64_t ttl_ms;  /* 0: absent (REFRESH) */
    int64_t wait_ms; /* or MESSAGE_UNBOUNDED */
    int64_t retry_interval_ms;
    int64_t retry_max; /* or MESSAGE_UNBOUNDED */
    int64_t attempt_timeout_ms;
    int64_t max_hold_ms; /* or MESSAGE_UNBOUNDED */
    int64_t fence;       /* 0: absent */
    bool fail_fast, auto_refresh;
    const char *note; /* "" if absent */
    size_t note_len;
    int64_t limit;     /* LIST */
    const char *after; /* LIST; "" if absent */
    size_t after_len;
    struct rpc_id target; /* CANCEL: the id's canonical text (rpc.h); lies in target_text */
    char target_text[RPC_ID_MAX];
};

/* What LOCK and TRY_LOCK take where a parameter is absent: from the configuration. */
struct message_defaults {
    int64_t ttl_ms, wait_ms, retry_interval_ms, retry_max, attempt_timeout_ms, max_hold_ms;
};

enum {
    MESSAGE_E_METHOD = 1, /* no such method: -32601 */
    MESSAGE_E_PARAMS,     /* -32602; ret_fault says which parameter and what it must be */
};

#define MESSAGE_FAULT_CAP 512

/*
 * 0 or an outcome above. `ret_fault` gets a whole English sentence, safe to print, on MESSAGE_E_*.
 * Foreign text in it (an unknown method's or parameter's name) is cut to 64 bytes and escaped.
 */
int message_parse(const struct rpc_call *call, const struct message_defaults *defaults,
                  struct message *ret_message, char ret_fault[MESSAGE_FAULT_CAP]);

const char *message_method_name(enum method method);
const char *message_error_reason(enum wire_error error);

/* Results: each prints a whole JSON-RPC response, without the newline. */
struct message_lock { /* of a grant */
    const char *key;
    size_t key_len;
    int64_t fence, ttl_ms, valid_until_ms, waited_ms, held_ms;
};
void message_print_granted(struct print *print, struct rpc_id id, const struct message_lock *lock);
void message_print_unlocked(struct print *print, struct rpc_id id, const struct message_lock *lock);
void message_print_refreshed(struct print *print, struct rpc_id id, const struct message_lock *lock);
void message_print_cancelled(struct print *print, struct rpc_id id, bool cancelled);
void message_print_pong(struct print *print, struct rpc_id id);
void message_print_forced(struct print *print, struct rpc_id id,
                          const struct message_lock *lock); /* the key alone */

/* An error response; data.reason comes from errors.def. */
struct message_error {
    enum wire_error error;
    const char *message; /* NULL: the sentence of errors.def */
    const char *key;     /* NULL: none, as for all that follow */
    size_t key_len;
    const char *why;        /* not_held */
    const char *limit;      /* limit: its name */
    const char *last_error; /* timeout, unavailable: foreign text, is cut and escaped */
    int64_t remaining_ms;   /* held; -1: not known */
};
#define MESSAGE_ERROR(code) ((struct message_error){.error = (code), .remaining_ms = -1})
void message_print_error(struct print *print, struct rpc_id id, const struct message_error *error);

/* Notices: each prints a whole JSON-RPC notification, without the newline. */
void message_print_at_risk(struct print *print, const struct message_lock *lock, int64_t lost_at_ms);
void message_print_safe(struct print *print, const struct message_lock *lock);
void message_print_lost(struct print *print, const struct message_lock *lock, const char *reason);

/* One key as inspect and list show it: an object, no envelope. */
struct message_holder {
    int64_t pid, uid, gid; /* pid 0: not known, left out */
    const char *command;   /* NULL: not known */
    const char *note;      /* NULL or "": none */
    size_t note_len;
    int64_t waited_ms; /* -1: left out */
};
struct message_key {
    const char *key;
    size_t key_len;
    const char *state;      /* "free", "held", "acquiring", "elsewhere" */
    int64_t fence, held_ms; /* fence 0: both left out */
    bool has_holder;
    struct message_holder holder;
    int64_t lease_ttl_ms;       /* 0: left out */
    int64_t lease_remaining_ms; /* -1: left out; both left out: no lease */
};
/* open ... zero or more waiting ... close; the "waiting" array is left out if there were none, and so is
 * "waiting_more", the number of those that wait and were not printed. */
void message_print_key_open(struct print *print, const struct message_key *key);
void message_print_key_waiting(struct print *print, const struct message_holder *holder, bool is_first);
void message_print_key_close(struct print *print, bool any_waiting, size_t n_more);
