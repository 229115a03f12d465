/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The daemon's own life: starts that must fail, a socket left behind, a second instance, reload,
 * stop, crash.
 */

#include "tests/lib/scene.h"

#include <glob.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

Suite *test_life_suite(void);

static void life_expect_lost_shutdown(struct client *client)
{
    ck_assert_str_eq(member_text(client_expect_notice(client, "lost"), "reason"), "shutdown");
}

START_TEST(test_stop_gives_holders_time_to_unlock)
{
    struct client *tidy = scene_client(), *idle = scene_client(), *waiter = scene_client();
    int id;

    (void)client_lock(tidy, "tidy");
    (void)client_lock(idle, "idle");
    id = client_ask_lock(waiter, "tidy");
    rlockd_signal(scene.rlockd, SIGTERM);
    life_expect_lost_shutdown(tidy);
    life_expect_lost_shutdown(idle);
    client_expect_error(waiter, id, 9, "shutting_down");
    client_expect_error(waiter, client_ask(waiter, "lock", "{'key':'other'}"), 9, "shutting_down");
    client_call(tidy, "unlock", "{'key':'tidy'}");
    ck_assert(!probe_has(scene.probe, "tidy"));
    ck_assert_int_eq(rlockd_wait(scene.rlockd), 0);
    /* Somebody may still believe in this one: it is left to its ttl. */
    ck_assert(probe_has(scene.probe, "idle"));
    client_expect_end(idle);
    ck_assert(!client_can_connect(scene.rlockd->socket_path));
    ck_assert_int_ne(access(scene.rlockd->socket_path, F_OK), 0);
}
END_TEST

START_TEST(test_stop_when_idle_is_at_once)
{
    struct client *client = scene_client();
    int64_t start_ms;

    (void)client_lock(client, "k");
    client_call(client, "unlock", "{'key':'k'}");
    start_ms = await_now_ms();
    rlockd_signal(scene.rlockd, SIGINT);
    ck_assert_int_eq(rlockd_wait(scene.rlockd), 0);
    ck_assert_int_lt(await_now_ms() - start_ms, 2000); /* the time that only holders get */
}
END_TEST

START_TEST(test_second_stop_is_at_once)
{
    struct client *client = scene_client();
    int64_t start_ms = await_now_ms();

    (void)client_lock(client, "k");
    rlockd_signal(scene.rlockd, SIGTERM);
    life_expect_lost_shutdown(client);
    rlockd_signal(scene.rlockd, SIGTERM);
    (void)rlockd_wait(scene.rlockd); /* whatever it says: nothing could be ended well */
    ck_assert_int_lt(await_now_ms() - start_ms, 2000);
}
END_TEST

START_TEST(test_stop_while_redis_is_down)
{
    struct client *client = scene_client();

    (void)client_lock(client, "k");
    scene_stop_redis();
    client_ask(client, "unlock", "{'key':'k'}");
    rlockd_signal(scene.rlockd, SIGTERM);
    ck_assert_int_eq(rlockd_wait(scene.rlockd), 0);
    scene_continue_redis();
}
END_TEST

START_TEST(test_crash_leaves_only_what_runs_out)
{
    struct client *client = scene_client();

    (void)client_lock(client, "k");
    rlockd_signal(scene.rlockd, SIGKILL);
    client_expect_end(client);
    ck_assert_int_eq(rlockd_wait(scene.rlockd), 128 + SIGKILL);
    ck_assert_int_gt(probe_ttl_ms(scene.probe, "k"), 0);
    ck_assert_int_le(probe_ttl_ms(scene.probe, "k"), 30000);

    rlockd_spawn(scene.rlockd, NULL); /* on the socket that was left behind */
    ck_assert(rlockd_await_ready(scene.rlockd));
    client = scene_client();
    client_expect_error(client, client_ask(client, "try_lock", "{'key':'k'}"), 1, "held");
    client_expect_error(client, client_ask(client, "unlock", "{'key':'k'}"), 2, "not_held");
    ck_assert(probe_has(scene.probe, "k"));
}
END_TEST

START_TEST(test_second_instance_does_no_harm)
{
    struct client *client = scene_client();
    struct rlockd second = *scene.rlockd;

    (void)client_lock(client, "k");
    second.pid = 0;
    rlockd_spawn(&second, NULL);
    ck_assert(!rlockd_await_ready(&second));
    ck_assert_int_ne(rlockd_wait(&second), 0);
    client_expect_nothing(client);
    client_expect_nothing(scene_client());
}
END_TEST

/* Somebody removed the socket, and a new daemon has its own there when the old one goes. */
START_TEST(test_old_instance_leaves_the_new_ones_socket_alone)
{
    struct rlockd other = *scene.rlockd;
    char pattern[SCRATCH_PATH_CAP + 1];
    glob_t files;

    snprintf(pattern, sizeof(pattern), "%s*", other.socket_path);
    ck_assert_int_eq(glob(pattern, 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        ck_assert_int_eq(unlink(files.gl_pathv[i]), 0); /* the socket, and what guards it */
    }
    globfree(&files);
    other.pid = 0;
    rlockd_spawn(&other, NULL);
    ck_assert(rlockd_await_ready(&other));
    rlockd_signal(scene.rlockd, SIGTERM);
    ck_assert_int_eq(rlockd_wait(scene.rlockd), 0);
    ck_assert(client_can_connect(other.socket_path));
    scene.rlockd->pid = other.pid; /* ended by the fixture */
}
END_TEST

START_TEST(test_socket_mode)
{
    struct stat st;

    ck_assert_int_eq(stat(scene.rlockd->socket_path, &st), 0);
    ck_assert(S_ISSOCK(st.st_mode));
    ck_assert_int_eq(st.st_mode & 0777, 0660);
}
END_TEST

START_TEST(test_starts_without_redis)
{
    char nowhere[SCRATCH_PATH_CAP];
    struct rlockd *rlockd = rlockd_start(scratch_path(nowhere, "nowhere.sock"), "");
    struct client *client = client_open(rlockd->socket_path);

    client_expect_nothing(client);
    ck_assert_int_eq(client_stat(client, "redis_up"), 0);
    client_expect_error(client, client_ask(client, "try_lock", "{'key':'k'}"), 4, "unavailable");
    client_close(client);
    rlockd_signal(rlockd, SIGTERM);
    ck_assert_int_eq(rlockd_wait(rlockd), 0);
    rlockd_free(rlockd);
}
END_TEST

/* How often a text stands in the log. */
static int life_log_count(const char *text)
{
    char *log = rlockd_log(scene.rlockd);
    int n = 0;

    for (const char *at = log; (at = strstr(at, text)) != NULL; at++) {
        n++;
    }
    free(log);
    return n;
}

/* Asks until `hello` shows this default. */
static bool life_has_ttl(struct client *client, int64_t ttl_ms)
{
    return member_int(json_object_get(client_query(client, "hello"), "defaults"), "ttl_ms") == ttl_ms;
}

START_TEST(test_reload)
{
    struct client *client = scene_client(), *holder = scene_client();
    const char *redis = redis_server_socket(scene.redis);

    (void)client_lock(holder, "k");
    ck_assert(life_has_ttl(client, 30000));
    rlockd_configure(scene.rlockd, redis,
                     "[lease]\nttl = 20s\n[log]\nlevel = debug\n"
                     "[limits]\nheld_per_connection = 1\n");
    rlockd_signal(scene.rlockd, SIGHUP);
    AWAIT(life_has_ttl(client, 20000));
    ck_assert_int_eq(member_int(client_call(client, "lock", "{'key':'a'}"), "ttl_ms"), 20000);
    client_expect_error(client, client_ask(client, "lock", "{'key':'b'}"), 7, "limit");

    /* A file with an error changes nothing, and is complained about. */
    rlockd_configure(scene.rlockd, redis, "[lease]\nttl = 10s\n[nonsense]\nx = 1\n");
    rlockd_signal(scene.rlockd, SIGHUP);
    AWAIT(rlockd_log_has(scene.rlockd, "nonsense"));
    ck_assert(life_has_ttl(client, 20000));
    client_call(holder, "unlock", "{'key':'k'}"); /* and nobody has lost anything */
}
END_TEST

/* The break, and that the daemon has found its way back to a Redis. */
static void life_break_link(void)
{
    int64_t n_connects = scene_stat("redis_connects");

    /* The one that listens too, if it has not subscribed yet. */
    ck_assert_int_ge(probe_do(scene.probe, "CLIENT KILL TYPE normal SKIPME yes"), 1);
    AWAIT(scene_stat("redis_connects") > n_connects && scene_stat("redis_up") == 1);
}

/* Another Redis knows nothing of the locks that are held: no reload makes the daemon go there. */
START_TEST(test_reload_keeps_the_server)
{
    struct redis_server *other = redis_server_start("--requirepass", "secret", NULL);
    struct client *client = scene_client(), *holder = scene_client();
    char secret_path[SCRATCH_PATH_CAP], extra[SCRATCH_PATH_CAP + 64];
    FILE *secret = fopen(scratch_path(secret_path, "secret"), "we");

    ck_assert_int_ge(fputs("secret\n", secret), 0);
    ck_assert_int_eq(fchmod(fileno(secret), 0600), 0);
    ck_assert_int_eq(fclose(secret), 0);
    snprintf(extra, sizeof(extra), "password_file = %s\n[lease]\nttl = 20s\n", secret_path);
    (void)client_lock(holder, "k");
    rlockd_configure(scene.rlockd, redis_server_socket(other), extra);
    rlockd_signal(scene.rlockd, SIGHUP);
    AWAIT(life_has_ttl(client, 20000));
    ck_assert(rlockd_log_has(scene.rlockd, "reload: [redis] names another server"));
    life_break_link();
    client_expect_error(client, client_ask(client, "try_lock", "{'key':'k'}"), 1, "held");
    (void)client_lock(client, "new");
    ck_assert(probe_has(scene.probe, "new"));

    /* The complaint is about the server that it is at, not about the file read before. */
    rlockd_configure(scene.rlockd, redis_server_socket(scene.redis), "[lease]\nttl = 10s\nprefix = p:\n");
    rlockd_signal(scene.rlockd, SIGHUP);
    AWAIT(life_has_ttl(client, 10000));
    ck_assert_int_eq(life_log_count("names another server"), 1);
    ck_assert_int_eq(life_log_count("reload: [lease] prefix"), 1);
    rlockd_signal(scene.rlockd, SIGHUP);
    AWAIT(life_log_count("reload: [lease] prefix") == 2);
    life_break_link();
    client_call(holder, "unlock", "{'key':'k'}"); /* nothing was lost by all that */
    ck_assert(!probe_has(scene.probe, "k"));
    redis_server_stop(other);
}
END_TEST

/* What a reload changes only later is said. */
START_TEST(test_reload_says_what_is_later)
{
    rlockd_configure(scene.rlockd, redis_server_socket(scene.redis), "strict = yes\n[limits]\nline = 32k\n");
    rlockd_signal(scene.rlockd, SIGHUP);
    AWAIT(rlockd_log_has(scene.rlockd, "reloaded"));
    ck_assert_int_eq(life_log_count("reload: [redis] strict: from the next connection to Redis on"), 1);
    ck_assert_int_eq(life_log_count("reload: [limits] line: for new connections"), 1);
    rlockd_signal(scene.rlockd, SIGHUP);
    AWAIT(life_log_count("reloaded") == 2);
    ck_assert_int_eq(life_log_count("reload: "), 2); /* nothing has changed since */
}
END_TEST

/* Waits until the service manager is told so. */
static void life_await_status(const char *status)
{
    struct pollfd manager = {.fd = scene.rlockd->notify_fd, .events = POLLIN};
    char text[512] = "";

    while (strcmp(text, status) != 0) {
        ck_assert_msg(poll(&manager, 1, AWAIT_MS_MAX) == 1, "the last status is %s", text);
        ssize_t len = recv(manager.fd, text, sizeof(text) - 1, 0);
        text[len > 0 ? len : 0] = '\0';
    }
}

START_TEST(test_manager_knows_about_redis)
{
    life_await_status("STATUS=serving, Redis is up");
    redis_server_kill(scene.redis);
    life_await_status("STATUS=Redis is down: connection refused");
    redis_server_restart(scene.redis);
    life_await_status("STATUS=serving, Redis is up");
    probe_close(scene.probe);
    scene.probe = probe_open(redis_server_socket(scene.redis));
}
END_TEST

/* Whole configuration files that are in order, or what the complaint must contain. */
static const struct {
    const char *text, *complaint;
} life_files[] = {
    {"", NULL},
    {"# nothing\n; at all\n", NULL},
    {"[lease]\nttl = 10s\nrenew_fraction = 4\n[lock]\nwait = forever\nretry_max = unlimited\n", NULL},
    {"[redis]\nurl = redis://127.0.0.1:6379/3\n", NULL},
    {"[nonsense]\nx = 1\n", "nonsense"},
    {"[lease]\ncolor = red\n", "color"},
    {"[lease]\nttl = 10s\nttl = 11s\n", "ttl"},
    {"[lease]\nttl = 1ms\n", "ttl"},
    {"[lease]\nttl = 10\n", "ttl"},
    {"[lease]\nttl = ten\n", "ttl"},
    {"[limits]\nline = 64x\n", "line"},
    {"[listen]\nmode = 0999\n", "mode"},
    {"[redis]\nurl = http://localhost/\n", "url"},
    {"[redis]\nstrict = perhaps\n", "strict"},
    {"[log]\nlevel = loud\n", "level"},
    {"just words\n", ":1"},
};

START_TEST(test_config_is_checked)
{
    for (size_t i = 0; i < sizeof(life_files) / sizeof(life_files[0]); i++) {
        struct rlockd *rlockd = rlockd_prepare_text(life_files[i].text);
        bool is_good = life_files[i].complaint == NULL;
        int status;
        char *log;

        rlockd_spawn(rlockd, "-t");
        status = rlockd_wait(rlockd);
        log = rlockd_log(rlockd);
        ck_assert_msg((status == 0) == is_good, "-t ends with %d: %s%s", status, life_files[i].text, log);
        if (!is_good) {
            ck_assert_msg(strstr(log, life_files[i].complaint) && strstr(log, rlockd->conf_path),
                          "complaint of: %s%s", life_files[i].text, log);
            rlockd_spawn(rlockd, NULL);
            ck_assert(!rlockd_await_ready(rlockd));
            ck_assert_int_ne(rlockd_wait(rlockd), 0);
        }
        free(log);
        rlockd_free(rlockd);
    }
}
END_TEST

START_TEST(test_config_must_be_there)
{
    struct rlockd *rlockd = rlockd_prepare_text("");

    ck_assert_int_eq(unlink(rlockd->conf_path), 0);
    rlockd_spawn(rlockd, NULL);
    ck_assert(!rlockd_await_ready(rlockd));
    ck_assert_int_ne(rlockd_wait(rlockd), 0);
    ck_assert(rlockd_log_has(rlockd, rlockd->conf_path));
    rlockd_free(rlockd);
}
END_TEST

START_TEST(test_secrets_stay_secret)
{
    struct client *client = scene_client();
    char *value;

    client_call(client, "lock", "{'key':'k','note':'n'}");
    value = probe_get(scene.probe, "k");
    value[36] = '\0'; /* the part that is the lock's own */
    client_ask(client, "inspect", "{'key':'k'}");
    ck_assert_ptr_null(strstr(client_line(client), value));
    client_ask(client, "list", "{}");
    ck_assert_ptr_null(strstr(client_line(client), value));
    ck_assert(!rlockd_log_has(scene.rlockd, value));
    free(value);
}
END_TEST

static void life_open(void)
{
    scene_open("timeout = 500ms\n");
}

Suite *test_life_suite(void)
{
    Suite *suite = suite_create("system: life");
    TCase *tcase = scene_case(suite, "life", life_open);

    tcase_add_test(tcase, test_stop_gives_holders_time_to_unlock);
    tcase_add_test(tcase, test_stop_when_idle_is_at_once);
    tcase_add_test(tcase, test_second_stop_is_at_once);
    tcase_add_test(tcase, test_stop_while_redis_is_down);
    tcase_add_test(tcase, test_crash_leaves_only_what_runs_out);
    tcase_add_test(tcase, test_second_instance_does_no_harm);
    tcase_add_test(tcase, test_old_instance_leaves_the_new_ones_socket_alone);
    tcase_add_test(tcase, test_socket_mode);
    tcase_add_test(tcase, test_starts_without_redis);
    tcase_add_test(tcase, test_reload);
    tcase_add_test(tcase, test_reload_keeps_the_server);
    tcase_add_test(tcase, test_reload_says_what_is_later);
    tcase_add_test(tcase, test_manager_knows_about_redis);
    tcase_add_test(tcase, test_config_is_checked);
    tcase_add_test(tcase, test_config_must_be_there);
    tcase_add_test(tcase, test_secrets_stay_secret);
    return suite;
}
