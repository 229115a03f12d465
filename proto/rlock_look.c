/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * rlock_inspect() waits for its answer, and a holder must not wait: so the question is sent with
 * rlock_call_start(), and the answer is read here.
 */

#include "proto/rlock_look.h"

#include "proto/rlock.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static int64_t look_int(const json_t *object, const char *name, int64_t otherwise)
{
    const json_t *value = json_object_get(object, name);
    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

static void look_describe(const json_t *answer, char ret[TEXT_HOLDER_CAP])
{
    const json_t *holder = json_object_get(answer, "holder");
    const char *state = json_string_value(json_object_get(answer, "state"));
    if (json_is_object(holder)) {
        struct rlock_holder who = {
            .pid = look_int(holder, "pid", -1),
            .uid = look_int(holder, "uid", -1),
            .command = json_string_value(json_object_get(holder, "command")),
            .note = json_string_value(json_object_get(holder, "note")),
        };
        char text[TEXT_HOLDER_CAP];
        snprintf(ret, TEXT_HOLDER_CAP, "held by %.*s", TEXT_HOLDER_CAP - 16, text_holder(&who, text));
    } else if (state != NULL && strcmp(state, "elsewhere") == 0) {
        strcpy(ret, "held on another host or by another program");
    } else {
        strcpy(ret, "which nobody here holds");
    }
}

struct look look_parse(const char *result)
{
    struct look look = {.remaining_ms = -1};
    json_t *answer = json_loads(result, 0, NULL);
    look.fence = look_int(answer, "fence", 0);
    look.remaining_ms = look_int(json_object_get(answer, "lease"), "remaining_ms", -1);
    look_describe(answer, look.holder);
    json_decref(answer);
    return look;
}
