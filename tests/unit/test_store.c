/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The store: effects in, commands out; replies in, events out. First against a Redis that says what the
 * test wants, then against a real one.
 */

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "tests/lib/redis.h"
#include "tests/lib/store_stage.h"

#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { VALUE = 6 }; /* its place among a script call's words */

START_TEST(test_what_is_sent)
{
    store_stage.reply = "*3\r\n:1\r\n:1000\r\n:0\r\n";
    int64_t before_ms = clock_now_ms();
    store_stage_order(FX_ACQUIRE, 1, 11);
    store_stage_order(FX_ACQUIRE, 2, 12);
    store_stage_order(FX_ACQUIRE, 1, 13);
    store_stage_order(FX_RENEW, 1, 14);
    store_stage_order(FX_RELEASE, 1, 15);
    STORE_STAGE_UNTIL(store_stage.n_seen == 5);

    const struct store_stage_command *first = &store_stage.commands[0];
    ck_assert_int_eq(first->argc, 11);
    ck_assert_str_eq(first->argv[0], "EVALSHA");
    ck_assert_str_eq(first->argv[1], STORE_STAGE_DIGEST);
    ck_assert_str_eq(first->argv[2], "3");
    ck_assert_str_eq(first->argv[3], "pre:key");
    ck_assert_str_eq(first->argv[4], "rlockd:fence");
    ck_assert_str_eq(first->argv[5], "rlockd:queue:{2395}:pre:key");
    ck_assert_uint_eq(strlen(first->argv[VALUE]), 73);
    ck_assert_str_eq(first->argv[VALUE] + 36, "/" STORE_STAGE_INSTANCE);
    ck_assert_int_eq(first->argv[VALUE][14], '4');
    ck_assert_str_eq(first->argv[7], "30000");
    ck_assert_str_eq(first->argv[8], "64");
    ck_assert_str_eq(first->argv[9], "1");
    ck_assert_str_eq(first->argv[10], "900");
    /* One value for each lease, and always the same for it. */
    ck_assert_str_ne(store_stage.commands[1].argv[VALUE], first->argv[VALUE]);
    for (int i = 2; i < 5; i++) {
        ck_assert_str_eq(store_stage.commands[i].argv[VALUE], first->argv[VALUE]);
    }
    ck_assert_int_eq(store_stage.commands[3].argc, 9);
    ck_assert_int_eq(store_stage.commands[4].argc, 8);
    ck_assert_str_eq(store_stage.commands[4].argv[7], "900");

    for (int i = 0; i < 5; i++) {
        ck_assert_uint_eq(store_stage_outcome(i)->op_id, 11 + i);
        ck_assert_uint_eq(store_stage_outcome(i)->lease_id, i == 1 ? 2 : 1);
        ck_assert_int_eq(store_stage_outcome(i)->answer, ANSWER_OURS);
        ck_assert_int_eq(store_stage_outcome(i)->ttl_ms, 30000);
        ck_assert_int_ge(store_stage_outcome(i)->sent_at_ms, before_ms);
        ck_assert_int_le(store_stage_outcome(i)->sent_at_ms, clock_now_ms());
    }
    ck_assert_uint_eq(store_stage.stats.attempts, 3);
    ck_assert_uint_eq(store_stage.stats.renewals, 1);
    ck_assert_uint_eq(store_stage.stats.releases, 1);
}
END_TEST

static void until_seen(int n_seen)
{
    while (store_stage.n_seen < n_seen) {
        (void)uv_run(&store_stage.loop, UV_RUN_ONCE);
        link_flush(store_stage.link);
    }
}

/* Commands under way have what they need, though their lease was forgotten. */
START_TEST(test_forget)
{
    store_stage.reply = "-NOSCRIPT No matching script. Please use EVAL.\r\n";
    store_stage.second_reply = "*3\r\n:1\r\n:5\r\n:0\r\n";
    store_stage_order(FX_ACQUIRE, 1, 11);
    until_seen(1);
    store_stage_order(FX_RELEASE, 1, 12);
    store_stage_order(FX_FORGET, 1, 0);
    store_stage_order(FX_FORGET, 1, 0);
    store_stage_order(FX_ACQUIRE, 2, 13);
    until_seen(3);
    ck_assert_int_eq(store_stage.n_commands, 6); /* each a second time, the release as well */
    ck_assert_str_eq(store_stage.commands[4].argv[0], "EVAL");
    ck_assert_str_eq(store_stage.commands[4].argv[VALUE], store_stage.commands[0].argv[VALUE]);
    ck_assert_str_ne(store_stage.commands[5].argv[VALUE], store_stage.commands[0].argv[VALUE]);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(store_stage_outcome(i)->answer, ANSWER_OURS);
    }
}
END_TEST

/*
 * A value is spent when its release was sent. What Redis had no script for is not sent a second time
 * after that: it would come behind the release, and take or keep what nobody gives back.
 */
START_TEST(test_no_second_sending_behind_a_release)
{
    enum effect_kind kind = _i < 2 ? FX_ACQUIRE : FX_RENEW;
    bool is_forgotten = _i % 2 == 1;

    store_stage.reply = "*3\r\n:1\r\n:5\r\n:0\r\n";
    store_stage_order(FX_ACQUIRE, 1, 11);
    until_seen(1);
    store_stage.reply = "-NOSCRIPT No matching script. Please use EVAL.\r\n";
    store_stage.second_reply = "*3\r\n:1\r\n:5\r\n:0\r\n";
    store_stage_order(kind, 1, 12);
    store_stage_order(FX_RELEASE, 1, 13);
    if (is_forgotten) {
        store_stage_order(FX_FORGET, 1, 0);
    }
    until_seen(3);
    ck_assert_int_eq(store_stage.n_commands, 4);
    ck_assert_str_eq(store_stage.commands[3].argv[0], "EVAL");
    ck_assert_int_eq(store_stage.commands[3].argc, 8); /* the release */
    ck_assert_uint_eq(store_stage_outcome(1)->op_id, 12);
    ck_assert_int_eq(store_stage_outcome(1)->answer, ANSWER_TRANSIENT);
    ck_assert_str_eq(store_stage.seen[1].text,
                     "Redis had lost the script, and the lock was given back since");
    ck_assert_uint_eq(store_stage_outcome(2)->op_id, 13);
    ck_assert_int_eq(store_stage_outcome(2)->answer, ANSWER_OURS);
}
END_TEST

/* A renewal that wanted fences and got none, because the counter cannot be used: said once a minute. */
START_TEST(test_missing_fences_are_logged)
{
    char text[1024];
    int fds[2], saved = dup(STDERR_FILENO);

    log_setup(LOG_LEVEL_WARNING, false);
    ck_assert_int_eq(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    ck_assert_int_ge(dup2(fds[1], STDERR_FILENO), 0);
    store_stage.reply = "*3\r\n:1\r\n:5\r\n:0\r\n";
    store_stage_order(FX_ACQUIRE, 1, 11);
    store_stage_order(FX_RENEW, 1, 12);
    store_stage_order(FX_RELEASE, 1, 13);
    STORE_STAGE_UNTIL(store_stage.n_seen == 3);
    ck_assert_int_lt(read(fds[0], text, sizeof(text)), 0);
    store_stage.reply = "*3\r\n:1\r\n:0\r\n:0\r\n";
    store_stage_order(FX_RELEASE, 1, 14);
    STORE_STAGE_UNTIL(store_stage.n_seen == 4);
    ck_assert_int_lt(read(fds[0], text, sizeof(text)), 0);
    for (int i = 0; i < 3; i++) {
        store_stage_order(FX_RENEW, 1, 15);
    }
    STORE_STAGE_UNTIL(store_stage.n_seen == 7);
    ssize_t len = read(fds[0], text, sizeof(text) - 1);
    ck_assert_int_ge(dup2(saved, STDERR_FILENO), 0);
    ck_assert_int_gt(len, 0);
    text[len] = '\0';
    ck_assert_str_eq(text, "redis: a renewal got no fences: the counter at rlockd:fence is not usable\n");
    close(saved);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

/* What a burst has made the store allocate is given back after it. */
START_TEST(test_burst_is_given_back)
{
    enum { N = 20000 };
    static char key[512];

    memset(key, 'k', sizeof(key) - 1);
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < N; i++) {
        struct effect effect = {.kind = FX_QUERY,
                                .query = {.peer_id = 7, .request_id = 1, .key = key, .key_len = 511}};

        store_carry_out(store_stage.store, &effect);
    }
    link_close(store_stage.link);
    store_stage.link = NULL;
    ck_assert_uint_le(mallinfo2().uordblks, before + 4 * 1024 * 1024);
}
END_TEST

/* Each kind of reply, as an answer to each kind of effect. 0: this pair is not asked. */
static const struct row {
    const char *reply;
    enum answer lock, refresh, unlock;
    int64_t remaining_ms, fence_first; /* of the lock */
    const char *text;                  /* of all */
} rows[] = {
    {"*3\r\n:1\r\n:1234\r\n:0\r\n", ANSWER_OURS, ANSWER_OURS, ANSWER_OURS, -1, 1234, ""},
    {"*3\r\n:1\r\n:9007199254740991\r\n:0\r\n", ANSWER_OURS, ANSWER_OURS, ANSWER_OURS, -1, 9007199254740991,
     ""},
    {"*3\r\n:0\r\n:5000\r\n:0\r\n", ANSWER_TAKEN, ANSWER_TAKEN, ANSWER_TAKEN, 5000, 0, ""},
    {"*3\r\n:0\r\n:-1\r\n:0\r\n", ANSWER_TAKEN, ANSWER_TAKEN, ANSWER_TAKEN, -1, 0, ""},
    {"*3\r\n:1\r\n:0\r\n:0\r\n", 0, ANSWER_OURS, ANSWER_OURS, -1, 0, ""},
    {"*3\r\n:-1\r\n:0\r\n:0\r\n", 0, ANSWER_GONE, ANSWER_GONE, -1, 0, ""},
    {"-LOADING Redis is loading the dataset in memory\r\n", ANSWER_TRANSIENT, ANSWER_TRANSIENT,
     ANSWER_TRANSIENT, -1, 0, "LOADING Redis is loading the dataset in memory"},
    {"-READONLY You can't write against a read only replica. script: f, on @user_script:1.\r\n",
     ANSWER_TRANSIENT, ANSWER_TRANSIENT, ANSWER_TRANSIENT, -1, 0,
     "READONLY You can't write against a read only replica. script: f,"},
    {"-ERR Error running script (call to f_1): @user_script:1: -READONLY You can't write against a read only "
     "replica. \r\n",
     ANSWER_TRANSIENT, ANSWER_TRANSIENT, ANSWER_TRANSIENT, -1, 0,
     "ERR Error running script (call to f_1): @user_script:1: -READONL"},
    {"-ERR Error running script (call to f_1): @user_script:1: WRONGTYPE Operation against a key\r\n",
     ANSWER_REFUSED, ANSWER_TAKEN, ANSWER_TAKEN, -1, 0,
     "ERR Error running script (call to f_1): @user_script:1: WRONGTYP"},
    {"-MASTERDOWN Link down\r\n", ANSWER_TRANSIENT, ANSWER_TRANSIENT, ANSWER_TRANSIENT, -1, 0,
     "MASTERDOWN Link down"},
    {"-CLUSTERDOWN x\r\n", ANSWER_TRANSIENT, ANSWER_TRANSIENT, ANSWER_TRANSIENT, -1, 0, "CLUSTERDOWN x"},
    {"-TRYAGAIN x\r\n", ANSWER_TRANSIENT, ANSWER_TRANSIENT, ANSWER_TRANSIENT, -1, 0, "TRYAGAIN x"},
    {"-BUSY Redis is busy\r\n", ANSWER_TRANSIENT, ANSWER_TRANSIENT, ANSWER_TRANSIENT, -1, 0,
     "BUSY Redis is busy"},
    {"-OOM x\r\n", ANSWER_TRANSIENT, ANSWER_TRANSIENT, ANSWER_TRANSIENT, -1, 0, "OOM x"},
    {"-MISCONF x\r\n", ANSWER_TRANSIENT, ANSWER_TRANSIENT, ANSWER_TRANSIENT, -1, 0, "MISCONF x"},
    {"-NOREPLICAS x\r\n", ANSWER_TRANSIENT, ANSWER_TRANSIENT, ANSWER_TRANSIENT, -1, 0, "NOREPLICAS x"},
    {"-NOREPLICAS\r\n", ANSWER_TRANSIENT, ANSWER_TRANSIENT, ANSWER_TRANSIENT, -1, 0, "NOREPLICAS"},
    {"-WRONGTYPE Operation against a key\r\n", ANSWER_REFUSED, ANSWER_TAKEN, ANSWER_TAKEN, -1, 0,
     "WRONGTYPE Operation against a key"},
    {"-NOAUTH x\r\n", ANSWER_REFUSED, ANSWER_REFUSED, ANSWER_REFUSED, -1, 0, "NOAUTH x"},
    {"-NOPERM BUSY\r\n", ANSWER_REFUSED, ANSWER_REFUSED, ANSWER_REFUSED, -1, 0, "NOPERM BUSY"},
    {"-ERR The user executing the script can't run -BUSY \r\n", ANSWER_REFUSED, ANSWER_REFUSED,
     ANSWER_REFUSED, -1, 0, "ERR The user executing the script can't run -BUSY "},
    {"-ERR value is not an integer\r\n", ANSWER_REFUSED, ANSWER_REFUSED, ANSWER_REFUSED, -1, 0,
     "ERR value is not an integer"},
    {"-NEWWORD \x1b[31m\r\n", ANSWER_REFUSED, ANSWER_REFUSED, ANSWER_REFUSED, -1, 0, "NEWWORD \\x1b[31m"},
    {"-NOSCRIPT No matching script\r\n", ANSWER_REFUSED, ANSWER_REFUSED, ANSWER_REFUSED, -1, 0,
     "NOSCRIPT No matching script"},
    {"-\r\n", ANSWER_REFUSED, ANSWER_REFUSED, ANSWER_REFUSED, -1, 0, ""},
};

static void check_outcome(const struct row *row, enum effect_kind kind, enum answer want)
{
    int before = store_stage.n_seen;

    if (want == 0) {
        return;
    }
    store_stage.reply = row->reply;
    store_stage_order(kind, 1, 21);
    until_seen(before + 1);
    ck_assert_int_eq(store_stage.n_seen, before + 1);
    ck_assert_int_eq(store_stage_outcome(before)->answer, want);
    ck_assert_str_eq(store_stage.seen[before].text, row->text);
    ck_assert_int_eq(store_stage_outcome(before)->remaining_ms, kind == FX_ACQUIRE ? row->remaining_ms : -1);
    if (want == ANSWER_OURS) {
        ck_assert_int_eq(store_stage_outcome(before)->fence_first, row->fence_first);
        ck_assert_int_eq(store_stage_outcome(before)->fence_count, row->fence_first > 0 ? 64 : 0);
    } else {
        ck_assert_int_eq(store_stage_outcome(before)->fence_first, 0);
    }
    if (strstr(row->reply, "READONLY") != NULL) { /* it looks for a master again */
        STORE_STAGE_UNTIL(store_stage.state == LINK_CONNECTING);
    }
    STORE_STAGE_UNTIL(store_stage.state == LINK_UP);
}

START_TEST(test_replies)
{
    const struct row *row = &rows[_i];

    store_stage.reply = "*3\r\n:1\r\n:1\r\n:0\r\n";
    store_stage_order(FX_ACQUIRE, 1, 20);
    STORE_STAGE_UNTIL(store_stage.n_seen == 1);
    check_outcome(row, FX_ACQUIRE, row->lock);
    check_outcome(row, FX_RENEW, row->refresh);
    check_outcome(row, FX_RELEASE, row->unlock);
}
END_TEST

/* What a reply says about other hosts. */
static const struct others_row {
    enum effect_kind kind;
    const char *reply;
    bool is_found, others_wait;
} others_rows[] = {
    {FX_ACQUIRE, "*3\r\n:1\r\n:5\r\n:0\r\n", false, false},
    {FX_ACQUIRE, "*3\r\n:1\r\n:5\r\n:2\r\n", false, true},
    {FX_ACQUIRE, "*3\r\n:2\r\n:5\r\n:0\r\n", true, false},
    {FX_ACQUIRE, "*3\r\n:2\r\n:5\r\n:1\r\n", true, true},
    {FX_RENEW, "*3\r\n:1\r\n:0\r\n:3\r\n", false, true},
    {FX_RENEW, "*3\r\n:1\r\n:0\r\n:0\r\n", false, false},
    {FX_RELEASE, "*3\r\n:1\r\n:0\r\n:1\r\n", false, true},
    {FX_RELEASE, "*3\r\n:1\r\n:0\r\n:0\r\n", false, false},
};

START_TEST(test_other_hosts)
{
    const struct others_row *row = &others_rows[_i];

    store_stage.reply = "*3\r\n:1\r\n:1\r\n:0\r\n";
    store_stage_order(FX_ACQUIRE, 1, 20);
    STORE_STAGE_UNTIL(store_stage.n_seen == 1);
    store_stage.reply = row->reply;
    store_stage_order(row->kind, 1, 21);
    STORE_STAGE_UNTIL(store_stage.n_seen == 2);
    ck_assert_int_eq(store_stage_outcome(1)->answer, ANSWER_OURS);
    ck_assert_int_eq(store_stage_outcome(1)->is_found, row->is_found);
    ck_assert_int_eq(store_stage_outcome(1)->others_wait, row->others_wait);
}
END_TEST

/* What other hosts may say, and what is no word of theirs. */
static const struct message_row {
    const char *text;
    enum event_kind kind; /* 0: it is ignored */
    const char *key;
} message_rows[] = {
    {"offer pre:key", EV_OFFERED, "key"},
    {"recall pre:key", EV_RECALLED, "key"},
    {"recall pre:a key, with blanks", EV_RECALLED, "a key, with blanks"},
    {"offer pre:offer pre:key", EV_OFFERED, "offer pre:key"},
    {"offer pre:", 0, NULL},
    {"offer key", 0, NULL},
    {"offer ", 0, NULL},
    {"offerpre:key", 0, NULL},
    {"OFFER pre:key", 0, NULL},
    {"hello pre:key", 0, NULL},
    {"", 0, NULL},
};

START_TEST(test_messages)
{
    const struct message_row *row = &message_rows[_i];

    store_on_message(store_stage.store, row->text, strlen(row->text));
    ck_assert_int_eq(store_stage.n_seen, row->kind != 0);
    if (row->kind != 0) {
        ck_assert_int_eq(store_stage.seen[0].event.kind, row->kind);
        ck_assert_str_eq(store_stage.seen[0].key, row->key);
    }
    store_on_hearing(store_stage.store);
    ck_assert_int_eq(store_stage.seen[row->kind != 0].event.kind, EV_HEARING);
}
END_TEST

/* What no script of ours says: nothing on this connection can be trusted any more. */
static const struct misfit_row {
    enum effect_kind kind;
    const char *reply;
} misfit_rows[] = {
    {FX_ACQUIRE, "+OK\r\n"},
    {FX_ACQUIRE, ":1\r\n"},
    {FX_ACQUIRE, "$-1\r\n"},
    {FX_ACQUIRE, "*0\r\n"},
    {FX_ACQUIRE, "*1\r\n:1\r\n"},
    {FX_ACQUIRE, "*2\r\n:1\r\n:1\r\n"},
    {FX_ACQUIRE, "*4\r\n:1\r\n:1\r\n:1\r\n:1\r\n"},
    {FX_ACQUIRE, "*3\r\n:1\r\n:1\r\n:-1\r\n"},
    {FX_ACQUIRE, "*3\r\n:1\r\n$1\r\n1\r\n:0\r\n"},
    {FX_ACQUIRE, "*3\r\n:1\r\n:0\r\n:0\r\n"},
    {FX_ACQUIRE, "*3\r\n:1\r\n:9007199254740992\r\n:0\r\n"},
    {FX_ACQUIRE, "*3\r\n:-1\r\n:0\r\n:0\r\n"},
    {FX_ACQUIRE, "*3\r\n:0\r\n:-2\r\n:0\r\n"},
    {FX_ACQUIRE, "*3\r\n:3\r\n:1\r\n:0\r\n"},
    {FX_QUERY, "+OK\r\n"},
    {FX_QUERY, ":-3\r\n"},
    {FX_FORCE, ":2\r\n"},
    {FX_FORCE, ":-1\r\n"},
};

START_TEST(test_misfits)
{
    const struct misfit_row *row = &misfit_rows[_i];

    store_stage.reply = row->reply;
    store_stage_order(row->kind, 1, 11);
    store_stage_order(FX_QUERY, 0, 12);
    STORE_STAGE_UNTIL(store_stage.n_seen == 2);
    enum answer first =
        row->kind == FX_ACQUIRE ? store_stage_outcome(0)->answer : store_stage.seen[0].event.queried.answer;
    ck_assert_int_eq(first, ANSWER_UNKNOWN);
    ck_assert_int_eq(store_stage.seen[1].event.queried.answer, ANSWER_UNKNOWN);
    ck_assert_str_eq(store_stage.seen[0].text, "a reply of Redis does not fit its command");
    ck_assert_str_eq(store_stage.seen[1].text, store_stage.seen[0].text);
    STORE_STAGE_UNTIL(store_stage.state == LINK_CONNECTING);
    STORE_STAGE_UNTIL(store_stage.state == LINK_UP);
}
END_TEST

START_TEST(test_script_is_missing)
{
    store_stage.reply = "-NOSCRIPT No matching script. Please use EVAL.\r\n";
    store_stage.second_reply = _i == 0 ? "*3\r\n:1\r\n:5\r\n:0\r\n" : NULL;
    store_stage_order(FX_ACQUIRE, 1, 11);
    until_seen(1);
    ck_assert_int_eq(store_stage.n_commands, 2);
    ck_assert_str_eq(store_stage.commands[1].argv[0], "EVAL");
    ck_assert_int_eq(strncmp(store_stage.commands[1].argv[1], store_stage.scripts[SCRIPT_LOCK].text,
                             STORE_STAGE_TEXT_CAP - 1),
                     0);
    for (int i = 2; i < 8; i++) {
        ck_assert_str_eq(store_stage.commands[0].argv[i], store_stage.commands[1].argv[i]);
    }
    ck_assert_int_eq(store_stage_outcome(0)->answer, _i == 0 ? ANSWER_OURS : ANSWER_REFUSED);
}
END_TEST

/* The second sending counts from its own instant. */
START_TEST(test_second_sending_has_its_own_instant)
{
    store_stage.reply = "-NOSCRIPT No matching script. Please use EVAL.\r\n";
    store_stage.second_reply = "*3\r\n:1\r\n:5\r\n:0\r\n";
    store_stage_order(FX_ACQUIRE, 1, 11);
    int64_t sent_at_ms = clock_now_ms();
    while (clock_now_ms() <= sent_at_ms + 2) {
    }
    until_seen(1);
    ck_assert_int_gt(store_stage_outcome(0)->sent_at_ms, sent_at_ms);
}
END_TEST

static const struct query_row {
    enum effect_kind kind;
    const char *reply, *sent;
    enum answer answer;
    int64_t remaining_ms;
} query_rows[] = {
    {FX_QUERY, ":5000\r\n", "PTTL", ANSWER_TAKEN, 5000},
    {FX_QUERY, ":0\r\n", "PTTL", ANSWER_TAKEN, 0},
    {FX_QUERY, ":-1\r\n", "PTTL", ANSWER_TAKEN, -1},
    {FX_QUERY, ":-2\r\n", "PTTL", ANSWER_GONE, -1},
    {FX_QUERY, "-NOPERM no\r\n", "PTTL", ANSWER_REFUSED, -1},
    {FX_FORCE, ":1\r\n", "DEL", ANSWER_OURS, -1},
    {FX_FORCE, ":0\r\n", "DEL", ANSWER_GONE, -1},
    {FX_FORCE, "-BUSY no\r\n", "DEL", ANSWER_TRANSIENT, -1},
    {FX_FORCE, "-NOSCRIPT no\r\n", "DEL", ANSWER_REFUSED, -1},
};

START_TEST(test_queries)
{
    const struct query_row *row = &query_rows[_i];

    store_stage.reply = row->reply;
    store_stage_order(row->kind, 0, 11);
    STORE_STAGE_UNTIL(store_stage.n_seen == 1);
    ck_assert_int_eq(store_stage.commands[0].argc, 2);
    ck_assert_str_eq(store_stage.commands[0].argv[0], row->sent);
    ck_assert_str_eq(store_stage.commands[0].argv[1], "pre:key");
    const struct ev_queried *queried = &store_stage.seen[0].event.queried;
    ck_assert_int_eq(store_stage.seen[0].event.kind, EV_QUERIED);
    ck_assert_uint_eq(queried->from.peer_id, 7);
    ck_assert_uint_eq(queried->from.request_id, 11);
    ck_assert_str_eq(store_stage.seen[0].key, "key");
    ck_assert_int_eq(queried->answer, row->answer);
    ck_assert_int_eq(queried->remaining_ms, row->remaining_ms);
}
END_TEST

/* Nothing is kept for later: a command for a link that is not up is answered at once. */
START_TEST(test_link_is_down)
{
    fake_redis_close(store_stage.fake);
    store_stage.fake = NULL;
    STORE_STAGE_UNTIL(store_stage.state == LINK_CONNECTING);
    store_stage_order(FX_ACQUIRE, 1, 11);
    ck_assert_int_eq(store_stage.n_seen, 1);
    ck_assert_int_eq(store_stage_outcome(0)->answer, ANSWER_UNSENT);
    ck_assert_str_eq(store_stage.seen[0].text, "not connected to Redis yet");
    STORE_STAGE_UNTIL(store_stage.state == LINK_DOWN);
    store_stage_order(FX_RELEASE, 1, 12);
    ck_assert_int_eq(store_stage_outcome(1)->answer, ANSWER_UNSENT);
    ck_assert_str_eq(store_stage.seen[1].text, "no such file or directory");
    store_stage_order(FX_QUERY, 0, 13);
    ck_assert_int_eq(store_stage.seen[2].event.queried.answer, ANSWER_UNSENT);
    ck_assert_uint_eq(store_stage.stats.attempts, 0);
}
END_TEST

START_TEST(test_link_breaks)
{
    store_stage.reply = "";
    store_stage_order(FX_ACQUIRE, 1, 11);
    store_stage_order(FX_QUERY, 0, 12);
    STORE_STAGE_UNTIL(store_stage.n_commands == 2);
    fake_redis_close(store_stage.fake);
    store_stage.fake = NULL;
    STORE_STAGE_UNTIL(store_stage.n_seen == 2);
    ck_assert_int_eq(store_stage_outcome(0)->answer, ANSWER_UNKNOWN);
    ck_assert_str_eq(store_stage.seen[0].text, "Redis closed the connection");
    ck_assert_int_eq(store_stage.seen[1].event.queried.answer, ANSWER_UNKNOWN);
}
END_TEST

/* Nobody reads, since the loop does not run; each flush ends a turn. */
START_TEST(test_too_much_is_queued)
{
    char key[512] = {0};

    memset(key, 'k', sizeof(key) - 1);
    for (int i = 0; store_stage.n_seen == 0; i++) {
        ck_assert_int_lt(i, 20000);
        store_stage_order_key(FX_QUERY, 0, 1, key);
    }
    ck_assert_int_eq(store_stage.seen[0].event.queried.answer, ANSWER_TRANSIENT);
    ck_assert_str_eq(store_stage.seen[0].text, "too many commands wait for Redis");
}
END_TEST

/* The real scripts in a real Redis, with its memory of them taken away meanwhile. */
static struct redis_server *server;

static void setup_real(void)
{
    store_stage_open_loop();
    server = redis_server_start(NULL);
    store_stage_open_link(redis_server_socket(server));
    STORE_STAGE_UNTIL(store_stage.state == LINK_UP);
}

static void teardown_real(void)
{
    store_stage_close();
    redis_server_stop(server);
}

static enum answer ask_real(enum effect_kind kind, uint64_t lease_id)
{
    int before = store_stage.n_seen;

    store_stage_order(kind, lease_id, 1);
    until_seen(before + 1);
    return kind == FX_QUERY || kind == FX_FORCE ? store_stage.seen[before].event.queried.answer
                                                : store_stage_outcome(before)->answer;
}

START_TEST(test_real_cycle)
{
    ck_assert_int_eq(ask_real(FX_QUERY, 0), ANSWER_GONE);
    ck_assert_int_eq(ask_real(FX_ACQUIRE, 1), ANSWER_OURS);
    int64_t first = store_stage_outcome(1)->fence_first;
    ck_assert_int_eq(ask_real(FX_ACQUIRE, 1), ANSWER_OURS);
    ck_assert_int_ge(store_stage_outcome(2)->fence_first, first + 64);
    ck_assert_int_eq(ask_real(FX_ACQUIRE, 2), ANSWER_TAKEN);
    ck_assert_int_gt(store_stage_outcome(3)->remaining_ms, 20000);
    ck_assert_int_eq(ask_real(FX_RENEW, 1), ANSWER_OURS);
    ck_assert_int_eq(ask_real(FX_RENEW, 2), ANSWER_TAKEN);
    ck_assert_int_eq(ask_real(FX_RELEASE, 2), ANSWER_TAKEN);
    ck_assert_int_eq(ask_real(FX_QUERY, 0), ANSWER_TAKEN);
    ck_assert_int_eq(ask_real(FX_RELEASE, 1), ANSWER_OURS);
    ck_assert_int_eq(ask_real(FX_RELEASE, 1), ANSWER_GONE);
    ck_assert_int_eq(ask_real(FX_RENEW, 1), ANSWER_GONE);
    ck_assert_int_eq(ask_real(FX_ACQUIRE, 2), ANSWER_OURS);
    ck_assert_int_eq(ask_real(FX_FORCE, 0), ANSWER_OURS);
    ck_assert_int_eq(ask_real(FX_FORCE, 0), ANSWER_GONE);
}
END_TEST

START_TEST(test_real_script_flush)
{
    redisContext *probe = redisConnectUnix(redis_server_socket(server));
    int n_ours = 0;

    for (int i = 0; i < 500; i++) {
        char key[32];

        if (i % 100 == 50) {
            freeReplyObject(redisCommand(probe, "SCRIPT FLUSH"));
        }
        snprintf(key, sizeof(key), "key %d", i);
        store_stage_order_key(FX_ACQUIRE, (uint64_t)i + 1, (uint64_t)i + 1, key);
        if (i % 10 == 0) {
            (void)uv_run(&store_stage.loop, UV_RUN_NOWAIT);
        }
    }
    until_seen(500);
    for (int i = 0; i < 500; i++) {
        n_ours += store_stage_outcome(i)->answer == ANSWER_OURS;
    }
    ck_assert_int_eq(n_ours, 500);
    redisFree(probe);
}
END_TEST

START_TEST(test_real_becomes_replica)
{
    redisContext *probe = redisConnectUnix(redis_server_socket(server));

    ck_assert_int_eq(ask_real(FX_ACQUIRE, 1), ANSWER_OURS);
    freeReplyObject(redisCommand(probe, "REPLICAOF 127.0.0.1 1"));
    ck_assert_int_eq(ask_real(FX_RENEW, 1), ANSWER_TRANSIENT);
    STORE_STAGE_UNTIL(store_stage.state == LINK_DOWN);
    freeReplyObject(redisCommand(probe, "REPLICAOF NO ONE"));
    STORE_STAGE_UNTIL(store_stage.state == LINK_UP);
    ck_assert_int_eq(ask_real(FX_RENEW, 1), ANSWER_OURS);
    redisFree(probe);
}
END_TEST

Suite *test_store_suite(void);
Suite *test_store_suite(void)
{
    Suite *suite = suite_create("store");
    TCase *tcase = tcase_create("fake");

    tcase_add_checked_fixture(tcase, store_stage_open_fake, store_stage_close);
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, test_what_is_sent);
    tcase_add_test(tcase, test_forget);
    tcase_add_loop_test(tcase, test_no_second_sending_behind_a_release, 0, 4);
    tcase_add_test(tcase, test_missing_fences_are_logged);
    tcase_add_test(tcase, test_burst_is_given_back);
    tcase_add_loop_test(tcase, test_replies, 0, sizeof(rows) / sizeof(rows[0]));
    tcase_add_loop_test(tcase, test_other_hosts, 0, sizeof(others_rows) / sizeof(others_rows[0]));
    tcase_add_loop_test(tcase, test_messages, 0, sizeof(message_rows) / sizeof(message_rows[0]));
    tcase_add_loop_test(tcase, test_misfits, 0, sizeof(misfit_rows) / sizeof(misfit_rows[0]));
    tcase_add_loop_test(tcase, test_script_is_missing, 0, 2);
    tcase_add_test(tcase, test_second_sending_has_its_own_instant);
    tcase_add_loop_test(tcase, test_queries, 0, sizeof(query_rows) / sizeof(query_rows[0]));
    tcase_add_test(tcase, test_link_is_down);
    tcase_add_test(tcase, test_link_breaks);
    tcase_add_test(tcase, test_too_much_is_queued);
    suite_add_tcase(suite, tcase);

    tcase = tcase_create("real");
    tcase_add_checked_fixture(tcase, setup_real, teardown_real);
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, test_real_cycle);
    tcase_add_test(tcase, test_real_script_flush);
    tcase_add_test(tcase, test_real_becomes_replica);
    suite_add_tcase(suite, tcase);
    return suite;
}
