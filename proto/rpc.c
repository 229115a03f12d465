/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * JSON-RPC envelopes. Knows nothing of methods, and nothing of how lines come and go.
 *
 *     line --> too deep? --> jansson --> request, notification, batch?  --> calls, one by one
 *                                            |
 *                  the ids' bytes: found in the text itself, which is known to be JSON by then
 */

#include "proto/rpc.h"

#include <assert.h>
#include <string.h>

/*
 * Finds text that is nested too deeply before the parser recurses into it. On text that is not JSON
 * the count may be wrong, but only behind the place where the parser stops.
 */
static bool rpc_is_too_deep(const char *line, size_t len)
{
    size_t depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < len; i++) {
        char c = line[i];

        if (in_string) {
            if (c == '\\') {
                i++; /* whatever is escaped, it does not end the string */
            } else if (c == '"') {
                in_string = false;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > RPC_DEPTH_MAX) {
                return true;
            }
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return false;
}

/*
 * The rpc_skip functions walk text that the parser has accepted, inside an array or object. They need
 * no limit, since a bracket comes before the text ends. Each returns the place behind what it skips.
 */
static const char *rpc_skip_space(const char *at)
{
    while (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n') {
        at++;
    }
    return at;
}

static const char *rpc_skip_string(const char *at)
{
    assert(*at == '"');
    for (at++; *at != '"'; at++) {
        if (*at == '\\') {
            at++;
        }
    }
    return at + 1;
}

static bool rpc_is_delimiter(char c)
{
    return c == ',' || c == ']' || c == '}' || c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static const char *rpc_skip_value(const char *at)
{
    size_t depth = 0;

    if (*at != '"' && *at != '[' && *at != '{') {
        while (!rpc_is_delimiter(*at)) {
            at++;
        }
        return at;
    }
    do {
        if (*at == '"') {
            at = rpc_skip_string(at);
            continue;
        }
        if (*at == '[' || *at == '{') {
            depth++;
        } else if (*at == ']' || *at == '}') {
            depth--;
        }
        at++;
    } while (depth > 0);
    return at;
}

/* Whether a member's name, with its quotes, is id, in any of the ways in which JSON can spell it. */
static bool rpc_is_id_name(const char *name, size_t len)
{
    static const char *const spellings[] = {"\"id\"", "\"\\u0069d\"", "\"i\\u0064\"", "\"\\u0069\\u0064\""};

    for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
        if (strlen(spellings[i]) == len && memcmp(spellings[i], name, len) == 0) {
            return true;
        }
    }
    return false;
}

/* The bytes of an object's id, which is there: the parsed object has one. `at` is its first bracket. */
static struct rpc_id rpc_find_id(const char *at)
{
    at++;
    for (;;) {
        const char *name = rpc_skip_space(at);
        const char *name_end = rpc_skip_string(name);
        const char *value = rpc_skip_space(rpc_skip_space(name_end) + 1); /* the colon */
        const char *value_end = rpc_skip_value(value);

        if (rpc_is_id_name(name, (size_t)(name_end - name))) {
            return (struct rpc_id){.text = value, .len = (size_t)(value_end - value)};
        }
        at = rpc_skip_space(value_end);
        assert(*at == ',');
        at++;
    }
}

size_t rpc_id_canonical(const json_t *id, char ret[RPC_ID_MAX])
{
    struct print print = print_into(ret, RPC_ID_MAX);

    switch (json_typeof(id)) {
    case JSON_STRING:
        print_string(&print, json_string_value(id), json_string_length(id));
        break;
    case JSON_INTEGER:
        print_int(&print, json_integer_value(id));
        break;
    case JSON_NULL:
        print_literal(&print, "null");
        break;
    default:
        return 0;
    }
    return print.full ? 0 : (size_t)(print.at - ret);
}

void rpc_setup(void *(*alloc)(size_t), void (*release)(void *))
{
    json_set_alloc_funcs(alloc, release);
    json_object_seed(0);
}

int rpc_open(struct rpc *rpc, const char *line, size_t len)
{
    *rpc = (struct rpc){.line = line, .line_len = len};
    if (rpc_is_too_deep(line, len)) {
        return RPC_E_PARSE;
    }
    rpc->root = json_loadb(line, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    if (rpc->root == NULL) {
        return RPC_E_PARSE;
    }

    rpc->is_batch = json_is_array(rpc->root);
    rpc->n_calls = rpc->is_batch ? json_array_size(rpc->root) : 1;
    if ((!rpc->is_batch && !json_is_object(rpc->root)) || rpc->n_calls == 0 || rpc->n_calls > RPC_BATCH_MAX) {
        rpc_close(rpc);
        return RPC_E_INVALID;
    }
    rpc->raw = rpc_skip_space(line) + (rpc->is_batch ? 1 : 0);
    return 0;
}

void rpc_close(struct rpc *rpc)
{
    json_decref(rpc->root);
    *rpc = (struct rpc){0};
}

/* Takes over the id; false if it cannot be one. `text` is where the call's object begins. */
static bool rpc_take_id(struct rpc_call *call, const json_t *id, const char *text)
{
    if (id == NULL) {
        call->is_notification = true;
        return true;
    }
    /* Every escape is at least as long as what it stands for, or as what the canonical text has
     * in its place. So if the canonical text does not fit, neither does that in the line. */
    call->canonical_len = rpc_id_canonical(id, call->canonical);
    if (call->canonical_len == 0) {
        return false;
    }
    struct rpc_id raw = rpc_find_id(text);
    if (raw.len > RPC_ID_MAX) {
        return false;
    }
    call->id = raw;
    return true;
}

static void rpc_read_call(json_t *object, const char *text, struct rpc_call *call)
{
    const json_t *version = NULL, *method = NULL, *id = NULL;
    json_t *params = NULL;
    bool is_response = false;

    for (void *member = json_object_iter(object); member != NULL;
         member = json_object_iter_next(object, member)) {
        const char *name = json_object_iter_key(member);
        json_t *value = json_object_iter_value(member);

        if (strcmp(name, "jsonrpc") == 0) {
            version = value;
        } else if (strcmp(name, "method") == 0) {
            method = value;
        } else if (strcmp(name, "params") == 0) {
            params = value;
        } else if (strcmp(name, "id") == 0) {
            id = value;
        } else if (strcmp(name, "result") == 0 || strcmp(name, "error") == 0) {
            is_response = true;
        }
    }

    /* A response has the id of somebody's request, not one of its own that an answer could have. */
    if ((is_response && method == NULL) || !rpc_take_id(call, id, text)) {
        return;
    }
    if (!json_is_string(version) || strcmp(json_string_value(version), "2.0") != 0) {
        return;
    }
    if (!json_is_string(method) || (params != NULL && !json_is_object(params) && !json_is_array(params))) {
        return;
    }
    call->is_valid = true;
    call->method = json_string_value(method);
    call->params = json_is_object(params) ? params : NULL;
    call->params_by_position = json_is_array(params);
}

bool rpc_next(struct rpc *rpc, struct rpc_call *ret_call)
{
    if (rpc->n_taken == rpc->n_calls) {
        return false;
    }
    json_t *value = rpc->is_batch ? json_array_get(rpc->root, rpc->n_taken) : rpc->root;
    const char *text = rpc_skip_space(rpc->raw);

    *ret_call = (struct rpc_call){0};
    if (json_is_object(value)) {
        rpc_read_call(value, text, ret_call);
    }
    rpc->n_taken++;
    if (rpc->n_taken < rpc->n_calls) {
        rpc->raw = rpc_skip_space(rpc_skip_value(text)) + 1; /* the comma */
    }
    return true;
}

static void rpc_print_id(struct print *print, struct rpc_id id)
{
    print_literal(print, "{\"jsonrpc\":\"2.0\",\"id\":");
    if (id.text != NULL) {
        print_bytes(print, id.text, id.len);
    } else {
        print_literal(print, "null");
    }
}

void rpc_print_result_open(struct print *print, struct rpc_id id)
{
    rpc_print_id(print, id);
    print_literal(print, ",\"result\":");
}

void rpc_print_error_open(struct print *print, struct rpc_id id)
{
    rpc_print_id(print, id);
    print_literal(print, ",\"error\":");
}

void rpc_print_close(struct print *print)
{
    print_literal(print, "}");
}

void rpc_print_notice_open(struct print *print, const char *method)
{
    print_literal(print, "{\"jsonrpc\":\"2.0\",\"method\":\"");
    print_text(print, method);
    print_literal(print, "\",\"params\":");
}
