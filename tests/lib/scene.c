/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Puts the pieces together, and takes them apart in order, so that each test also shows that the
 * daemon can end well after what it has been through.
 */

#include "tests/lib/scene.h"

#include <sys/wait.h>

enum { SCENE_TEST_S_MAX = 60 };

struct scene scene;

static struct client *scene_watcher;

static void scene_start_daemon(const char *redis_socket, const char *extra)
{
    scene.rlockd = rlockd_start(redis_socket, extra);
    AWAIT(scene_stat("redis_up") == 1);
}

void scene_open(const char *extra)
{
    scene.redis = redis_server_start(NULL);
    scene.probe = probe_open(redis_server_socket(scene.redis));
    scene_start_daemon(redis_server_socket(scene.redis), extra);
}

void scene_open_with_proxy(const char *extra)
{
    scene.redis = redis_server_start(NULL);
    scene.probe = probe_open(redis_server_socket(scene.redis));
    scene.proxy = proxy_start(scratch_path(scene.proxy_path, "proxy.sock"), redis_server_socket(scene.redis));
    scene_start_daemon(scene.proxy_path, extra);
}

void scene_open_default(void)
{
    scene_open("");
}

void scene_close(void)
{
    client_close_all();
    scene_watcher = NULL;
    if (scene.rlockd->pid) {
        rlockd_signal(scene.rlockd, SIGTERM);
        ck_assert_int_eq(rlockd_wait(scene.rlockd), 0);
    }
    rlockd_free(scene.rlockd);
    if (scene.proxy) {
        proxy_stop(scene.proxy);
        scene.proxy = NULL;
    }
    probe_close(scene.probe);
    redis_server_stop(scene.redis);
}

struct client *scene_client(void)
{
    return client_open(scene.rlockd->socket_path);
}

int64_t scene_stat(const char *name)
{
    if (!scene_watcher) {
        scene_watcher = scene_client();
    }
    return client_stat(scene_watcher, name);
}

void scene_stop_redis(void)
{
    int status;

    ck_assert_int_eq(kill(redis_server_pid(scene.redis), SIGSTOP), 0);
    ck_assert_int_eq(waitpid(redis_server_pid(scene.redis), &status, WUNTRACED),
                     redis_server_pid(scene.redis));
    ck_assert(WIFSTOPPED(status));
}

void scene_continue_redis(void)
{
    ck_assert_int_eq(kill(redis_server_pid(scene.redis), SIGCONT), 0);
}

TCase *scene_case(Suite *suite, const char *name, void (*open)(void))
{
    TCase *tcase = tcase_create(name);

    tcase_set_timeout(tcase, SCENE_TEST_S_MAX);
    tcase_add_checked_fixture(tcase, open, scene_close);
    suite_add_tcase(suite, tcase);
    return tcase;
}
