/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#ifndef RLOCK_H
#define RLOCK_H

/*
 * librlock: locks from the rlockd of this host, for C and C++.
 * Compile and link with `pkg-config --cflags --libs rlock`.
 *
 *     struct rlock_client *client;
 *     struct rlock *lock;
 *
 *     if (rlock_open(NULL, 1000, &client) == 0) {
 *         if (rlock_lock(client, "nightly-backup", NULL, RLOCK_FOREVER, &lock) == 0) {
 *             ... work; before what cannot be undone, ask rlock_valid(lock) ...
 *             rlock_unlock(lock, 1000);
 *             rlock_free(lock);
 *         }
 *         rlock_close(client);
 *     }
 *
 * A `struct rlock_client` is one connection to the daemon. A `struct rlock` is one wish for a key on it,
 * and then, if it was granted, the holding of that key. The connection owns its locks: when it ends, by
 * rlock_close() or otherwise, everything it holds and waits for is given back at once. A client may have
 * any number of locks.
 *
 * TWO WAYS. Functions with a `timeout_ms` wait. It says how long: 0 not at all, RLOCK_FOREVER without
 * end; -ETIMEDOUT when it is over. The functions named ..._start() only send; what comes of it is told by
 * an event. Both may be mixed on one client. Events are delivered by calling the function given to
 * rlock_on_event(), and only from within rlock_dispatch(), rlock_wait() and the functions that have a
 * timeout_ms: there is no thread and no signal. A program with a loop of its own polls rlock_fd() for
 * rlock_poll_events() and calls rlock_dispatch() when it is ready.
 *
 * RESULTS. Functions that return int return 0, or a code: an RLOCK_E_... that the daemon has answered,
 * or a negative errno of this side. rlock_error() has the details, rlock_strerror() a sentence. Unless said
 * otherwise, what a failed function would have returned through a pointer is untouched.
 *
 *     -ETIMEDOUT     timeout_ms is over
 *     -ECONNRESET    the daemon has ended the connection. Everything on it is lost; only closing is left
 *     -EPROTO        the daemon has sent what is no message, and the connection was ended; as above
 *     -EINVAL        an argument is none that could be sent: text that is not UTF-8, JSON that is no object
 *     -EMSGSIZE      a request longer than 65536 bytes, or a key or note of thousands
 *     -EBUSY         called from an event function, where only what does not wait may be called
 *     -ENOMEM        no memory; nothing was changed or sent, if the function was about to send
 *     others         from connect(2), recv(2) and so on: the connection is lost as above
 *
 * THREADS. A client and its locks are to be used by one thread at a time: librlock does not lock them.
 * Which thread that is may change, if the program hands them over with the usual care (a mutex, say).
 * Different clients have nothing in common, so a thread that wants locks of its own opens a client of its
 * own. One exception: rlock_valid() and rlock_fence() may be called by any thread at any time between the
 * grant and rlock_free() or rlock_close().
 *
 * FORK. The descriptor is close-on-exec. A child made by fork() without exec must not touch the parent's
 * clients and locks, except that it may rlock_close() a client, which only closes its own copy of the
 * descriptor. The locks stay the parent's: the daemon watches the process that has connected.
 *
 * C++. As in C, types are called `struct rlock_client` and so on, since some functions have the same names.
 *
 * No globals, no signals raised or handled, nothing printed. Instants are CLOCK_BOOTTIME in milliseconds.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define RLOCK_API __attribute__((visibility("default")))
#define RLOCK_MUST_CHECK __attribute__((visibility("default"), warn_unused_result))
#else
#define RLOCK_API
#define RLOCK_MUST_CHECK
#endif

struct rlock_client;
struct rlock;

/* ---- errors ---- */

/* What the daemon answers; rlock-protocol(7) says when. */
enum rlock_code {
    RLOCK_E_HELD = 1,          /* somebody else holds it, and the attempts are used up */
    RLOCK_E_NOT_HELD = 2,      /* it is not held, or no longer: see `why` */
    RLOCK_E_TIMEOUT = 3,       /* wait_ms is over */
    RLOCK_E_UNAVAILABLE = 4,   /* Redis cannot be reached or refuses: see `last_error` */
    RLOCK_E_ALREADY_HELD = 5,  /* this client already holds the key or waits for it */
    RLOCK_E_DENIED = 6,        /* not allowed */
    RLOCK_E_LIMIT = 7,         /* a limit of the daemon: see `limit` */
    RLOCK_E_CANCELLED = 8,     /* by rlock_cancel() */
    RLOCK_E_SHUTTING_DOWN = 9, /* the daemon is stopping */
    RLOCK_E_PARSE = -32700,    /* the rest is as in JSON-RPC 2.0 */
    RLOCK_E_INVALID_REQUEST = -32600,
    RLOCK_E_METHOD_NOT_FOUND = -32601,
    RLOCK_E_INVALID_PARAMS = -32602, /* the message names the parameter and says what it must be */
    RLOCK_E_INTERNAL = -32603
};

/* All of them are "" where there is nothing to say. Texts longer than their room are cut. */
struct rlock_error {
    int code;             /* as was returned; 0: nothing has failed yet */
    char message[512];    /* a sentence for people */
    char reason[32];      /* the daemon's name for the code: "held", "not_held", ... */
    char why[32];         /* NOT_HELD: "never", "released", "stale_fence", or why it was lost */
    char limit[64];       /* LIMIT: its name in the daemon's configuration */
    char last_error[512]; /* TIMEOUT, UNAVAILABLE: what the last attempt met in Redis */
    int64_t remaining_ms; /* HELD: how long the other's lease still is; -1: not known */
};

/* Why the client's last failed call failed. Good until the next call on the client. */
RLOCK_API const struct rlock_error *rlock_error(const struct rlock_client *client);
/* The same, its sentence only; "" if nothing has failed yet. */
RLOCK_API const char *rlock_error_text(const struct rlock_client *client);
/* A sentence for any code that a function here returns. Static memory. */
RLOCK_API const char *rlock_strerror(int code);
/* The daemon's name for one of its codes, "held"; NULL for any other. Static memory. */
RLOCK_API const char *rlock_code_name(int code);

/* ---- the connection ---- */

enum { RLOCK_FOREVER = -1 }; /* as a timeout_ms */

/*
 * Connects. `socket_path` NULL or empty: what the environment has in RLOCK_SOCKET (unless the program is setuid), or
 * else /run/rlockd/rlockd.sock. Besides what connect(2) gives: -ENAMETOOLONG, -ETIMEDOUT.
 */
RLOCK_MUST_CHECK int rlock_open(const char *socket_path, int timeout_ms, struct rlock_client **ret_client);

/* The path that NULL stands for, to be named in messages. Good until the environment changes. */
RLOCK_API const char *rlock_socket_path(void);

/*
 * Closes the connection, which gives back everything, and frees the client and all its locks. NULL is
 * allowed. Not from an event function. Waits for nothing and tells of nothing.
 */
RLOCK_API void rlock_close(struct rlock_client *client);

/* For poll(2): the descriptor, and what to wait for: POLLIN, and POLLOUT as long as something waits to be
 * sent. The descriptor is the client's: do not read it, close it, or change its flags. */
RLOCK_API int rlock_fd(const struct rlock_client *client);
RLOCK_API short rlock_poll_events(const struct rlock_client *client);

/*
 * Sends and reads what can be without waiting, and delivers the events. 0, or why the connection has
 * ended: then every lock on it has had its last event, RLOCK_EVENT_ENDED was delivered, and every later
 * call that needs the connection returns the same code.
 */
RLOCK_MUST_CHECK int rlock_dispatch(struct rlock_client *client);

/* Waits until something has come, then as rlock_dispatch(). -ETIMEDOUT: nothing has. For programs that have
 * nothing else to wait for. A signal does not end the waiting. */
RLOCK_MUST_CHECK int rlock_wait(struct rlock_client *client, int timeout_ms);

/* ---- a lock ---- */

/* In options: what 0 cannot say, since 0 (and "", NULL, false) is the daemon's default. */
enum {
    RLOCK_UNBOUNDED = -1, /* without bound */
    RLOCK_ZERO = -2       /* the number 0: wait_ms: do not wait; retry_max: no further attempt */
};

/* What is wanted; `(struct rlock_options){0}`, or NULL instead of one, wants what the daemon's configuration
 * says. Numbers out of range are refused by the daemon, RLOCK_E_INVALID_PARAMS. */
struct rlock_options {
    int64_t ttl_ms;             /* 100 to 86400000: what a crash of this host costs the others */
    int64_t wait_ms;            /* how long to wait for the lock; or RLOCK_ZERO, RLOCK_UNBOUNDED */
    int64_t retry_interval_ms;  /* between two attempts while another host holds it */
    int64_t retry_max;          /* attempts after the first; or RLOCK_ZERO, RLOCK_UNBOUNDED */
    int64_t attempt_timeout_ms; /* how long one attempt may take in Redis */
    int64_t max_hold_ms;        /* the daemon takes it away after that long; or RLOCK_UNBOUNDED */
    const char *note;           /* at most 256 bytes that others see in `rlock list` */
    bool fail_fast;             /* an unreachable Redis ends the request at once */
    bool no_auto_refresh;       /* the daemon does not renew: the lock ends ttl_ms after the last refresh */
};

struct rlock_grant {
    int64_t fence;          /* the number of this grant, larger than that of every earlier grant of the key */
    int64_t ttl_ms;         /* of the lease */
    int64_t valid_until_ms; /* the latest that the daemon has told: see rlock_valid() */
    int64_t waited_ms;      /* from the request to the grant */
};

enum rlock_state {
    RLOCK_WAITING = 1, /* asked for */
    RLOCK_HELD,        /* granted */
    RLOCK_AT_RISK,     /* held, but the daemon fails to renew it */
    RLOCK_UNLOCKING,   /* unlock was sent: no longer to be relied upon */
    RLOCK_UNLOCKED,    /* given back; the end */
    RLOCK_REFUSED,     /* never got: refused, cancelled, or the connection has ended; the end */
    RLOCK_LOST         /* taken away, or the connection has ended; the end */
};

/*
 * Waits for a lock and takes it. `key`: 1 to 512 bytes of UTF-8 without control characters. How long to
 * wait is best said in options->wait_ms, which the daemon keeps, in order with all others; `timeout_ms`
 * bounds what this function itself waits for the daemon's answer. When it is over the request is withdrawn,
 * which may take up to a second more if the daemon does not react; a grant that crosses the withdrawal is
 * returned as success, or given back as soon as it arrives. No events of the lock are delivered before it
 * is returned; one that was lost by then is not returned: RLOCK_E_NOT_HELD. The lock is the caller's:
 * rlock_free() it.
 */
RLOCK_MUST_CHECK int rlock_lock(struct rlock_client *client, const char *key,
                                const struct rlock_options *options, int timeout_ms, struct rlock **ret_lock);

/* One attempt, without waiting for whoever holds it: RLOCK_E_HELD. options->wait_ms and the retry_ fields are
 * not looked at. */
RLOCK_MUST_CHECK int rlock_try(struct rlock_client *client, const char *key,
                               const struct rlock_options *options, int timeout_ms, struct rlock **ret_lock);

/*
 * Gives the lock back and waits for the answer. Unless it could not even be asked (-EBUSY, -ENOMEM),
 * rlock_valid() is false from the moment of the call, and there is nothing to repeat whatever is returned.
 * RLOCK_E_UNAVAILABLE: the daemon goes on trying to release it in Redis. RLOCK_E_NOT_HELD: it was not held,
 * or was lost before. -ETIMEDOUT: sent, but not answered in time; RLOCK_EVENT_UNLOCKED will follow. A lock
 * that was lost for the reason "shutdown" may be unlocked for about two seconds, so that nobody has to wait
 * for its expiry. The object stays, for rlock_free().
 */
RLOCK_API int rlock_unlock(struct rlock *lock, int timeout_ms);

/*
 * Renews the lease in Redis now and waits for the answer, which moves valid_until_ms. `ttl_ms` 0: as it is.
 * RLOCK_E_NOT_HELD: it was lost. Any other failure is no loss; after -ETIMEDOUT, RLOCK_EVENT_REFRESHED will
 * follow. From the call until a success, rlock_valid() counts on no more than half of a `ttl_ms` that is
 * given, since nobody knows yet which of the two ttls Redis goes by.
 */
RLOCK_MUST_CHECK int rlock_refresh(struct rlock *lock, int64_t ttl_ms, int timeout_ms);

/*
 * Frees the object; NULL is allowed. A lock that is still held is given back, one that is still waiting is
 * withdrawn (and given back, should the grant be on its way already), without waiting for the answer. No
 * event of it is delivered any more. May be called from an event function, also for the event's own lock.
 */
RLOCK_API void rlock_free(struct rlock *lock);

/*
 * Whether the lock is certainly held at this moment, by the clock alone: CLOCK_BOOTTIME has not reached the
 * last valid_until_ms that the daemon has told, and the lock is neither lost nor being unlocked as far as
 * this client has read. Asks nobody; safe in any thread.
 *
 * valid_until_ms comes with the grant, and a later one with each refresh, `at_risk` and `safe`. The daemon
 * renews silently, so a lock that is held for longer than its ttl is still held when this function says
 * false: false means "not known for certain". It turns true again with the next rlock_refresh(). So:
 *   - whoever reacts to events may take the lock for held until RLOCK_EVENT_LOST comes, which is sent before
 *     another host could get it by expiry, and use this function for the case that the process itself was
 *     stopped or the machine slept, with a refresh before it is needed;
 *   - whoever does not read events calls rlock_refresh() before each step of the work, then this function
 *     right before what cannot be undone.
 * True cannot know of a key that was deleted or overwritten in Redis behind the daemon's back, nor of a
 * `lost` that has not been read yet. Against those, give the fence to the resource and let it refuse
 * smaller ones.
 */
RLOCK_API bool rlock_valid(const struct rlock *lock);

RLOCK_API int64_t rlock_fence(const struct rlock *lock); /* 0 before the grant */
RLOCK_API enum rlock_state rlock_state(const struct rlock *lock);
RLOCK_API const char *rlock_key(const struct rlock *lock);          /* good until rlock_free() */
RLOCK_API struct rlock_grant rlock_grant(const struct rlock *lock); /* all 0 before the grant */
/* Why an ended lock has ended. RLOCK_LOST: "expired", "taken", "deleted", "max_hold", "ttl", "forced",
 * "shutdown", or "disconnected" when the connection has ended. RLOCK_REFUSED: the name of the error,
 * "timeout", or "disconnected". Otherwise "". Good until rlock_free(). */
RLOCK_API const char *rlock_reason(const struct rlock *lock);
RLOCK_API struct rlock_client *rlock_client(const struct rlock *lock);
/* A pointer of the program's own; NULL at first. */
RLOCK_API void rlock_set_ctx(struct rlock *lock, void *ctx);
RLOCK_API void *rlock_ctx(const struct rlock *lock);

/* ---- without waiting ---- */

enum rlock_event_type {
    RLOCK_EVENT_GRANTED = 1, /* a lock that was waiting is held: fence, valid_until_ms */
    RLOCK_EVENT_REFUSED,     /* or will not be: error. The lock's last event */
    RLOCK_EVENT_AT_RISK,     /* lost_at_ms: `lost` will come then, unless `safe` comes before */
    RLOCK_EVENT_SAFE,        /* renewed after all: valid_until_ms */
    RLOCK_EVENT_LOST, /* reason. Stop what it protects. The lock's last event, unless it is unlocked after the
                                reason "shutdown" */
    RLOCK_EVENT_UNLOCKED,  /* the answer to rlock_unlock_start(): error is NULL or says what went wrong; the
                                lock is over in any case. Its last event */
    RLOCK_EVENT_REFRESHED, /* the answer to rlock_refresh_start(): error, or NULL and valid_until_ms */
    RLOCK_EVENT_ANSWER,    /* the answer to rlock_call_start(): call_id, and error, or NULL and result */
    RLOCK_EVENT_ENDED      /* the connection has ended, after the last event of every lock: error */
};

/* Everything in it is good until the event function returns. What does not apply is 0 or NULL. */
struct rlock_event {
    enum rlock_event_type type;
    struct rlock *lock; /* NULL: ANSWER and ENDED */
    const char *key;
    int64_t fence;
    int64_t valid_until_ms;
    int64_t lost_at_ms;
    const char *reason;  /* LOST: as rlock_reason() */
    const char *message; /* LOST: a sentence for people */
    const struct rlock_error *error;
    int64_t call_id;
    const char *result; /* ANSWER: the result as JSON text */
};

/*
 * In an event function everything may be called that does not wait. What waits returns -EBUSY;
 * rlock_dispatch() too. A blocking call tells the outcome of what it asked for itself by its result only:
 * no GRANTED, REFUSED, UNLOCKED, REFRESHED or ANSWER is delivered for it.
 */
typedef void (*rlock_event_fn)(struct rlock_client *client, const struct rlock_event *event, void *ctx);

/* Replaces the client's event function; NULL: events only change what rlock_state() and the like say. */
RLOCK_API void rlock_on_event(struct rlock_client *client, rlock_event_fn fn, void *ctx);

/* Asks for a lock: the object is there at once, RLOCK_WAITING. GRANTED or REFUSED follows. */
RLOCK_MUST_CHECK int rlock_lock_start(struct rlock_client *client, const char *key,
                                      const struct rlock_options *options, struct rlock **ret_lock);
RLOCK_MUST_CHECK int rlock_try_start(struct rlock_client *client, const char *key,
                                     const struct rlock_options *options, struct rlock **ret_lock);

/* Withdraws a waiting lock. Either REFUSED follows, with RLOCK_E_CANCELLED, or GRANTED, if that was faster. A
 * lock that is not waiting is left alone: 0 as well. */
RLOCK_MUST_CHECK int rlock_cancel(struct rlock *lock);

/* As rlock_unlock() and rlock_refresh(); UNLOCKED or REFRESHED follows, or LOST if that was faster.
 * RLOCK_E_NOT_HELD at once, and no event, if the lock is not held. */
RLOCK_MUST_CHECK int rlock_unlock_start(struct rlock *lock);
RLOCK_MUST_CHECK int rlock_refresh_start(struct rlock *lock, int64_t ttl_ms);

/* ---- anything else ---- */

/*
 * Any method of the protocol. `params`: a JSON object as text; NULL: none. The result is JSON text, to be
 * freed with free(3). A lock taken in this way has no object, and nothing tells when it is lost.
 */
RLOCK_MUST_CHECK int rlock_call(struct rlock_client *client, const char *method, const char *params,
                                int timeout_ms, char **ret_result);
RLOCK_MUST_CHECK int rlock_call_start(struct rlock_client *client, const char *method, const char *params,
                                      int64_t *ret_call_id);

/* Somebody who holds a key or waits for it. */
struct rlock_holder {
    int64_t pid, uid, gid; /* -1: not known */
    int64_t waited_ms;     /* -1 for one that holds */
    const char *command;   /* "" if not known, as note */
    const char *note;
};

struct rlock_info {
    const char *key;
    const char *state; /* "free", "held", "acquiring", "elsewhere" */
    int64_t fence;     /* 0: does not apply */
    int64_t held_ms;   /* -1: does not apply, as with the two that follow */
    int64_t lease_ttl_ms;
    int64_t lease_remaining_ms;
    const struct rlock_holder *holder;  /* NULL: none that this daemon knows */
    const struct rlock_holder *waiting; /* in the order in which they will get it */
    size_t n_waiting;
    int64_t n_waiting_more; /* how many wait that are not in this list */
};

struct rlock_list {
    const struct rlock_info *locks;
    size_t n_locks;
    const char *next; /* NULL, or there may be more: ask again with it as `after` */
};

/*
 * The keys held and waited for on this host whose names begin with `prefix` (NULL: all) and come behind
 * `after` (NULL: from the first), at most `limit` (1 to 1000; 0: the daemon's default). rlock_list_free()
 * it.
 */
RLOCK_MUST_CHECK int rlock_list(struct rlock_client *client, const char *prefix, const char *after, int limit,
                                int timeout_ms, struct rlock_list **ret_list);

/* One key, wherever it is held: a list of exactly one. */
RLOCK_MUST_CHECK int rlock_inspect(struct rlock_client *client, const char *key, int timeout_ms,
                                   struct rlock_list **ret_list);
RLOCK_API void rlock_list_free(struct rlock_list *list); /* NULL is allowed */

#ifdef __cplusplus
}
#endif

#endif
