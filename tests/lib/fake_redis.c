/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Commands are parsed from what has come so far, without mercy for anything but arrays of bulk strings.
 */

#include "tests/lib/fake_redis.h"

#include "daemon/base/alloc.h"
#include "daemon/base/buf.h"

#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FAKE_ARGC_MAX = 16, FAKE_CLIENTS_MAX = 256 };

union fake_handle {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_pipe_t pipe;
    uv_tcp_t tcp;
};

struct fake_client {
    struct fake_redis *fake;
    union fake_handle conn;
    struct buf in;
    int number; /* 0: it has said nothing yet, or only listens */
    bool is_listener;
    char room[65536];
};

struct fake_redis {
    uv_loop_t *loop;
    union fake_handle listener;
    bool is_tcp;
    fake_redis_fn on_command;
    void (*on_client)(void *ctx, struct fake_client *client); /* NULL: nobody wants to know */
    void *ctx;
    struct fake_client *clients[FAKE_CLIENTS_MAX]; /* NULL: gone */
    int n_clients;
    struct fake_client *open[FAKE_CLIENTS_MAX]; /* all that are there; NULL: a free place */
    char run_id[41];
    char info[512];
};

struct fake_write {
    uv_write_t req;
    char bytes[];
};

static void fake_on_read(uv_stream_t *stream, ssize_t n_read, const uv_buf_t *room);
static void fake_on_alloc(uv_handle_t *handle, size_t wanted, uv_buf_t *ret);

static void fake_on_client_closed(uv_handle_t *handle)
{
    struct fake_client *client = handle->data;

    buf_deinit(&client->in);
    free(client);
}

static void fake_client_forget(struct fake_client *client)
{
    struct fake_redis *fake = client->fake;

    if (fake == NULL) {
        return;
    }
    if (client->number > 0) {
        fake->clients[client->number - 1] = NULL;
    }
    for (int i = 0; i < FAKE_CLIENTS_MAX; i++) {
        fake->open[i] = fake->open[i] == client ? NULL : fake->open[i];
    }
    client->fake = NULL;
}

static void fake_client_note(struct fake_client *client)
{
    int i = 0;

    while (i < FAKE_CLIENTS_MAX && client->fake->open[i] != NULL) {
        i++;
    }
    ck_assert_int_lt(i, FAKE_CLIENTS_MAX);
    client->fake->open[i] = client;
}

/* Its first word tells: the daemon's other connection, which only listens, begins with ROLE. */
static void fake_client_judge(struct fake_client *client, const char *word)
{
    struct fake_redis *fake = client->fake;

    if (client->number > 0 || client->is_listener) {
        return;
    }
    client->is_listener = strcmp(word, "ROLE") == 0;
    if (!client->is_listener) {
        ck_assert_int_lt(fake->n_clients, FAKE_CLIENTS_MAX);
        fake->clients[fake->n_clients++] = client;
        client->number = fake->n_clients;
    }
}

void fake_client_close(struct fake_client *client)
{
    fake_client_forget(client);
    if (!uv_is_closing(&client->conn.handle)) {
        uv_close(&client->conn.handle, fake_on_client_closed);
    }
}

void fake_client_reset(struct fake_client *client)
{
    fake_client_forget(client);
    ck_assert_int_eq(uv_tcp_close_reset(&client->conn.tcp, fake_on_client_closed), 0);
}

void fake_client_stop_reading(struct fake_client *client)
{
    uv_read_stop(&client->conn.stream);
}

void fake_client_read_on(struct fake_client *client)
{
    ck_assert_int_eq(uv_read_start(&client->conn.stream, fake_on_alloc, fake_on_read), 0);
}

int fake_client_number(const struct fake_client *client)
{
    return client->number;
}

static void fake_on_written(uv_write_t *req, int status)
{
    (void)status; /* the other side may have left */
    free(req->data);
}

void fake_reply_bytes(struct fake_client *client, const char *bytes, size_t len)
{
    struct fake_write *write = alloc_bytes(sizeof(*write) + len);
    uv_buf_t buf = uv_buf_init(write->bytes, (unsigned)len);

    memcpy(write->bytes, bytes, len);
    write->req.data = write;
    ck_assert_int_eq(uv_write(&write->req, &client->conn.stream, &buf, 1, fake_on_written), 0);
}

void fake_reply(struct fake_client *client, const char *text)
{
    fake_reply_bytes(client, text, strlen(text));
}

static void fake_reply_info(struct fake_client *client)
{
    char info[1024], reply[1100];
    int len = snprintf(
        info, sizeof(info),
        "# Server\r\nredis_version:7.0.15\r\nrun_id:%s\r\nloading:0\r\nrole:master\r\nmaxmemory:0\r\n%s",
        client->fake->run_id, client->fake->info);

    snprintf(reply, sizeof(reply), "$%d\r\n%s\r\n", len, info);
    fake_reply(client, reply);
}

static void fake_answer(struct fake_client *client, int argc, char **argv)
{
    char reply[64];

    if (strcmp(argv[0], "INFO") == 0) {
        fake_reply_info(client);
    } else if (strcmp(argv[0], "ROLE") == 0) {
        fake_reply(client, "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n");
    } else if (argc == 2 && strcmp(argv[0], "CLIENT") == 0 && strcmp(argv[1], "ID") == 0) {
        snprintf(reply, sizeof(reply), ":%d\r\n", client->number + 100);
        fake_reply(client, reply);
    } else if (argc == 4 && strcmp(argv[0], "CLIENT") == 0 && strcmp(argv[1], "KILL") == 0) {
        fake_reply(client, ":1\r\n");
    } else if (strcmp(argv[0], "SCRIPT") == 0) {
        fake_reply(client, "$40\r\n0123456789abcdef0123456789abcdef01234567\r\n");
    } else if (strcmp(argv[0], "SUBSCRIBE") == 0) {
        fake_reply(client, "*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n");
    } else if (strcmp(argv[0], "PING") == 0) {
        fake_reply(client, "+PONG\r\n");
    } else {
        fake_reply(client, "+OK\r\n");
    }
}

/* Reads "*3\r\n" or "$3\r\n"; false: it has not come whole yet. */
static bool fake_take_number(const char **at, const char *end, char type, int *ret)
{
    const char *line_end = *at < end ? memchr(*at, '\n', (size_t)(end - *at)) : NULL;

    if (line_end == NULL) {
        return false;
    }
    ck_assert_int_eq(**at, type);
    *ret = atoi(*at + 1);
    *at = line_end + 1;
    return true;
}

/* One whole command out of what has come. The arguments are copies. */
static bool fake_take_command(struct fake_client *client, int *ret_argc, char *argv[FAKE_ARGC_MAX])
{
    const char *start = buf_bytes(&client->in), *at = start, *end = start + client->in.len;
    const char *args[FAKE_ARGC_MAX];
    int lens[FAKE_ARGC_MAX], argc = 0, len = 0;

    if (!fake_take_number(&at, end, '*', &argc)) {
        return false;
    }
    ck_assert_int_le(argc, FAKE_ARGC_MAX);
    for (int i = 0; i < argc; i++) {
        if (!fake_take_number(&at, end, '$', &len) || end - at < len + 2) {
            return false;
        }
        args[i] = at;
        lens[i] = len;
        at += len + 2;
    }
    for (int i = 0; i < argc; i++) {
        argv[i] = alloc_copy(args[i], (size_t)lens[i]);
    }
    buf_consume(&client->in, (size_t)(at - start));
    *ret_argc = argc;
    return true;
}

static void fake_on_read(uv_stream_t *stream, ssize_t n_read, const uv_buf_t *room)
{
    struct fake_client *client = stream->data;
    char *argv[FAKE_ARGC_MAX];
    int argc;

    if (n_read < 0) {
        fake_client_close(client);
        return;
    }
    buf_append(&client->in, room->base, (size_t)n_read);
    while (client->fake != NULL && fake_take_command(client, &argc, argv)) {
        fake_client_judge(client, argv[0]);
        bool is_answered =
            !client->is_listener && client->fake->on_command(client->fake->ctx, client, argc, argv);
        if (!is_answered && client->fake != NULL) {
            fake_answer(client, argc, argv);
        }
        for (int i = 0; i < argc; i++) {
            free(argv[i]);
        }
    }
}

static void fake_on_alloc(uv_handle_t *handle, size_t wanted, uv_buf_t *ret)
{
    struct fake_client *client = handle->data;

    (void)wanted;
    *ret = uv_buf_init(client->room, sizeof(client->room));
}

static void fake_on_connection(uv_stream_t *listener, int status)
{
    struct fake_redis *fake = listener->data;
    struct fake_client *client = alloc_zeroed(1, sizeof(*client));

    ck_assert_int_eq(status, 0);
    client->fake = fake;
    fake_client_note(client);
    if (fake->is_tcp) {
        ck_assert_int_eq(uv_tcp_init(fake->loop, &client->conn.tcp), 0);
    } else {
        ck_assert_int_eq(uv_pipe_init(fake->loop, &client->conn.pipe, 0), 0);
    }
    client->conn.handle.data = client;
    ck_assert_int_eq(uv_accept(listener, &client->conn.stream), 0);
    ck_assert_int_eq(uv_read_start(&client->conn.stream, fake_on_alloc, fake_on_read), 0);
    if (fake->on_client != NULL) {
        fake->on_client(fake->ctx, client);
    }
}

void fake_redis_on_client(struct fake_redis *fake, void (*on_client)(void *ctx, struct fake_client *client))
{
    fake->on_client = on_client;
}

struct fake_redis *fake_redis_open(uv_loop_t *loop, const char *unix_path, fake_redis_fn on_command,
                                   void *ctx)
{
    struct fake_redis *fake = alloc_zeroed(1, sizeof(*fake));

    fake->loop = loop;
    fake->is_tcp = unix_path == NULL;
    fake->on_command = on_command;
    fake->ctx = ctx;
    fake_redis_set_run_id(fake, "first");
    if (fake->is_tcp) {
        struct sockaddr_in address;

        ck_assert_int_eq(uv_ip4_addr("127.0.0.1", 0, &address), 0);
        ck_assert_int_eq(uv_tcp_init(loop, &fake->listener.tcp), 0);
        ck_assert_int_eq(uv_tcp_bind(&fake->listener.tcp, (const struct sockaddr *)&address, 0), 0);
    } else {
        ck_assert_int_eq(uv_pipe_init(loop, &fake->listener.pipe, 0), 0);
        ck_assert_int_eq(uv_pipe_bind(&fake->listener.pipe, unix_path), 0);
    }
    fake->listener.handle.data = fake;
    ck_assert_int_eq(uv_listen(&fake->listener.stream, 16, fake_on_connection), 0);
    return fake;
}

static void fake_on_listener_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void fake_redis_close(struct fake_redis *fake)
{
    for (int i = 0; i < FAKE_CLIENTS_MAX; i++) {
        if (fake->open[i] != NULL) {
            fake_client_close(fake->open[i]);
        }
    }
    uv_close(&fake->listener.handle, fake_on_listener_closed);
}

int fake_redis_port(const struct fake_redis *fake)
{
    struct sockaddr_in address;
    int len = sizeof(address);

    ck_assert_int_eq(uv_tcp_getsockname(&fake->listener.tcp, (struct sockaddr *)&address, &len), 0);
    return ntohs(address.sin_port);
}

int fake_redis_n_clients(const struct fake_redis *fake)
{
    return fake->n_clients;
}

void fake_redis_set_run_id(struct fake_redis *fake, const char *run_id)
{
    snprintf(fake->run_id, sizeof(fake->run_id), "%s", run_id);
}

void fake_redis_set_info(struct fake_redis *fake, const char *lines)
{
    snprintf(fake->info, sizeof(fake->info), "%s", lines);
}
