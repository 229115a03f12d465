/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * One connection to the daemon, as raw as the protocol is: lines out, lines in, parsed by jansson.
 *
 * Whatever takes a format writes ' as ", so that JSON can be read in C. What an expect function
 * returns is borrowed from the client, good until its next message is read. Every expectation is
 * about the very next message; one that does not come in time fails the test.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client;

struct client *client_open(const char *socket_path); /* fails the test if nobody listens there */
void client_close(struct client *client);
void client_close_all(void);
int client_fd(const struct client *client);
bool client_can_connect(const char *socket_path);

void client_send_bytes(struct client *client, const void *bytes, size_t len);
void client_send(struct client *client, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The next line, without its end, or NULL: the daemon has closed the connection. */
const char *client_line(struct client *client);
json_t *client_message(struct client *client); /* the same, parsed; there must be one */

json_t *client_expect_result(struct client *client, int id);                              /* the result */
json_t *client_expect_error(struct client *client, int id, int code, const char *reason); /* its data */
json_t *client_expect_error_of_null(struct client *client, int code);    /* id null: the error */
json_t *client_expect_notice(struct client *client, const char *method); /* the params */
void client_expect_end(struct client *client);
void client_expect_nothing(struct client *client); /* proves by a ping that nothing else has come */

/* Requests with ids of the client's own, from 1001 upwards. */
int client_ask(struct client *client, const char *method, const char *params, ...)
    __attribute__((format(printf, 3, 4))); /* the id */
void client_tell(struct client *client, const char *method, const char *params, ...)
    __attribute__((format(printf, 3, 4))); /* as a notification */
json_t *client_call(struct client *client, const char *method, const char *params, ...)
    __attribute__((format(printf, 3, 4)));                       /* ask, and expect the result */
json_t *client_query(struct client *client, const char *method); /* the same without params */

int64_t client_lock(struct client *client, const char *key); /* the fence */
int client_ask_lock(struct client *client, const char *key); /* the id; the daemon has read it */
int64_t client_stat(struct client *client, const char *name);

/* A member that must be there. (jansson's own json_is_...() are macros that evaluate twice what they are
 * given: no message may be read in their arguments.) */
int64_t member_int(const json_t *object, const char *name);
const char *member_text(const json_t *object, const char *name);
bool member_bool(const json_t *object, const char *name);
bool member_is(const json_t *object, const char *name, const char *text);
bool member_is_null(const json_t *object, const char *name);
