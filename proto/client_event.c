/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The life of a struct rlock as the daemon tells it: answers and notices change the lock, then become
 * events. It decides nothing.
 *
 *     WAITING --> HELD <--> AT_RISK         a lock is in client->locks until its last event,
 *        |          \___       |            then in client->over until it is freed
 *        |              \      |
 *        v               v     v
 *     REFUSED         UNLOCKING, LOST
 *                         |
 *                         v
 *                     UNLOCKED
 *
 * What another thread may look at, fence and valid_until_ms, is atomic; each of the two means something
 * by itself, so no order between them is needed.
 */

#include "proto/client.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIBRLOCK_FENCE_MAX ((INT64_C(1) << 53) - 1)

/* ---- lists ---- */

void librlock_lock_link(struct rlock **list, struct rlock *lock)
{
    lock->next = *list;
    lock->link = list;
    if (lock->next != NULL) {
        lock->next->link = &lock->next;
    }
    *list = lock;
}

void librlock_lock_unlink(struct rlock *lock)
{
    *lock->link = lock->next;
    if (lock->next != NULL) {
        lock->next->link = lock->link;
    }
}

void librlock_lock_move(struct rlock **list, struct rlock *lock)
{
    librlock_lock_unlink(lock);
    librlock_lock_link(list, lock);
}

/* ---- state ---- */

bool librlock_lock_is_held(const struct rlock *lock)
{
    return lock->state == RLOCK_HELD || lock->state == RLOCK_AT_RISK;
}

void librlock_lock_set_valid(struct rlock *lock, int64_t valid_until_ms)
{
    atomic_store_explicit(&lock->valid_until_ms, valid_until_ms, memory_order_relaxed);
}

/* The daemon has told a later instant. */
static void librlock_lock_extend(struct rlock *lock, int64_t valid_until_ms)
{
    lock->grant.valid_until_ms = valid_until_ms;
    librlock_lock_set_valid(lock, valid_until_ms);
}

/* The table of those that notices may be about. */
void librlock_lock_unlist(struct rlock *lock)
{
    if (lock->is_listed) {
        HASH_DEL(lock->client->by_fence, lock);
        lock->is_listed = false;
    }
}

/* One of the states that are an end. */
static void librlock_lock_finish(struct rlock *lock, enum rlock_state state, const char *reason)
{
    librlock_lock_unlist(lock);
    lock->state = state;
    (void)snprintf(lock->reason, sizeof(lock->reason), "%s", reason);
    librlock_lock_set_valid(lock, 0);
    librlock_lock_move(&lock->client->over, lock);
}

/* The event function may free the lock, so the caller must not look at it afterwards. */
static void librlock_lock_tell(struct rlock *lock, struct rlock_event event)
{
    if (lock->is_private) {
        return;
    }
    event.lock = lock;
    event.key = lock->key;
    event.fence = rlock_fence(lock);
    librlock_deliver(lock->client, &event);
}

/* ---- answers ---- */

static bool librlock_read_int(const json_t *object, const char *name, int64_t *ret)
{
    const json_t *value = json_object_get(object, name);

    if (!json_is_integer(value) || json_integer_value(value) < 0) {
        return false;
    }
    *ret = json_integer_value(value);
    return true;
}

static bool librlock_read_fence(const json_t *object, int64_t *ret)
{
    return librlock_read_int(object, "fence", ret) && *ret > 0 && *ret <= LIBRLOCK_FENCE_MAX;
}

/* `lock` NULL: it was freed while it waited, so that the grant comes to nobody. */
static int librlock_lock_grant(struct rlock_client *client, struct rlock *lock, const json_t *result)
{
    const char *key = json_string_value(json_object_get(result, "key"));
    struct rlock_grant grant;

    if (key == NULL || !librlock_read_fence(result, &grant.fence) ||
        !librlock_read_int(result, "ttl_ms", &grant.ttl_ms) ||
        !librlock_read_int(result, "valid_until_ms", &grant.valid_until_ms) ||
        !librlock_read_int(result, "waited_ms", &grant.waited_ms)) {
        return -EPROTO;
    }
    if (lock == NULL) {
        return librlock_tell_unlock(client, key, grant.fence);
    }
    if (strcmp(key, lock->key) != 0) {
        return -EPROTO;
    }
    lock->grant = grant;
    HASH_ADD(hh, client->by_fence, grant.fence, sizeof(lock->grant.fence), lock);
    if (lock->hh.tbl == NULL) {
        return -ENOMEM;
    }
    lock->is_listed = true;
    lock->state = RLOCK_HELD;
    atomic_store_explicit(&lock->fence, grant.fence, memory_order_relaxed);
    librlock_lock_extend(lock, grant.valid_until_ms);
    librlock_lock_tell(
        lock, (struct rlock_event){.type = RLOCK_EVENT_GRANTED, .valid_until_ms = grant.valid_until_ms});
    return 0;
}

static void librlock_lock_refuse(struct rlock *lock, const struct rlock_error *error)
{
    librlock_lock_finish(lock, RLOCK_REFUSED, error->reason);
    librlock_lock_tell(lock, (struct rlock_event){.type = RLOCK_EVENT_REFUSED, .error = error});
}

/* A lock that was lost while its unlock was under way has had its last event. */
static void librlock_lock_unlocked(struct rlock *lock, const struct rlock_error *error, bool is_waited_for)
{
    if (lock->state != RLOCK_UNLOCKING) {
        return;
    }
    librlock_lock_finish(lock, RLOCK_UNLOCKED, "");
    if (!is_waited_for) {
        librlock_lock_tell(lock, (struct rlock_event){.type = RLOCK_EVENT_UNLOCKED, .error = error});
    }
}

static int librlock_lock_refreshed(struct rlock *lock, const json_t *result, const struct rlock_error *error,
                                   bool is_waited_for)
{
    int64_t ttl_ms, valid_until_ms = 0;

    if (result != NULL) {
        if (!librlock_read_int(result, "ttl_ms", &ttl_ms) ||
            !librlock_read_int(result, "valid_until_ms", &valid_until_ms)) {
            return -EPROTO;
        }
        if (librlock_lock_is_held(lock)) {
            lock->grant.ttl_ms = ttl_ms;
            librlock_lock_extend(lock, valid_until_ms);
        }
    }
    if (!is_waited_for && librlock_lock_is_held(lock)) {
        librlock_lock_tell(lock, (struct rlock_event){.type = RLOCK_EVENT_REFRESHED,
                                                      .error = error,
                                                      .valid_until_ms = valid_until_ms});
    }
    return 0;
}

int librlock_lock_answer(struct rlock_client *client, const struct librlock_request *request, json_t *result,
                         const struct rlock_error *error)
{
    struct rlock *lock = request->lock;

    error = result == NULL ? error : NULL;
    if (request->kind == LIBRLOCK_LOCK && result != NULL) {
        return librlock_lock_grant(client, lock, result);
    }
    if (lock == NULL) {
        return 0;
    }
    if (request->kind == LIBRLOCK_LOCK) {
        librlock_lock_refuse(lock, error);
    } else if (request->kind == LIBRLOCK_UNLOCK) {
        librlock_lock_unlocked(lock, error, request->wait != NULL);
    } else if (request->kind == LIBRLOCK_REFRESH) {
        return librlock_lock_refreshed(lock, result, error, request->wait != NULL);
    }
    return 0;
}

/* ---- notices ---- */

/* Fills the event from the params, as far as its type has them. False: they make no sense. */
static bool librlock_notice_read(const json_t *params, struct rlock_event *event)
{
    event->key = json_string_value(json_object_get(params, "key"));
    if (event->key == NULL || !librlock_read_fence(params, &event->fence)) {
        return false;
    }
    switch (event->type) {
    case RLOCK_EVENT_AT_RISK:
        return librlock_read_int(params, "lost_at_ms", &event->lost_at_ms);
    case RLOCK_EVENT_SAFE:
        return librlock_read_int(params, "valid_until_ms", &event->valid_until_ms);
    default:
        event->reason = json_string_value(json_object_get(params, "reason"));
        event->message = json_string_value(json_object_get(params, "message"));
        return event->reason != NULL && event->message != NULL;
    }
}

/* What is at risk is certain until the instant at which it would be lost. */
static void librlock_lock_note(struct rlock *lock, const struct rlock_event *event)
{
    if (event->type == RLOCK_EVENT_LOST) {
        librlock_lock_finish(lock, RLOCK_LOST, event->reason);
    } else if (lock->state == RLOCK_UNLOCKING) {
        return;
    } else if (event->type == RLOCK_EVENT_AT_RISK) {
        lock->state = RLOCK_AT_RISK;
        if (event->lost_at_ms > lock->grant.valid_until_ms) {
            librlock_lock_extend(lock, event->lost_at_ms);
        }
    } else {
        lock->state = RLOCK_HELD;
        librlock_lock_extend(lock, event->valid_until_ms);
    }
    librlock_lock_tell(lock, *event);
}

int librlock_lock_notice(struct rlock_client *client, const char *method, json_t *params)
{
    struct rlock_event event = {0};
    struct rlock *lock;

    if (strcmp(method, "at_risk") == 0) {
        event.type = RLOCK_EVENT_AT_RISK;
    } else if (strcmp(method, "safe") == 0) {
        event.type = RLOCK_EVENT_SAFE;
    } else if (strcmp(method, "lost") == 0) {
        event.type = RLOCK_EVENT_LOST;
    } else {
        return 0; /* of a later version; such a notice may be ignored */
    }
    if (!librlock_notice_read(params, &event)) {
        return -EPROTO;
    }
    HASH_FIND(hh, client->by_fence, &event.fence, sizeof(event.fence), lock);
    /* Otherwise it is about a lock that was freed meanwhile, or one that has no object. */
    if (lock != NULL && strcmp(lock->key, event.key) == 0) {
        librlock_lock_note(lock, &event);
    }
    return 0;
}

/* ---- the end of the connection ---- */

/* Requests have been answered by then, so all that is left was held. */
void librlock_lock_disconnect_all(struct rlock_client *client)
{
    while (client->locks != NULL) {
        struct rlock *lock = client->locks;

        librlock_lock_finish(lock, RLOCK_LOST, client->end_error.reason);
        librlock_lock_tell(lock, (struct rlock_event){.type = RLOCK_EVENT_LOST,
                                                      .reason = client->end_error.reason,
                                                      .message = client->end_error.message});
    }
}

/* ---- what a program may ask ---- */

bool rlock_valid(const struct rlock *lock)
{
    return librlock_now_ms() < atomic_load_explicit(&lock->valid_until_ms, memory_order_relaxed);
}

int64_t rlock_fence(const struct rlock *lock)
{
    return atomic_load_explicit(&lock->fence, memory_order_relaxed);
}

enum rlock_state rlock_state(const struct rlock *lock)
{
    return lock->state;
}

const char *rlock_key(const struct rlock *lock)
{
    return lock->key;
}

struct rlock_grant rlock_grant(const struct rlock *lock)
{
    return lock->grant;
}

const char *rlock_reason(const struct rlock *lock)
{
    return lock->reason;
}

struct rlock_client *rlock_client(const struct rlock *lock)
{
    return lock->client;
}

void rlock_set_ctx(struct rlock *lock, void *ctx)
{
    lock->ctx = ctx;
}

void *rlock_ctx(const struct rlock *lock)
{
    return lock->ctx;
}
