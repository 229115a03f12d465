/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * A client that assumes nothing: it shares no code with the daemon or the C client, so that a
 * mistake in framing or printing cannot hide in both ends.
 */

#include "tests/lib/client.h"
#include "tests/lib/await.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { CLIENT_FIRST_ID = 1000 }; /* leaves the small ones to tests that write lines by hand */

struct client {
    int fd;
    int last_id;
    char *bytes; /* read, from start on not yet used */
    size_t start, len, cap;
    json_t *last;   /* what the expect functions lend out */
    char sent[240]; /* the beginning of what was sent last, for the message of a failed test */
    struct client *next;
};

static struct client *client_list;

static int client_connect(const char *socket_path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_uint_lt(strlen(socket_path), sizeof(address.sun_path));
    strcpy(address.sun_path, socket_path);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

struct client *client_open(const char *socket_path)
{
    struct client *client = calloc(1, sizeof(*client));

    ck_assert_ptr_nonnull(client);
    client->fd = client_connect(socket_path);
    ck_assert_msg(client->fd >= 0, "cannot connect to %s: %s", socket_path, strerror(errno));
    client->last_id = CLIENT_FIRST_ID;
    client->next = client_list;
    client_list = client;
    return client;
}

bool client_can_connect(const char *socket_path)
{
    int fd = client_connect(socket_path);

    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

void client_close(struct client *client)
{
    struct client **at = &client_list;

    while (*at != client) {
        at = &(*at)->next;
    }
    *at = client->next;
    close(client->fd);
    json_decref(client->last);
    free(client->bytes);
    free(client);
}

void client_close_all(void)
{
    while (client_list) {
        client_close(client_list);
    }
}

int client_fd(const struct client *client)
{
    return client->fd;
}

void client_send_bytes(struct client *client, const void *bytes, size_t len)
{
    const char *at = bytes;

    snprintf(client->sent, sizeof(client->sent), "%.*s",
             (int)(len < sizeof(client->sent) ? len : sizeof(client->sent)), at);
    while (len > 0) {
        ssize_t sent = send(client->fd, at, len, MSG_NOSIGNAL);

        ck_assert_msg(sent > 0, "the daemon takes no more bytes: %s", strerror(errno));
        at += sent;
        len -= (size_t)sent;
    }
}

__attribute__((format(printf, 1, 0))) static char *client_format(const char *fmt, va_list args)
{
    char *text = NULL;

    ck_assert_int_ge(vasprintf(&text, fmt, args), 0);
    for (char *at = text; *at; at++) {
        if (*at == '\'') {
            *at = '"';
        }
    }
    return text;
}

void client_send(struct client *client, const char *fmt, ...)
{
    va_list args;
    char *text, *line = NULL;
    int len;

    va_start(args, fmt);
    text = client_format(fmt, args);
    va_end(args);
    len = asprintf(&line, "%s\n", text);
    ck_assert_int_gt(len, 0);
    client_send_bytes(client, line, (size_t)len);
    free(line);
    free(text);
}

/* Reads once, waiting for it; false when the daemon has closed the connection. */
static bool client_fill(struct client *client)
{
    struct pollfd pollfd = {.fd = client->fd, .events = POLLIN};
    ssize_t got;

    if (client->start > 0) {
        memmove(client->bytes, client->bytes + client->start, client->len);
        client->start = 0;
    }
    if (client->cap - client->len < 4096) {
        client->cap = client->cap * 2 + 65536;
        client->bytes = realloc(client->bytes, client->cap);
        ck_assert_ptr_nonnull(client->bytes);
    }
    ck_assert_msg(poll(&pollfd, 1, AWAIT_MS_MAX) == 1, "no answer from the daemon");
    got = recv(client->fd, client->bytes + client->len, client->cap - client->len, 0);
    if (got <= 0) {
        ck_assert(got == 0 || errno == ECONNRESET);
        return false;
    }
    client->len += (size_t)got;
    return true;
}

const char *client_line(struct client *client)
{
    size_t searched = 0;
    char *line, *end;

    while (client->len == 0 ||
           !(end = memchr(client->bytes + client->start + searched, '\n', client->len - searched))) {
        searched = client->len;
        if (!client_fill(client)) {
            ck_assert_msg(client->len == 0, "the connection ended inside a line");
            return NULL;
        }
    }
    line = client->bytes + client->start;
    *end = '\0';
    client->len -= (size_t)(end + 1 - line);
    client->start += (size_t)(end + 1 - line);
    return line;
}

json_t *client_message(struct client *client)
{
    const char *line = client_line(client);
    json_error_t error;

    ck_assert_msg(line != NULL, "the daemon has closed the connection");
    json_decref(client->last);
    client->last = json_loads(line, JSON_REJECT_DUPLICATES, &error);
    ck_assert_msg(client->last != NULL, "not JSON (%s): %s", error.text, line);
    if (json_is_object(client->last)) {
        ck_assert_str_eq(member_text(client->last, "jsonrpc"), "2.0");
    }
    return client->last;
}

/* What a failed expectation says; the text is let go with the test. */
static const char *json_show(const json_t *json)
{
    return json ? json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY) : "nothing";
}

static const char *client_show(const struct client *client)
{
    char *text = NULL;

    return asprintf(&text, "%s (last sent: %s)", json_show(client->last), client->sent) < 0 ? "" : text;
}

static json_t *client_reply(struct client *client, int id, const char *part)
{
    json_t *message = client_message(client);
    json_t *got = json_object_get(message, part);

    ck_assert_msg(got != NULL, "expected the %s of %d, got %s", part, id, client_show(client));
    ck_assert_msg(json_integer_value(json_object_get(message, "id")) == id, "expected the %s of %d, got %s",
                  part, id, client_show(client));
    ck_assert_uint_eq(json_object_size(message), 3);
    return got;
}

json_t *client_expect_result(struct client *client, int id)
{
    return client_reply(client, id, "result");
}

json_t *client_expect_error(struct client *client, int id, int code, const char *reason)
{
    json_t *error = client_reply(client, id, "error");
    json_t *data = json_object_get(error, "data");

    ck_assert_msg(member_int(error, "code") == code, "expected %s, got %s", reason, client_show(client));
    ck_assert_str_ne(member_text(error, "message"), "");
    ck_assert_str_eq(member_text(data, "reason"), reason);
    return data;
}

json_t *client_expect_error_of_null(struct client *client, int code)
{
    json_t *message = client_message(client);
    json_t *error = json_object_get(message, "error");

    ck_assert_msg(json_is_null(json_object_get(message, "id")) && error, "expected error %d of null, got %s",
                  code, client_show(client));
    ck_assert_msg(member_int(error, "code") == code, "expected error %d, got %s", code, client_show(client));
    return error;
}

json_t *client_expect_notice(struct client *client, const char *method)
{
    json_t *message = client_message(client);

    ck_assert_msg(member_is(message, "method", method) && !json_object_get(message, "id"),
                  "expected the notice %s, got %s", method, client_show(client));
    return json_object_get(message, "params");
}

void client_expect_end(struct client *client)
{
    const char *line = client_line(client);

    ck_assert_msg(line == NULL, "expected the end of the connection, got %s", line);
}

void client_expect_nothing(struct client *client)
{
    ck_assert_str_eq(json_string_value(client_query(client, "ping")), "pong");
}

static void client_request(struct client *client, int id, const char *method, const char *params)
{
    char id_member[32] = "";

    if (id) {
        snprintf(id_member, sizeof(id_member), ",'id':%d", id);
    }
    client_send(client, "{'jsonrpc':'2.0'%s,'method':'%s'%s%s}", id_member, method,
                params[0] ? ",'params':" : "", params);
}

int client_ask(struct client *client, const char *method, const char *params, ...)
{
    va_list args;
    char *text;

    va_start(args, params);
    text = client_format(params, args);
    va_end(args);
    client_request(client, ++client->last_id, method, text);
    free(text);
    return client->last_id;
}

void client_tell(struct client *client, const char *method, const char *params, ...)
{
    va_list args;
    char *text;

    va_start(args, params);
    text = client_format(params, args);
    va_end(args);
    client_request(client, 0, method, text);
    free(text);
}

json_t *client_call(struct client *client, const char *method, const char *params, ...)
{
    va_list args;
    char *text;

    va_start(args, params);
    text = client_format(params, args);
    va_end(args);
    client_request(client, ++client->last_id, method, text);
    free(text);
    return client_expect_result(client, client->last_id);
}

json_t *client_query(struct client *client, const char *method)
{
    client_request(client, ++client->last_id, method, "");
    return client_expect_result(client, client->last_id);
}

int64_t client_lock(struct client *client, const char *key)
{
    return member_int(client_call(client, "lock", "{'key':'%s'}", key), "fence");
}

int client_ask_lock(struct client *client, const char *key)
{
    int id = client_ask(client, "lock", "{'key':'%s'}", key);

    client_expect_nothing(client); /* lines are read in order: the pong proves that the claim is in */
    return id;
}

int64_t client_stat(struct client *client, const char *name)
{
    return member_int(client_query(client, "stats"), name);
}

int64_t member_int(const json_t *object, const char *name)
{
    const json_t *member = json_object_get(object, name);

    ck_assert_msg(json_is_integer(member), "no integer '%s' in %s", name, json_show(object));
    return json_integer_value(member);
}

const char *member_text(const json_t *object, const char *name)
{
    const json_t *member = json_object_get(object, name);

    ck_assert_msg(json_is_string(member), "no text '%s' in %s", name, json_show(object));
    return json_string_value(member);
}

bool member_bool(const json_t *object, const char *name)
{
    const json_t *member = json_object_get(object, name);

    ck_assert_msg(json_is_boolean(member), "no boolean '%s' in %s", name, json_show(object));
    return json_is_true(member);
}

bool member_is_null(const json_t *object, const char *name)
{
    const json_t *member = json_object_get(object, name);

    return json_is_null(member);
}

bool member_is(const json_t *object, const char *name, const char *text)
{
    const json_t *member = json_object_get(object, name);

    return json_is_string(member) && strcmp(json_string_value(member), text) == 0;
}
