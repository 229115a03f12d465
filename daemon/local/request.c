/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * One allocation for a request and all of its text.
 */

#include "daemon/local/request.h"

#include <string.h>

static struct request_text request_keep(char **at, const char *bytes, size_t len)
{
    if (bytes == NULL)
        return (struct request_text){0};
    struct request_text kept = {.bytes = *at, .len = len};
    memcpy(*at, bytes, len);
    *at += len;
    return kept;
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
    if (request->canonical.len > 0)
        HASH_ADD_KEYPTR(hh_name, table->by_name, request->canonical.bytes, request->canonical.len, request);
    DL_APPEND(table->all, request);
    return request;
}

void request_free(struct request_set *set, struct request_table *table, struct request *request)
{
    HASH_DELETE(hh, set->by_id, request);
    if (request->canonical.len > 0)
        HASH_DELETE(hh_name, table->by_name, request);
    DL_DELETE(table->all, request);
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
