/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The simulator's Redis beside a real one: the same calls, the same answers. The model's clock is set to
 * the real one's before each call; what is left of an expiry may differ by what the call took.
 */

#include "daemon/redis/script.h"
#include "tests/lib/redis.h"
#include "tests/sim/redis_model.h"

#include <check.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Suite *test_sim_redis_suite(void);

enum { ARGS_MAX = 16, SAID_CAP = 256, CALLS_MAX = 24 };

#define QUEUE "rlockd:queue:{1}:k"
#define KEYS " 3 k rlockd:fence " QUEUE " "

/* What daemons write: their instance comes last. Of these, only B listens. */
#define A "11111111-1111-4111-8111-111111111111/aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
#define B_INSTANCE "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
#define B "22222222-2222-4222-8222-222222222222/" B_INSTANCE
#define B2 "33333333-3333-4333-8333-333333333333/" B_INSTANCE
#define C "44444444-4444-4444-8444-444444444444/cccccccc-cccc-4ccc-8ccc-cccccccccccc"
#define LOCK(value) "EVAL lock" KEYS value " 10000 64 1 5000"
#define UNLOCK(value) "EVAL unlock" KEYS value " 5000"

static const char listens_to[] = "rlockd:" B_INSTANCE;

static struct redis_server *server;
static redisContext *conn, *listener;
static struct redis_model *model;
static struct script scripts[N_SCRIPTS];

static int64_t model_hears(void *ctx, const struct reply *channel, const struct reply *message)
{
    (void)ctx;
    (void)message;
    return channel->len == strlen(listens_to) && memcmp(channel->text, listens_to, channel->len) == 0;
}

static void set_up(void)
{
    server = redis_server_start(NULL);
    conn = redisConnectUnix(redis_server_socket(server));
    ck_assert_int_eq(conn->err, 0);
    listener = redisConnectUnix(redis_server_socket(server));
    redisReply *reply = redisCommand(listener, "SUBSCRIBE %s", listens_to);
    ck_assert_ptr_nonnull(reply);
    freeReplyObject(reply);
    model = redis_model_new();
    redis_model_set_publish(model, model_hears, NULL);
    script_table(scripts);
}

static void tear_down(void)
{
    model = redis_model_free(model);
    redisFree(conn);
    redisFree(listener);
    redis_server_stop(server);
}

/* One call: words, of which "lock", "unlock" and "refresh" behind EVAL stand for the scripts. */
struct call {
    int argc;
    const char *argv[ARGS_MAX];
    size_t argv_len[ARGS_MAX];
    char words[512];
};

static void call_parse(struct call *call, const char *line)
{
    char *rest = NULL;
    *call = (struct call){0};
    snprintf(call->words, sizeof(call->words), "%s", line);
    for (char *word = strtok_r(call->words, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        ck_assert_int_lt(call->argc, ARGS_MAX);
        call->argv[call->argc] = word;
        for (int i = 0; i < N_SCRIPTS && call->argc == 1 && strcmp(call->argv[0], "EVAL") == 0; i++) {
            if (strcmp(word, scripts[i].name) == 0) {
                call->argv[1] = scripts[i].text;
            }
        }
        call->argv_len[call->argc] = strlen(call->argv[call->argc]);
        call->argc++;
    }
}

/* Times up to the next five seconds, fences as "a fence": the rest is said exactly. */
static void say_integer(char said[SAID_CAP], long long integer)
{
    if (integer > 1LL << 40) {
        snprintf(said, SAID_CAP, "a fence");
    } else if (integer > 1000) {
        snprintf(said, SAID_CAP, "about %lld", (integer + 4999) / 5000 * 5000);
    } else {
        snprintf(said, SAID_CAP, "%lld", integer);
    }
}

/* Of an error only its first word: the rest names lines and functions. */
static void say_text(char said[SAID_CAP], const char *kind, const char *text, bool is_error)
{
    int len = (int)(is_error ? strcspn(text, " ") : strlen(text));
    if (strtoll(text, NULL, 10) > 1LL << 40) {
        text = "a fence", len = 7;
    }
    snprintf(said, SAID_CAP, "%s %.*s", kind, len, text);
}

static void say_real(char said[SAID_CAP], const redisReply *reply)
{
    switch (reply->type) {
    case REDIS_REPLY_INTEGER:
        say_integer(said, reply->integer);
        return;
    case REDIS_REPLY_NIL:
        snprintf(said, SAID_CAP, "nil");
        return;
    case REDIS_REPLY_STRING:
        say_text(said, "text", reply->str, false);
        return;
    case REDIS_REPLY_STATUS:
        say_text(said, "status", reply->str, false);
        return;
    case REDIS_REPLY_ERROR:
        say_text(said, "error", reply->str, true);
        return;
    default:
        ck_assert_int_eq(reply->type, REDIS_REPLY_ARRAY);
    }
    char item[SAID_CAP];
    size_t len = (size_t)snprintf(said, SAID_CAP, "list");
    for (size_t i = 0; i < reply->elements; i++) {
        say_real(item, reply->element[i]);
        len += (size_t)snprintf(said + len, SAID_CAP - len, ", %s", item);
        ck_assert_uint_lt(len, SAID_CAP);
    }
}

static void say_model(char said[SAID_CAP], const struct reply *reply)
{
    switch (reply->kind) {
    case REPLY_INTEGER:
        say_integer(said, reply->integer);
        return;
    case REPLY_NIL:
        snprintf(said, SAID_CAP, "nil");
        return;
    case REPLY_TEXT:
        say_text(said, "text", reply->text, false);
        return;
    case REPLY_STATUS:
        say_text(said, "status", reply->text, false);
        return;
    case REPLY_ERROR:
        say_text(said, "error", reply->text, true);
        return;
    case REPLY_LIST:
        break;
    }
    char item[SAID_CAP];
    size_t len = (size_t)snprintf(said, SAID_CAP, "list");
    for (size_t i = 0; i < reply->n_items; i++) {
        say_model(item, &reply->items[i]);
        len += (size_t)snprintf(said + len, SAID_CAP - len, ", %s", item);
        ck_assert_uint_lt(len, SAID_CAP);
    }
}

static redisReply *run_real(const struct call *call)
{
    const char *argv[ARGS_MAX];
    memcpy(argv, call->argv, sizeof(argv));
    redisReply *reply = redisCommandArgv(conn, call->argc, argv, call->argv_len);
    ck_assert_ptr_nonnull(reply);
    return reply;
}

static void set_model_clock(void)
{
    redisReply *time = redisCommand(conn, "TIME");
    ck_assert_ptr_nonnull(time);
    redis_model_set_clock(model, atoll(time->element[0]->str) * 1000000 + atoll(time->element[1]->str));
    freeReplyObject(time);
}

static void compare(const char *line)
{
    struct call call;
    char real[SAID_CAP], modelled[SAID_CAP];
    call_parse(&call, line);
    set_model_clock();
    redisReply *reply = run_real(&call);
    say_real(real, reply);
    freeReplyObject(reply);
    say_model(modelled, redis_model_run(model, call.argc, call.argv, call.argv_len));
    ck_assert_msg(strcmp(real, modelled) == 0, "%s: Redis says %s, the model %s", line, real, modelled);
}

static const char *const rows[][CALLS_MAX] = {
    {"GET k", "SET k v", "GET k", "PTTL k", "EXISTS k", "DEL k", "DEL k", "EXISTS k", "PTTL k"},
    {"SET k v NX PX 10000", "SET k w NX PX 10000", "GET k", "PTTL k", "SET k w PX 20000", "PTTL k", "SET k x",
     "PTTL k"},
    {"SET k v nx px 10000", "PERSIST k", "PERSIST k", "PTTL k", "PEXPIRE k 5000", "PTTL k", "PEXPIRE k -1",
     "EXISTS k", "PEXPIRE k 10", "PERSIST k"},
    {"SET k v PX 0", "SET k v PX x", "SET k v PY 1", "SET k v PX", "PEXPIRE k x", "GET", "NONSENSE k"},
    {"HSET k f v", "GET k", "EXISTS k", "PTTL k", "DEL k", "HSET k f v", "SET k v", "GET k"},
    {"EVAL lock" KEYS "mine 10000 64 1 5000", "GET k", "PTTL k", "EVAL lock" KEYS "mine 30000 64 1 5000",
     "PTTL k", "EVAL lock" KEYS "mine 100 64 1 5000", "PTTL k", "EVAL lock" KEYS "theirs 10000 64 1 5000",
     "GET k", "GET rlockd:fence", "PTTL rlockd:fence"},
    {"SET k theirs", "EVAL lock" KEYS "mine 10000 64 1 5000", "EXISTS rlockd:fence",
     "EVAL unlock" KEYS "mine 500", "EVAL refresh" KEYS "mine 10000 64", "GET k", "PTTL k"},
    {"EVAL refresh" KEYS "mine 10000 0", "EXISTS k", "EVAL unlock" KEYS "mine 500", "SET k mine PX 10000",
     "EVAL refresh" KEYS "mine 30000 0", "PTTL k", "EVAL refresh" KEYS "mine 20000 5", "PTTL k",
     "EVAL unlock" KEYS "mine 500", "EXISTS k"},
    {"HSET k f v", "EVAL lock" KEYS "mine 10000 64 1 5000", "EVAL refresh" KEYS "mine 10000 64",
     "EVAL unlock" KEYS "mine 500", "EXISTS k"},
    {"SET rlockd:fence 8000000000000001", "EVAL lock" KEYS "mine 10000 10 1 5000", "GET rlockd:fence",
     "EVAL refresh" KEYS "mine 10000 10", "GET rlockd:fence"},
    {"SET rlockd:fence nonsense", "EVAL lock" KEYS "mine 10000 10 1 5000", "EXISTS k", "SET k mine PX 10000",
     "EVAL refresh" KEYS "mine 30000 10", "PTTL k"},
    {"HSET rlockd:fence f v", "EVAL lock" KEYS "mine 10000 10 1 5000", "EXISTS k", "SET k mine PX 10000",
     "EVAL refresh" KEYS "mine 30000 10", "PTTL k"},
    {"SET rlockd:fence 9007199254740991", "EVAL lock" KEYS "mine 10000 10 1 5000", "EXISTS k"},
    /* Sorted sets. */
    {"ZADD z NX 2 b",
     "ZADD z NX 1 b",
     "ZADD z NX 1 c",
     "ZADD z NX 1 a",
     "ZCARD z",
     "ZRANGE z 0 0",
     "PTTL z",
     "PEXPIRE z 5000",
     "PTTL z",
     "ZREM z a",
     "ZRANGE z 0 0",
     "ZREM z a",
     "ZRANGE z -1 -1 WITHSCORES",
     "ZADD z NX 1795761376813154 d",
     "ZRANGE z -1 -1 WITHSCORES",
     "ZRANGE z -1 -1",
     "DEL z",
     "EXISTS z",
     "ZREM z b",
     "ZCARD z",
     "ZRANGE z 0 0"},
    {"SET k v", "ZADD k NX 1 a", "ZREM k a", "ZCARD k", "ZRANGE k 0 0", "ZADD z NX 1 a", "GET z", "PERSIST z",
     "SET z v", "GET z", "DEL z", "ZADD z NX 1 a", "ZCARD z", "DEL z", "ZCARD z", "PUBLISH nobody x",
     "PUBLISH rlockd:" B_INSTANCE " x"},
    /* The queue: who waits, who is passed over, who gets it, and that nothing stays. */
    {LOCK(A), LOCK(B), "ZCARD " QUEUE, "PTTL " QUEUE, LOCK(B), "ZCARD " QUEUE, LOCK(A), UNLOCK(A), "GET k",
     "PTTL k", "ZCARD " QUEUE, LOCK(B), "PTTL k", UNLOCK(B), "EXISTS k", "EXISTS " QUEUE},
    {LOCK(B), LOCK(A), LOCK(C), LOCK(B2), "ZCARD " QUEUE, UNLOCK(B), "GET k", "ZCARD " QUEUE, LOCK(A),
     "ZRANGE " QUEUE " 0 0", LOCK(B2), UNLOCK(B2), "EXISTS k", "EXISTS " QUEUE},
    {"SET k theirs PX 10000", LOCK(A), LOCK(B), "DEL k", LOCK(C), "GET k", "ZCARD " QUEUE, UNLOCK(B),
     "EXISTS k", "EXISTS " QUEUE},
    {"SET k theirs PX 10000", LOCK(B), LOCK(A), "DEL k", LOCK(B), "GET k", "ZCARD " QUEUE,
     "EVAL refresh" KEYS B " 10000 0", "EVAL unlock" KEYS B " 0", "EXISTS k", "ZCARD " QUEUE, UNLOCK(B),
     "EXISTS " QUEUE},
    {"SET k theirs PX 10000", LOCK(A), LOCK(B), UNLOCK(A), "ZCARD " QUEUE, "DEL k", UNLOCK(A), "GET k"},
    {"SET k theirs PX 10000", "EVAL lock" KEYS B " 10000 64 0 5000", "EXISTS " QUEUE, LOCK(A), "DEL k",
     "EVAL lock" KEYS B " 10000 64 0 5000", "EXISTS " QUEUE},
    /* How Lua's values become replies, and replies Lua's values. */
    {"EVAL return{1,'two',false,4} 0", "EVAL return{1,nil,3} 0", "EVAL return(3.99) 0", "EVAL return(true) 0",
     "EVAL return(false) 0", "EVAL return'x' 0", "EVAL return{ok='fine'} 0", "EVAL return{err='BAD'} 0"},
    {"EVAL return(redis.call('GET',KEYS[1])==false) 1 k", "SET k v",
     "EVAL return(redis.call('GET',KEYS[1])=='v') 1 k", "EVAL return(redis.call('SET','k','w').ok) 0",
     "EVAL return(type(redis.call('PTTL','k'))) 0", "EVAL return(#redis.call('TIME')) 0",
     "EVAL return(redis.call('NONSENSE')) 0", "EVAL return(type(redis.pcall('NONSENSE').err)) 0",
     "EVAL return(redis.error_reply('MINE')) 0", "EVAL return(redis.call('SET','k',2^53-1).ok) 0", "GET k",
     "EVAL this_is_no_lua( 0"},
    {"EVALSHA 0123456789012345678901234567890123456789 0", "SCRIPT FLUSH"},
};

START_TEST(the_model_answers_as_redis_does)
{
    for (int i = 0; i < CALLS_MAX && rows[_i][i] != NULL; i++) {
        compare(rows[_i][i]);
    }
}
END_TEST

/* A replica refuses each write, also those that change nothing. */
START_TEST(a_replica_refuses)
{
    static const char *const befores[] = {NULL, "SET k mine PX 10000", "SET k theirs PX 10000",
                                          "SET k theirs"};
    static const char *const calls[] = {
        "EVAL lock" KEYS "mine 30000 64 1 5000",
        "EVAL unlock" KEYS "mine 500",
        "EVAL refresh" KEYS "mine 30000 0",
        "EVAL refresh" KEYS "mine 30000 5",
        "GET k",
    };
    for (size_t i = 0; i < sizeof(befores) / sizeof(befores[0]); i++) {
        freeReplyObject(redisCommand(conn, "REPLICAOF NO ONE"));
        redis_model_set_replica(model, false);
        compare("FLUSHALL");
        if (befores[i] != NULL) {
            compare(befores[i]);
        }
        freeReplyObject(redisCommand(conn, "REPLICAOF 127.0.0.1 1"));
        redis_model_set_replica(model, true);
        for (size_t j = 0; j < sizeof(calls) / sizeof(calls[0]); j++) {
            compare(calls[j]);
        }
    }
}
END_TEST

/* What has run out is not there any more, for no command. */
START_TEST(what_has_run_out_is_gone)
{
    long long left;
    compare("SET k v PX 20");
    do {
        redisReply *reply = redisCommand(conn, "PTTL k");
        left = reply->integer;
        freeReplyObject(reply);
    } while (left != -2);
    compare("GET k");
    compare("EXISTS k");
    compare("PTTL k");
    compare("DEL k");
    compare("EVAL refresh" KEYS "v 10000 0");
    compare("SET k w NX PX 10000");
}
END_TEST

/* A script is known by its digest once it was loaded, and until it is flushed. */
START_TEST(scripts_are_loaded_and_flushed)
{
    struct call call;
    char line[256];
    for (int round = 0; round < 2; round++) {
        const char *load[] = {"SCRIPT", "LOAD", scripts[SCRIPT_LOCK].text};
        const size_t load_len[] = {6, 4, scripts[SCRIPT_LOCK].text_len};
        const struct reply *reply = redis_model_run(model, 3, load, load_len);
        ck_assert_msg(reply->kind == REPLY_TEXT, "round %d: %s", round, reply->text);
        ck_assert_uint_eq(reply->len, MODEL_DIGEST_LEN);
        snprintf(line, sizeof(line), "EVALSHA %s" KEYS "mine 10000 64 1 5000", reply->text);
        call_parse(&call, line);
        ck_assert_int_eq(redis_model_run(model, call.argc, call.argv, call.argv_len)->kind, REPLY_LIST);
        redis_model_run(model, 2, (const char *[]){"SCRIPT", "FLUSH"}, (const size_t[]){6, 5});
        reply = redis_model_run(model, call.argc, call.argv, call.argv_len);
        ck_assert_int_eq(reply->kind, REPLY_ERROR);
        ck_assert_int_eq(strncmp(reply->text, "NOSCRIPT ", 9), 0);
    }
}
END_TEST

Suite *test_sim_redis_suite(void)
{
    Suite *suite = suite_create("sim_redis");
    TCase *tcase = tcase_create("beside a real one");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 30);
    tcase_add_loop_test(tcase, the_model_answers_as_redis_does, 0, sizeof(rows) / sizeof(rows[0]));
    tcase_add_test(tcase, a_replica_refuses);
    tcase_add_test(tcase, what_has_run_out_is_gone);
    tcase_add_test(tcase, scripts_are_loaded_and_flushed);
    suite_add_tcase(suite, tcase);
    return suite;
}
