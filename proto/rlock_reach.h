/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * For commands that ask the daemon something and end. Failures are said on stderr here.
 */

#include <jansson.h>

struct rlock_client;

enum { REACH_MS_MAX = 10000 }; /* until a daemon that does not answer is called absent */

int reach_open(struct rlock_client **ret_client); /* 0, or an exit status */
/* Takes the last call's code, and makes an exit status of it. */
int reach_close(struct rlock_client *client, int code);

/* Calls a method. Takes over the params; NULL is what jansson makes of text that is not UTF-8. The result is JSON,
 * to be freed. */
int reach_call(struct rlock_client *client, const char *method, json_t *params, char **ret_result);
/* The same with the key as the only parameter, or without any (NULL). */
int reach_ask(struct rlock_client *client, const char *method, const char *key, char **ret_result);
/* The same, and prints the result as it is. */
int reach_print(struct rlock_client *client, const char *method, const char *key);
