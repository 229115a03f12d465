/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * One question, one answer.
 */

#include "proto/rlock_reach.h"

#include "proto/rlock.h"
#include "proto/rlock_text.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

int reach_open(struct rlock_client **ret_client)
{
    int code = rlock_open(NULL, REACH_MS_MAX, ret_client);
    return code != 0 ? text_warn_failure(code, NULL, "no daemon: ") : 0;
}

int reach_close(struct rlock_client *client, int code)
{
    int status = code != 0 ? text_warn_failure(code, rlock_error(client), "") : 0;
    rlock_close(client);
    return status;
}

int reach_ask(struct rlock_client *client, const char *method, const char *key, char **ret_result)
{
    if (key == NULL) {
        return rlock_call(client, method, NULL, REACH_MS_MAX, ret_result);
    }
    json_t *params = json_pack("{s:s}", "key", key);
    if (params == NULL) {
        return -EINVAL; /* the key is not UTF-8 */
    }
    char *text = json_dumps(params, JSON_COMPACT);
    int code = rlock_call(client, method, text, REACH_MS_MAX, ret_result);
    free(text);
    json_decref(params);
    return code;
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
