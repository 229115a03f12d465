/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * One question, one answer.
 */

#include "proto/rlock_reach.h"

#include "proto/rlock.h"
#include "proto/rlock_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int reach_open(struct rlock_client **ret_client)
{
    char what[TEXT_HOLDER_CAP];
    int code = rlock_open(NULL, REACH_MS_MAX, ret_client);
    if (code == 0) {
        return 0;
    }
    snprintf(what, sizeof(what), "no daemon at %s: ", rlock_socket_path());
    return text_warn_failure(code, NULL, what);
}

int reach_close(struct rlock_client *client, int code)
{
    const struct rlock_error *error = rlock_error(client);
    int status = code != 0 ? text_warn_failure(code, error->code == code ? error : NULL, "") : 0;
    rlock_close(client);
    return status;
}

int reach_call(struct rlock_client *client, const char *method, json_t *params, char **ret_result)
{
    if (params == NULL) {
        return -EINVAL;
    }
    char *text = json_dumps(params, JSON_COMPACT);
    int code = rlock_call(client, method, text, REACH_MS_MAX, ret_result);
    free(text);
    json_decref(params);
    return code;
}

int reach_ask(struct rlock_client *client, const char *method, const char *key, char **ret_result)
{
    return reach_call(client, method, key != NULL ? json_pack("{s:s}", "key", key) : json_object(),
                      ret_result);
}

int reach_print(struct rlock_client *client, const char *method, const char *key)
{
    char *result;
    int code = reach_ask(client, method, key, &result);
    if (code == 0) {
        puts(result);
        free(result);
    }
    return code;
}
