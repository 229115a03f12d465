/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Daemons on one Redis stand for hosts that want the same key. Retry intervals of an hour show that what
 * happens, happens because hosts tell each other; the others show that it happens all the same.
 */

#include "tests/lib/scene.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

Suite *test_hosts_suite(void);

#define HOSTS_HOUR "[lock]\nwait = forever\nretry_interval = 1h\n"

static struct rlockd *hosts[3];
static int n_hosts;

static int64_t hosts_n_listening_at(struct redisContext *probe)
{
    return probe_do(probe, "EVAL %s 0", "return #redis.call('PUBSUB', 'CHANNELS', 'rlockd:*')");
}

static int64_t hosts_n_listening(void)
{
    return hosts_n_listening_at(scene.probe);
}

static void hosts_open_with(const char *extra, int n)
{
    scene_open(extra);
    hosts[0] = scene.rlockd;
    for (n_hosts = 1; n_hosts < n; n_hosts++) {
        hosts[n_hosts] = rlockd_start(redis_server_socket(scene.redis), extra);
    }
    AWAIT(hosts_n_listening() == n);
}

static void hosts_open_patient(void)
{
    hosts_open_with(HOSTS_HOUR, 3);
}

static void hosts_open_usual(void)
{
    hosts_open_with("[lock]\nwait = forever\n", 3);
}

static void hosts_open_lingering(void)
{
    hosts_open_with(HOSTS_HOUR "[lease]\nlinger = 1s\n", 2);
}

static void hosts_close(void)
{
    client_close_all();
    for (int i = 1; i < n_hosts; i++) {
        rlockd_free(hosts[i]);
    }
    scene_close();
}

static TCase *hosts_case(Suite *suite, const char *name, void (*open)(void))
{
    TCase *tcase = tcase_create(name);

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, open, hosts_close);
    suite_add_tcase(suite, tcase);
    return tcase;
}

static struct client *hosts_client(int host)
{
    return client_open(hosts[host]->socket_path);
}

static int64_t hosts_stat(int host, const char *name)
{
    struct client *client = hosts_client(host);
    int64_t value = client_stat(client, name);

    client_close(client);
    return value;
}

/* How many hosts wait for key k in Redis. */
static int64_t hosts_queued(void)
{
    return probe_do(scene.probe, "EVAL %s 0",
                    "local names = redis.call('KEYS', 'rlockd:queue:*')\n"
                    "return names[1] and redis.call('ZCARD', names[1]) or 0");
}

/* A lock request of a client on that host, which waits in Redis when this returns. */
static int hosts_wait(struct client *client, int64_t n_queued)
{
    int id = client_ask_lock(client, "k");

    AWAIT(hosts_queued() == n_queued);
    return id;
}

static int64_t hosts_expect_grant(struct client *client, int id)
{
    return member_int(client_expect_result(client, id), "fence");
}

static void hosts_expect_clean(void)
{
    AWAIT(probe_do(scene.probe, "DBSIZE") == 1);
    ck_assert(probe_has(scene.probe, "rlockd:fence"));
}

/* --- turns ----------------------------------------------------------------------------------------- */

START_TEST(test_handed_off_to_who_waited_longest)
{
    struct client *a = hosts_client(0), *b = hosts_client(1), *c = hosts_client(2);
    int64_t first = client_lock(a, "k"), second, third;
    int b_id = hosts_wait(b, 1), c_id = hosts_wait(c, 2);

    client_call(a, "unlock", "{'key':'k'}");
    second = hosts_expect_grant(b, b_id);
    client_expect_nothing(c);
    client_call(b, "unlock", "{'key':'k'}");
    third = hosts_expect_grant(c, c_id);
    ck_assert(first < second && second < third);
    client_call(c, "unlock", "{'key':'k'}");
    hosts_expect_clean();
    ck_assert_int_eq(hosts_stat(0, "handoffs"), 1);
    ck_assert_int_eq(hosts_stat(0, "recalls"), 2);
    ck_assert_int_eq(hosts_stat(1, "offers"), 1);
    ck_assert_int_eq(hosts_stat(1, "handoffs"), 1);
    ck_assert_int_eq(hosts_stat(2, "handoffs"), 0);
    ck_assert_int_eq(hosts_stat(2, "offers_missed"), 0);
}
END_TEST

/* Who had asked before the other host is served first, who asked later comes after it. */
START_TEST(test_a_batch_each)
{
    struct client *a[3] = {hosts_client(0), hosts_client(0), hosts_client(0)}, *b = hosts_client(1);
    int ids[3], b_id;

    client_lock(a[0], "k");
    ids[1] = client_ask_lock(a[1], "k");
    b_id = hosts_wait(b, 1);
    AWAIT(hosts_stat(0, "recalls") == 1);
    ids[2] = client_ask_lock(a[2], "k");
    client_call(a[0], "unlock", "{'key':'k'}");
    hosts_expect_grant(a[1], ids[1]);
    client_expect_nothing(b);
    client_call(a[1], "unlock", "{'key':'k'}");
    hosts_expect_grant(b, b_id);
    AWAIT(hosts_queued() == 1);
    client_expect_nothing(a[2]);
    client_call(b, "unlock", "{'key':'k'}");
    hosts_expect_grant(a[2], ids[2]);
}
END_TEST

/* A lock that is not for this client leaves nothing behind, whatever it did. */
START_TEST(test_who_leaves_waits_nowhere)
{
    struct client *a = hosts_client(0), *b = hosts_client(1), *c = hosts_client(1);
    int id;

    client_lock(a, "k");
    hosts_wait(b, 1);
    client_close(b);
    AWAIT(hosts_queued() == 0);
    id = hosts_wait(c, 1);
    int cancel_id = client_ask(c, "cancel", "{'id':%d}", id);
    client_expect_error(c, id, 8, "cancelled");
    ck_assert(member_bool(client_expect_result(c, cancel_id), "cancelled"));
    AWAIT(hosts_queued() == 0);
    client_expect_error(c, client_ask(c, "try_lock", "{'key':'k'}"), 1, "held");
    ck_assert_int_eq(hosts_queued(), 0);
    client_call(a, "unlock", "{'key':'k'}");
    hosts_expect_clean();
}
END_TEST

/* Keys with braces have queues as well, and no two share one. */
START_TEST(test_keys_with_braces)
{
    static const char *const keys[] = {"a", "{a}", "{a}b", "a}b{", "{}", "}{a}", "{"};
    struct client *a = hosts_client(0), *b = hosts_client(1);
    int n = (int)(sizeof(keys) / sizeof(keys[0]));

    for (int i = 0; i < n; i++) {
        client_lock(a, keys[i]);
        client_ask(b, "lock", "{'key':'%s'}", keys[i]);
    }
    AWAIT(probe_do(scene.probe, "DBSIZE") == 1 + 2 * n);
    for (int i = n - 1; i >= 0; i--) {
        client_call(a, "unlock", "{'key':'%s'}", keys[i]);
        ck_assert(member_is(json_object_get(client_message(b), "result"), "key", keys[i]));
    }
    client_close(b);
    hosts_expect_clean();
}
END_TEST

/* --- what goes wrong ------------------------------------------------------------------------------- */

START_TEST(test_the_next_in_the_queue_dies)
{
    struct client *a = hosts_client(0), *b = hosts_client(1), *c = hosts_client(2);
    int64_t first = client_lock(a, "k");

    hosts_wait(b, 1);
    int c_id = hosts_wait(c, 2);
    rlockd_signal(hosts[1], SIGKILL);
    rlockd_wait(hosts[1]);
    AWAIT(hosts_n_listening() == 2);
    client_call(a, "unlock", "{'key':'k'}");
    ck_assert_int_gt(hosts_expect_grant(c, c_id), first);
    client_call(c, "unlock", "{'key':'k'}");
    hosts_expect_clean();
}
END_TEST

/* It is offered the key, and does not take it: the others have it when the offer is over. */
START_TEST(test_the_next_in_the_queue_is_stopped)
{
    struct client *a = hosts_client(0), *b = hosts_client(1), *c = hosts_client(2);
    int64_t first = client_lock(a, "k"), second, third;
    int b_id = hosts_wait(b, 1), c_id = hosts_wait(c, 2);

    rlockd_signal(hosts[1], SIGSTOP);
    client_call(a, "unlock", "{'key':'k'}");
    second = hosts_expect_grant(c, c_id);
    ck_assert_int_gt(second, first);
    rlockd_signal(hosts[1], SIGCONT);
    AWAIT(hosts_queued() == 1);
    client_expect_nothing(b);
    client_call(c, "unlock", "{'key':'k'}");
    third = hosts_expect_grant(b, b_id);
    ck_assert_int_gt(third, second);
}
END_TEST

/* Its lease runs out, and at that moment those who wait ask again. */
START_TEST(test_the_holders_daemon_dies)
{
    struct client *a = hosts_client(0), *b = hosts_client(1);
    int64_t first = member_int(client_call(a, "lock", "{'key':'k','ttl_ms':1000}"), "fence");
    int id = hosts_wait(b, 1);

    rlockd_signal(hosts[0], SIGKILL);
    rlockd_wait(hosts[0]);
    ck_assert_int_gt(hosts_expect_grant(b, id), first);
    client_call(b, "unlock", "{'key':'k'}");
    hosts_expect_clean();
}
END_TEST

/* What was said while nobody listened was not heard: after the repair all that is waited for is looked at. */
START_TEST(test_the_ears_are_cut)
{
    struct client *a = hosts_client(0), *b = hosts_client(1);
    int id;

    client_lock(a, "k");
    id = hosts_wait(b, 1);
    probe_do(scene.probe, "MULTI");
    probe_do(scene.probe, "CLIENT KILL TYPE pubsub");
    probe_do(scene.probe, "DEL k");
    probe_do(scene.probe, "EXEC");
    hosts_expect_grant(b, id);
}
END_TEST

/* Redis forgets everything: who waits finds the key free, and has a larger fence than who loses it. */
START_TEST(test_redis_forgets)
{
    struct client *a = hosts_client(0), *b = hosts_client(1);
    int64_t first = member_int(client_call(a, "lock", "{'key':'k','ttl_ms':2000}"), "fence");
    int id = hosts_wait(b, 1);

    probe_do(scene.probe, "FLUSHALL");
    ck_assert_int_gt(hosts_expect_grant(b, id), first);
    ck_assert_str_eq(member_text(client_expect_notice(a, "lost"), "reason"), "taken");
    client_call(b, "unlock", "{'key':'k'}");
    hosts_expect_clean();
}
END_TEST

/* Nobody may subscribe or publish: renewals and retries find out, later. */
START_TEST(test_nobody_may_speak)
{
    struct client *a = hosts_client(0), *b = hosts_client(1), *c = hosts_client(0);
    int b_id, c_id;

    probe_do(scene.probe, "ACL SETUSER default resetchannels");
    probe_do(scene.probe, "CLIENT KILL TYPE pubsub");
    client_call(a, "lock", "{'key':'k','ttl_ms':1000}");
    b_id = hosts_wait(b, 1);
    AWAIT(hosts_stat(0, "renewals") >= 2);
    c_id = client_ask_lock(c, "k");
    client_call(a, "unlock", "{'key':'k'}");
    hosts_expect_grant(b, b_id); /* not c, which asked after the renewal had told of b */
    client_call(b, "unlock", "{'key':'k'}");
    hosts_expect_grant(c, c_id);
    ck_assert_int_eq(hosts_stat(0, "recalls") + hosts_stat(1, "offers"), 0);
    AWAIT(rlockd_log_has(hosts[0], "not listening to other hosts"));
}
END_TEST

/* What this host let run out is no other host's: nobody is recalled. */
START_TEST(test_nobody_recalls_himself)
{
    struct client *a = hosts_client(0), *b = hosts_client(0);
    int id;

    client_call(a, "lock", "{'key':'k','ttl_ms':300,'auto_refresh':false}");
    id = hosts_wait(b, 0);
    hosts_expect_grant(b, id);
    client_call(b, "unlock", "{'key':'k'}");
    ck_assert_int_eq(hosts_stat(0, "recalls"), 0);
}
END_TEST

static void hosts_point(const char *path, const struct redis_server *server)
{
    char fresh[SCRATCH_PATH_CAP];

    ck_assert_int_eq(symlink(redis_server_socket(server), scratch_path(fresh, "fresh")), 0);
    ck_assert_int_eq(rename(fresh, path), 0);
}

/* The name of Redis comes to mean another server while only the commands have no connection. */
START_TEST(test_the_ear_follows_to_another_redis)
{
    struct redis_server *other = redis_server_start(NULL);
    struct redisContext *other_probe = probe_open(redis_server_socket(other));
    char path[SCRATCH_PATH_CAP];
    struct rlockd *rlockd;

    probe_do(scene.probe, "ACL SETUSER default -script");
    hosts_point(scratch_path(path, "redis"), scene.redis);
    rlockd = rlockd_start(path, "");
    AWAIT(rlockd_log_has(rlockd, "NOPERM"));
    AWAIT(hosts_n_listening() == n_hosts + 1);
    hosts_point(path, other);
    AWAIT(hosts_n_listening_at(other_probe) == 1);
    AWAIT(hosts_n_listening() == n_hosts);
    rlockd_free(rlockd);
    probe_close(other_probe);
    redis_server_stop(other);
}
END_TEST

/* The rights that the README names are enough: no command is denied, and hosts hear each other. */
START_TEST(test_rights_that_suffice)
{
    char path[SCRATCH_PATH_CAP], extra[SCRATCH_PATH_CAP + 128];
    FILE *file = fopen(scratch_path(path, "password"), "w");
    struct rlockd *daemons[2];
    struct client *clients[2];
    int id;

    ck_assert_ptr_nonnull(file);
    fputs("secret\n", file);
    fclose(file);
    ck_assert_int_eq(chmod(path, 0600), 0);
    probe_do(scene.probe,
             "ACL SETUSER broker on >secret ~p:* ~rlockd:* &rlockd:* +eval +evalsha +script|load +get "
             "+set +del +pttl +pexpire +persist +time +zadd +zrem +zrange +zcard +publish "
             "+subscribe +ping +info +role +select +client|id +client|setname +client|kill");
    snprintf(extra, sizeof(extra), "username = broker\npassword_file = %s\n[lease]\nprefix = p:\n" HOSTS_HOUR,
             path);
    for (int i = 0; i < 2; i++) {
        daemons[i] = rlockd_start(redis_server_socket(scene.redis), extra);
        clients[i] = client_open(daemons[i]->socket_path);
    }
    AWAIT(hosts_n_listening() == n_hosts + 2);
    client_lock(clients[0], "k");
    id = hosts_wait(clients[1], 1);
    client_call(clients[0], "refresh", "{'key':'k'}");
    client_call(clients[0], "unlock", "{'key':'k'}");
    hosts_expect_grant(clients[1], id);
    client_call(clients[1], "unlock", "{'key':'k'}");
    client_call(clients[1], "inspect", "{'key':'k'}");
    hosts_expect_clean();
    ck_assert_int_eq(client_stat(clients[0], "redis_errors") + client_stat(clients[1], "redis_errors"), 0);
    rlockd_free(daemons[0]);
    rlockd_free(daemons[1]);
}
END_TEST

/* --- a program that knows no queue ----------------------------------------------------------------- */

enum { POLLERS_CLIENTS = 8, POLLER_TURNS = 5, POLLER_EVERY_MS = 10, POLLER_HOLD_MS = 2 };

/* What the poller and the test show each other. */
struct poller_board {
    _Atomic bool has_poller, has_client; /* who believes to hold the key */
    _Atomic int n_turns, n_overlaps;
    _Atomic int n_grants;
};

/* As such programs do: SET NX now and then, a little work, DEL. Its turns count when others had theirs since. */
static _Noreturn void poller_run(struct poller_board *board)
{
    struct redisContext *redis = probe_open(redis_server_socket(scene.redis));
    int n_grants_seen = 0;

    for (;; (void)poll(NULL, 0, POLLER_EVERY_MS)) {
        if (probe_do(redis, "SET k poller NX PX 30000") == 0) {
            continue;
        }
        atomic_store(&board->has_poller, true);
        (void)poll(NULL, 0, POLLER_HOLD_MS);
        board->n_overlaps += atomic_load(&board->has_client);
        atomic_store(&board->has_poller, false);
        ck_assert_int_eq(probe_do(redis, "DEL k"), 1);
        board->n_turns += atomic_load(&board->n_grants) > n_grants_seen;
        n_grants_seen = atomic_load(&board->n_grants);
    }
}

/* Lets whoever has been granted the key go round once: to the next lock at once, or when Redis has answered. */
static void poller_serve(struct poller_board *board, struct client *const *clients, int n_clients,
                         bool is_awaited)
{
    struct pollfd fds[POLLERS_CLIENTS];

    for (int i = 0; i < n_clients; i++) {
        fds[i] = (struct pollfd){.fd = client_fd(clients[i]), .events = POLLIN};
    }
    ck_assert_int_gt(poll(fds, (nfds_t)n_clients, AWAIT_MS_MAX), 0);
    for (int i = 0; i < n_clients; i++) {
        if (fds[i].revents == 0) {
            continue;
        }
        json_t *result = json_object_get(client_message(clients[i]), "result");
        ck_assert_ptr_nonnull(result);
        if (json_object_get(result, "held_ms") != NULL) { /* the answer to unlock */
            client_ask(clients[i], "lock", "{'key':'k'}");
            continue;
        }
        atomic_store(&board->has_client, true);
        board->n_overlaps += atomic_load(&board->has_poller);
        atomic_store(&board->has_client, false);
        board->n_grants++;
        if (is_awaited) {
            client_ask(clients[i], "unlock", "{'key':'k'}");
        } else {
            client_tell(clients[i], "unlock", "{'key':'k'}");
            client_ask(clients[i], "lock", "{'key':'k'}");
        }
    }
}

/* Eight clients on two hosts want the key without a pause, or one on each that waits for unlock's answer, so that
 * its host has nobody waiting at that moment. A program that tries SET NX every 10 ms gets it
 * all the same, again and again, and while it has it nobody else does. */
START_TEST(test_a_poller_takes_its_turns)
{
    struct poller_board *board =
        mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct client *clients[POLLERS_CLIENTS];
    int n_clients = _i == 0 ? POLLERS_CLIENTS : 2;

    ck_assert_ptr_ne(board, MAP_FAILED);
    if (scratch_fork() == 0) {
        poller_run(board);
    }
    for (int i = 0; i < n_clients; i++) {
        clients[i] = hosts_client(i % 2);
        client_ask(clients[i], "lock", "{'key':'k'}");
    }
    while (atomic_load(&board->n_turns) < POLLER_TURNS) {
        poller_serve(board, clients, n_clients, _i == 1);
    }
    ck_assert_int_eq(atomic_load(&board->n_overlaps), 0);
    ck_assert_int_gt(hosts_stat(0, "handoffs"), 0);
}
END_TEST

/* --- lingering ------------------------------------------------------------------------------------- */

START_TEST(test_a_lease_lingers)
{
    struct client *a = hosts_client(0);
    int64_t n_calls = probe_script_calls(scene.probe), fence = 0;

    for (int i = 0; i < 1000; i++) {
        int64_t next = client_lock(a, "k");
        ck_assert_int_gt(next, fence);
        fence = next;
        client_call(a, "unlock", "{'key':'k'}");
    }
    /* One to get it; further ones only for fences. */
    ck_assert_int_le(probe_script_calls(scene.probe), n_calls + 10);
    ck_assert(member_is(client_call(a, "inspect", "{'key':'k'}"), "state", "free"));
    ck_assert_uint_eq(json_array_size(json_object_get(client_call(a, "list", "{}"), "locks")), 0);
    ck_assert(probe_has(scene.probe, "k"));
    hosts_expect_clean(); /* after its second */
}
END_TEST

/* Another host asks: it has the key at once, whether the lease lingers or is held. */
START_TEST(test_a_lingering_lease_is_recalled)
{
    struct client *a = hosts_client(0), *b = hosts_client(1);
    int id;

    for (int i = 0; i < 20; i++) {
        client_lock(a, "k");
        if (i % 2 == 0) {
            client_call(a, "unlock", "{'key':'k'}");
            id = client_ask(b, "lock", "{'key':'k'}");
        } else {
            id = hosts_wait(b, 1);
            client_call(a, "unlock", "{'key':'k'}");
        }
        hosts_expect_grant(b, id);
        client_call(b, "unlock", "{'key':'k'}");
    }
    ck_assert_int_ge(hosts_stat(0, "handoffs"), 10);
}
END_TEST

Suite *test_hosts_suite(void)
{
    Suite *suite = suite_create("system: hosts");
    TCase *tcase = hosts_case(suite, "who tell each other", hosts_open_patient);

    tcase_add_test(tcase, test_handed_off_to_who_waited_longest);
    tcase_add_test(tcase, test_a_batch_each);
    tcase_add_test(tcase, test_who_leaves_waits_nowhere);
    tcase_add_test(tcase, test_keys_with_braces);
    tcase_add_test(tcase, test_the_next_in_the_queue_dies);
    tcase_add_test(tcase, test_the_holders_daemon_dies);
    tcase_add_test(tcase, test_the_ears_are_cut);
    tcase_add_test(tcase, test_nobody_recalls_himself);
    tcase_add_test(tcase, test_the_ear_follows_to_another_redis);
    tcase_add_test(tcase, test_rights_that_suffice);
    tcase = hosts_case(suite, "who ask again", hosts_open_usual);
    tcase_add_test(tcase, test_the_next_in_the_queue_is_stopped);
    tcase_add_test(tcase, test_redis_forgets);
    tcase_add_test(tcase, test_nobody_may_speak);
    tcase_add_loop_test(tcase, test_a_poller_takes_its_turns, 0, 2);
    tcase = hosts_case(suite, "that linger", hosts_open_lingering);
    tcase_add_test(tcase, test_a_lease_lingers);
    tcase_add_test(tcase, test_a_lingering_lease_is_recalled);
    return suite;
}
