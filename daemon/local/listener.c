/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The socket is made by hand, not by uv_pipe_bind(), which cuts long paths silently and removes the
 * path at its end whoever owns it by then.
 *
 * libuv is given a duplicate. Where there is no descriptor or memory for a client, it would call accept4()
 * again and again, and nothing else, until there is; so the duplicate is closed then, and after a pause there
 * is another. Clients wait meanwhile, in the backlog of the socket itself.
 */

#include "daemon/local/listener.h"

#include "daemon/base/alloc.h"
#include "daemon/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { LISTENER_PAUSE_MS = 100, LISTENER_LOG_EVERY_MS = 60000 };

struct listener {
    uv_loop_t *loop;
    uv_pipe_t pipe; /* on the duplicate */
    uv_timer_t pause;
    bool has_pipe, is_closing;
    int n_open; /* handles; memory goes with the last */
    struct log_limit log_limit;
    void (*on_connection)(void *ctx, uv_stream_t *server);
    void *ctx;
    int fd, backlog;
    int lock_fd;
    dev_t dev; /* of the socket that we made */
    ino_t ino;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

static int listener_fail(char ret_error[LISTENER_ERROR_CAP], const char *path, const char *what)
{
    int r = -errno;
    snprintf(ret_error, LISTENER_ERROR_CAP, "%s: %s: %s", path, what, strerror(-r));
    return r;
}

/* The descriptor of PATH.lock, locked for as long as it is open. */
static int listener_lock(const char *path, char ret_error[LISTENER_ERROR_CAP])
{
    char lock_path[sizeof(((struct listener *)0)->path) + sizeof(".lock")];
    snprintf(lock_path, sizeof(lock_path), "%s.lock", path);
    int fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return listener_fail(ret_error, lock_path, "cannot open");
    }
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        return fd;
    }
    int r = errno == EWOULDBLOCK
                ? (errno = EADDRINUSE, listener_fail(ret_error, path, "another rlockd is running"))
                : listener_fail(ret_error, lock_path, "cannot lock");
    close(fd);
    return r;
}

/* Removes what an earlier run left behind, and nothing that is not a socket. */
static int listener_clear_path(const char *path, char ret_error[LISTENER_ERROR_CAP])
{
    struct stat st;
    if (lstat(path, &st) < 0) {
        return errno == ENOENT ? 0 : listener_fail(ret_error, path, "cannot look at it");
    }
    if (!S_ISSOCK(st.st_mode)) {
        errno = EEXIST;
        return listener_fail(ret_error, path, "is no socket");
    }
    return unlink(path) == 0 ? 0 : listener_fail(ret_error, path, "cannot remove the old socket");
}

/* Binds under the umask that makes the mode right from the first moment. Nobody can connect yet. */
static int listener_bind(int fd, const struct listener_config *config, struct listener *listener,
                         char ret_error[LISTENER_ERROR_CAP])
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat st;
    memcpy(address.sun_path, config->path, strlen(config->path) + 1);
    mode_t old_mask = umask(~config->mode & 0777);
    int r = bind(fd, (const struct sockaddr *)&address, sizeof(address));
    umask(old_mask);
    if (r < 0) {
        return listener_fail(ret_error, config->path, "cannot bind");
    }
    if (config->group != (gid_t)-1 && chown(config->path, (uid_t)-1, config->group) < 0) {
        return listener_fail(ret_error, config->path, "cannot give it to its group");
    }
    if (lstat(config->path, &st) < 0) {
        return listener_fail(ret_error, config->path, "has gone");
    }
    listener->dev = st.st_dev;
    listener->ino = st.st_ino;
    return 0;
}

static int listener_listen(struct listener *listener);

static void listener_on_pause(uv_timer_t *timer);

static void listener_pause(struct listener *listener)
{
    uv_timer_start(&listener->pause, listener_on_pause, LISTENER_PAUSE_MS, /* repeat= */ 0);
}

/* The last handle takes everything with it. */
static void listener_let_go(struct listener *listener)
{
    if (--listener->n_open > 0) {
        return;
    }
    if (listener->fd >= 0) {
        close(listener->fd);
    }
    close(listener->lock_fd);
    free(listener);
}

static void listener_on_pause_closed(uv_handle_t *handle)
{
    listener_let_go(handle->data);
}

static void listener_on_pipe_closed(uv_handle_t *handle)
{
    struct listener *listener = handle->data;
    listener->has_pipe = false;
    if (!listener->is_closing) {
        listener_pause(listener);
    }
    listener_let_go(listener);
}

static void listener_close_pipe(struct listener *listener)
{
    if (listener->has_pipe && !uv_is_closing((uv_handle_t *)&listener->pipe)) {
        uv_close((uv_handle_t *)&listener->pipe, listener_on_pipe_closed);
    }
}

static void listener_on_pause(uv_timer_t *timer)
{
    struct listener *listener = timer->data;
    if (listener_listen(listener) < 0 && !listener->has_pipe) {
        listener_pause(listener);
    }
}

static void listener_on_connection(uv_stream_t *server, int status)
{
    struct listener *listener = server->data;
    if (status == 0) {
        listener->on_connection(listener->ctx, server);
        return;
    }
    log_limited(&listener->log_limit, LISTENER_LOG_EVERY_MS, LOG_LEVEL_WARNING,
                "cannot take a connection for now: %s", uv_strerror(status));
    listener_close_pipe(listener);
}

/* Gives libuv a duplicate of the socket. If that fails, whatever was opened is being closed. */
static int listener_listen(struct listener *listener)
{
    int fd = fcntl(listener->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int r = uv_pipe_init(listener->loop, &listener->pipe, /* ipc= */ 0);
    if (r < 0) {
        close(fd);
        return r;
    }
    listener->has_pipe = true;
    listener->n_open++;
    r = uv_pipe_open(&listener->pipe, fd);
    if (r < 0) {
        close(fd);
    } else {
        r = uv_listen((uv_stream_t *)&listener->pipe, listener->backlog, listener_on_connection);
    }
    if (r < 0) {
        listener_close_pipe(listener);
    }
    return r;
}

/* A socket of the path, bound and ready to listen, or -errno. */
static int listener_make_socket(struct listener *listener, const struct listener_config *config,
                                char ret_error[LISTENER_ERROR_CAP])
{
    int r = listener_clear_path(config->path, ret_error);
    if (r < 0) {
        return r;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return listener_fail(ret_error, config->path, "cannot make a socket");
    }
    r = listener_bind(fd, config, listener, ret_error);
    if (r == 0) {
        return fd;
    }
    close(fd);
    return r;
}

static void listener_end(struct listener *listener)
{
    listener->is_closing = true;
    listener_close_pipe(listener);
    uv_close((uv_handle_t *)&listener->pause, listener_on_pause_closed);
}

int listener_open(struct listener **ret, uv_loop_t *loop, const struct listener_config *config,
                  void (*on_connection)(void *ctx, uv_stream_t *server), void *ctx,
                  char ret_error[LISTENER_ERROR_CAP])
{
    struct listener *listener = alloc_zeroed(1, sizeof(*listener));
    int r;
    if (strlen(config->path) >= sizeof(listener->path)) {
        free(listener);
        errno = ENAMETOOLONG;
        return listener_fail(ret_error, config->path, "cannot be a socket's path");
    }
    strcpy(listener->path, config->path);
    listener->loop = loop;
    listener->on_connection = on_connection;
    listener->ctx = ctx;
    listener->backlog = config->backlog;
    listener->pipe.data = listener->pause.data = listener;

    listener->lock_fd = listener_lock(config->path, ret_error);
    if (listener->lock_fd < 0) {
        r = listener->lock_fd;
        free(listener);
        return r;
    }
    uv_timer_init(loop, &listener->pause);
    listener->n_open = 1;
    listener->fd = listener_make_socket(listener, config, ret_error);
    r = listener->fd < 0 ? listener->fd : listener_listen(listener);
    if (r < 0) {
        if (listener->fd >= 0) {
            snprintf(ret_error, LISTENER_ERROR_CAP, "%s: cannot listen: %s", config->path, uv_strerror(r));
        }
        listener_end(listener);
        return r;
    }
    *ret = listener;
    return 0;
}

void listener_close(struct listener *listener)
{
    struct stat st;
    if (lstat(listener->path, &st) == 0 && st.st_dev == listener->dev && st.st_ino == listener->ino) {
        unlink(listener->path);
    }
    listener_end(listener);
}
