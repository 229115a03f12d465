/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The server logs into a pipe, which is read until it says that it is ready, and then closed: it does
 * not mind that its later lines go nowhere.
 */

#include "tests/lib/redis.h"

#include "tests/lib/scratch.h"

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REDIS_ARGS_MAX = 32 };

struct redis_server {
    pid_t pid; /* 0: does not run */
    char socket_path[SCRATCH_PATH_CAP];
    const char *args[REDIS_ARGS_MAX + 1];
};

static void redis_server_await_ready(int log_fd)
{
    FILE *log = fdopen(log_fd, "r");
    char line[512];
    bool is_ready = false;

    ck_assert_ptr_nonnull(log);
    while (!is_ready && fgets(line, sizeof(line), log) != NULL) {
        is_ready = strstr(line, "ready to accept connections at") != NULL;
    }
    fclose(log);
    ck_assert_msg(is_ready, "redis-server ended, its last line: %s", line);
}

static void redis_server_spawn(struct redis_server *server)
{
    int fds[2];

    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    server->pid = scratch_fork();
    if (server->pid == 0) {
        (void)dup2(fds[1], STDOUT_FILENO);
        (void)dup2(fds[1], STDERR_FILENO);
        execvp(server->args[0], (char **)server->args);
        perror("redis-server");
        _exit(127);
    }
    close(fds[1]);
    redis_server_await_ready(fds[0]);
}

struct redis_server *redis_server_start(const char *arg, ...)
{
    struct redis_server *server = calloc(1, sizeof(*server));
    const char *const usual[] = {"redis-server", "--port", "0",     "--save",      "",
                                 "--appendonly", "no",     "--dir", scratch_dir(), "--unixsocket"};
    size_t n_args = sizeof(usual) / sizeof(usual[0]);
    va_list args;

    ck_assert_ptr_nonnull(server);
    memcpy(server->args, usual, sizeof(usual));
    server->args[n_args++] = scratch_path(server->socket_path, "redis.sock");
    va_start(args, arg);
    for (; arg != NULL; arg = va_arg(args, const char *)) {
        ck_assert_uint_lt(n_args, REDIS_ARGS_MAX);
        server->args[n_args++] = arg;
    }
    va_end(args);
    redis_server_spawn(server);
    return server;
}

void redis_server_kill(struct redis_server *server)
{
    int status;

    if (server->pid > 0) {
        ck_assert_int_eq(kill(server->pid, SIGKILL), 0);
        ck_assert_int_eq(waitpid(server->pid, &status, 0), server->pid);
        server->pid = 0;
    }
}

void redis_server_restart(struct redis_server *server)
{
    redis_server_kill(server);
    redis_server_spawn(server);
}

void redis_server_stop(struct redis_server *server)
{
    if (server != NULL) {
        redis_server_kill(server);
        free(server);
    }
}

const char *redis_server_socket(const struct redis_server *server)
{
    return server->socket_path;
}

pid_t redis_server_pid(const struct redis_server *server)
{
    return server->pid;
}
