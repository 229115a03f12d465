/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * What changes something at a stroke: force-unlock, and any method by hand.
 */

#include "proto/rlock.h"
#include "proto/rlock_args.h"
#include "proto/rlock_commands.h"
#include "proto/rlock_reach.h"
#include "proto/rlock_text.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* Says what was done, from what was found before. */
static void admin_say(const struct rlock_info *before, bool is_done)
{
    char text[TEXT_HOLDER_CAP], key[TEXT_HOLDER_CAP];
    snprintf(key, sizeof(key), "%s", before->key);
    text_clean(key);
    if (!is_done) {
        printf("%s: nobody held it\n", key);
    } else if (before->holder != NULL) {
        printf("%s: taken from %s\n", key, text_holder(before->holder, text));
    } else {
        printf("%s: deleted in Redis; whoever held it finds out at the next renewal\n", key);
    }
}

int admin_force_unlock(const struct args *args)
{
    struct rlock_client *client;
    struct rlock_list *before = NULL;
    char *result = NULL;
    int status = reach_open(&client);
    if (status != 0) {
        return status;
    }
    if (args->is_json) {
        return reach_close(client, reach_print(client, "force_unlock", args->operand));
    }
    int code = rlock_inspect(client, args->operand, REACH_MS_MAX, &before);
    if (code == 0) {
        code = reach_ask(client, "force_unlock", args->operand, &result);
    }
    if (code == 0 || code == RLOCK_E_NOT_HELD) {
        admin_say(&before->locks[0], code == 0);
        code = 0; /* nobody holds it, which is what was wanted */
    }
    rlock_list_free(before);
    free(result);
    return reach_close(client, code);
}

int admin_call(const struct args *args)
{
    struct rlock_client *client;
    char *result;
    int status = reach_open(&client);
    if (status != 0) {
        return status;
    }
    int code = rlock_call(client, args->operand, args->rest[0], RLOCK_FOREVER, &result);
    if (code == 0) {
        puts(result);
        free(result);
    }
    return reach_close(client, code);
}
