/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Whatever Redis may say to each of the three scripts: what the client hears of it, and that the daemon goes
 * on. The Redis here says what the test wants, from a process of its own:
 *
 *     test --- client ---- daemon ---- scripted Redis
 *       |                                    |
 *       +------------ memory of both --------+      what it is to say; NULL: what a good one would
 */

#include "daemon/redis/script.h"
#include "tests/lib/fake_redis.h"
#include "tests/lib/scene.h"

#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

Suite *test_redis_replies_suite(void);

/* In place of a reply: the connection ends. */
static const char replies_hang_up[] = "";

struct replies_stage {
    const char
        *_Atomic words[N_SCRIPTS]; /* text of the program itself, which a child has at the same place */
    _Atomic bool are_for_digests;  /* a script that is sent with its text is answered well */
    int64_t next_fence;
};

static struct replies_stage *stage;
static struct script replies_scripts[N_SCRIPTS];

/* --- Redis ----------------------------------------------------------------------------------------- */

static int replies_find_script(const char *text)
{
    int i = 0;

    while (i < N_SCRIPTS && strcmp(replies_scripts[i].text, text) != 0) {
        i++;
    }
    ck_assert_int_lt(i, N_SCRIPTS);
    return i;
}

/* What Redis says to a script that succeeds: all have the key at [3] and behind the value the ttl and the
 * number of fences, if any. */
static void replies_succeed(struct fake_client *client, int script, char **argv)
{
    int64_t n_fences = script == SCRIPT_UNLOCK ? 0 : atoll(argv[8]);
    char reply[64];

    stage->next_fence += n_fences;
    snprintf(reply, sizeof(reply), "*3\r\n:1\r\n:%lld\r\n:0\r\n",
             n_fences > 0 ? (long long)(stage->next_fence - n_fences) : 0);
    fake_reply(client, reply);
}

static bool replies_on_command(void *ctx, struct fake_client *client, int argc, char **argv)
{
    bool is_digest = strcmp(argv[0], "EVALSHA") == 0;
    char digest[64];

    (void)ctx;
    if (strcmp(argv[0], "SCRIPT") == 0) {
        snprintf(digest, sizeof(digest), "$40\r\n%040d\r\n", replies_find_script(argv[2]));
        fake_reply(client, digest);
        return true;
    }
    if (!is_digest && strcmp(argv[0], "EVAL") != 0) {
        return false;
    }
    int script = is_digest ? atoi(argv[1]) : replies_find_script(argv[1]);
    const char *word = atomic_load(&stage->words[script]);
    ck_assert_int_eq(argc, script == SCRIPT_UNLOCK ? 8 : script == SCRIPT_REFRESH ? 9 : 11);
    if (!word || (!is_digest && atomic_load(&stage->are_for_digests))) {
        replies_succeed(client, script, argv);
    } else if (word == replies_hang_up) {
        fake_client_close(client);
    } else {
        fake_reply(client, word);
    }
    return true;
}

static _Noreturn void replies_serve(const char *path)
{
    uv_loop_t loop;

    script_table(replies_scripts);
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    fake_redis_open(&loop, path, replies_on_command, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    _exit(0);
}

static void replies_open(void)
{
    char path[SCRATCH_PATH_CAP];

    scratch_path(path, "scripted.sock");
    stage = mmap(NULL, sizeof(*stage), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(stage, MAP_FAILED);
    stage->next_fence = 1;
    if (scratch_fork() == 0) {
        replies_serve(path);
    }
    scene.rlockd = rlockd_start(path, "reconnect_min = 1ms\nreconnect_max = 20ms\n[lease]\nttl = 10m\n");
    AWAIT(scene_stat("redis_up") == 1);
}

static void replies_say(enum script_name script, const char *word)
{
    atomic_store(&stage->words[script], word);
}

/* --- the rows -------------------------------------------------------------------------------------- */

/* What a reply means. Who refreshes a lock is told `unavailable` by the first three, and holds it still; who
 * unlocks is told the same, and holds it no longer. */
enum replies_sense {
    REPLIES_LATER = 1, /* not just now: a lock request waits for a better answer, a try ends */
    REPLIES_REFUSED,   /* both end */
    REPLIES_NONSENSE,  /* no answer at all: the connection to Redis ends, else as LATER */
    REPLIES_OF_OTHERS, /* the key is somebody else's, in a way that waiting does not help */
};

static const struct replies_row {
    const char *reply;
    enum replies_sense sense;
    const char *last_error;
} replies_rows[] = {
    {"-LOADING Redis is loading the dataset in memory\r\n", REPLIES_LATER,
     "LOADING Redis is loading the dataset in memory"},
    {"-READONLY You can't write against a read only replica.\r\n", REPLIES_LATER,
     "READONLY You can't write against a read only replica."},
    {"-READONLY You can't write against a read only replica. script: 1, on @user_script:3.\r\n",
     REPLIES_LATER, "READONLY You can't write against a read only replica. script: 1,"},
    {"-ERR Error running script (call to f_1): @user_script:1: -READONLY You can't write\r\n", REPLIES_LATER,
     "ERR Error running script (call to f_1): @user_script:1: -READONL"},
    {"-MASTERDOWN Link with MASTER is down\r\n", REPLIES_LATER, "MASTERDOWN Link with MASTER is down"},
    {"-CLUSTERDOWN The cluster is down\r\n", REPLIES_LATER, "CLUSTERDOWN The cluster is down"},
    {"-TRYAGAIN Multiple keys request during rehashing\r\n", REPLIES_LATER,
     "TRYAGAIN Multiple keys request during rehashing"},
    {"-OOM command not allowed when used memory > 'maxmemory'.\r\n", REPLIES_LATER,
     "OOM command not allowed when used memory > 'maxmemory'."},
    {"-NOREPLICAS Not enough good replicas to write.\r\n", REPLIES_LATER,
     "NOREPLICAS Not enough good replicas to write."},
    {"-MISCONF Redis is configured to save RDB snapshots\r\n", REPLIES_LATER,
     "MISCONF Redis is configured to save RDB snapshots"},
    {"-BUSY Redis is busy running a script.\r\n", REPLIES_LATER, "BUSY Redis is busy running a script."},
    {"-NOSCRIPT No matching script. Please use EVAL.\r\n", REPLIES_REFUSED,
     "NOSCRIPT No matching script. Please use EVAL."},
    {"-MOVED 3999 127.0.0.1:6381\r\n", REPLIES_REFUSED, "MOVED 3999 127.0.0.1:6381"},
    {"-ASK 3999 127.0.0.1:6381\r\n", REPLIES_REFUSED, "ASK 3999 127.0.0.1:6381"},
    {"-CROSSSLOT Keys in request don't hash to the same slot\r\n", REPLIES_REFUSED,
     "CROSSSLOT Keys in request don't hash to the same slot"},
    {"-NOAUTH Authentication required.\r\n", REPLIES_REFUSED, "NOAUTH Authentication required."},
    {"-WRONGPASS invalid username-password pair\r\n", REPLIES_REFUSED,
     "WRONGPASS invalid username-password pair"},
    {"-NOPERM this user has no permissions to run the 'evalsha' command\r\n", REPLIES_REFUSED,
     "NOPERM this user has no permissions to run the 'evalsha' command"},
    {"-ERR The user executing the script can't run this command or subcommand\r\n", REPLIES_REFUSED,
     "ERR The user executing the script can't run this command or subc"},
    {"-ERR invalid expire time in 'set' command\r\n", REPLIES_REFUSED,
     "ERR invalid expire time in 'set' command"},
    {"-ERR max number of clients reached\r\n", REPLIES_REFUSED, "ERR max number of clients reached"},
    {"-UNBLOCKED force unblock from blocking operation\r\n", REPLIES_REFUSED,
     "UNBLOCKED force unblock from blocking operation"},
    {"-NEWWORD \x1b[31m \xe2\x80\xa8 of tomorrow\r\n", REPLIES_REFUSED,
     "NEWWORD \\x1b[31m \\xe2\\x80\\xa8 of tomorrow"},
    {"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", REPLIES_OF_OTHERS,
     "WRONGTYPE Operation against a key holding the wrong kind of valu"},
    {"+OK\r\n", REPLIES_NONSENSE, "a reply of Redis does not fit its command"},
    {":1\r\n", REPLIES_NONSENSE, "a reply of Redis does not fit its command"},
    {"$-1\r\n", REPLIES_NONSENSE, "a reply of Redis does not fit its command"},
    {"*3\r\n:1\r\n$1\r\n1\r\n:0\r\n", REPLIES_NONSENSE, "a reply of Redis does not fit its command"},
    {"?\r\n", REPLIES_NONSENSE, "Protocol error, got \"?\" as reply type byte"},
    {"*2147483647\r\n", REPLIES_NONSENSE, "a reply of Redis is too large"},
    {replies_hang_up, REPLIES_NONSENSE, "Redis closed the connection"},
};

static void replies_expect_unavailable(struct client *client, int id, const struct replies_row *row)
{
    json_t *data = client_expect_error(client, id, 4, "unavailable");

    ck_assert_str_eq(member_text(data, "key"), "k");
    ck_assert_str_eq(member_text(data, "last_error"), row->last_error);
}

START_TEST(test_reply_to_lock)
{
    const struct replies_row *row = &replies_rows[_i];
    struct client *client = scene_client();
    bool is_waited_out = row->sense == REPLIES_LATER || row->sense == REPLIES_NONSENSE;
    int64_t n_attempts, n_connects = scene_stat("redis_connects");
    int id;

    replies_say(SCRIPT_LOCK, row->reply);
    replies_expect_unavailable(client, client_ask(client, "try_lock", "{'key':'k'}"), row);
    if (row->sense == REPLIES_NONSENSE || strstr(row->reply, "READONLY")) {
        AWAIT(scene_stat("redis_connects") > n_connects && scene_stat("redis_up") == 1);
    }
    id = client_ask(client, "lock", "{'key':'k','fail_fast':true,'wait_ms':null}");
    (void)member_text(client_expect_error(client, id, 4, "unavailable"), "last_error");
    n_attempts = scene_stat("attempts");
    id = client_ask(client, "lock", "{'key':'k','wait_ms':null,'retry':{'interval_ms':1}}");
    if (is_waited_out) {
        AWAIT(scene_stat("attempts") >= n_attempts + 2);
        client_expect_nothing(client);
        replies_say(SCRIPT_LOCK, NULL);
    } else {
        replies_expect_unavailable(client, id, row);
        replies_say(SCRIPT_LOCK, NULL);
        id = client_ask(client, "lock", "{'key':'k'}");
    }
    client_expect_result(client, id);
    client_call(client, "unlock", "{'key':'k'}");
    AWAIT(scene_stat("keys") == 0);
}
END_TEST

/* The lock is gone: who asked for it is told, and the holder. */
static void replies_expect_lost(struct client *client, int id, const char *why)
{
    ck_assert_str_eq(member_text(client_expect_notice(client, "lost"), "reason"), why);
    ck_assert_str_eq(member_text(client_expect_error(client, id, 2, "not_held"), "why"), why);
}

START_TEST(test_reply_to_refresh)
{
    const struct replies_row *row = &replies_rows[_i];
    struct client *client = scene_client();
    int id;

    (void)client_lock(client, "k");
    replies_say(SCRIPT_REFRESH, row->reply);
    id = client_ask(client, "refresh", "{'key':'k'}");
    if (row->sense == REPLIES_OF_OTHERS) {
        replies_expect_lost(client, id, "taken");
    } else {
        replies_expect_unavailable(client, id, row);
        replies_say(SCRIPT_REFRESH, NULL);
        AWAIT(scene_stat("redis_up") == 1);
        client_call(client, "refresh", "{'key':'k'}");
        client_call(client, "unlock", "{'key':'k'}");
    }
    ck_assert_int_eq(scene_stat("lost"), row->sense == REPLIES_OF_OTHERS);
    (void)client_lock(client, "k");
}
END_TEST

START_TEST(test_reply_to_unlock)
{
    const struct replies_row *row = &replies_rows[_i];
    struct client *client = scene_client();
    int id;

    (void)client_lock(client, "k");
    replies_say(SCRIPT_UNLOCK, row->reply);
    id = client_ask(client, "unlock", "{'key':'k'}");
    if (row->sense == REPLIES_OF_OTHERS) {
        ck_assert_str_eq(member_text(client_expect_error(client, id, 2, "not_held"), "why"), "taken");
    } else {
        replies_expect_unavailable(client, id, row);
    }
    id = client_ask(client, "unlock", "{'key':'k'}");
    client_expect_error(client, id, 2, "not_held");
    replies_say(SCRIPT_UNLOCK, NULL);
    AWAIT(scene_stat("keys") == 0);
    (void)client_lock(client, "k");
}
END_TEST

/* Redis has lost the scripts: each is sent again with its text, and nobody notices. */
START_TEST(test_scripts_are_sent_again)
{
    struct client *client = scene_client();

    atomic_store(&stage->are_for_digests, true);
    for (int i = 0; i < N_SCRIPTS; i++) {
        replies_say(i, "-NOSCRIPT No matching script. Please use EVAL.\r\n");
    }
    for (int i = 0; i < 3; i++) {
        (void)client_lock(client, "k");
        client_call(client, "refresh", "{'key':'k'}");
        client_call(client, "unlock", "{'key':'k'}");
    }
    ck_assert_int_eq(scene_stat("redis_errors"), 9);
    ck_assert_int_eq(scene_stat("redis_connects"), 1);
}
END_TEST

/* The key is another's, or nobody's: the answers that are no errors. */
START_TEST(test_denials)
{
    struct client *client = scene_client();
    json_t *data;
    int id;

    replies_say(SCRIPT_LOCK, "*3\r\n:0\r\n:5000\r\n:0\r\n");
    data = client_expect_error(client, client_ask(client, "try_lock", "{'key':'k'}"), 1, "held");
    ck_assert_int_gt(member_int(data, "remaining_ms"), 0);
    ck_assert_int_le(member_int(data, "remaining_ms"), 5000);
    replies_say(SCRIPT_LOCK, "*3\r\n:0\r\n:-1\r\n:0\r\n"); /* for ever: it has no expiry */
    data = client_expect_error(client, client_ask(client, "try_lock", "{'key':'k'}"), 1, "held");
    ck_assert_ptr_null(json_object_get(data, "remaining_ms"));
    replies_say(SCRIPT_LOCK, NULL);

    (void)client_lock(client, "k");
    replies_say(SCRIPT_REFRESH, "*3\r\n:0\r\n:0\r\n:0\r\n");
    id = client_ask(client, "refresh", "{'key':'k'}");
    replies_expect_lost(client, id, "taken");
    (void)client_lock(client, "k");
    replies_say(SCRIPT_REFRESH, "*3\r\n:-1\r\n:0\r\n:0\r\n");
    id = client_ask(client, "refresh", "{'key':'k'}");
    replies_expect_lost(client, id, "deleted");

    (void)client_lock(client, "k");
    replies_say(SCRIPT_UNLOCK, "*3\r\n:0\r\n:0\r\n:0\r\n");
    id = client_ask(client, "unlock", "{'key':'k'}");
    ck_assert_str_eq(member_text(client_expect_error(client, id, 2, "not_held"), "why"), "taken");
    (void)client_lock(client, "k");
    replies_say(SCRIPT_UNLOCK, "*3\r\n:-1\r\n:0\r\n:0\r\n");
    id = client_ask(client, "unlock", "{'key':'k'}");
    ck_assert_str_eq(member_text(client_expect_error(client, id, 2, "not_held"), "why"), "deleted");
    AWAIT(scene_stat("keys") == 0);
    ck_assert_int_eq(scene_stat("redis_connects"), 1);
}
END_TEST

/* One reply more than commands: whose it is nobody knows, so the connection ends; what is held is held. */
START_TEST(test_a_reply_too_many)
{
    struct client *client = scene_client();

    (void)client_lock(client, "k");
    replies_say(SCRIPT_REFRESH, "*3\r\n:1\r\n:0\r\n:0\r\n*3\r\n:-1\r\n:0\r\n:0\r\n");
    client_call(client, "refresh", "{'key':'k'}");
    replies_say(SCRIPT_REFRESH, NULL);
    AWAIT(scene_stat("redis_connects") >= 2);
    client_call(client, "refresh", "{'key':'k'}");
    client_call(client, "unlock", "{'key':'k'}");
    ck_assert_int_eq(scene_stat("lost"), 0);
}
END_TEST

Suite *test_redis_replies_suite(void)
{
    enum { REPLIES_N = sizeof(replies_rows) / sizeof(replies_rows[0]) };
    Suite *suite = suite_create("system: redis replies");
    TCase *tcase = scene_case(suite, "redis replies", replies_open);

    tcase_add_loop_test(tcase, test_reply_to_lock, 0, REPLIES_N);
    tcase_add_loop_test(tcase, test_reply_to_refresh, 0, REPLIES_N);
    tcase_add_loop_test(tcase, test_reply_to_unlock, 0, REPLIES_N);
    tcase_add_test(tcase, test_scripts_are_sent_again);
    tcase_add_test(tcase, test_denials);
    tcase_add_test(tcase, test_a_reply_too_many);
    return suite;
}
