/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * `rlock run` and `rlock hold` when the lock gets into danger. What matters is what the command can still do
 * after its lock has run out: nothing. So commands here tell the time for as long as they live, and it is
 * their last word that is compared with the daemon's instant, not the moment in which a test notices.
 */

#include "tests/lib/command.h"
#include "tests/lib/scene.h"

#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

Suite *test_rlock_loss_suite(void);

/* Says "up", then the time, again and again: seconds of CLOCK_BOOTTIME, cut to two places. Ends in any case. */
#define LOSS_TELL_TIME                                       \
    "echo up; n=0; while [ $n -lt 2000 ]; do n=$((n + 1)); " \
    "read -r now rest </proc/uptime; echo $now; sleep 0.005; done"
#define LOSS_IGNORE_TERM "trap '' TERM; "

/* The latest instant at which the lock on k is sure, if it is not renewed any more. */
static int64_t loss_valid_until_ms(void)
{
    json_t *result = client_call(scene_client(), "inspect", "{'key':'k'}");
    const json_t *lease = json_object_get(result, "lease");

    ck_assert_ptr_nonnull(lease);
    return await_now_ms() + member_int(lease, "remaining_ms");
}

/* Reads to the end what a command with LOSS_TELL_TIME says: its last word, in ms. */
static int64_t loss_last_word_ms(struct command *run)
{
    int64_t last_ms = 0;
    const char *line;

    while ((line = command_line(run)) != NULL) {
        if (line[0] >= '0' && line[0] <= '9') {
            last_ms = (int64_t)(strtod(line, NULL) * 1000);
        }
    }
    ck_assert_int_gt(last_ms, 0);
    return last_ms;
}

/* A command that lets nothing end it but KILL is dead before the lock has run out. */
static void loss_expect_death(struct command *run, int64_t valid_until_ms, int64_t ttl_ms)
{
    int64_t last_ms = loss_last_word_ms(run);

    ck_assert_int_lt(last_ms, valid_until_ms);
    ck_assert_int_gt(last_ms, valid_until_ms - ttl_ms * 7 / 10); /* and it was not ended too early */
    ck_assert_int_eq(command_wait(run), 75);
}

START_TEST(test_redis_stops_and_the_command_ignores_term)
{
    struct command *run =
        rlock_start("run", "-t", "2", "k", "sh", "-c", LOSS_IGNORE_TERM LOSS_TELL_TIME, NULL);

    command_expect(run, "up");
    scene_stop_redis();
    loss_expect_death(run, loss_valid_until_ms(), 2000);
    scene_continue_redis();
}
END_TEST

START_TEST(test_redis_stops_and_the_command_obeys)
{
    struct command *run =
        rlock_start("run", "-t", "2", "k", "sh", "-c",
                    "trap 'read -r now rest </proc/uptime; echo $now; exit 0' TERM; " LOSS_TELL_TIME, NULL);
    int64_t term_at_ms, last_ms;

    command_expect(run, "up");
    scene_stop_redis();
    term_at_ms =
        loss_valid_until_ms() - 600; /* 70% of the ttl, as 99% are sure, but for the grain of it all */
    command_expect(run, "at risk");
    last_ms = loss_last_word_ms(run);
    ck_assert_int_ge(last_ms, term_at_ms - 10);
    ck_assert_int_lt(last_ms, term_at_ms + 400); /* well before KILL */
    ck_assert_int_eq(command_wait(run), 75);     /* whatever the command itself says */
    scene_continue_redis();
}
END_TEST

START_TEST(test_redis_comes_back_in_time)
{
    struct command *run = rlock_start("run", "-t", "3", "k", "sh", "-c", "echo up; cat; exit 6", NULL);

    command_expect(run, "up");
    scene_stop_redis();
    command_expect(run, "at risk");
    scene_continue_redis();
    command_expect(run, "safe again");
    command_close_input(run);
    ck_assert_int_eq(command_wait(run), 6);
}
END_TEST

START_TEST(test_daemon_is_killed)
{
    struct command *run =
        rlock_start("run", "-t", "2", "k", "sh", "-c", LOSS_IGNORE_TERM LOSS_TELL_TIME, NULL);

    command_expect(run, "up");
    rlockd_signal(scene.rlockd, SIGKILL);
    /* The last renewal was before this moment, and 1% of the ttl and 2 ms are not relied upon. */
    loss_expect_death(run, await_now_ms() + 1978, 2000);
    (void)rlockd_wait(scene.rlockd);
}
END_TEST

START_TEST(test_daemon_is_killed_and_the_command_ends_in_time)
{
    struct command *run = rlock_start("run", "k", "sh", "-c", "echo up; cat; exit 6", NULL);

    command_expect(run, "up");
    rlockd_signal(scene.rlockd, SIGKILL);
    (void)rlockd_wait(scene.rlockd);
    command_expect(run, "the daemon has gone");
    command_close_input(run);
    ck_assert_int_eq(command_wait(run), 6);
}
END_TEST

START_TEST(test_daemon_hangs)
{
    struct command *run =
        rlock_start("run", "-t", "2", "k", "sh", "-c", LOSS_IGNORE_TERM LOSS_TELL_TIME, NULL);

    command_expect(run, "up");
    rlockd_signal(scene.rlockd, SIGSTOP);
    loss_expect_death(run, await_now_ms() + 1978, 2000);
    rlockd_signal(scene.rlockd, SIGCONT);
}
END_TEST

START_TEST(test_daemon_is_told_to_stop)
{
    struct command *run = rlock_start("run", "k", "sh", "-c",
                                      "trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done", NULL);

    command_expect(run, "up");
    rlockd_signal(scene.rlockd, SIGTERM);
    ck_assert_int_eq(command_wait(run), 75);
    ck_assert_int_eq(rlockd_wait(scene.rlockd), 0);
    ck_assert(!probe_has(scene.probe, "k")); /* the command has ended, so it was given back */
}
END_TEST

/* A daemon that stops leaves the lease to run out, and the command must not outlive that, whatever -k allows. */
START_TEST(test_daemon_is_told_to_stop_and_the_command_ignores_term)
{
    struct command *run =
        rlock_start("run", "-t", "2", "-k", "60", "k", "sh", "-c", LOSS_IGNORE_TERM LOSS_TELL_TIME, NULL);

    command_expect(run, "up");
    rlockd_signal(scene.rlockd, SIGTERM);
    loss_expect_death(run, await_now_ms() + 1978, 2000);
    ck_assert_int_eq(rlockd_wait(scene.rlockd), 0);
}
END_TEST

START_TEST(test_lock_is_deleted)
{
    struct command *run = rlock_start("run", "-t", "0.6", "-k", "1.5", "k", "sh", "-c",
                                      LOSS_IGNORE_TERM "echo up; " LOSS_TELL_TIME, NULL);
    int64_t lost_at_ms, last_ms;

    command_expect(run, "up");
    ck_assert_int_eq(probe_do(scene.probe, "DEL k"), 1);
    command_expect(run, "lost k");
    lost_at_ms = await_now_ms();
    last_ms = loss_last_word_ms(run);
    /* -k, less what a busy machine makes of the words; and more than was left of the lease. */
    ck_assert_int_ge(last_ms, lost_at_ms + 1000);
    ck_assert_int_lt(last_ms, lost_at_ms + 4000); /* and not the default */
    ck_assert_int_eq(command_wait(run), 75);
}
END_TEST

START_TEST(test_whole_group_ends_with_the_lock)
{
    /* The command itself obeys; its child does not, and must not outlive the lock. */
    struct command *run =
        rlock_start("run", "-k", "0.3", "k", "sh", "-c",
                    "sh -c \"trap '' TERM; echo up; sleep 30 >/dev/null & wait; sleep 30\" & wait", NULL);

    command_expect(run, "up");
    client_call(scene_client(), "force_unlock", "{'key':'k'}");
    command_expect(run, "lost k");
    command_expect_end(run);
    ck_assert_int_eq(command_wait(run), 75);
}
END_TEST

/* Even where nobody buries orphans, as in a container whose first process does not: a dead group is dead. */
START_TEST(test_dead_group_is_not_waited_for)
{
    struct command *run;

    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    run = rlock_start("run", "-k", "60", "k", "sh", "-c", "sleep 60 & echo up; wait", NULL);
    command_expect(run, "up");
    client_call(scene_client(), "force_unlock", "{'key':'k'}");
    ck_assert_int_eq(command_wait(run), 75);
}
END_TEST

START_TEST(test_stopped_command_is_told_too)
{
    struct command *run = rlock_start("run", "k", "sh", "-c",
                                      "trap 'echo told; exit' TERM; echo $$; kill -STOP $$; sleep 60", NULL);

    command_await_stop((pid_t)atol(command_line(run)));
    client_call(scene_client(), "force_unlock", "{'key':'k'}");
    command_expect(run, "\ntold\n");
    ck_assert_int_eq(command_wait(run), 75);
}
END_TEST

/* --- hold ------------------------------------------------------------------------------------------ */

START_TEST(test_hold_until_stdin_ends)
{
    struct command *hold = rlock_start("hold", "k", NULL);
    const char *line = command_line(hold);
    char wanted[64];

    snprintf(wanted, sizeof(wanted), "k %lld",
             (long long)member_int(client_call(scene_client(), "inspect", "{'key':'k'}"), "fence"));
    ck_assert_str_eq(line, wanted);
    command_type(hold, "anything\n");
    command_close_input(hold);
    ck_assert_int_eq(command_wait(hold), 0);
    client_call(scene_client(), "try_lock", "{'key':'k'}");
}
END_TEST

START_TEST(test_hold_until_a_signal)
{
    struct command *hold = rlock_start("hold", "k", NULL);

    command_expect(hold, "k ");
    command_signal(hold, SIGTERM);
    ck_assert_int_eq(command_wait(hold), 0);
    client_call(scene_client(), "try_lock", "{'key':'k'}");
}
END_TEST

START_TEST(test_hold_not_got)
{
    struct command *hold;

    client_lock(scene_client(), "k");
    ck_assert_int_eq(rlock_status("hold", "-n", "k", NULL), 1);
    hold = rlock_start("hold", "k", NULL);
    AWAIT(scene_stat("claims_waiting") == 1);
    command_signal(hold, SIGINT);
    ck_assert_int_eq(command_wait(hold), 130);
    AWAIT(scene_stat("claims_waiting") == 0);
}
END_TEST

START_TEST(test_hold_lost)
{
    struct command *hold = rlock_start("hold", "k", NULL);

    command_expect(hold, "k ");
    client_call(scene_client(), "force_unlock", "{'key':'k'}");
    ck_assert_int_eq(command_wait(hold), 75);
    hold = rlock_start("hold", "k", NULL);
    command_expect(hold, "k ");
    rlockd_signal(scene.rlockd, SIGKILL);
    (void)rlockd_wait(scene.rlockd);
    ck_assert_int_eq(command_wait(hold), 75);
}
END_TEST

Suite *test_rlock_loss_suite(void)
{
    Suite *suite = suite_create("rlock_loss");
    TCase *tcase = scene_case(suite, "risk", scene_open_default);

    tcase_add_test(tcase, test_redis_stops_and_the_command_ignores_term);
    tcase_add_test(tcase, test_redis_stops_and_the_command_obeys);
    tcase_add_test(tcase, test_redis_comes_back_in_time);
    tcase_add_test(tcase, test_daemon_is_killed);
    tcase_add_test(tcase, test_daemon_is_killed_and_the_command_ends_in_time);
    tcase_add_test(tcase, test_daemon_hangs);
    tcase_add_test(tcase, test_daemon_is_told_to_stop);
    tcase_add_test(tcase, test_daemon_is_told_to_stop_and_the_command_ignores_term);
    tcase = scene_case(suite, "loss", scene_open_default);
    tcase_add_test(tcase, test_lock_is_deleted);
    tcase_add_test(tcase, test_whole_group_ends_with_the_lock);
    tcase_add_test(tcase, test_dead_group_is_not_waited_for);
    tcase_add_test(tcase, test_stopped_command_is_told_too);
    tcase = scene_case(suite, "hold", scene_open_default);
    tcase_add_test(tcase, test_hold_until_stdin_ends);
    tcase_add_test(tcase, test_hold_until_a_signal);
    tcase_add_test(tcase, test_hold_not_got);
    tcase_add_test(tcase, test_hold_lost);
    return suite;
}
