/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Clients that end: killed, half-closed, gone in the middle of something, or alive and not reading.
 * Whatever they held goes on at once, and nothing of them stays.
 *
 * The clients that die here are processes of their own, which say over a pipe that they are ready.
 */

#include "tests/lib/scene.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

Suite *test_death_suite(void);

enum {
    DEATH_TRIES = 5, /* a busy machine may spoil some of these */
    DEATH_RELEASE_MS_MAX = 50,
    DEATH_FLOOD_MS_MAX = 100,
};

struct victim {
    pid_t pid;
    pid_t heir_pid; /* a child of it that keeps its descriptors; 0: none */
};

enum death_manner { DEATH_QUIET = 1, DEATH_WITH_HEIR, DEATH_FLOODING };

static void death_flood(struct client *client)
{
    static const char ping[] = "{\"jsonrpc\":\"2.0\",\"method\":\"ping\"}\n";
    char many[100 * (sizeof(ping) - 1)];

    for (size_t i = 0; i < 100; i++) {
        memcpy(many + i * (sizeof(ping) - 1), ping, sizeof(ping) - 1);
    }
    for (;;) {
        client_send_bytes(client, many, sizeof(many));
    }
}

/* The victim's life: takes the lock, tells, and waits for its end. */
static _Noreturn void death_live(int tell_fd, enum death_manner manner)
{
    struct client *client = scene_client();
    struct victim self = {.pid = getpid()};

    (void)client_lock(client, "k");
    if (manner == DEATH_WITH_HEIR) {
        self.heir_pid = fork(); /* on purpose without the wish to die with its parent */
        if (self.heir_pid == 0) {
            for (;;) {
                pause();
            }
        }
    }
    (void)!write(tell_fd, &self, sizeof(self));
    if (manner == DEATH_FLOODING) {
        death_flood(client);
    }
    for (;;) {
        pause();
    }
}

static struct victim death_bear(enum death_manner manner)
{
    struct victim victim;
    struct pollfd ready;
    int fds[2];

    ck_assert_int_eq(pipe(fds), 0);
    if (scratch_fork() == 0) {
        close(fds[0]);
        death_live(fds[1], manner);
    }
    close(fds[1]);
    ready = (struct pollfd){.fd = fds[0], .events = POLLIN};
    ck_assert_int_eq(poll(&ready, 1, AWAIT_MS_MAX), 1);
    ck_assert_int_eq(read(fds[0], &victim, sizeof(victim)), sizeof(victim));
    close(fds[0]);
    return victim;
}

static void death_kill(pid_t pid)
{
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
}

/* From the kill of a holder to the grant of the waiter, the best of some tries, in ms. */
static int64_t death_handover_ms(enum death_manner manner)
{
    int64_t best_us = INT64_MAX;

    for (int i = 0; i < DEATH_TRIES; i++) {
        struct victim victim = death_bear(manner);
        struct client *waiter = scene_client();
        int id = client_ask_lock(waiter, "k");
        int64_t killed_at_us = await_now_us(), took_us;

        if (manner == DEATH_FLOODING) {
            int64_t requests = scene_stat("requests");

            AWAIT(scene_stat("requests") > requests + 1000);
            killed_at_us = await_now_us();
        }
        death_kill(victim.pid);
        client_expect_result(waiter, id);
        took_us = await_now_us() - killed_at_us;
        best_us = took_us < best_us ? took_us : best_us;
        ck_assert_int_eq(waitpid(victim.pid, NULL, 0), victim.pid);
        if (victim.heir_pid) {
            death_kill(victim.heir_pid);
        }
        client_close(waiter);
    }
    return best_us / 1000;
}

START_TEST(test_killed_holder_passes_the_lock_on)
{
    ck_assert_int_lt(death_handover_ms(DEATH_QUIET), DEATH_RELEASE_MS_MAX);
}
END_TEST

START_TEST(test_killed_holder_whose_child_keeps_the_socket)
{
    ck_assert_int_lt(death_handover_ms(DEATH_WITH_HEIR), DEATH_RELEASE_MS_MAX);
}
END_TEST

START_TEST(test_killed_holder_that_was_flooding)
{
    ck_assert_int_lt(death_handover_ms(DEATH_FLOODING), DEATH_FLOOD_MS_MAX);
}
END_TEST

START_TEST(test_killed_holder_frees_the_key_in_redis)
{
    int64_t best_us = INT64_MAX;

    for (int i = 0; i < DEATH_TRIES; i++) {
        struct victim victim = death_bear(DEATH_QUIET);
        int64_t killed_at_us = await_now_us(), took_us;

        death_kill(victim.pid);
        AWAIT(!probe_has(scene.probe, "k"));
        took_us = await_now_us() - killed_at_us;
        best_us = took_us < best_us ? took_us : best_us;
        ck_assert_int_eq(waitpid(victim.pid, NULL, 0), victim.pid);
    }
    ck_assert_int_lt(best_us / 1000, DEATH_RELEASE_MS_MAX);
}
END_TEST

START_TEST(test_end_of_a_waiter)
{
    struct client *holder = scene_client(), *gone = scene_client(), *last = scene_client();
    int id;

    (void)client_lock(holder, "k");
    (void)client_ask_lock(gone, "k");
    id = client_ask_lock(last, "k");
    client_close(gone);
    AWAIT(scene_stat("claims_waiting") == 1);
    client_call(holder, "unlock", "{'key':'k'}");
    client_expect_result(last, id);
}
END_TEST

/* The waiter is gone when its grant is written; the daemon had no chance to see it before. */
START_TEST(test_end_of_a_waiter_as_it_is_granted)
{
    struct client *holder = scene_client(), *gone = scene_client(), *last = scene_client();
    int id, unlock;

    (void)client_lock(holder, "k");
    (void)client_ask_lock(gone, "k");
    id = client_ask_lock(last, "k");
    rlockd_signal(scene.rlockd, SIGSTOP);
    unlock = client_ask(holder, "unlock", "{'key':'k'}");
    client_close(gone);
    rlockd_signal(scene.rlockd, SIGCONT);
    client_expect_result(holder, unlock);
    client_expect_result(last, id);
}
END_TEST

START_TEST(test_half_close_is_the_end)
{
    struct client *client = scene_client(), *waiter = scene_client();
    int id, ping;

    (void)client_lock(client, "k");
    id = client_ask_lock(waiter, "k");
    ping = client_ask(client, "ping", "{}");
    ck_assert_int_eq(shutdown(client_fd(client), SHUT_WR), 0);
    client_expect_result(client, ping); /* what it had asked is answered */
    client_expect_end(client);
    client_expect_result(waiter, id);
}
END_TEST

START_TEST(test_lock_and_gone)
{
    for (int i = 0; i < 50; i++) {
        struct client *client = scene_client();

        client_ask(client, "lock", "{'key':'k','ttl_ms':600000}");
        if (i % 2) {
            ck_assert_int_eq(shutdown(client_fd(client), SHUT_WR), 0);
        }
        client_close(client);
    }
    AWAIT(scene_stat("connections_total") == 51);
    AWAIT(scene_stat("connections") == 1); /* the one that asks */
    AWAIT(scene_stat("keys") == 0);
    ck_assert(!probe_has(scene.probe, "k"));
    ck_assert_int_ge(scene_stat("requests"), 50);
}
END_TEST

START_TEST(test_unread_replies_cost_the_connection)
{
    static const char line[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"hello\"}\n";
    struct client *lazy = scene_client(), *waiter = scene_client();
    int id, n_sent = 0;

    (void)client_lock(lazy, "k");
    id = client_ask_lock(waiter, "k");
    while (send(client_fd(lazy), line, sizeof(line) - 1, MSG_NOSIGNAL) > 0) {
        ck_assert_int_lt(++n_sent, 1000000);
    }
    ck_assert(errno == EPIPE || errno == ECONNRESET);
    client_expect_result(waiter, id);
    ck_assert_int_ge(scene_stat("connections_dropped"), 1);
}
END_TEST

START_TEST(test_end_after_lost)
{
    struct client *client = scene_client();

    client_call(client, "lock", "{'key':'k','ttl_ms':300,'auto_refresh':false}");
    client_expect_notice(client, "lost");
    client_ask(client, "unlock", "{'key':'k'}");
    client_close(client);
    (void)client_lock(scene_client(), "k"); /* the daemon is well */
    ck_assert_int_eq(scene_stat("lost"), 1);
}
END_TEST

START_TEST(test_many_short_connections)
{
    int n_fds = 0;
    long rss_kib = 0;

    for (int i = 0; i < 3000; i++) {
        struct client *client = scene_client();

        if (i % 3 == 0) {
            client_ask(client, "lock", "{'key':'k%d'}", i);
        }
        client_close(client);
        if (i == 1500) {
            AWAIT(scene_stat("connections_total") >= i + 1);
            AWAIT(scene_stat("connections") == 1);
            n_fds = rlockd_n_fds(scene.rlockd);
            rss_kib = rlockd_rss_kib(scene.rlockd);
        }
    }
    AWAIT(scene_stat("connections_total") == 3001);
    AWAIT(scene_stat("connections") == 1);
    AWAIT(scene_stat("keys") == 0);
    ck_assert_int_eq(rlockd_n_fds(scene.rlockd), n_fds);
    ck_assert_int_lt(rlockd_rss_kib(scene.rlockd), rss_kib + 1024);
}
END_TEST

static void death_open(void)
{
    scene_open("[limits]\noutput_buffer = 64k\n");
}

Suite *test_death_suite(void)
{
    Suite *suite = suite_create("system: death");
    TCase *tcase = scene_case(suite, "death", death_open);

    tcase_add_test(tcase, test_killed_holder_passes_the_lock_on);
    tcase_add_test(tcase, test_killed_holder_whose_child_keeps_the_socket);
    tcase_add_test(tcase, test_killed_holder_that_was_flooding);
    tcase_add_test(tcase, test_killed_holder_frees_the_key_in_redis);
    tcase_add_test(tcase, test_end_of_a_waiter);
    tcase_add_test(tcase, test_end_of_a_waiter_as_it_is_granted);
    tcase_add_test(tcase, test_half_close_is_the_end);
    tcase_add_test(tcase, test_lock_and_gone);
    tcase_add_test(tcase, test_unread_replies_cost_the_connection);
    tcase_add_test(tcase, test_end_after_lost);
    tcase_add_test(tcase, test_many_short_connections);
    return suite;
}
