/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The calls on locks: what is sent for them, and the blocking forms, which are the others with a place
 * for the answer. What the answers do is client_event.c's.
 */

#include "proto/client.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is sent ---- */

static void librlock_print_grant(struct print *print, const char *key, int64_t fence)
{
    print_literal(print, "{\"key\":");
    print_string(print, key, strlen(key));
    print_literal(print, ",\"fence\":");
    print_int(print, fence);
}

int librlock_tell_unlock(struct rlock_client *client, const char *key, int64_t fence)
{
    char room[LIBRLOCK_REQUEST_ROOM];
    struct print print = print_into(room, sizeof(room));

    librlock_print_open(&print, 0, "unlock");
    librlock_print_grant(&print, key, fence);
    print_literal(&print, "}");
    librlock_print_close(&print);
    return print.full ? -EPROTO : librlock_send(client, room, (size_t)(print.at - room));
}

static int librlock_tell_cancel(struct rlock_client *client, int64_t id)
{
    char room[LIBRLOCK_REQUEST_ROOM];
    struct print print = print_into(room, sizeof(room));

    librlock_print_open(&print, 0, "cancel");
    print_literal(&print, "{\"id\":");
    print_int(&print, id);
    print_literal(&print, "}");
    librlock_print_close(&print);
    assert(!print.full);
    return librlock_send(client, room, (size_t)(print.at - room));
}

/* ,"name":value, as an option means it; nothing if it means the daemon's default. */
static void librlock_print_option(struct print *print, const char *name, int64_t value)
{
    if (value == 0) {
        return;
    }
    print_literal(print, ",\"");
    print_text(print, name);
    print_literal(print, "\":");
    if (value == RLOCK_UNBOUNDED) {
        print_literal(print, "null");
    } else {
        print_int(print, value == RLOCK_ZERO ? 0 : value);
    }
}

/* The pauses between attempts are two members of an object, either of which may be the default. */
static void librlock_print_retry(struct print *print, const struct rlock_options *options)
{
    char room[128];
    struct print members = print_into(room, sizeof(room));

    librlock_print_option(&members, "interval_ms", options->retry_interval_ms);
    librlock_print_option(&members, "max", options->retry_max);
    if (members.at > room) {
        print_literal(print, ",\"retry\":{");
        print_bytes(print, room + 1, (size_t)(members.at - room) - 1); /* without the first comma */
        print_literal(print, "}");
    }
}

static void librlock_print_options(struct print *print, const struct rlock_options *options, bool is_try)
{
    librlock_print_option(print, "ttl_ms", options->ttl_ms);
    if (!is_try) {
        librlock_print_option(print, "wait_ms", options->wait_ms);
        librlock_print_retry(print, options);
    }
    librlock_print_option(print, "attempt_timeout_ms", options->attempt_timeout_ms);
    librlock_print_option(print, "max_hold_ms", options->max_hold_ms);
    if (options->note != NULL && *options->note != '\0') {
        print_literal(print, ",\"note\":");
        print_string(print, options->note, strlen(options->note));
    }
    if (options->fail_fast) {
        print_literal(print, ",\"fail_fast\":true");
    }
    if (options->no_auto_refresh) {
        print_literal(print, ",\"auto_refresh\":false");
    }
}

/* Text that could not be sent as it is would lock another key, so it is refused. */
static int librlock_check_text(struct rlock_client *client, const char *key, const char *note)
{
    if (key == NULL || !print_is_utf8(key, strlen(key))) {
        return librlock_fail(client, -EINVAL, "the key is not UTF-8");
    }
    if (note != NULL && !print_is_utf8(note, strlen(note))) {
        return librlock_fail(client, -EINVAL, "the note is not UTF-8");
    }
    return 0;
}

/* Sends a request that was opened and printed, or closes it. */
static int librlock_lock_send(struct rlock_client *client, int64_t id, const struct print *print,
                              const char *room)
{
    int r = print->full ? -EMSGSIZE : librlock_send(client, room, (size_t)(print->at - room));

    if (r != 0) {
        librlock_request_close(client, id);
        return librlock_fail(client, r, NULL);
    }
    return 0;
}

/* ---- taking ---- */

static int librlock_not_held(struct rlock *lock)
{
    struct rlock_error *error = &lock->client->error;
    const char *why = lock->state == RLOCK_LOST ? lock->reason : "released";

    if (lock->state == RLOCK_WAITING || lock->state == RLOCK_REFUSED) {
        why = "never";
    }
    librlock_error_set(error, RLOCK_E_NOT_HELD, NULL);
    (void)snprintf(error->reason, sizeof(error->reason), "%s", rlock_code_name(RLOCK_E_NOT_HELD));
    (void)snprintf(error->why, sizeof(error->why), "%s", why);
    return RLOCK_E_NOT_HELD;
}

static struct rlock *librlock_lock_new(struct rlock_client *client, const char *key)
{
    size_t len = strlen(key) + 1;
    struct rlock *lock = calloc(1, sizeof(*lock) + len);

    if (lock != NULL) {
        memcpy(lock->key, key, len);
        lock->client = client;
        lock->state = RLOCK_WAITING;
        lock->requests = LIBRLOCK_NONE;
        librlock_lock_link(&client->locks, lock);
    }
    return lock;
}

/* Off every list. */
static void librlock_lock_delete(struct rlock *lock)
{
    librlock_lock_unlist(lock);
    librlock_lock_unlink(lock);
    free(lock);
}

static int librlock_lock_begin(struct rlock_client *client, const char *key,
                               const struct rlock_options *options, bool is_try, struct librlock_wait *wait,
                               struct rlock **ret_lock)
{
    static const struct rlock_options defaults = {0};
    char room[LIBRLOCK_REQUEST_ROOM];
    struct print print = print_into(room, sizeof(room));
    struct rlock *lock;

    options = options != NULL ? options : &defaults;
    int r = librlock_check_text(client, key, options->note);
    if (r != 0) {
        return r;
    }
    lock = librlock_lock_new(client, key);
    if (lock == NULL) {
        return librlock_fail(client, -ENOMEM, NULL);
    }
    lock->is_private = wait != NULL;
    lock->lock_id = librlock_request_open(client, LIBRLOCK_LOCK, lock, wait);
    if (lock->lock_id < 0) {
        librlock_lock_delete(lock);
        return librlock_fail(client, -ENOMEM, NULL);
    }
    librlock_print_open(&print, lock->lock_id, is_try ? "try_lock" : "lock");
    print_literal(&print, "{\"key\":");
    print_string(&print, key, strlen(key));
    librlock_print_options(&print, options, is_try);
    print_literal(&print, "}");
    librlock_print_close(&print);
    r = librlock_lock_send(client, lock->lock_id, &print, room);
    if (r != 0) {
        librlock_lock_delete(lock);
        return r;
    }
    *ret_lock = lock;
    return 0;
}

/* The caller's patience is over. What is returned then depends on whether the grant was faster. */
static int librlock_lock_withdraw(struct rlock *lock, struct librlock_wait *wait)
{
    struct rlock_client *client = lock->client;
    struct rlock_error error = client->error;
    int r = librlock_tell_cancel(client, lock->lock_id);

    if (r == 0) {
        r = librlock_await(client, wait, LIBRLOCK_WITHDRAWAL_MS);
    }
    if (!wait->is_done) {
        librlock_request_abandon(client, lock->lock_id);
    } else if (r != RLOCK_E_CANCELLED) {
        return r;
    }
    client->error = error;
    return error.code;
}

static int librlock_lock_wait(struct rlock_client *client, const char *key,
                              const struct rlock_options *options, bool is_try, int timeout_ms,
                              struct rlock **ret_lock)
{
    struct librlock_wait wait = {0};
    struct rlock *lock;
    int r = librlock_check_waiting(client);

    if (r == 0) {
        r = librlock_lock_begin(client, key, options, is_try, &wait, &lock);
    }
    if (r != 0) {
        return r;
    }
    r = librlock_await(client, &wait, timeout_ms);
    if (!wait.is_done) {
        r = librlock_lock_withdraw(lock, &wait);
    }
    json_decref(wait.result);
    if (r == 0 && lock->state == RLOCK_LOST) {
        r = librlock_not_held(lock); /* granted and lost again before anybody knew */
    }
    if (r != 0) {
        rlock_free(lock);
        return r;
    }
    lock->is_private = false;
    *ret_lock = lock;
    return 0;
}

int rlock_lock(struct rlock_client *client, const char *key, const struct rlock_options *options,
               int timeout_ms, struct rlock **ret_lock)
{
    return librlock_lock_wait(client, key, options, /* is_try= */ false, timeout_ms, ret_lock);
}

int rlock_try(struct rlock_client *client, const char *key, const struct rlock_options *options,
              int timeout_ms, struct rlock **ret_lock)
{
    return librlock_lock_wait(client, key, options, /* is_try= */ true, timeout_ms, ret_lock);
}

int rlock_lock_start(struct rlock_client *client, const char *key, const struct rlock_options *options,
                     struct rlock **ret_lock)
{
    int r = librlock_check(client);

    return r != 0 ? r : librlock_lock_begin(client, key, options, /* is_try= */ false, NULL, ret_lock);
}

int rlock_try_start(struct rlock_client *client, const char *key, const struct rlock_options *options,
                    struct rlock **ret_lock)
{
    int r = librlock_check(client);

    return r != 0 ? r : librlock_lock_begin(client, key, options, /* is_try= */ true, NULL, ret_lock);
}

int rlock_cancel(struct rlock *lock)
{
    if (lock->state != RLOCK_WAITING) {
        return 0;
    }
    int r = librlock_check(lock->client);
    if (r != 0) {
        return r;
    }
    r = librlock_tell_cancel(lock->client, lock->lock_id);
    return r != 0 ? librlock_fail(lock->client, r, NULL) : 0;
}

/* ---- giving back, and renewing ---- */

/* A daemon that stops says `lost` and lets the holder unlock for a while, so that nobody has to wait. */
static bool librlock_lock_can_unlock(const struct rlock *lock)
{
    if (lock->client->end_error.code != 0) {
        return false;
    }
    return librlock_lock_is_held(lock) ||
           (lock->state == RLOCK_LOST && strcmp(lock->reason, "shutdown") == 0);
}

/* Prints and sends a request about a grant; ret_id is for its answer. `ttl_ms` 0: none. */
static int librlock_lock_ask(struct rlock *lock, enum librlock_kind kind, int64_t ttl_ms,
                             struct librlock_wait *wait, int64_t *ret_id)
{
    char room[LIBRLOCK_REQUEST_ROOM];
    struct print print = print_into(room, sizeof(room));
    int64_t id = librlock_request_open(lock->client, kind, lock, wait);

    if (id < 0) {
        return librlock_fail(lock->client, -ENOMEM, NULL);
    }
    librlock_print_open(&print, id, kind == LIBRLOCK_UNLOCK ? "unlock" : "refresh");
    librlock_print_grant(&print, lock->key, rlock_fence(lock));
    librlock_print_option(&print, "ttl_ms", ttl_ms);
    print_literal(&print, "}");
    librlock_print_close(&print);
    *ret_id = id;
    return librlock_lock_send(lock->client, id, &print, room);
}

static int librlock_unlock_begin(struct rlock *lock, struct librlock_wait *wait, int64_t *ret_id)
{
    if (!librlock_lock_can_unlock(lock)) {
        return librlock_not_held(lock);
    }
    int r = librlock_lock_ask(lock, LIBRLOCK_UNLOCK, 0, wait, ret_id);
    if (r == 0) {
        librlock_lock_set_valid(lock, 0);
        librlock_lock_move(&lock->client->locks, lock); /* where it is, unless it was lost */
        lock->state = RLOCK_UNLOCKING;
    }
    return r;
}

/* A new ttl may be shorter than the old one, and holds from the moment in which Redis has it, which we
 * learn later. */
static int librlock_refresh_begin(struct rlock *lock, int64_t ttl_ms, struct librlock_wait *wait,
                                  int64_t *ret_id)
{
    if (!librlock_lock_is_held(lock)) {
        return librlock_not_held(lock);
    }
    int64_t sure_until_ms = librlock_now_ms() + ttl_ms / 2;
    int r = librlock_lock_ask(lock, LIBRLOCK_REFRESH, ttl_ms, wait, ret_id);
    if (r == 0 && ttl_ms > 0 && sure_until_ms < atomic_load(&lock->valid_until_ms)) {
        librlock_lock_set_valid(lock, sure_until_ms);
    }
    return r;
}

/* For an answer about a lock, which an event function may free meanwhile. */
static int librlock_lock_await(struct rlock_client *client, struct librlock_wait *wait, int64_t id,
                               int timeout_ms)
{
    int r = librlock_await(client, wait, timeout_ms);

    if (!wait->is_done) {
        librlock_request_unwait(client, id);
    }
    json_decref(wait->result);
    return r;
}

int rlock_unlock(struct rlock *lock, int timeout_ms)
{
    struct rlock_client *client = lock->client;
    struct librlock_wait wait = {0};
    int64_t id;
    int r =
        client->is_delivering ? librlock_fail(client, -EBUSY, NULL) : librlock_unlock_begin(lock, &wait, &id);

    return r != 0 ? r : librlock_lock_await(client, &wait, id, timeout_ms);
}

int rlock_refresh(struct rlock *lock, int64_t ttl_ms, int timeout_ms)
{
    struct rlock_client *client = lock->client;
    struct librlock_wait wait = {0};
    int64_t id;
    int r = librlock_check_waiting(client);

    if (r == 0) {
        r = librlock_refresh_begin(lock, ttl_ms, &wait, &id);
    }
    return r != 0 ? r : librlock_lock_await(client, &wait, id, timeout_ms);
}

int rlock_unlock_start(struct rlock *lock)
{
    int64_t id;

    return librlock_unlock_begin(lock, NULL, &id);
}

int rlock_refresh_start(struct rlock *lock, int64_t ttl_ms)
{
    int64_t id;
    int r = librlock_check(lock->client);

    return r != 0 ? r : librlock_refresh_begin(lock, ttl_ms, NULL, &id);
}

/* ---- the object ---- */

/* Without memory to send the wish, the end of the connection gives the lock back. */
static void librlock_lock_release(struct rlock *lock)
{
    int r = 0;

    if (librlock_lock_can_unlock(lock)) {
        r = librlock_tell_unlock(lock->client, lock->key, rlock_fence(lock));
    } else if (lock->state == RLOCK_WAITING && lock->client->end_error.code == 0) {
        r = librlock_tell_cancel(lock->client, lock->lock_id);
    }
    if (r != 0) {
        lock->client->send_error = -r;
    }
}

void rlock_free(struct rlock *lock)
{
    if (lock == NULL) {
        return;
    }
    librlock_lock_release(lock);
    librlock_request_abandon_all(lock);
    librlock_lock_unlist(lock);
    librlock_lock_set_valid(lock, 0);
    if (lock->client->is_delivering) {
        librlock_lock_move(&lock->client->graves, lock);
    } else {
        librlock_lock_delete(lock);
    }
}

static void librlock_lock_free_list(struct rlock **list)
{
    while (*list != NULL) {
        librlock_lock_delete(*list);
    }
}

void librlock_lock_bury(struct rlock_client *client)
{
    librlock_lock_free_list(&client->graves);
}

void librlock_lock_free_all(struct rlock_client *client)
{
    librlock_lock_free_list(&client->locks);
    librlock_lock_free_list(&client->over);
}
