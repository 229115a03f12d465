/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * What the methods take: first the tables that say which parameters there are, then the sentences
 * for what is wrong with them, then the one reader that the tables drive. What comes back is printed
 * in message_print.c. Neither knows who asks, or why.
 */

#include "proto/message.h"

#include <assert.h>
#include <string.h>

#define MESSAGE_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- what may be sent ---- */

enum message_kind {
    MESSAGE_INTEGER = 1,
    MESSAGE_BOOL,
    MESSAGE_KEY,  /* a lock's name */
    MESSAGE_TEXT, /* any string up to a length */
    MESSAGE_RETRY,
    MESSAGE_ID,
};

struct message_field {
    const char *name;
    enum message_kind kind;
    bool is_required, is_nullable;
    int64_t min, max; /* an integer; a text's length in bytes */
    size_t offset;    /* in struct message */
    size_t len_offset;
};

#define MESSAGE_AT(member) .offset = offsetof(struct message, member)
#define MESSAGE_TEXT_AT(member) MESSAGE_AT(member), .len_offset = offsetof(struct message, member##_len)

/* Those that several methods have. */
#define FIELD_KEY \
    "key", MESSAGE_KEY, .is_required = true, .min = 1, .max = MESSAGE_KEY_MAX, MESSAGE_TEXT_AT(key)
#define FIELD_TTL \
    "ttl_ms", MESSAGE_INTEGER, .min = MESSAGE_TTL_MS_MIN, .max = MESSAGE_TTL_MS_MAX, MESSAGE_AT(ttl_ms)
#define FIELD_FENCE "fence", MESSAGE_INTEGER, .min = 1, .max = MESSAGE_FENCE_MAX, MESSAGE_AT(fence)

/* The first two are what try_lock decides by itself. */
enum { FIELDS_OF_LOCK_ALONE = 2 };
static const struct message_field message_lock_fields[] = {
    {"wait_ms", MESSAGE_INTEGER, .is_nullable = true, .max = MESSAGE_MS_MAX, MESSAGE_AT(wait_ms)},
    {"retry", .kind = MESSAGE_RETRY},
    {FIELD_KEY},
    {FIELD_TTL},
    {"attempt_timeout_ms", MESSAGE_INTEGER, .min = 1, .max = MESSAGE_INTERVAL_MS_MAX,
     MESSAGE_AT(attempt_timeout_ms)},
    {"fail_fast", MESSAGE_BOOL, MESSAGE_AT(fail_fast)},
    {"auto_refresh", MESSAGE_BOOL, MESSAGE_AT(auto_refresh)},
    {"max_hold_ms", MESSAGE_INTEGER, .is_nullable = true, .min = 1, .max = MESSAGE_MS_MAX,
     MESSAGE_AT(max_hold_ms)},
    {"note", MESSAGE_TEXT, .max = MESSAGE_NOTE_MAX, MESSAGE_TEXT_AT(note)},
};
static const struct message_field message_retry_fields[] = {
    {"interval_ms", MESSAGE_INTEGER, .min = 1, .max = MESSAGE_INTERVAL_MS_MAX, MESSAGE_AT(retry_interval_ms)},
    {"max", MESSAGE_INTEGER, .is_nullable = true, .max = MESSAGE_RETRY_MAX, MESSAGE_AT(retry_max)},
};
static const struct message_field message_key_fields[] = {{FIELD_KEY}};
static const struct message_field message_unlock_fields[] = {{FIELD_KEY}, {FIELD_FENCE}};
static const struct message_field message_refresh_fields[] = {{FIELD_KEY}, {FIELD_FENCE}, {FIELD_TTL}};
static const struct message_field message_cancel_fields[] = {{"id", MESSAGE_ID, .is_required = true}};
static const struct message_field message_list_fields[] = {
    {"prefix", MESSAGE_TEXT, .max = MESSAGE_KEY_MAX, MESSAGE_TEXT_AT(key)},
    {"limit", MESSAGE_INTEGER, .min = 1, .max = MESSAGE_LIST_LIMIT_MAX, MESSAGE_AT(limit)},
    {"after", MESSAGE_TEXT, .max = MESSAGE_KEY_MAX, MESSAGE_TEXT_AT(after)},
};

struct message_fields {
    const char *name; /* of the method, or of the parameter that is an object */
    const struct message_field *list;
    size_t len;
};

static const struct message_fields message_retry = {"retry", message_retry_fields,
                                                    MESSAGE_COUNT(message_retry_fields)};
static const struct message_fields message_methods[N_METHODS] = {
    [METHOD_LOCK] = {"lock", message_lock_fields, MESSAGE_COUNT(message_lock_fields)},
    [METHOD_TRY_LOCK] = {"try_lock", message_lock_fields + FIELDS_OF_LOCK_ALONE,
                         MESSAGE_COUNT(message_lock_fields) - FIELDS_OF_LOCK_ALONE},
    [METHOD_UNLOCK] = {"unlock", message_unlock_fields, MESSAGE_COUNT(message_unlock_fields)},
    [METHOD_REFRESH] = {"refresh", message_refresh_fields, MESSAGE_COUNT(message_refresh_fields)},
    [METHOD_CANCEL] = {"cancel", message_cancel_fields, MESSAGE_COUNT(message_cancel_fields)},
    [METHOD_INSPECT] = {"inspect", message_key_fields, MESSAGE_COUNT(message_key_fields)},
    [METHOD_LIST] = {"list", message_list_fields, MESSAGE_COUNT(message_list_fields)},
    [METHOD_STATS] = {"stats", NULL, 0},
    [METHOD_HELLO] = {"hello", NULL, 0},
    [METHOD_PING] = {"ping", NULL, 0},
    [METHOD_FORCE_UNLOCK] = {"force_unlock", message_key_fields, MESSAGE_COUNT(message_key_fields)},
};

const char *message_method_name(enum method method)
{
    assert(method >= METHOD_LOCK && method < N_METHODS);
    return message_methods[method].name;
}

static enum method message_find_method(const char *name)
{
    for (enum method method = METHOD_LOCK; method < N_METHODS; method++) {
        if (strcmp(message_methods[method].name, name) == 0) {
            return method;
        }
    }
    return 0;
}

/* ---- what is wrong with it ---- */

static void message_print_range(struct print *fault, const struct message_field *field, const char *between)
{
    print_int(fault, field->min);
    print_text(fault, between);
    print_int(fault, field->max);
}

/* What a parameter must be, as the end of a sentence. */
static void message_print_must(struct print *fault, const struct message_field *field)
{
    print_literal(fault, " must be ");
    switch (field->kind) {
    case MESSAGE_INTEGER:
        print_literal(fault, "an integer from ");
        message_print_range(fault, field, " to ");
        break;
    case MESSAGE_BOOL:
        print_literal(fault, "true or false");
        break;
    case MESSAGE_KEY:
        print_literal(fault, "a string of ");
        message_print_range(fault, field, " to ");
        print_literal(fault, " bytes without control characters");
        break;
    case MESSAGE_TEXT:
        print_literal(fault, "a string of at most ");
        print_int(fault, field->max);
        print_literal(fault, " bytes");
        break;
    case MESSAGE_RETRY:
        print_literal(fault, "an object of interval_ms and max, either of which may be left out");
        break;
    case MESSAGE_ID:
        print_literal(fault, "the id of a request: a string or an integer, of at most 256 bytes, or null");
        break;
    }
    if (field->is_nullable) {
        print_literal(fault, ", or null");
    }
}

static void message_print_name(struct print *fault, const struct message_fields *fields,
                               const struct message_field *field)
{
    if (fields == &message_retry) {
        print_literal(fault, "retry.");
    }
    print_text(fault, field->name);
}

/* ---- the reader ---- */

/* The text is UTF-8; U+0080 to U+009F, which are C2 80 to C2 9F there, are control characters as well. */
static bool message_is_key(const char *text, size_t len)
{
    unsigned char before = 0;

    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)text[i];

        if (byte < 0x20 || byte == 0x7f || (before == 0xc2 && byte < 0xa0)) {
            return false;
        }
        before = byte;
    }
    return true;
}

static bool message_read_integer(const struct message_field *field, const json_t *value,
                                 struct message *message)
{
    int64_t *ret = (int64_t *)((char *)message + field->offset);

    if (field->is_nullable && json_is_null(value)) {
        *ret = MESSAGE_UNBOUNDED;
        return true;
    }
    if (!json_is_integer(value)) {
        return false;
    }
    int64_t number = json_integer_value(value);
    if (number < field->min || number > field->max) {
        return false;
    }
    *ret = number;
    return true;
}

static bool message_read_text(const struct message_field *field, const json_t *value, struct message *message)
{
    if (!json_is_string(value)) {
        return false;
    }
    const char *text = json_string_value(value);
    size_t len = json_string_length(value);
    if (len < (size_t)field->min || len > (size_t)field->max) {
        return false;
    }
    if (field->kind == MESSAGE_KEY && !message_is_key(text, len)) {
        return false;
    }
    *(const char **)((char *)message + field->offset) = text;
    *(size_t *)((char *)message + field->len_offset) = len;
    return true;
}

static bool message_read_id(const json_t *value, struct message *message)
{
    size_t len = rpc_id_canonical(value, message->target_text);

    message->target = (struct rpc_id){.text = message->target_text, .len = len};
    return len > 0;
}

/* False: the value is not what the field must be. An object's members are not looked at here. */
static bool message_read_value(const struct message_field *field, const json_t *value,
                               struct message *message)
{
    switch (field->kind) {
    case MESSAGE_INTEGER:
        return message_read_integer(field, value, message);
    case MESSAGE_BOOL:
        *(bool *)((char *)message + field->offset) = json_is_true(value);
        return json_is_boolean(value);
    case MESSAGE_KEY:
    case MESSAGE_TEXT:
        return message_read_text(field, value, message);
    case MESSAGE_RETRY:
        return json_is_object(value);
    case MESSAGE_ID:
        return message_read_id(value, message);
    }
    assert(false && "a field of a kind that is known");
    return false;
}

static const struct message_field *message_find_field(const struct message_fields *fields, const char *name)
{
    for (size_t i = 0; i < fields->len; i++) {
        if (strcmp(fields->list[i].name, name) == 0) {
            return &fields->list[i];
        }
    }
    return NULL;
}

/* 0 or MESSAGE_E_PARAMS. `object` may be NULL: no parameters were given. */
static int message_read_object(const struct message_fields *fields, json_t *object, struct message *message,
                               struct print *fault)
{
    uint32_t seen = 0;

    for (void *member = json_object_iter(object); member != NULL;
         member = json_object_iter_next(object, member)) {
        const char *name = json_object_iter_key(member);
        json_t *value = json_object_iter_value(member);
        const struct message_field *field = message_find_field(fields, name);

        if (field == NULL) {
            print_text(fault, fields->name);
            print_literal(fault, " has no parameter \"");
            print_foreign(fault, name, strlen(name));
            print_literal(fault, "\"");
            return MESSAGE_E_PARAMS;
        }
        if (!message_read_value(field, value, message)) {
            message_print_name(fault, fields, field);
            message_print_must(fault, field);
            return MESSAGE_E_PARAMS;
        }
        if (field->kind == MESSAGE_RETRY && message_read_object(&message_retry, value, message, fault) != 0) {
            return MESSAGE_E_PARAMS;
        }
        seen |= UINT32_C(1) << (field - fields->list);
    }

    for (size_t i = 0; i < fields->len; i++) {
        if (fields->list[i].is_required && !(seen & UINT32_C(1) << i)) {
            message_print_name(fault, fields, &fields->list[i]);
            print_literal(fault, " is missing; it");
            message_print_must(fault, &fields->list[i]);
            return MESSAGE_E_PARAMS;
        }
    }
    return 0;
}

static int message_read_call(const struct rpc_call *call, struct message *message, struct print *fault)
{
    if (call->params_by_position) {
        print_literal(fault, "params must be an object: parameters go by name");
        return MESSAGE_E_PARAMS;
    }
    int r = message_read_object(&message_methods[message->method], call->params, message, fault);
    if (r != 0) {
        return r;
    }
    bool is_own = strncmp(message->key, MESSAGE_OWN_NAMES, strlen(MESSAGE_OWN_NAMES)) == 0;
    if (is_own && message->method != METHOD_LIST) {
        print_literal(fault, "key must be another: names that begin with " MESSAGE_OWN_NAMES
                             " are the daemon's own");
        return MESSAGE_E_PARAMS;
    }
    return 0;
}

/* What a message is before anything is read: the configuration's word for lock and try_lock. */
static void message_init(struct message *message, enum method method, const struct message_defaults *defaults)
{
    *message = (struct message){
        .method = method,
        .key = "",
        .auto_refresh = true,
        .note = "",
        .limit = MESSAGE_LIST_LIMIT,
        .after = "",
    };
    if (method == METHOD_LOCK || method == METHOD_TRY_LOCK) {
        message->ttl_ms = defaults->ttl_ms;
        message->wait_ms = method == METHOD_LOCK ? defaults->wait_ms : 0;
        message->retry_interval_ms = defaults->retry_interval_ms;
        message->retry_max = method == METHOD_LOCK ? defaults->retry_max : 0;
        message->attempt_timeout_ms = defaults->attempt_timeout_ms;
        message->max_hold_ms = defaults->max_hold_ms;
    }
}

int message_parse(const struct rpc_call *call, const struct message_defaults *defaults,
                  struct message *ret_message, char ret_fault[MESSAGE_FAULT_CAP])
{
    struct print fault = print_into(ret_fault, MESSAGE_FAULT_CAP - 1);
    enum method method = message_find_method(call->method);
    int r = MESSAGE_E_METHOD;

    assert(call->is_valid);
    if (method == 0) {
        print_literal(&fault, "there is no method \"");
        print_foreign(&fault, call->method, strlen(call->method));
        print_literal(&fault, "\"");
    } else {
        message_init(ret_message, method, defaults);
        r = message_read_call(call, ret_message, &fault);
    }
    if (r != 0) {
        assert(!fault.full);
        *fault.at = '\0';
    }
    return r;
}
