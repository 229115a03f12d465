/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * For commands that ask the daemon something and end. Failures are said on stderr here.
 */

struct rlock_client;

enum { REACH_MS_MAX = 10000 }; /* until a daemon that does not answer is called absent */

int reach_open(struct rlock_client **ret_client); /* 0, or an exit status */
/* Takes the last call's code, and makes an exit status of it. */
int reach_close(struct rlock_client *client, int code);

/* Calls a method with the key as its only parameter, or without any (NULL). The result is JSON, to be freed. */
int reach_ask(struct rlock_client *client, const char *method, const char *key, char **ret_result);
/* The same, and prints the result as it is. */
int reach_print(struct rlock_client *client, const char *method, const char *key);
