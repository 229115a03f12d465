/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Two daemons on one Redis stand for two hosts. Shells on both run commands under one lock, again and
 * again, and each command writes into one file when it begins and when it ends.
 */

#include "tests/lib/command.h"
#include "tests/lib/scene.h"

#include <stdio.h>

Suite *test_rlock_hosts_suite(void);

enum { HOSTS = 2, HOSTS_LOOPS = 20, HOSTS_TURNS = 4 };

/* $0: rlock, $1: the file, $2: how often. Says something each time, so that a test sees it get on. */
static const char hosts_loop[] = "n=0; while [ $n -lt $2 ]; do n=$((n + 1)); "
                                 "\"$0\" run -w 60 k sh -c 'echo begin $RLOCK_FENCE >>\"$0\"; echo end "
                                 "$RLOCK_FENCE >>\"$0\"' \"$1\" || exit; echo turn; done";

static struct rlockd *hosts_start_second(void)
{
    return rlockd_start(redis_server_socket(scene.redis), "[lock]\nretry_interval = 5ms\n");
}

static void hosts_open(void)
{
    scene_open("[lock]\nretry_interval = 5ms\n");
}

/* begin and end alternate, an end has the fence of its begin, and each fence is larger than the last. */
static void hosts_check(const char *path)
{
    FILE *file = fopen(path, "re");
    long long fence, ended, last = 0;

    ck_assert_ptr_nonnull(file);
    for (int i = 0; i < HOSTS * HOSTS_LOOPS * HOSTS_TURNS; i++) {
        ck_assert_int_eq(fscanf(file, " begin %lld end %lld", &fence, &ended), 2);
        ck_assert_int_eq(fence, ended);
        ck_assert_int_gt(fence, last);
        last = fence;
    }
    ck_assert_int_eq(fgetc(file), '\n');
    ck_assert_int_eq(fgetc(file), EOF);
    fclose(file);
}

START_TEST(test_two_hosts_take_turns)
{
    struct rlockd *hosts[HOSTS] = {scene.rlockd, hosts_start_second()};
    struct command *loops[HOSTS * HOSTS_LOOPS];
    char path[SCRATCH_PATH_CAP], turns[16];
    const char *argv[] = {"sh", "-c", hosts_loop, rlock_program(), scratch_path(path, "turns"), turns, NULL};

    snprintf(turns, sizeof(turns), "%d", HOSTS_TURNS);
    for (int i = 0; i < HOSTS * HOSTS_LOOPS; i++) {
        setenv("RLOCK_SOCKET", hosts[i % HOSTS]->socket_path, 1);
        loops[i] = command_start(argv);
    }
    for (int i = 0; i < HOSTS * HOSTS_LOOPS; i++) {
        command_expect_end(loops[i]);
        ck_assert_int_eq(command_wait(loops[i]), 0);
    }
    hosts_check(path);
    rlockd_signal(hosts[1], SIGTERM);
    ck_assert_int_eq(rlockd_wait(hosts[1]), 0);
    rlockd_free(hosts[1]);
}
END_TEST

Suite *test_rlock_hosts_suite(void)
{
    Suite *suite = suite_create("rlock_hosts");
    TCase *tcase = scene_case(suite, "hosts", hosts_open);

    tcase_add_test(tcase, test_two_hosts_take_turns);
    return suite;
}
