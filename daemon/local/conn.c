/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Bytes of one client; see conn.h. All connections read into one room, since a line that is whole is
 * looked at where it lies; only the rest of a broken line is kept per connection.
 */

#include "daemon/local/conn.h"

#include "daemon/base/clock.h"
#include "daemon/base/table.h"

#include <assert.h>
#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

enum {
    CONN_READ_MAX = 1024 * 1024, /* of all connections in a turn: bounds what a turn makes of it */
    CONN_FINISH_MS = 2000,
};

void conn_set_init(struct conn_set *set, uv_loop_t *loop, const struct conn_sinks *sinks, size_t line_max,
                   size_t output_max)
{
    set->loop = loop;
    set->sinks = *sinks;
    set->line_max = line_max;
    set->output_max = output_max;
    set->dirty = set->paused = set->finishing = NULL;
    set->read_left = CONN_READ_MAX;
    int r = uv_timer_init(loop, &set->finish_timer);
    assert(r == 0); /* it cannot fail */
}

void conn_set_close(struct conn_set *set)
{
    uv_close((uv_handle_t *)&set->finish_timer, NULL);
}

/* --- the end --------------------------------------------------------------------------------------- */

static void conn_on_handle_closed(uv_handle_t *handle)
{
    struct conn *conn = handle->data;
    if (--conn->n_handles > 0) {
        return;
    }
    if (conn->death_fd >= 0) {
        close(conn->death_fd);
    }
    frame_deinit(&conn->frame);
    buf_deinit(&conn->out);
    buf_deinit(&conn->writing);
    conn->set->sinks.on_closed(conn->ctx);
}

void conn_abort(struct conn *conn)
{
    if (conn->is_closing) {
        return;
    }
    conn->is_closing = true;
    if (conn->is_dirty) {
        DL_DELETE2(conn->set->dirty, conn, prev_dirty, next_dirty);
    }
    if (conn->is_paused) {
        DL_DELETE2(conn->set->paused, conn, prev_paused, next_paused);
    }
    if (conn->is_finishing) {
        DL_DELETE2(conn->set->finishing, conn, prev_finishing, next_finishing);
    }
    uv_close((uv_handle_t *)&conn->pipe, conn_on_handle_closed);
    if (conn->death_fd >= 0) {
        uv_close((uv_handle_t *)&conn->death, conn_on_handle_closed);
    }
}

static void conn_mark_dirty(struct conn *conn)
{
    if (conn->is_dirty || conn->is_closing) {
        return;
    }
    conn->is_dirty = true;
    DL_APPEND2(conn->set->dirty, conn, prev_dirty, next_dirty);
}

void conn_finish(struct conn *conn)
{
    if (conn->is_finishing || conn->is_closing) {
        return;
    }
    conn->is_finishing = true;
    conn->finish_by_ms = clock_now_ms() + CONN_FINISH_MS;
    DL_APPEND2(conn->set->finishing, conn, prev_finishing, next_finishing);
    uv_read_stop((uv_stream_t *)&conn->pipe);
    conn_mark_dirty(conn);
}

/* Ends the connection from this side of the sinks. */
static void conn_end(struct conn *conn, enum conn_end why)
{
    if (conn->is_closing) {
        return;
    }
    bool was_finishing = conn->is_finishing;
    if (why == CONN_END_EOF || why == CONN_END_TOO_LONG) {
        conn_finish(conn);
    } else {
        conn_abort(conn);
    }
    if (!was_finishing) {
        conn->set->sinks.on_end(conn->ctx, why);
    }
}

static void conn_on_death(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    conn_end(poll->data, CONN_END_DIED);
}

/* --- reading --------------------------------------------------------------------------------------- */

void conn_set_spend(struct conn_set *set, size_t n_bytes)
{
    set->read_left -= n_bytes < set->read_left ? n_bytes : set->read_left;
}

/* No room when the turn has read its share: the socket stays readable, and the next turn has a share of
 * its own. */
static void conn_on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct conn_set *set = ((struct conn *)handle->data)->set;
    (void)suggested;
    *ret = uv_buf_init(set->read_room, set->read_left > 0 ? sizeof(set->read_room) : 0);
}

/* Whoever fills the whole room has more to say; it goes on next turn, so that all others are heard. */
static void conn_pause(struct conn *conn)
{
    uv_read_stop((uv_stream_t *)&conn->pipe);
    conn->is_paused = true;
    DL_APPEND2(conn->set->paused, conn, prev_paused, next_paused);
}

static void conn_on_read(uv_stream_t *stream, ssize_t n_read, const uv_buf_t *room)
{
    struct conn *conn = stream->data;
    const char *line;
    size_t len;
    int r;
    if (n_read == 0 || n_read == UV_ENOBUFS) {
        return; /* it would have blocked; or there was no room */
    }
    if (n_read < 0) {
        conn_end(conn, n_read == UV_EOF ? CONN_END_EOF : CONN_END_ERROR);
        return;
    }
    conn_set_spend(conn->set, (size_t)n_read);
    frame_feed(&conn->frame, room->base, (size_t)n_read);
    while ((r = frame_next(&conn->frame, &line, &len)) == 0) {
        conn->set->sinks.on_line(conn->ctx, line, len);
        if (conn->is_closing || conn->is_finishing) {
            return;
        }
    }
    if (r == FRAME_E_NO_MEMORY) {
        alloc_failed((size_t)n_read);
    }
    if (r == FRAME_E_TOO_LONG) {
        conn_end(conn, CONN_END_TOO_LONG);
    } else if ((size_t)n_read == room->len) {
        conn_pause(conn);
    }
}

static void conn_set_resume(struct conn_set *set)
{
    struct conn *conn;
    while ((conn = set->paused) != NULL) {
        DL_DELETE2(set->paused, conn, prev_paused, next_paused);
        conn->is_paused = false;
        if (!conn->is_finishing) {
            uv_read_start((uv_stream_t *)&conn->pipe, conn_on_room, conn_on_read);
        }
    }
}

/* --- writing --------------------------------------------------------------------------------------- */

struct buf *conn_out(struct conn *conn)
{
    return &conn->out;
}

void conn_printed(struct conn *conn)
{
    if (conn->is_closing) {
        buf_clear(&conn->out);
        return;
    }
    conn_mark_dirty(conn);
    if (conn->out.len + conn->writing.len > conn->set->output_max) {
        conn_end(conn, CONN_END_OVERFLOW);
    }
}

static void conn_on_written(uv_write_t *write, int status)
{
    struct conn *conn = write->data;
    buf_clear(&conn->writing);
    if (status < 0) {
        conn_end(conn, CONN_END_ERROR);
    } else {
        conn_mark_dirty(conn);
    }
}

/* What the socket did not take is left to libuv, out of the way of what is printed next. */
static int conn_write_rest(struct conn *conn)
{
    struct buf emptied = conn->writing;
    conn->writing = conn->out;
    conn->out = emptied;
    conn->write.data = conn;
    uv_buf_t rest = uv_buf_init((char *)buf_bytes(&conn->writing), (unsigned)conn->writing.len);
    return uv_write(&conn->write, (uv_stream_t *)&conn->pipe, &rest, 1, conn_on_written);
}

static void conn_flush(struct conn *conn)
{
    if (conn->writing.len > 0) {
        return; /* conn_on_written comes back */
    }
    int r = 0;
    if (conn->out.len > 0) {
        uv_buf_t all = uv_buf_init((char *)buf_bytes(&conn->out), (unsigned)conn->out.len);
        r = uv_try_write((uv_stream_t *)&conn->pipe, &all, 1);
        if (r > 0) {
            buf_consume(&conn->out, (size_t)r);
        }
        if (conn->out.len == 0) {
            buf_clear(&conn->out); /* a burst is not kept in memory for the next one */
        }
        if (r == UV_EAGAIN) {
            r = 0;
        }
    }
    if (r >= 0 && conn->out.len > 0) {
        r = conn_write_rest(conn);
    }
    if (r < 0) {
        conn_end(conn, CONN_END_ERROR);
    } else if (conn->is_finishing && conn->writing.len == 0) {
        conn_abort(conn);
    }
}

/* Only wakes the loop: the flush of that turn does the rest. */
static void conn_set_on_finish_timer(uv_timer_t *timer)
{
    (void)timer;
}

/* Whoever has left and does not read what is still for it is not waited for. */
static void conn_set_end_late(struct conn_set *set)
{
    if (set->finishing == NULL) {
        return;
    }
    int64_t now_ms = clock_now_ms();
    while (set->finishing != NULL && set->finishing->finish_by_ms <= now_ms) {
        conn_abort(set->finishing);
    }
    if (set->finishing != NULL && !uv_is_active((const uv_handle_t *)&set->finish_timer)) {
        uv_timer_start(&set->finish_timer, conn_set_on_finish_timer,
                       (uint64_t)(set->finishing->finish_by_ms - now_ms), /* repeat= */ 0);
    }
}

void conn_set_flush(struct conn_set *set)
{
    struct conn *conn;
    while ((conn = set->dirty) != NULL) {
        DL_DELETE2(set->dirty, conn, prev_dirty, next_dirty);
        conn->is_dirty = false;
        conn_flush(conn);
    }
    conn_set_end_late(set);
    set->read_left = CONN_READ_MAX;
    conn_set_resume(set);
}

/* --- the beginning --------------------------------------------------------------------------------- */

static int conn_read_creds(struct conn *conn, int fd)
{
    struct ucred creds;
    socklen_t len = sizeof(creds);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &creds, &len) < 0) {
        return -errno;
    }
    conn->creds = (struct conn_creds){.pid = creds.pid, .uid = creds.uid, .gid = creds.gid};
    return 0;
}

/* A descriptor that tells of the end of the process that connected, or -errno. The kernel knows the
 * process itself since 6.5; before that its pid has to do. */
static int conn_open_pidfd(const struct conn *conn, int fd)
{
    int death_fd;
    socklen_t len = sizeof(death_fd);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &death_fd, &len) == 0) {
        return death_fd;
    }
    if (errno != ENOPROTOOPT || conn->creds.pid <= 0) {
        return -errno;
    }
    death_fd = (int)syscall(SYS_pidfd_open, conn->creds.pid, 0);
    return death_fd >= 0 ? death_fd : -errno;
}

/*
 * A child of the client may keep the socket open when the client is dead, and the end of the stream
 * then does not come. A process that cannot be watched (another pid namespace, an old kernel, no
 * descriptor left) is served all the same; one that is dead already is not: -ESRCH.
 */
static int conn_watch_death(struct conn *conn, int fd)
{
    int death_fd = conn_open_pidfd(conn, fd);
    if (death_fd < 0) {
        return death_fd == -ESRCH ? -ESRCH : 0;
    }
    if (uv_poll_init(conn->set->loop, &conn->death, death_fd) < 0) {
        close(death_fd);
        return 0;
    }
    conn->death_fd = death_fd;
    conn->death.data = conn;
    conn->n_handles++;
    uv_poll_start(&conn->death, UV_READABLE, conn_on_death);
    return 0;
}

int conn_open(struct conn *conn, struct conn_set *set, uv_stream_t *server, void *ctx, bool *ret_closing)
{
    *ret_closing = false;
    conn->set = set;
    conn->ctx = ctx;
    conn->death_fd = -1;
    int r = uv_pipe_init(set->loop, &conn->pipe, /* ipc= */ 0);
    if (r < 0) {
        return r;
    }
    conn->n_handles = 1;
    conn->pipe.data = conn;
    frame_init(&conn->frame, set->line_max);
    buf_init(&conn->out);
    buf_init(&conn->writing);

    uv_os_fd_t fd;
    r = uv_accept(server, (uv_stream_t *)&conn->pipe);
    if (r == 0) {
        r = uv_fileno((uv_handle_t *)&conn->pipe, &fd);
    }
    if (r == 0) {
        r = conn_read_creds(conn, fd);
    }
    if (r == 0) {
        r = conn_watch_death(conn, fd);
    }
    if (r == 0) {
        r = uv_read_start((uv_stream_t *)&conn->pipe, conn_on_room, conn_on_read);
    }
    if (r < 0) {
        *ret_closing = true;
        conn_abort(conn);
    }
    return r;
}
