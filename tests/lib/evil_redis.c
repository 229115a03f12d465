/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The thread runs the loop; whoever looks at or changes the orders holds the lock. Digests are made up from
 * a script's number in script.h, so that no script's text is known here.
 */

#include "tests/lib/evil_redis.h"

#include "daemon/redis/script.h"
#include "tests/lib/fake_redis.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { EVIL_NAMES_MAX = 32, EVIL_VALUES_MAX = 64, EVIL_NAME_CAP = 16, EVIL_VALUE_CAP = 80 };

enum evil_manner { EVIL_GOOD, EVIL_REPLY, EVIL_SILENCE, EVIL_END };

struct evil_row { /* for one name */
    char name[EVIL_NAME_CAP];
    int n; /* commands so far */
    enum evil_manner manner;
    int times;
    const char *reply;
};

struct evil_redis {
    pthread_t thread;
    pthread_mutex_t lock;
    uv_loop_t loop;
    uv_async_t stop;
    struct fake_redis *fake;
    struct script scripts[N_SCRIPTS];
    struct evil_row rows[EVIL_NAMES_MAX];
    char values[EVIL_VALUES_MAX][EVIL_VALUE_CAP];
    const char *greeting;
    size_t piece_len;
    int n_rows, n_values, n_evals;
    long long next_fence;
};

static struct evil_row *evil_row(struct evil_redis *evil, const char *name)
{
    for (int i = 0; i < evil->n_rows; i++) {
        if (strcmp(evil->rows[i].name, name) == 0) {
            return &evil->rows[i];
        }
    }
    ck_assert_int_lt(evil->n_rows, EVIL_NAMES_MAX);
    snprintf(evil->rows[evil->n_rows].name, EVIL_NAME_CAP, "%s", name);
    return &evil->rows[evil->n_rows++];
}

static void evil_say(struct evil_redis *evil, struct fake_client *client, const char *text)
{
    size_t len = strlen(text), piece = evil->piece_len != 0 ? evil->piece_len : len;

    for (size_t at = 0; at < len; at += piece) {
        fake_reply_bytes(client, text + at, len - at < piece ? len - at : piece);
    }
}

/* Which script a digest or a text is; N_SCRIPTS: none. */
static int evil_script(const struct evil_redis *evil, const char *text)
{
    int i = 0;

    while (i < N_SCRIPTS && strcmp(text, evil->scripts[i].text) != 0 &&
           strcmp(text, evil->scripts[i].digest) != 0) {
        i++;
    }
    return i;
}

static const char *evil_name(struct evil_redis *evil, int argc, char **argv)
{
    bool is_eval = strcmp(argv[0], "EVAL") == 0;
    int script =
        argc > 1 && (is_eval || strcmp(argv[0], "EVALSHA") == 0) ? evil_script(evil, argv[1]) : N_SCRIPTS;

    evil->n_evals += is_eval;
    return script < N_SCRIPTS                           ? evil->scripts[script].name
           : strcmp(argv[0], "CLIENT") == 0 && argc > 1 ? argv[1]
                                                        : argv[0];
}

static void evil_note_value(struct evil_redis *evil, const char *value)
{
    for (int i = 0; i < evil->n_values; i++) {
        if (strcmp(evil->values[i], value) == 0) {
            return;
        }
    }
    if (evil->n_values < EVIL_VALUES_MAX) {
        snprintf(evil->values[evil->n_values++], EVIL_VALUE_CAP, "%s", value);
    }
}

/* As the scripts answer when all is well. */
static void evil_answer_script(struct evil_redis *evil, struct fake_client *client, int argc, char **argv)
{
    long long first = 0;
    char reply[64];

    if (argc > 8) { /* with a ttl, and how many fences are wanted */
        first = evil->next_fence;
        evil->next_fence += atoll(argv[8]);
    }
    snprintf(reply, sizeof(reply), "*3\r\n:1\r\n:%lld\r\n:0\r\n", first);
    evil_say(evil, client, reply);
}

static bool evil_answer_well(struct evil_redis *evil, struct fake_client *client, int argc, char **argv)
{
    char reply[64];

    if (strcmp(argv[0], "SCRIPT") == 0) {
        snprintf(reply, sizeof(reply), "$40\r\n%s\r\n", evil->scripts[evil_script(evil, argv[2])].digest);
        evil_say(evil, client, reply);
    } else if (strncmp(argv[0], "EVAL", 4) == 0) {
        evil_answer_script(evil, client, argc, argv);
    } else if (strcmp(argv[0], "PTTL") == 0) {
        evil_say(evil, client, ":-2\r\n");
    } else {
        return false;
    }
    return true;
}

static bool evil_on_command(void *ctx, struct fake_client *client, int argc, char **argv)
{
    struct evil_redis *evil = ctx;
    bool is_answered = true;

    pthread_mutex_lock(&evil->lock);
    struct evil_row *row = evil_row(evil, evil_name(evil, argc, argv));
    row->n++;
    if (strcmp(row->name, "lock") == 0 && argc > 6) {
        evil_note_value(evil, argv[6]);
    }
    enum evil_manner manner = row->times != 0 ? row->manner : EVIL_GOOD;
    row->times -= row->times > 0;
    if (manner == EVIL_REPLY) {
        evil_say(evil, client, row->reply);
    } else if (manner == EVIL_END) {
        fake_client_close(client);
    } else if (manner == EVIL_GOOD) {
        is_answered = evil_answer_well(evil, client, argc, argv);
    }
    pthread_mutex_unlock(&evil->lock);
    return is_answered;
}

static void evil_on_client(void *ctx, struct fake_client *client)
{
    struct evil_redis *evil = ctx;

    pthread_mutex_lock(&evil->lock);
    if (evil->greeting != NULL) {
        evil_say(evil, client, evil->greeting);
    }
    pthread_mutex_unlock(&evil->lock);
}

static void evil_on_stop(uv_async_t *stop)
{
    struct evil_redis *evil = stop->data;

    fake_redis_close(evil->fake);
    uv_close((uv_handle_t *)stop, NULL);
}

static void *evil_run(void *ctx)
{
    struct evil_redis *evil = ctx;

    (void)uv_run(&evil->loop, UV_RUN_DEFAULT);
    return NULL;
}

struct evil_redis *evil_redis_start(const char *unix_path)
{
    struct evil_redis *evil = calloc(1, sizeof(*evil));

    ck_assert_ptr_nonnull(evil);
    evil->next_fence = 1000;
    script_table(evil->scripts);
    for (int i = 0; i < N_SCRIPTS; i++) {
        memset(evil->scripts[i].digest, 'a' + i, sizeof(evil->scripts[i].digest) - 1);
    }
    pthread_mutex_init(&evil->lock, NULL);
    ck_assert_int_eq(uv_loop_init(&evil->loop), 0);
    ck_assert_int_eq(uv_async_init(&evil->loop, &evil->stop, evil_on_stop), 0);
    evil->stop.data = evil;
    evil->fake = fake_redis_open(&evil->loop, unix_path, evil_on_command, evil);
    fake_redis_on_client(evil->fake, evil_on_client);
    ck_assert_int_eq(pthread_create(&evil->thread, NULL, evil_run, evil), 0);
    return evil;
}

void evil_redis_stop(struct evil_redis *evil)
{
    ck_assert_int_eq(uv_async_send(&evil->stop), 0);
    pthread_join(evil->thread, NULL);
    ck_assert_int_eq(uv_loop_close(&evil->loop), 0);
    free(evil);
}

static void evil_order(struct evil_redis *evil, const char *name, enum evil_manner manner, int times,
                       const char *reply)
{
    pthread_mutex_lock(&evil->lock);
    struct evil_row *row = evil_row(evil, name);
    row->manner = manner;
    row->times = times;
    row->reply = reply;
    pthread_mutex_unlock(&evil->lock);
}

void evil_redis_answer(struct evil_redis *evil, const char *name, int times, const char *reply)
{
    evil_order(evil, name, EVIL_REPLY, times, reply);
}

void evil_redis_ignore(struct evil_redis *evil, const char *name, int times)
{
    evil_order(evil, name, EVIL_SILENCE, times, NULL);
}

void evil_redis_hang_up(struct evil_redis *evil, const char *name, int times)
{
    evil_order(evil, name, EVIL_END, times, NULL);
}

void evil_redis_be_good(struct evil_redis *evil)
{
    pthread_mutex_lock(&evil->lock);
    for (int i = 0; i < evil->n_rows; i++) {
        evil->rows[i].times = 0;
    }
    evil->greeting = NULL;
    pthread_mutex_unlock(&evil->lock);
}

void evil_redis_greet(struct evil_redis *evil, const char *text)
{
    pthread_mutex_lock(&evil->lock);
    evil->greeting = text;
    pthread_mutex_unlock(&evil->lock);
}

void evil_redis_set_info(struct evil_redis *evil, const char *lines)
{
    pthread_mutex_lock(&evil->lock);
    fake_redis_set_info(evil->fake, lines);
    pthread_mutex_unlock(&evil->lock);
}

void evil_redis_cut(struct evil_redis *evil, size_t piece_len)
{
    pthread_mutex_lock(&evil->lock);
    evil->piece_len = piece_len;
    pthread_mutex_unlock(&evil->lock);
}

int evil_redis_n(struct evil_redis *evil, const char *name)
{
    pthread_mutex_lock(&evil->lock);
    int n = evil_row(evil, name)->n;
    pthread_mutex_unlock(&evil->lock);
    return n;
}

static int evil_look(struct evil_redis *evil, const int *number)
{
    pthread_mutex_lock(&evil->lock);
    int n = *number;
    pthread_mutex_unlock(&evil->lock);
    return n;
}

int evil_redis_n_evals(struct evil_redis *evil)
{
    return evil_look(evil, &evil->n_evals);
}

int evil_redis_n_values(struct evil_redis *evil)
{
    return evil_look(evil, &evil->n_values);
}

int evil_redis_n_clients(struct evil_redis *evil)
{
    pthread_mutex_lock(&evil->lock);
    int n = fake_redis_n_clients(evil->fake);
    pthread_mutex_unlock(&evil->lock);
    return n;
}
