/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * One allocation for a request and all of its text.
 */

#include "daemon/local/request.h"

#include <string.h>

static struct request_text request_keep(char **at, const char *bytes, size_t len)
{
    if (bytes == NULL) {
        return (struct request_text){0};
    }
    struct request_text kept = {.bytes = *at, .len = len};
    memcpy(*at, bytes, len);
    *at += len;
    return kept;
}

bool request_may_last(enum method method)
{
    return method == METHOD_REFRESH || method == METHOD_INSPECT || method == METHOD_LIST ||
           method == METHOD_FORCE_UNLOCK;
}

const struct request *request_next_list(const struct request_set *set)
{
    return set->listing != NULL ? set->listing->lists : NULL;
}

static void request_add_list(struct request_set *set, struct request_table *table, struct request *request)
{
    if (table->lists == NULL) {
        DL_APPEND(set->listing, table);
    }
    DL_APPEND2(table->lists, request, prev_list, next_list);
}

/* After the list whose turn it was, it is another peer's turn. */
static void request_remove_list(struct request_set *set, struct request_table *table, struct request *request)
{
    bool was_next = request == request_next_list(set);
    DL_DELETE2(table->lists, request, prev_list, next_list);
    if (was_next || table->lists == NULL) {
        DL_DELETE(set->listing, table);
    }
    if (was_next && table->lists != NULL) {
        DL_APPEND(set->listing, table);
    }
}

struct request *request_new(struct request_set *set, struct request_table *table, struct peer *peer,
                            const struct request_seed *seed)
{
    size_t fault_len = seed->fault != NULL ? strlen(seed->fault) + 1 : 0; /* with its NUL */
    size_t text_len = seed->wire_id.len + seed->canonical_len + seed->key.len + seed->after.len + fault_len;
    struct request *request = alloc_bytes(sizeof(*request) + text_len);
    *request = (struct request){
        .id = ++set->last_id,
        .peer = peer,
        .batch = seed->batch,
        .method = seed->method,
        .error = seed->error,
        .limit = seed->limit,
    };
    char *at = request->bytes;
    request->wire_id = request_keep(&at, seed->wire_id.text, seed->wire_id.len);
    request->canonical = request_keep(&at, seed->canonical, seed->canonical_len);
    request->key = request_keep(&at, seed->key.bytes, seed->key.len);
    request->after = request_keep(&at, seed->after.bytes, seed->after.len);
    request->fault = request_keep(&at, seed->fault, fault_len);
    HASH_ADD(hh, set->by_id, id, sizeof(request->id), request);
    if (request->canonical.len > 0) {
        HASH_ADD_KEYPTR(hh_name, table->by_name, request->canonical.bytes, request->canonical.len, request);
    }
    DL_APPEND(table->all, request);
    table->n_lasting += request_may_last(request->method);
    if (request->method == METHOD_LIST) {
        request_add_list(set, table, request);
    }
    return request;
}

void request_free(struct request_set *set, struct request_table *table, struct request *request)
{
    HASH_DELETE(hh, set->by_id, request);
    if (request->canonical.len > 0) {
        HASH_DELETE(hh_name, table->by_name, request);
    }
    DL_DELETE(table->all, request);
    table->n_lasting -= request_may_last(request->method);
    if (request->method == METHOD_LIST) {
        request_remove_list(set, table, request);
    }
    free(request);
}

struct request *request_find(struct request_set *set, uint64_t id)
{
    struct request *request;
    HASH_FIND(hh, set->by_id, &id, sizeof(id), request);
    return request;
}

struct request *request_find_by_name(const struct request_table *table, const char *canonical, size_t len)
{
    struct request *request;
    HASH_FIND(hh_name, table->by_name, canonical, len, request);
    return request;
}
