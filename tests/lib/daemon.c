/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Starts, watches and ends the real daemon. Readiness is the datagram that it sends to a service
 * manager; so no test ever polls for a socket to appear. Knows the command line and the
 * configuration file, nothing of the inside.
 */

#include "tests/lib/daemon.h"
#include "tests/lib/await.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef RLOCKD_PATH
#define RLOCKD_PATH "build/rlockd"
#endif

/* $RLOCKD, or the one in the build directory that the makefile names, or where the compiler was told. */
static const char *rlockd_program(void)
{
    static char built[256];
    const char *path = getenv("RLOCKD"), *build = getenv("RLOCK_BUILD");

    if (path && path[0]) {
        return path;
    }
    if (build && build[0]) {
        snprintf(built, sizeof(built), "%s/rlockd", build);
        return built;
    }
    return RLOCKD_PATH;
}

static void rlockd_write_conf(const struct rlockd *rlockd, const char *text)
{
    FILE *file = fopen(rlockd->conf_path, "we");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

static int rlockd_bind_notify(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

struct rlockd *rlockd_prepare_text(const char *conf_text)
{
    struct rlockd *rlockd = calloc(1, sizeof(*rlockd));

    ck_assert_ptr_nonnull(rlockd);
    scratch_path(rlockd->socket_path, "rlockd.sock");
    scratch_path(rlockd->conf_path, "rlockd.conf");
    scratch_path(rlockd->log_path, "rlockd.log");
    scratch_path(rlockd->notify_path, "notify.sock");
    rlockd->notify_fd = rlockd_bind_notify(rlockd->notify_path);
    rlockd_write_conf(rlockd, conf_text);
    return rlockd;
}

struct rlockd *rlockd_prepare(const char *redis_socket, const char *extra)
{
    struct rlockd *rlockd = rlockd_prepare_text("");

    rlockd_configure(rlockd, redis_socket, extra);
    return rlockd;
}

void rlockd_configure(struct rlockd *rlockd, const char *redis_socket, const char *extra)
{
    char *text = NULL;

    ck_assert_int_gt(asprintf(&text, "[listen]\nsocket = %s\n[redis]\nurl = unix://%s\n%s\n",
                              rlockd->socket_path, redis_socket, extra),
                     0);
    rlockd_write_conf(rlockd, text);
    free(text);
}

void rlockd_spawn(struct rlockd *rlockd, const char *option)
{
    ck_assert_int_eq(rlockd->pid, 0);
    rlockd->pid = scratch_fork();
    if (rlockd->pid == 0) {
        int log_fd = open(rlockd->log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);

        if (log_fd < 0 || dup2(log_fd, STDERR_FILENO) < 0 || dup2(log_fd, STDOUT_FILENO) < 0) {
            _exit(126);
        }
        close(log_fd);
        setenv("NOTIFY_SOCKET", rlockd->notify_path, 1);
        /* A sanitized daemon keeps freed memory aside; not so much that its size says nothing. */
        setenv("ASAN_OPTIONS", "quarantine_size_mb=1:thread_local_quarantine_size_kb=64", 0);
        execl(rlockd_program(), "rlockd", "-c", rlockd->conf_path, option, (char *)NULL);
        _exit(127);
    }
}

/* A descriptor that becomes readable when the process ends. */
static int rlockd_pid_fd(const struct rlockd *rlockd)
{
    int fd = (int)syscall(SYS_pidfd_open, rlockd->pid, 0);

    ck_assert_int_ge(fd, 0);
    return fd;
}

bool rlockd_await_ready(struct rlockd *rlockd)
{
    struct pollfd fds[2] = {{.fd = rlockd->notify_fd, .events = POLLIN}, {.events = POLLIN}};
    int64_t end_ms = await_now_ms() + AWAIT_MS_MAX;
    bool is_ready = false;

    fds[1].fd = rlockd_pid_fd(rlockd);
    while (!is_ready) {
        char text[4096];
        ssize_t len;

        ck_assert_int_ge(poll(fds, 2, 100), 0);
        ck_assert_msg(await_now_ms() < end_ms, "the daemon has not become ready");
        len = recv(rlockd->notify_fd, text, sizeof(text) - 1, MSG_DONTWAIT);
        if (len > 0) {
            text[len] = '\0';
            is_ready = strncmp(text, "READY=1", 7) == 0 || strstr(text, "\nREADY=1") != NULL;
        } else if (fds[1].revents) {
            break;
        }
    }
    close(fds[1].fd);
    return is_ready;
}

struct rlockd *rlockd_start(const char *redis_socket, const char *extra)
{
    struct rlockd *rlockd = rlockd_prepare(redis_socket, extra);

    rlockd_spawn(rlockd, NULL);
    if (!rlockd_await_ready(rlockd)) {
        int status = rlockd_wait(rlockd);

        ck_abort_msg("%s ended with %d instead of getting ready: %s", rlockd_program(), status,
                     rlockd_log(rlockd));
    }
    return rlockd;
}

void rlockd_signal(struct rlockd *rlockd, int signo)
{
    int status;

    ck_assert_int_gt(rlockd->pid, 0);
    ck_assert_int_eq(kill(rlockd->pid, signo), 0);
    if (signo == SIGSTOP) {
        ck_assert_int_eq(waitpid(rlockd->pid, &status, WUNTRACED), rlockd->pid);
        ck_assert(WIFSTOPPED(status));
    }
}

int rlockd_wait(struct rlockd *rlockd)
{
    struct pollfd end = {.fd = rlockd_pid_fd(rlockd), .events = POLLIN};
    int status;

    ck_assert_msg(poll(&end, 1, AWAIT_MS_MAX) == 1, "the daemon has not ended");
    close(end.fd);
    ck_assert_int_eq(waitpid(rlockd->pid, &status, 0), rlockd->pid);
    rlockd->pid = 0;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void rlockd_free(struct rlockd *rlockd)
{
    if (rlockd->pid) {
        rlockd_signal(rlockd, SIGKILL);
        (void)rlockd_wait(rlockd); /* we know how it ended */
    }
    close(rlockd->notify_fd);
    free(rlockd);
}

char *rlockd_log(const struct rlockd *rlockd)
{
    char *text = NULL;
    size_t len = 0;
    FILE *file = fopen(rlockd->log_path, "re");

    if (!file) {
        return strdup("");
    }
    if (getdelim(&text, &len, '\0', file) < 0) {
        free(text);
        text = strdup("");
    }
    fclose(file);
    return text;
}

bool rlockd_log_has(const struct rlockd *rlockd, const char *text)
{
    char *log = rlockd_log(rlockd);
    bool has = strstr(log, text) != NULL;

    free(log);
    return has;
}

long rlockd_rss_kib(const struct rlockd *rlockd)
{
    char path[64];
    long pages = 0;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/statm", (int)rlockd->pid);
    file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%*d %ld", &pages), 1);
    fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* The text behind `name` and a colon in its status. */
static void rlockd_read_status(const struct rlockd *rlockd, const char *name, char ret[64])
{
    char path[64], line[256];
    size_t len = strlen(name);
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)rlockd->pid);
    file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof(line), file)) {
        if (strncmp(line, name, len) == 0 && line[len] == ':') {
            snprintf(ret, 64, "%s", line + len + 1 + strspn(line + len + 1, " \t"));
            fclose(file);
            return;
        }
    }
    ck_abort_msg("%s has no %s", path, name);
}

long rlockd_peak_rss_kib(const struct rlockd *rlockd)
{
    char text[64];

    rlockd_read_status(rlockd, "VmHWM", text);
    return atol(text);
}

void rlockd_forget_peak(const struct rlockd *rlockd)
{
    char path[64];
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/clear_refs", (int)rlockd->pid);
    file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs("5", file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

bool rlockd_is_asleep(const struct rlockd *rlockd)
{
    char text[64];

    rlockd_read_status(rlockd, "State", text);
    return text[0] == 'S';
}

int rlockd_n_fds(const struct rlockd *rlockd)
{
    char path[64];
    int n = 0;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)rlockd->pid);
    dir = opendir(path);
    ck_assert_ptr_nonnull(dir);
    while (readdir(dir)) {
        n++;
    }
    closedir(dir);
    return n;
}
