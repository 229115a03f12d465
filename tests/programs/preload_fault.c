/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * One failed call in the life of a process under test, put before the C library with LD_PRELOAD: the n-th
 * allocation, or the n-th system call, as a page says that the test has mapped as well
 * (tests/lib/fault_page.h). A system call fails with an error that it may really have, in a machine
 * without memory or descriptors, or with a peer that has gone; so calls that cannot fail with proper
 * arguments (clock_gettime, timerfd_settime) are not here.
 *
 * Without a page it changes nothing.
 */

#include "tests/lib/fault_page.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

void *__libc_malloc(size_t len);
void *__libc_calloc(size_t n, size_t len);
void *__libc_realloc(void *old, size_t len);

static struct fault_page *page;

/* The name is looked up when it is called first; a constructor may come too late for some. */
#define NEXT(name)                                             \
    __extension__({                                            \
        static __typeof__(&name) next;                         \
        if (next == NULL) {                                    \
            next = (__typeof__(&name))dlsym(RTLD_NEXT, #name); \
        }                                                      \
        next;                                                  \
    })

__attribute__((constructor)) static void fault_map(void)
{
    const char *path = getenv(FAULT_PAGE_VARIABLE);
    int fd = path != NULL ? NEXT(open)(path, O_RDWR | O_CLOEXEC) : -1;

    if (fd >= 0) {
        void *map = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

        close(fd);
        page = map != MAP_FAILED ? map : NULL;
    }
}

static bool fault_is_due(enum fault_kind kind, const char *name)
{
    if (page == NULL || page->kind != (int)kind || (page->only[0] != '\0' && strcmp(page->only, name) != 0)) {
        return false;
    }
    int n = ++page->n;
    if (n < page->at || n > page->at + page->times) {
        return false;
    }
    strncpy(page->name, name, sizeof(page->name) - 1);
    page->n_failed++;
    return true;
}

/* True: the call is to fail, and errno says why. `interrupted` 0: no signal can do that to it. */
static bool fault_call(const char *name, int error, int interrupted)
{
    if (page == NULL || (page->error == FAULT_INTERRUPTED && interrupted == 0) ||
        !fault_is_due(FAULT_CALL, name)) {
        return false;
    }
    errno = page->error == FAULT_INTERRUPTED ? interrupted : error;
    return true;
}

/* --- memory ---------------------------------------------------------------------------------------- */

#ifndef WITHOUT_MEMORY /* a sanitizer brings its own */

void *malloc(size_t len)
{
    return fault_is_due(FAULT_MEMORY, "malloc") ? (errno = ENOMEM, NULL) : __libc_malloc(len);
}

void *calloc(size_t n, size_t len)
{
    return fault_is_due(FAULT_MEMORY, "calloc") ? (errno = ENOMEM, NULL) : __libc_calloc(n, len);
}

void *realloc(void *old, size_t len)
{
    return fault_is_due(FAULT_MEMORY, "realloc") ? (errno = ENOMEM, NULL) : __libc_realloc(old, len);
}

#endif

/* --- descriptors ----------------------------------------------------------------------------------- */

static int fault_open(const char *name, int (*next)(const char *, int, ...), const char *path, int flags,
                      mode_t mode)
{
    return fault_call(name, EMFILE, EINTR) ? -1 : next(path, flags, mode);
}

static mode_t fault_mode(int flags, va_list args)
{
    return flags & O_CREAT ? va_arg(args, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
    va_list args;

    va_start(args, flags);
    mode_t mode = fault_mode(flags, args);
    va_end(args);
    return fault_open("open", NEXT(open), path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list args;

    va_start(args, flags);
    mode_t mode = fault_mode(flags, args);
    va_end(args);
    return fault_open("open", NEXT(open64), path, flags, mode);
}

FILE *fopen(const char *restrict path, const char *restrict mode)
{
    return fault_call("fopen", EMFILE, EINTR) ? NULL : NEXT(fopen)(path, mode);
}

FILE *fopen64(const char *restrict path, const char *restrict mode)
{
    return fault_call("fopen", EMFILE, EINTR) ? NULL : NEXT(fopen64)(path, mode);
}

int socket(int domain, int type, int protocol)
{
    return fault_call("socket", EMFILE, 0) ? -1 : NEXT(socket)(domain, type, protocol);
}

int bind(int fd, const struct sockaddr *address, socklen_t len)
{
    return fault_call("bind", ENOSPC, 0) ? -1 : NEXT(bind)(fd, address, len);
}

int listen(int fd, int backlog)
{
    return fault_call("listen", EADDRINUSE, 0) ? -1 : NEXT(listen)(fd, backlog);
}

int connect(int fd, const struct sockaddr *address, socklen_t len)
{
    return fault_call("connect", ECONNREFUSED, EINTR) ? -1 : NEXT(connect)(fd, address, len);
}

int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
    return fault_call("accept4", EMFILE, ECONNABORTED) ? -1 : NEXT(accept4)(fd, address, len, flags);
}

/* What is known already is to be had; what makes a descriptor, perhaps not. */
int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    return name != SO_ERROR && name != SO_TYPE && fault_call("getsockopt", EMFILE, 0)
               ? -1
               : NEXT(getsockopt)(fd, level, name, value, len);
}

int epoll_create1(int flags)
{
    return fault_call("epoll_create1", EMFILE, 0) ? -1 : NEXT(epoll_create1)(flags);
}

int pipe2(int fds[2], int flags)
{
    return fault_call("pipe2", EMFILE, 0) ? -1 : NEXT(pipe2)(fds, flags);
}

int eventfd(unsigned count, int flags)
{
    return fault_call("eventfd", EMFILE, 0) ? -1 : NEXT(eventfd)(count, flags);
}

int timerfd_create(int clock, int flags)
{
    return fault_call("timerfd_create", EMFILE, 0) ? -1 : NEXT(timerfd_create)(clock, flags);
}

int flock(int fd, int operation)
{
    return fault_call("flock", ENOLCK, EINTR) ? -1 : NEXT(flock)(fd, operation);
}

int lstat(const char *restrict path, struct stat *restrict ret)
{
    return fault_call("lstat", ENOMEM, 0) ? -1 : NEXT(lstat)(path, ret);
}

int lstat64(const char *restrict path, struct stat64 *restrict ret)
{
    return fault_call("lstat", ENOMEM, 0) ? -1 : NEXT(lstat64)(path, ret);
}

int unlink(const char *path)
{
    return fault_call("unlink", ENOSPC, 0) ? -1 : NEXT(unlink)(path);
}

/* pidfd_open() has no function of its own here. */
long syscall(long number, ...)
{
    va_list args;
    long arg[6];

    va_start(args, number);
    for (int i = 0; i < 6; i++) {
        arg[i] = va_arg(args, long);
    }
    va_end(args);
    return fault_call("syscall", EMFILE, 0)
               ? -1
               : NEXT(syscall)(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}

/* --- bytes ----------------------------------------------------------------------------------------- */

/* A peer may have gone, and a reader of stderr; what the loop sends itself, and files, are sure. */
static bool fault_has_peer(int fd)
{
    struct stat st;

    return page != NULL && (fd == STDERR_FILENO || (fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode)));
}

ssize_t read(int fd, void *bytes, size_t len)
{
    return fault_has_peer(fd) && fault_call("read", ECONNRESET, EINTR) ? -1 : NEXT(read)(fd, bytes, len);
}

ssize_t readv(int fd, const struct iovec *parts, int n)
{
    return fault_has_peer(fd) && fault_call("readv", ECONNRESET, EINTR) ? -1 : NEXT(readv)(fd, parts, n);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    return fault_call("recvmsg", ECONNRESET, EINTR) ? -1 : NEXT(recvmsg)(fd, message, flags);
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    return fault_has_peer(fd) && fault_call("write", EPIPE, EINTR) ? -1 : NEXT(write)(fd, bytes, len);
}

ssize_t writev(int fd, const struct iovec *parts, int n)
{
    return fault_has_peer(fd) && fault_call("writev", EPIPE, EINTR) ? -1 : NEXT(writev)(fd, parts, n);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    return fault_call("sendmsg", EPIPE, EINTR) ? -1 : NEXT(sendmsg)(fd, message, flags);
}

ssize_t sendto(int fd, const void *bytes, size_t len, int flags, const struct sockaddr *address,
               socklen_t address_len)
{
    return fault_call("sendto", ENOBUFS, EINTR) ? -1
                                                : NEXT(sendto)(fd, bytes, len, flags, address, address_len);
}

/* A kernel that has it goes on having it. */
ssize_t getrandom(void *bytes, size_t len, unsigned flags)
{
    static bool is_known;
    bool is_first = !is_known;

    is_known = true;
    return fault_call("getrandom", is_first ? ENOSYS : EINTR, EINTR) ? -1
                                                                     : NEXT(getrandom)(bytes, len, flags);
}

/* --- the loop -------------------------------------------------------------------------------------- */

/* EPOLL_CTL_ADD alone needs something that may be used up. */
int epoll_ctl(int fd, int operation, int other_fd, struct epoll_event *event)
{
    return operation == EPOLL_CTL_ADD && fault_call("epoll_ctl", ENOSPC, 0)
               ? -1
               : NEXT(epoll_ctl)(fd, operation, other_fd, event);
}

int epoll_wait(int fd, struct epoll_event *events, int max, int timeout_ms)
{
    return page != NULL && page->error == FAULT_INTERRUPTED && fault_call("epoll_wait", EINTR, EINTR)
               ? -1
               : NEXT(epoll_wait)(fd, events, max, timeout_ms);
}

int epoll_pwait(int fd, struct epoll_event *events, int max, int timeout_ms, const sigset_t *mask)
{
    return page != NULL && page->error == FAULT_INTERRUPTED && fault_call("epoll_pwait", EINTR, EINTR)
               ? -1
               : NEXT(epoll_pwait)(fd, events, max, timeout_ms, mask);
}
