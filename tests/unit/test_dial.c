/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Names with several addresses, addresses where nobody answers, and ends at any moment.
 */

#include "daemon/base/clock.h"
#include "daemon/redis/dial.h"

#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct world {
    uv_loop_t loop;
    struct dial dial;
    int n_done, n_closed;
    char reason[128]; /* "": connected */
    int listen_fd, port;
} world;

static void on_done(void *ctx, const char *reason)
{
    ck_assert_ptr_eq(ctx, &world);
    world.n_done++;
    snprintf(world.reason, sizeof(world.reason), "%s", reason != NULL ? reason : "");
}

static void on_closed(void *ctx)
{
    ck_assert_ptr_eq(ctx, &world);
    world.n_closed++;
}

static void setup(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);

    ck_assert_int_eq(uv_loop_init(&world.loop), 0);
    dial_init(&world.dial, &world.loop, &(struct dial_sinks){on_done, on_closed, &world});
    world.listen_fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(world.listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(world.listen_fd, 0), 0);
    ck_assert_int_eq(getsockname(world.listen_fd, (struct sockaddr *)&address, &len), 0);
    world.port = ntohs(address.sin_port);
}

static void end(void)
{
    int before = world.n_closed;

    dial_end(&world.dial);
    ck_assert_int_eq(world.n_closed, before);
    ck_assert_int_eq(uv_run(&world.loop, UV_RUN_DEFAULT), 0);
    ck_assert_int_eq(world.n_closed, before + 1);
}

static void teardown(void)
{
    ck_assert_int_eq(uv_loop_close(&world.loop), 0);
    close(world.listen_fd);
}

static void await_done(void)
{
    while (world.n_done == 0) {
        (void)uv_run(&world.loop, UV_RUN_ONCE);
    }
}

/* Without a name the resolver gives ::1 and 127.0.0.1, and only at the latter somebody listens. */
START_TEST(test_next_address)
{
    dial_start(&world.dial, NULL, NULL, world.port, 5000);
    ck_assert_int_eq(world.n_done, 0);
    await_done();
    ck_assert_str_eq(world.reason, "");
    ck_assert_ptr_nonnull(dial_stream(&world.dial));
    end();
    ck_assert_int_eq(world.n_done, 1);
}
END_TEST

START_TEST(test_refused)
{
    close(world.listen_fd);
    dial_start(&world.dial, NULL, _i == 0 ? NULL : "127.0.0.1", world.port, 5000);
    await_done();
    ck_assert_str_eq(world.reason, "connection refused");
    end();
    /* The same memory, once more. */
    world.n_done = 0;
    dial_start(&world.dial, "/nonexistent/socket", NULL, 0, 5000);
    await_done();
    ck_assert_str_eq(world.reason, "no such file or directory");
    end();
}
END_TEST

/* A listener whose queue is full lets the packets of further connections vanish. */
START_TEST(test_no_answer)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)world.port)};
    int filler = socket(AF_INET, SOCK_STREAM, 0);
    int64_t start_ms = clock_now_ms();

    ck_assert_int_eq(connect(filler, (struct sockaddr *)&address, sizeof(address)), 0);
    dial_start(&world.dial, NULL, "127.0.0.1", world.port, 100);
    await_done();
    ck_assert_str_eq(world.reason, "no connection in time");
    ck_assert_int_ge(clock_now_ms() - start_ms, 99);
    end();
    close(filler);
}
END_TEST

/* Given up at once, while the resolver works, while it connects: no word of it comes any more. */
START_TEST(test_end)
{
    dial_start(&world.dial, _i % 2 == 0 ? NULL : "/nonexistent/socket", "127.0.0.1", world.port, 5000);
    for (int i = 0; i < _i / 2 && world.n_done == 0; i++) {
        (void)uv_run(&world.loop, UV_RUN_ONCE);
    }
    int before = world.n_done;
    end();
    ck_assert_int_eq(world.n_done, before);
}
END_TEST

Suite *test_dial_suite(void);
Suite *test_dial_suite(void)
{
    Suite *suite = suite_create("dial");
    TCase *tcase = tcase_create("dial");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, test_next_address);
    tcase_add_loop_test(tcase, test_refused, 0, 2);
    tcase_add_test(tcase, test_no_answer);
    tcase_add_loop_test(tcase, test_end, 0, 8);
    suite_add_tcase(suite, tcase);
    return suite;
}
