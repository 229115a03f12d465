/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * What went wrong, as code, name and sentence. The daemon's errors come from errors.def, those of this
 * side are the C library's. Knows nothing of connections.
 */

#include "proto/client.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define WIRE_ERROR(name, code, reason, retryable, message) \
    static_assert(RLOCK_E_##name == (code), "rlock.h and errors.def agree on " #name);
#include "proto/errors.def"
#undef WIRE_ERROR

const char *rlock_code_name(int code)
{
    switch (code) {
#define WIRE_ERROR(name, code, reason, retryable, message) \
    case code:                                             \
        return reason;
#include "proto/errors.def"
#undef WIRE_ERROR
    default:
        return NULL;
    }
}

const char *rlock_strerror(int code)
{
    switch (code) {
    case 0:
        return "no error";
#define WIRE_ERROR(name, code, reason, retryable, message) \
    case code:                                             \
        return message;
#include "proto/errors.def"
#undef WIRE_ERROR
    case -ECONNRESET:
        return "the daemon has ended the connection";
    case -EPROTO:
        return "the daemon does not speak this protocol";
    case -ETIMEDOUT:
        return "no answer in time";
    case -EBUSY:
        return "an event function must not wait";
    case -EINVAL:
        return "what cannot be sent: text that is not UTF-8, or JSON that is no object";
    case -EMSGSIZE:
        return "the request is longer than the daemon reads";
    default:
        break;
    }
    const char *text = code < 0 ? strerrordesc_np(-code) : NULL;
    return text != NULL ? text : "an error that this version of librlock does not know";
}

int librlock_error_set(struct rlock_error *error, int code, const char *text)
{
    *error = (struct rlock_error){.code = code, .remaining_ms = -1};
    (void)snprintf(error->message, sizeof(error->message), "%s", text != NULL ? text : rlock_strerror(code));
    return code;
}

/* Cuts what is too long; leaves "" where there is no text. */
static void librlock_error_copy(char *room, size_t cap, const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    (void)snprintf(room, cap, "%s", text != NULL ? text : "");
}

int librlock_error_read(const json_t *object, struct rlock_error *ret_error)
{
    const json_t *code = json_object_get(object, "code"), *data = json_object_get(object, "data");
    const json_t *remaining = json_object_get(data, "remaining_ms");
    json_int_t value = json_integer_value(code);

    if (!json_is_integer(code) || value == 0 || value < INT32_MIN || value > INT32_MAX) {
        return -EPROTO;
    }
    librlock_error_set(ret_error, (int)value, NULL);
    librlock_error_copy(ret_error->message, sizeof(ret_error->message), object, "message");
    librlock_error_copy(ret_error->reason, sizeof(ret_error->reason), data, "reason");
    librlock_error_copy(ret_error->why, sizeof(ret_error->why), data, "why");
    librlock_error_copy(ret_error->limit, sizeof(ret_error->limit), data, "limit");
    librlock_error_copy(ret_error->last_error, sizeof(ret_error->last_error), data, "last_error");
    ret_error->remaining_ms = json_is_integer(remaining) ? json_integer_value(remaining) : -1;
    return 0;
}

const struct rlock_error *rlock_error(const struct rlock_client *client)
{
    return &client->error;
}

const char *rlock_error_text(const struct rlock_client *client)
{
    return client->error.message;
}
