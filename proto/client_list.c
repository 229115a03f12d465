/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Calls that are about no lock of this client: any method as text, and the lists of keys as structs.
 *
 * A list borrows its texts from the parsed answer, which it keeps.
 */

#include "proto/client.h"
#include "proto/rpc.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- any method ---- */

/* A JSON value as text of our own malloc(), whatever allocator the program gave to jansson. */
static char *librlock_text(const json_t *value, size_t *ret_len)
{
    const size_t flags = JSON_COMPACT | JSON_ENCODE_ANY;
    size_t len = json_dumpb(value, NULL, 0, flags);
    char *text = malloc(len + 1);

    if (text == NULL || len == 0 || json_dumpb(value, text, len, flags) != len) {
        free(text);
        return NULL;
    }
    text[len] = '\0';
    *ret_len = len;
    return text;
}

/* Sends {"id":ID,"method":METHOD,"params":PARAMS}, if the daemon would read it as one message. */
static int librlock_call_send(struct rlock_client *client, int64_t id, const char *method,
                              const json_t *params)
{
    size_t params_len, room_len = LIBRLOCK_REQUEST_MAX + 1; /* with the end of the line */
    char *text = librlock_text(params, &params_len), *room = malloc(room_len);
    struct print print = print_into(room, room != NULL ? room_len : 0);
    struct rpc rpc;
    int r = -ENOMEM;

    if (text != NULL && room != NULL) {
        librlock_print_open(&print, id, method);
        print_bytes(&print, text, params_len);
        librlock_print_close(&print);
        r = print.full ? -EMSGSIZE : 0;
    }
    if (r == 0 && rpc_open(&rpc, room, (size_t)(print.at - room)) != 0) {
        r = -EINVAL; /* nested too deeply: its answer would not tell what it belongs to */
    } else if (r == 0) {
        rpc_close(&rpc);
        r = librlock_send(client, room, (size_t)(print.at - room));
    }
    free(text);
    free(room);
    return r;
}

static int librlock_call_params(struct rlock_client *client, const char *method, const char *text,
                                json_t **ret)
{
    if (!print_is_utf8(method, strlen(method))) {
        return librlock_fail(client, -EINVAL, "the method is not UTF-8");
    }
    json_t *params = json_loads(text != NULL ? text : "{}", JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(params)) {
        json_decref(params);
        return librlock_fail(client, -EINVAL, "the params are no JSON object");
    }
    *ret = params;
    return 0;
}

static int librlock_call_begin(struct rlock_client *client, const char *method, const json_t *params,
                               struct librlock_wait *wait, int64_t *ret_id)
{
    int64_t id = librlock_request_open(client, LIBRLOCK_CALL, NULL, wait);

    if (id < 0) {
        return librlock_fail(client, -ENOMEM, NULL);
    }
    int r = librlock_call_send(client, id, method, params);
    if (r != 0) {
        librlock_request_close(client, id);
        return librlock_fail(client, r, NULL);
    }
    *ret_id = id;
    return 0;
}

/* The result is the caller's. */
static int librlock_call_wait(struct rlock_client *client, const char *method, const json_t *params,
                              int timeout_ms, json_t **ret_result)
{
    struct librlock_wait wait = {0};
    int64_t id;
    int r = librlock_call_begin(client, method, params, &wait, &id);

    if (r != 0) {
        return r;
    }
    r = librlock_await(client, &wait, timeout_ms);
    if (!wait.is_done) {
        librlock_request_abandon(client, id);
    }
    if (r == 0) {
        *ret_result = wait.result;
    }
    return r;
}

int rlock_call(struct rlock_client *client, const char *method, const char *params, int timeout_ms,
               char **ret_result)
{
    json_t *object = NULL, *result;
    size_t len;
    int r = librlock_check_waiting(client);

    if (r == 0) {
        r = librlock_call_params(client, method, params, &object);
    }
    if (r == 0) {
        r = librlock_call_wait(client, method, object, timeout_ms, &result);
        json_decref(object);
    }
    if (r != 0) {
        return r;
    }
    char *text = librlock_text(result, &len);
    json_decref(result);
    if (text == NULL) {
        return librlock_fail(client, -ENOMEM, NULL);
    }
    *ret_result = text;
    return 0;
}

int rlock_call_start(struct rlock_client *client, const char *method, const char *params,
                     int64_t *ret_call_id)
{
    json_t *object = NULL;
    int r = librlock_check(client);

    if (r == 0) {
        r = librlock_call_params(client, method, params, &object);
    }
    if (r == 0) {
        r = librlock_call_begin(client, method, object, NULL, ret_call_id);
        json_decref(object);
    }
    return r;
}

int librlock_call_answer(struct rlock_client *client, int64_t call_id, json_t *result,
                         const struct rlock_error *error)
{
    struct rlock_event event = {.type = RLOCK_EVENT_ANSWER, .call_id = call_id};
    char *text = NULL;
    size_t len;

    if (result == NULL) {
        event.error = error;
    } else {
        event.result = text = librlock_text(result, &len);
        if (text == NULL) {
            return -ENOMEM;
        }
    }
    librlock_deliver(client, &event);
    free(text);
    return 0;
}

/* ---- lists ---- */

/* What rlock_list() returns, with what it borrows from. */
struct librlock_list {
    struct rlock_list list; /* first, so that one pointer is the other */
    json_t *answer;
    struct rlock_info *infos;
    struct rlock_holder *holders; /* of all infos, one after the other */
};

static int64_t librlock_list_int(const json_t *object, const char *name, int64_t absent)
{
    const json_t *value = json_object_get(object, name);

    return json_is_integer(value) ? json_integer_value(value) : absent;
}

static const char *librlock_list_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL ? text : "";
}

static struct rlock_holder librlock_list_holder(const json_t *object)
{
    return (struct rlock_holder){
        .pid = librlock_list_int(object, "pid", -1),
        .uid = librlock_list_int(object, "uid", -1),
        .gid = librlock_list_int(object, "gid", -1),
        .waited_ms = librlock_list_int(object, "waited_ms", -1),
        .command = librlock_list_text(object, "command"),
        .note = librlock_list_text(object, "note"),
    };
}

/* Takes as many holders as librlock_list_n_holders() has counted. */
static struct rlock_info librlock_list_info(const json_t *object, struct rlock_holder **holders)
{
    const json_t *holder = json_object_get(object, "holder"), *lease = json_object_get(object, "lease");
    const json_t *waiting = json_object_get(object, "waiting");
    struct rlock_info info = {
        .key = librlock_list_text(object, "key"),
        .state = librlock_list_text(object, "state"),
        .fence = librlock_list_int(object, "fence", 0),
        .held_ms = librlock_list_int(object, "held_ms", -1),
        .lease_ttl_ms = librlock_list_int(lease, "ttl_ms", -1),
        .lease_remaining_ms = librlock_list_int(lease, "remaining_ms", -1),
        .n_waiting = json_array_size(waiting),
        .n_waiting_more = librlock_list_int(object, "waiting_more", 0),
    };

    if (json_is_object(holder)) {
        info.holder = *holders;
        *(*holders)++ = librlock_list_holder(holder);
    }
    if (info.n_waiting > 0) {
        info.waiting = *holders;
    }
    for (size_t i = 0; i < info.n_waiting; i++) {
        *(*holders)++ = librlock_list_holder(json_array_get(waiting, i));
    }
    return info;
}

static size_t librlock_list_n_holders(const json_t *objects)
{
    size_t n = 0;

    for (size_t i = 0; i < json_array_size(objects); i++) {
        const json_t *object = json_array_get(objects, i);

        n += json_is_object(json_object_get(object, "holder")) ? 1 : 0;
        n += json_array_size(json_object_get(object, "waiting"));
    }
    return n;
}

void rlock_list_free(struct rlock_list *list)
{
    struct librlock_list *whole = (struct librlock_list *)list;

    if (whole != NULL) {
        json_decref(whole->answer);
        free(whole->infos);
        free(whole->holders);
        free(whole);
    }
}

/* Takes over the answer. NULL: no memory. */
static struct rlock_list *librlock_list_new(json_t *answer, const json_t *objects)
{
    struct librlock_list *whole = calloc(1, sizeof(*whole));
    size_t n = json_array_size(objects);

    if (whole == NULL) {
        json_decref(answer);
        return NULL;
    }
    whole->answer = answer;
    whole->infos = calloc(n + 1, sizeof(*whole->infos)); /* never nothing, of which calloc() may give NULL */
    whole->holders = calloc(librlock_list_n_holders(objects) + 1, sizeof(*whole->holders));
    if (whole->infos == NULL || whole->holders == NULL) {
        rlock_list_free(&whole->list);
        return NULL;
    }
    struct rlock_holder *holders = whole->holders;
    for (size_t i = 0; i < n; i++) {
        whole->infos[i] = librlock_list_info(json_array_get(objects, i), &holders);
    }
    whole->list.locks = whole->infos;
    whole->list.n_locks = n;
    whole->list.next = json_string_value(json_object_get(answer, "next"));
    return &whole->list;
}

/* Calls with params just made, and takes them over. jansson makes none of text that is not UTF-8. */
static int librlock_list_ask(struct rlock_client *client, const char *method, json_t *params, int timeout_ms,
                             json_t **ret_answer)
{
    int r = librlock_check_waiting(client);

    if (r == 0 && params == NULL) {
        r = librlock_fail(client, -EINVAL, "the key is not UTF-8");
    }
    if (r == 0) {
        r = librlock_call_wait(client, method, params, timeout_ms, ret_answer);
    }
    json_decref(params);
    return r;
}

int rlock_list(struct rlock_client *client, const char *prefix, const char *after, int limit, int timeout_ms,
               struct rlock_list **ret_list)
{
    json_t *answer, *objects, *number = limit != 0 ? json_integer(limit) : NULL;
    json_t *params = json_pack("{s:s, s:s, s:o*}", "prefix", prefix != NULL ? prefix : "", "after",
                               after != NULL ? after : "", "limit", number);
    int r = librlock_list_ask(client, "list", params, timeout_ms, &answer);

    if (r != 0) {
        return r;
    }
    objects = json_object_get(answer, "locks");
    if (!json_is_array(objects)) {
        json_decref(answer);
        return librlock_fail(client, -EPROTO, NULL);
    }
    struct rlock_list *list = librlock_list_new(answer, objects);
    if (list == NULL) {
        return librlock_fail(client, -ENOMEM, NULL);
    }
    *ret_list = list;
    return 0;
}

int rlock_inspect(struct rlock_client *client, const char *key, int timeout_ms, struct rlock_list **ret_list)
{
    struct rlock_list *list;
    json_t *answer;
    int r = librlock_list_ask(client, "inspect", json_pack("{s:s}", "key", key), timeout_ms, &answer);

    if (r != 0) {
        return r;
    }
    if (!json_is_object(answer)) {
        json_decref(answer);
        return librlock_fail(client, -EPROTO, NULL);
    }
    json_t *objects = json_pack("[O]", answer); /* the list keeps the answer, not the array */
    list = librlock_list_new(answer, objects);
    json_decref(objects);
    if (list == NULL || list->n_locks == 0) { /* the array had no memory */
        rlock_list_free(list);
        return librlock_fail(client, -ENOMEM, NULL);
    }
    *ret_list = list;
    return 0;
}
