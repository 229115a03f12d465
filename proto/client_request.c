/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Requests in flight, and what a line of the daemon means. Knows the envelope of both directions; what a
 * lock makes of an answer is client_lock.c's.
 *
 *     id on the wire:  [ serial of the slot's use | slot ]
 *
 * So the slot is found without searching, and the answer to an earlier use of it is told apart.
 */

#include "proto/client.h"
#include "proto/rpc.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LIBRLOCK_SLOTS_MAX (UINT32_C(1) << LIBRLOCK_SLOT_BITS)

/* ---- slots ---- */

static int64_t librlock_request_id(const struct rlock_client *client, uint32_t slot)
{
    return (int64_t)client->requests[slot].serial << LIBRLOCK_SLOT_BITS | slot;
}

/* NULL: there is no such request in flight. */
static struct librlock_request *librlock_request_find(const struct rlock_client *client, int64_t id)
{
    uint32_t slot = (uint32_t)(id & (LIBRLOCK_SLOTS_MAX - 1));

    if (id < 0 || slot >= client->n_requests || client->requests[slot].kind == 0) {
        return NULL;
    }
    return librlock_request_id(client, slot) == id ? &client->requests[slot] : NULL;
}

/* Doubles the slots. 0 or -ENOMEM. */
static int librlock_request_grow(struct rlock_client *client)
{
    uint32_t n = client->n_requests > 0 ? 2 * client->n_requests : 4;
    struct librlock_request *requests = NULL;

    if (n <= LIBRLOCK_SLOTS_MAX) {
        requests = realloc(client->requests, n * sizeof(*requests));
    }
    if (requests == NULL) {
        return -ENOMEM;
    }
    for (uint32_t slot = client->n_requests; slot < n; slot++) {
        requests[slot] = (struct librlock_request){.next = slot + 1 < n ? slot + 1 : client->free_request};
    }
    client->free_request = client->n_requests;
    client->requests = requests;
    client->n_requests = n;
    return 0;
}

int64_t librlock_request_open(struct rlock_client *client, enum librlock_kind kind, struct rlock *lock,
                              struct librlock_wait *wait)
{
    if (client->free_request == LIBRLOCK_NONE && librlock_request_grow(client) != 0) {
        return -ENOMEM;
    }
    uint32_t slot = client->free_request;
    struct librlock_request *request = &client->requests[slot];

    client->free_request = request->next;
    *request = (struct librlock_request){
        .kind = kind,
        .serial = request->serial + 1, /* from 1, so that no id is 0 */
        .next = lock != NULL ? lock->requests : LIBRLOCK_NONE,
        .lock = lock,
        .wait = wait,
    };
    if (request->serial == 0) {
        request->serial = 1;
    }
    if (lock != NULL) {
        lock->requests = slot;
    }
    return librlock_request_id(client, slot);
}

/* Out of the list of its lock. A lock has hardly ever more than one request in flight. */
static void librlock_request_detach(struct rlock_client *client, struct librlock_request *request)
{
    if (request->lock == NULL) {
        return;
    }
    uint32_t *at = &request->lock->requests;
    while (&client->requests[*at] != request) {
        at = &client->requests[*at].next;
    }
    *at = request->next;
    request->next = LIBRLOCK_NONE;
    request->lock = NULL;
}

static void librlock_request_release(struct rlock_client *client, struct librlock_request *request)
{
    librlock_request_detach(client, request);
    request->kind = 0;
    request->wait = NULL;
    request->next = client->free_request;
    client->free_request = (uint32_t)(request - client->requests);
}

void librlock_request_close(struct rlock_client *client, int64_t id)
{
    librlock_request_release(client, librlock_request_find(client, id));
}

void librlock_request_unwait(struct rlock_client *client, int64_t id)
{
    librlock_request_find(client, id)->wait = NULL;
}

void librlock_request_abandon(struct rlock_client *client, int64_t id)
{
    struct librlock_request *request = librlock_request_find(client, id);

    librlock_request_detach(client, request);
    request->wait = NULL;
    request->kind = request->kind == LIBRLOCK_LOCK ? LIBRLOCK_LOCK : LIBRLOCK_FORGOTTEN;
}

void librlock_request_abandon_all(struct rlock *lock)
{
    while (lock->requests != LIBRLOCK_NONE) {
        librlock_request_detach(lock->client, &lock->client->requests[lock->requests]);
    }
}

/* ---- what is sent ---- */

void librlock_print_open(struct print *print, int64_t id, const char *method)
{
    print_literal(print, "{\"jsonrpc\":\"2.0\",");
    if (id != 0) {
        print_literal(print, "\"id\":");
        print_int(print, id);
        print_literal(print, ",");
    }
    print_literal(print, "\"method\":");
    print_string(print, method, strlen(method));
    print_literal(print, ",\"params\":");
}

void librlock_print_close(struct print *print)
{
    print_literal(print, "}\n");
}

/* ---- what comes ---- */

/* Whoever waits is told in any case, also that the answer makes no sense. */
static void librlock_request_wake(struct librlock_wait *wait, int r, json_t *result,
                                  const struct rlock_error *error)
{
    wait->is_done = true;
    if (r != 0) {
        librlock_error_set(&wait->error, r, NULL);
    } else if (result != NULL) {
        wait->result = json_incref(result);
    } else {
        wait->error = *error;
    }
}

/* An answer finds its request gone from its slot, which may be used again by what the answer leads to. */
static int librlock_request_answer(struct rlock_client *client, struct librlock_request *slot, json_t *result,
                                   const struct rlock_error *error)
{
    struct librlock_request request = *slot;
    int64_t id = librlock_request_id(client, (uint32_t)(slot - client->requests));
    int r = 0;

    librlock_request_release(client, slot);
    if (request.kind != LIBRLOCK_CALL) {
        r = librlock_lock_answer(client, &request, result, error);
    } else if (request.wait == NULL) {
        r = librlock_call_answer(client, id, result, error);
    }
    if (request.wait != NULL) {
        librlock_request_wake(request.wait, r, result, error);
    }
    return r;
}

void librlock_request_fail_all(struct rlock_client *client, const struct rlock_error *error)
{
    /* Nothing is begun any more once the connection has ended, so the slots stay where they are. */
    for (uint32_t slot = 0; slot < client->n_requests; slot++) {
        if (client->requests[slot].kind != 0) {
            (void)librlock_request_answer(client, &client->requests[slot], NULL,
                                          error); /* errors always go */
        }
    }
}

/* What the daemon says of no request of ours, it says of the connection, before it closes. */
static int librlock_take_answer(struct rlock_client *client, json_t *root, struct rlock_error *ret_end)
{
    json_t *id = json_object_get(root, "id"), *result = json_object_get(root, "result");
    struct rlock_error error = {.remaining_ms = -1};

    if (result == NULL && librlock_error_read(json_object_get(root, "error"), &error) != 0) {
        return librlock_error_set(ret_end, -EPROTO, NULL);
    }
    if (json_is_null(id) && result == NULL) {
        *ret_end = error;
        return error.code;
    }
    struct librlock_request *request = NULL;
    if (json_is_integer(id)) {
        request = librlock_request_find(client, json_integer_value(id));
    }
    if (request == NULL) {
        return librlock_error_set(ret_end, -EPROTO, "the daemon has answered what nobody had asked");
    }
    int r = librlock_request_answer(client, request, result, &error);
    return r != 0 ? librlock_error_set(ret_end, r, NULL) : 0;
}

int librlock_take_line(struct rlock_client *client, const char *line, size_t len, struct rlock_error *ret_end)
{
    struct rpc rpc;
    const json_t *method;
    int r;

    if (rpc_open(&rpc, line, len) != 0) {
        return librlock_error_set(ret_end, -EPROTO, "the daemon has sent what is no message");
    }
    method = json_object_get(rpc.root, "method");
    if (json_is_string(method)) {
        r = librlock_lock_notice(client, json_string_value(method), json_object_get(rpc.root, "params"));
        r = r != 0 ? librlock_error_set(ret_end, r, NULL) : 0;
    } else {
        r = librlock_take_answer(client, rpc.root, ret_end);
    }
    rpc_close(&rpc);
    return r;
}
