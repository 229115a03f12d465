/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The scripts in a real Redis: calls and their answers, and what lies at the key afterwards.
 */

#include "daemon/redis/script.h"
#include "tests/lib/redis.h"

#include <check.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEY "the key"
#define FENCE "rlockd:fence"
#define QUEUE "rlockd:queue:{1}:the key"
#define NOT_OURS (-2) /* of the first integer: an error reply */

static struct redis_server *server;
static redisContext *conn;
static struct script scripts[N_SCRIPTS];

static void open_server(struct redis_server *opened)
{
    server = opened;
    conn = redisConnectUnix(redis_server_socket(server));
    ck_assert_int_eq(conn->err, 0);
    script_table(scripts);
}

static void setup(void)
{
    open_server(redis_server_start(NULL));
}

static void teardown(void)
{
    redisFree(conn);
    redis_server_stop(server);
}

static redisReply *run(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    redisReply *reply = redisvCommand(conn, fmt, args);
    va_end(args);
    ck_assert_ptr_nonnull(reply);
    return reply;
}

#define DO(...) freeReplyObject(run(__VA_ARGS__))

static long long run_integer(const char *fmt, const char *arg)
{
    redisReply *reply = run(fmt, arg);
    long long value =
        reply->type == REDIS_REPLY_INTEGER ? reply->integer : atoll(reply->str ? reply->str : "0");

    freeReplyObject(reply);
    return value;
}

struct said {
    long long verdict, number, others; /* verdict 99: an error */
    char error[128];
};

static redisReply *run_script(enum script_name name, const char *value, int64_t ttl_ms, int64_t count)
{
    const char *text = scripts[name].text;

    switch (name) {
    case SCRIPT_LOCK:
        return run("EVAL %s 3 %s %s %s %s %lld %lld 1 2000", text, KEY, FENCE, QUEUE, value,
                   (long long)ttl_ms, (long long)count);
    case SCRIPT_UNLOCK:
        return run("EVAL %s 3 %s %s %s %s 2000", text, KEY, FENCE, QUEUE, value);
    default:
        return run("EVAL %s 3 %s %s %s %s %lld %lld", text, KEY, FENCE, QUEUE, value, (long long)ttl_ms,
                   (long long)count);
    }
}

static struct said call(enum script_name name, const char *value, int64_t ttl_ms, int64_t count)
{
    redisReply *reply = run_script(name, value, ttl_ms, count);
    struct said said = {.verdict = 99};

    if (reply->type == REDIS_REPLY_ERROR) {
        snprintf(said.error, sizeof(said.error), "%s", reply->str);
    } else {
        ck_assert_int_eq(reply->type, REDIS_REPLY_ARRAY);
        ck_assert_uint_eq(reply->elements, 3);
        for (int i = 0; i < 3; i++) {
            ck_assert_int_eq(reply->element[i]->type, REDIS_REPLY_INTEGER);
        }
        said.verdict = reply->element[0]->integer;
        said.number = reply->element[1]->integer;
        said.others = reply->element[2]->integer;
    }
    freeReplyObject(reply);
    return said;
}

/* What may lie at the key before a call. */
enum before { ABSENT = 1, OURS, OURS_LONG, OURS_FOR_EVER, OTHERS, OTHERS_FOR_EVER, OTHER_TYPE, N_BEFORE };

static void prepare(enum before before)
{
    DO("FLUSHALL");
    switch (before) {
    case OURS:
        DO("SET %s mine PX 10000", KEY);
        break;
    case OURS_LONG:
        DO("SET %s mine PX 90000", KEY);
        break;
    case OURS_FOR_EVER:
        DO("SET %s mine", KEY);
        break;
    case OTHERS:
        DO("SET %s theirs PX 10000", KEY);
        break;
    case OTHERS_FOR_EVER:
        DO("SET %s theirs", KEY);
        break;
    case OTHER_TYPE:
        DO("HSET %s field value", KEY);
        break;
    default:
        break;
    }
}

/* Each script with a ttl of 30 s and one fence. pttl: what is left at the key afterwards, at most, and
 * not less than 5 s below it; -1, -2 as PTTL says. */
static const struct row {
    enum script_name script;
    enum before before;
    long long verdict;
    enum { NOTHING = 1, FENCE_FIRST, THEIR_PTTL, MINUS_ONE } number;
    long long pttl;
} rows[] = {
    {SCRIPT_LOCK, ABSENT, 1, FENCE_FIRST, 30000},
    {SCRIPT_LOCK, OURS, 2, FENCE_FIRST, 30000},
    {SCRIPT_LOCK, OURS_LONG, 2, FENCE_FIRST, 90000},
    {SCRIPT_LOCK, OURS_FOR_EVER, 2, FENCE_FIRST, 30000},
    {SCRIPT_LOCK, OTHERS, 0, THEIR_PTTL, 10000},
    {SCRIPT_LOCK, OTHERS_FOR_EVER, 0, MINUS_ONE, -1},
    {SCRIPT_LOCK, OTHER_TYPE, 99, NOTHING, -1},
    {SCRIPT_REFRESH, ABSENT, -1, NOTHING, -2},
    {SCRIPT_REFRESH, OURS, 1, FENCE_FIRST, 30000},
    {SCRIPT_REFRESH, OURS_LONG, 1, FENCE_FIRST, 90000},
    {SCRIPT_REFRESH, OURS_FOR_EVER, 1, FENCE_FIRST, 30000},
    {SCRIPT_REFRESH, OTHERS, 0, NOTHING, 10000},
    {SCRIPT_REFRESH, OTHERS_FOR_EVER, 0, NOTHING, -1},
    {SCRIPT_REFRESH, OTHER_TYPE, 99, NOTHING, -1},
    {SCRIPT_UNLOCK, ABSENT, -1, NOTHING, -2},
    {SCRIPT_UNLOCK, OURS, 1, NOTHING, -2},
    {SCRIPT_UNLOCK, OURS_FOR_EVER, 1, NOTHING, -2},
    {SCRIPT_UNLOCK, OTHERS, 0, NOTHING, 10000},
    {SCRIPT_UNLOCK, OTHERS_FOR_EVER, 0, NOTHING, -1},
    {SCRIPT_UNLOCK, OTHER_TYPE, 99, NOTHING, -1},
};

START_TEST(test_each_row)
{
    const struct row *row = &rows[_i];

    prepare(row->before);
    struct said said = call(row->script, "mine", 30000, 1);
    long long pttl = run_integer("PTTL %s", KEY);

    ck_assert_int_eq(said.verdict, row->verdict);
    if (row->verdict == 99) {
        ck_assert_ptr_nonnull(strstr(said.error, "WRONGTYPE"));
        ck_assert_int_eq(run_integer("EXISTS %s", KEY), 1);
    }
    ck_assert(row->number != FENCE_FIRST || said.number > (1LL << 40));
    ck_assert(row->number != THEIR_PTTL || (said.number > 5000 && said.number <= 10000));
    ck_assert(row->number != MINUS_ONE || said.number == -1);
    ck_assert(row->number != NOTHING || said.number == 0);
    ck_assert_int_le(pttl, row->pttl);
    ck_assert_int_ge(pttl, row->pttl > 0 ? row->pttl - 5000 : row->pttl);
    /* Only who got the lock, or fences with it, may have moved the counter. */
    ck_assert_int_eq(run_integer("EXISTS %s", FENCE), row->number == FENCE_FIRST);
    /* And only who wants it and did not get it waits. */
    ck_assert_int_eq(run_integer("EXISTS %s", QUEUE), row->script == SCRIPT_LOCK && row->verdict == 0);
    ck_assert_int_eq(said.others, 0);
}
END_TEST

START_TEST(test_a_lock_is_a_plain_string)
{
    call(SCRIPT_LOCK, "mine", 30000, 1);
    redisReply *reply = run("GET %s", KEY);
    ck_assert_str_eq(reply->str, "mine");
    freeReplyObject(reply);
    reply = run("SET %s theirs NX PX 1000", KEY);
    ck_assert_int_eq(reply->type, REDIS_REPLY_NIL);
    freeReplyObject(reply);
}
END_TEST

/* A key that has run out is as good as none, though it may still lie in memory. */
START_TEST(test_expired)
{
    DO("SET %s theirs PX 1", KEY);
    while (run_integer("PTTL %s", KEY) != -2) {
    }
    ck_assert_int_eq(call(SCRIPT_REFRESH, "theirs", 30000, 0).verdict, -1);
    ck_assert_int_eq(call(SCRIPT_UNLOCK, "theirs", 30000, 0).verdict, -1);
    ck_assert_int_eq(call(SCRIPT_LOCK, "mine", 30000, 1).verdict, 1);
}
END_TEST

START_TEST(test_fences_are_blocks)
{
    long long first = call(SCRIPT_LOCK, "mine", 30000, 1000000).number;
    long long second = call(SCRIPT_REFRESH, "mine", 30000, 5).number;

    ck_assert_int_ge(second, first + 1000000);
    ck_assert_int_ge(call(SCRIPT_LOCK, "mine", 30000, 1).number, second + 5);
    ck_assert_int_eq(call(SCRIPT_REFRESH, "mine", 30000, 0).number, 0);
    /* Every name has the same counter. */
    ck_assert_int_eq(run_integer("PTTL %s", FENCE), -1);
}
END_TEST

START_TEST(test_fences_grow_when_all_is_lost)
{
    long long before = call(SCRIPT_LOCK, "mine", 30000, 1).number;

    DO("FLUSHALL");
    /* The next millisecond of Redis's clock; the block was smaller than what that is worth. */
    redisReply *time = run("TIME");
    char second[32], micros[32];
    snprintf(second, sizeof(second), "%s", time->element[0]->str);
    snprintf(micros, sizeof(micros), "%s", time->element[1]->str);
    freeReplyObject(time);
    long long ms = atoll(second) * 1000 + atoll(micros) / 1000, now_ms;
    do {
        time = run("TIME");
        now_ms = atoll(time->element[0]->str) * 1000 + atoll(time->element[1]->str) / 1000;
        freeReplyObject(time);
    } while (now_ms == ms);
    long long after = call(SCRIPT_LOCK, "mine", 30000, 1).number;
    ck_assert_int_gt(after, before);
    ck_assert_int_ge(after, (now_ms - 1577836800000) * 8192);
}
END_TEST

START_TEST(test_counter_in_the_future)
{
    DO("SET %s 8000000000000001", FENCE);
    ck_assert_int_eq(call(SCRIPT_LOCK, "mine", 30000, 10).number, 8000000000000001);
    ck_assert_int_eq(call(SCRIPT_REFRESH, "mine", 30000, 10).number, 8000000000000011);
    ck_assert_int_eq(run_integer("GET %s", FENCE), 8000000000000021);
}
END_TEST

static const char *const bad_counters[] = {
    "9007199254740991", "9007199254740990", "1e300", "inf", "nan", "-5", "1.5", "text", "",
};

/* No lock without a fence; but what is held stays held. */
START_TEST(test_counter_of_no_use)
{
    DO("SET %s %s", FENCE, bad_counters[_i]);
    struct said said = call(SCRIPT_LOCK, "mine", 30000, 10);
    ck_assert_int_eq(said.verdict, 99);
    ck_assert_ptr_nonnull(strstr(said.error, "the counter of fences is not usable"));
    ck_assert_int_eq(run_integer("EXISTS %s", KEY), 0);

    DO("SET %s mine PX 1000", KEY);
    said = call(SCRIPT_REFRESH, "mine", 30000, 10);
    ck_assert_int_eq(said.verdict, 1);
    ck_assert_int_eq(said.number, 0);
    ck_assert_int_gt(run_integer("PTTL %s", KEY), 1000);
}
END_TEST

START_TEST(test_counter_of_another_type)
{
    DO("HSET %s field value", FENCE);
    ck_assert_int_eq(call(SCRIPT_LOCK, "mine", 30000, 10).verdict, 99);
    ck_assert_int_eq(run_integer("EXISTS %s", KEY), 0);
    DO("SET %s mine PX 1000", KEY);
    struct said said = call(SCRIPT_REFRESH, "mine", 30000, 10);
    ck_assert_int_eq(said.verdict, 1);
    ck_assert_int_eq(said.number, 0);
}
END_TEST

START_TEST(test_memory_is_full)
{
    DO("SET %s mine PX 1000", KEY);
    DO("CONFIG SET maxmemory 1");
    ck_assert_int_eq(call(SCRIPT_REFRESH, "mine", 30000, 10).verdict, 1);
    ck_assert_int_gt(run_integer("PTTL %s", KEY), 1000);
    ck_assert_int_eq(call(SCRIPT_REFRESH, "mine", 1000, 10).verdict, 1); /* nothing to lengthen */
    struct said said = call(SCRIPT_LOCK, "theirs", 30000, 1);            /* no room to queue */
    ck_assert_ptr_nonnull(strstr(said.error, "OOM"));
    ck_assert_int_eq(call(SCRIPT_UNLOCK, "mine", 0, 0).verdict, 1);
    said = call(SCRIPT_LOCK, "mine", 30000, 1);
    ck_assert_ptr_nonnull(strstr(said.error, "OOM"));
    ck_assert_int_eq(run_integer("EXISTS %s", KEY), 0);
}
END_TEST

/* A replica's data may be old. Whatever lies there, none of the scripts gives an answer. */
START_TEST(test_replica)
{
    static const enum before befores[] = {ABSENT, OURS, OURS_LONG, OTHERS, OTHERS_FOR_EVER};

    for (size_t i = 0; i < sizeof(befores) / sizeof(befores[0]); i++) {
        DO("REPLICAOF NO ONE");
        prepare(befores[i]);
        DO("REPLICAOF 127.0.0.1 1");
        for (int script = 0; script < N_SCRIPTS; script++) {
            struct said said = call((enum script_name)script, "mine", 30000, 1);

            ck_assert_int_eq(said.verdict, 99);
            ck_assert_ptr_nonnull(strstr(said.error, "READONLY"));
        }
    }
}
END_TEST

/* --- the queue ------------------------------------------------------------------------------------- */

/* What daemons write: of their instances, B and C listen, X does not. */
#define B_INSTANCE "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
#define C_INSTANCE "cccccccc-cccc-4ccc-8ccc-cccccccccccc"
#define B "11111111-1111-4111-8111-111111111111/" B_INSTANCE
#define C "22222222-2222-4222-8222-222222222222/" C_INSTANCE
#define X "33333333-3333-4333-8333-333333333333/dddddddd-dddd-4ddd-8ddd-dddddddddddd"

static redisContext *ears;

static void setup_ears(void)
{
    setup();
    ears = redisConnectUnix(redis_server_socket(server));
    for (int i = 0; i < 2; i++) {
        redisReply *reply = redisCommand(ears, "SUBSCRIBE rlockd:%s", i == 0 ? B_INSTANCE : C_INSTANCE);

        ck_assert_ptr_nonnull(reply);
        freeReplyObject(reply);
    }
}

static void teardown_ears(void)
{
    redisFree(ears);
    teardown();
}

/* The next message, which is there: whom it was for, and what. */
static void expect_heard(const char *instance, const char *words)
{
    redisReply *reply = NULL;
    char channel[64];

    ck_assert_int_eq(redisGetReply(ears, (void **)&reply), REDIS_OK);
    ck_assert_str_eq(reply->element[0]->str, "message");
    snprintf(channel, sizeof(channel), "rlockd:%s", instance);
    ck_assert_str_eq(reply->element[1]->str, channel);
    ck_assert_str_eq(reply->element[2]->str, words);
    freeReplyObject(reply);
}

/* Nothing was said that was not expected: the next thing to be heard is what is said now. */
static void expect_silence(void)
{
    DO("PUBLISH rlockd:%s end", B_INSTANCE);
    expect_heard(B_INSTANCE, "end");
}

static void expect_holder(const char *value)
{
    redisReply *reply = run("GET %s", KEY);

    if (value == NULL) {
        ck_assert_int_eq(reply->type, REDIS_REPLY_NIL);
    } else {
        ck_assert_str_eq(reply->str, value);
    }
    freeReplyObject(reply);
}

static long long queue_len(void)
{
    return run_integer("ZCARD %s", QUEUE);
}

START_TEST(test_passed_on_to_who_waited_longest)
{
    ck_assert_int_eq(call(SCRIPT_LOCK, C, 30000, 1).others, 0);
    ck_assert_int_eq(call(SCRIPT_LOCK, B, 30000, 1).verdict, 0);
    expect_heard(C_INSTANCE, "recall " KEY);
    ck_assert_int_eq(call(SCRIPT_LOCK, X, 30000, 1).verdict, 0);
    expect_heard(C_INSTANCE, "recall " KEY);
    ck_assert_int_eq(call(SCRIPT_LOCK, B, 30000, 1).verdict, 0); /* again: it keeps its place */
    expect_heard(C_INSTANCE, "recall " KEY);
    ck_assert_int_eq(queue_len(), 2);
    ck_assert_int_eq(call(SCRIPT_REFRESH, C, 30000, 0).others, 2);

    struct said said = call(SCRIPT_UNLOCK, C, 0, 0);
    ck_assert_int_eq(said.verdict, 1);
    ck_assert_int_eq(said.others, 1);
    expect_heard(B_INSTANCE, "offer " KEY);
    expect_holder(B);
    long long pttl = run_integer("PTTL %s", KEY);
    ck_assert(pttl > 0 && pttl <= 2000); /* not for longer than it was offered */
    ck_assert_int_eq(queue_len(), 1);

    said = call(SCRIPT_LOCK, B, 30000, 1);
    ck_assert_int_eq(said.verdict, 2);
    ck_assert_int_eq(said.others, 1);
    ck_assert_int_gt(run_integer("PTTL %s", KEY), 20000);
    /* X is not there any more. */
    said = call(SCRIPT_UNLOCK, B, 0, 0);
    ck_assert_int_eq(said.others, 0);
    expect_holder(NULL);
    ck_assert_int_eq(run_integer("EXISTS %s", QUEUE), 0);
    expect_silence();
}
END_TEST

/* The key is free, and somebody else has waited longer. */
START_TEST(test_nobody_barges)
{
    DO("SET %s foreign PX 30000", KEY);
    ck_assert_int_eq(call(SCRIPT_LOCK, X, 30000, 1).verdict, 0);
    ck_assert_int_eq(call(SCRIPT_LOCK, B, 30000, 1).verdict, 0);
    DO("DEL %s", KEY);
    struct said said = call(SCRIPT_LOCK, C, 30000, 1);
    ck_assert_int_eq(said.verdict, 0);
    ck_assert(said.number > 0 && said.number <= 2000);
    expect_heard(B_INSTANCE, "offer " KEY);
    expect_heard(B_INSTANCE, "recall " KEY);
    expect_holder(B);
    ck_assert_int_eq(queue_len(), 1);
    /* B does not take it: it is C's turn. */
    DO("DEL %s", KEY);
    said = call(SCRIPT_LOCK, C, 30000, 1);
    ck_assert_int_eq(said.verdict, 1);
    ck_assert_int_eq(said.others, 0);
    ck_assert_int_eq(run_integer("EXISTS %s", QUEUE), 0);
    expect_silence();
}
END_TEST

/* Who gives up leaves no trace, and takes nobody's lock with it; an offer to it goes to the next. */
START_TEST(test_who_gives_up)
{
    call(SCRIPT_LOCK, C, 30000, 1);
    call(SCRIPT_LOCK, B, 30000, 1);
    expect_heard(C_INSTANCE, "recall " KEY);
    ck_assert_int_eq(call(SCRIPT_UNLOCK, B, 0, 0).verdict, 0);
    expect_holder(C);
    ck_assert_int_eq(run_integer("EXISTS %s", QUEUE), 0);

    call(SCRIPT_LOCK, X, 30000, 1);
    call(SCRIPT_LOCK, B, 30000, 1);
    DO("DEL %s", KEY);
    struct said said = call(SCRIPT_UNLOCK, X, 0, 0); /* the key is free: it is offered all the same */
    ck_assert_int_eq(said.verdict, -1);
    ck_assert_int_eq(said.others, 1);
    expect_holder(B);
    expect_heard(C_INSTANCE, "recall " KEY);
    expect_heard(C_INSTANCE, "recall " KEY);
    expect_heard(B_INSTANCE, "offer " KEY);
    expect_silence();
}
END_TEST

/* Left free for anybody, and offered only by the release that follows. */
START_TEST(test_left_free)
{
    call(SCRIPT_LOCK, C, 30000, 1);
    call(SCRIPT_LOCK, B, 30000, 1);
    expect_heard(C_INSTANCE, "recall " KEY);
    redisReply *reply = run("EVAL %s 3 %s %s %s %s 0", scripts[SCRIPT_UNLOCK].text, KEY, FENCE, QUEUE, C);
    ck_assert_int_eq(reply->element[0]->integer, 1);
    ck_assert_int_eq(reply->element[2]->integer, 0);
    freeReplyObject(reply);
    expect_holder(NULL);
    ck_assert_int_eq(queue_len(), 1);
    struct said said = call(SCRIPT_UNLOCK, C, 0, 0);
    ck_assert_int_eq(said.verdict, -1);
    ck_assert_int_eq(said.others, 1);
    expect_holder(B);
    expect_heard(B_INSTANCE, "offer " KEY);
    expect_silence();
}
END_TEST

/* A program that knows no queue has the key: nobody is told, and its value is nobody's channel. */
START_TEST(test_foreign_holder)
{
    DO("SET %s %s PX 30000", KEY, "a value of 73 characters, but of another make: " B_INSTANCE "/");
    ck_assert_int_eq(call(SCRIPT_LOCK, B, 30000, 1).verdict, 0);
    ck_assert_int_eq(queue_len(), 1);
    expect_silence();
}
END_TEST

/* Redis's clock was set back since somebody began to wait: he waits longest all the same. */
START_TEST(test_clock_was_set_back)
{
    call(SCRIPT_LOCK, C, 30000, 1);
    DO("ZADD %s 9000000000000000 %s", QUEUE, X);
    call(SCRIPT_LOCK, B, 30000, 1);
    redisReply *reply = run("ZRANGE %s 0 0", QUEUE);
    ck_assert_str_eq(reply->element[0]->str, X);
    freeReplyObject(reply);
    ck_assert_int_eq(queue_len(), 2);
    reply = run("ZSCORE %s %s", QUEUE, B);
    ck_assert_str_eq(reply->str, "9000000000000001");
    freeReplyObject(reply);
}
END_TEST

/* The queue lives as long as the holder's lease and one of those who wait, and no longer. */
START_TEST(test_queue_expires)
{
    call(SCRIPT_LOCK, C, 20000, 1);
    call(SCRIPT_LOCK, B, 5000, 1);
    long long pttl = run_integer("PTTL %s", QUEUE);
    ck_assert(pttl > 20000 && pttl <= 25000);
    call(SCRIPT_LOCK, X, 40000, 1);
    pttl = run_integer("PTTL %s", QUEUE);
    ck_assert(pttl > 50000 && pttl <= 60000);
    call(SCRIPT_LOCK, B, 100, 1); /* only ever longer */
    ck_assert_int_gt(run_integer("PTTL %s", QUEUE), 50000);
}
END_TEST

/* What lies at the queue's name is somebody else's: a held lock is renewed and given back all the same. */
START_TEST(test_no_queue_of_ours)
{
    call(SCRIPT_LOCK, C, 30000, 1);
    DO("SET %s text", QUEUE);
    ck_assert_int_eq(call(SCRIPT_REFRESH, C, 40000, 1).verdict, 1);
    ck_assert_int_gt(run_integer("PTTL %s", KEY), 30000);
    ck_assert_int_eq(call(SCRIPT_UNLOCK, C, 0, 0).verdict, 1);
    expect_holder(NULL);
    ck_assert_int_eq(call(SCRIPT_LOCK, B, 30000, 1).verdict, 1);
}
END_TEST

/* Who may not publish cannot know who listens: the offer stands, to be found. */
START_TEST(test_no_right_to_publish)
{
    call(SCRIPT_LOCK, C, 30000, 1);
    DO("ACL SETUSER default resetchannels");
    ck_assert_int_eq(call(SCRIPT_LOCK, B, 30000, 1).verdict, 0);
    ck_assert_int_eq(queue_len(), 1);
    ck_assert_int_eq(call(SCRIPT_UNLOCK, C, 0, 0).others, 1);
    expect_holder(B);
    ck_assert_int_eq(call(SCRIPT_LOCK, B, 30000, 1).verdict, 2);
}
END_TEST

START_TEST(test_no_comments_are_sent)
{
    struct script table[N_SCRIPTS];

    script_table(table);
    for (int i = 0; i < N_SCRIPTS; i++) {
        ck_assert_uint_eq(strlen(table[i].text), table[i].text_len);
        ck_assert_ptr_null(strstr(table[i].text, "SPDX"));
        ck_assert_str_eq(table[i].digest, "");
    }
}
END_TEST

Suite *test_script_suite(void);
Suite *test_script_suite(void)
{
    Suite *suite = suite_create("script");
    TCase *tcase = tcase_create("redis");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 30);
    tcase_add_loop_test(tcase, test_each_row, 0, sizeof(rows) / sizeof(rows[0]));
    tcase_add_test(tcase, test_a_lock_is_a_plain_string);
    tcase_add_test(tcase, test_expired);
    tcase_add_test(tcase, test_fences_are_blocks);
    tcase_add_test(tcase, test_fences_grow_when_all_is_lost);
    tcase_add_test(tcase, test_counter_in_the_future);
    tcase_add_loop_test(tcase, test_counter_of_no_use, 0, sizeof(bad_counters) / sizeof(bad_counters[0]));
    tcase_add_test(tcase, test_counter_of_another_type);
    tcase_add_test(tcase, test_memory_is_full);
    tcase_add_test(tcase, test_replica);
    suite_add_tcase(suite, tcase);

    tcase = tcase_create("queue");
    tcase_add_checked_fixture(tcase, setup_ears, teardown_ears);
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, test_passed_on_to_who_waited_longest);
    tcase_add_test(tcase, test_nobody_barges);
    tcase_add_test(tcase, test_who_gives_up);
    tcase_add_test(tcase, test_left_free);
    tcase_add_test(tcase, test_foreign_holder);
    tcase_add_test(tcase, test_clock_was_set_back);
    tcase_add_test(tcase, test_queue_expires);
    tcase_add_test(tcase, test_no_queue_of_ours);
    tcase_add_test(tcase, test_no_right_to_publish);
    suite_add_tcase(suite, tcase);

    tcase = tcase_create("table");
    tcase_add_test(tcase, test_no_comments_are_sent);
    suite_add_tcase(suite, tcase);
    return suite;
}
