/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Password files. Judges the file that was opened, not the name, so that nobody can swap one for the
 * other in between; only the question whose symlink it is has to be asked of the name.
 */

#include "daemon/secret.h"

#include "daemon/base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool secret_is_trusted(uid_t owner)
{
    return owner == 0 || owner == geteuid();
}

/* NULL, or what the open file must be. */
static const char *secret_judge(int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        return "must name a regular file";
    }
    if (!secret_is_trusted(st.st_uid)) {
        return "must name a file of root's or of the daemon's own user";
    }
    if ((st.st_mode & (S_IWGRP | S_IRWXO)) != 0) {
        return "must name a file that others cannot read and only its owner can write (chmod 640)";
    }
    return NULL;
}

/* NULL, or what the content must be. */
static const char *secret_take(int fd, char **ret)
{
    char room[SECRET_MAX + 2]; /* a newline, and a byte that shows that there are more */
    size_t len = 0;
    ssize_t got;
    const char *fault = NULL;

    while ((got = read(fd, room + len, sizeof(room) - len)) > 0) {
        len += (size_t)got;
    }
    if (len > 0 && room[len - 1] == '\n') {
        len--;
    }
    if (got < 0 || len == 0 || len > SECRET_MAX || memchr(room, '\0', len) != NULL) {
        fault = "must name a file with a password of 1 to 1024 bytes";
    } else {
        *ret = alloc_copy(room, len);
    }
    explicit_bzero(room, sizeof(room));
    return fault;
}

int secret_read(const char *path, char **ret, const char **ret_fault)
{
    struct stat link;
    const char *fault = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0) {
        *ret_fault =
            errno == ENOENT ? "must name a file that exists" : "must name a file that the daemon can read";
        return SECRET_E_UNFIT;
    }
    if (lstat(path, &link) == 0 && S_ISLNK(link.st_mode) && !secret_is_trusted(link.st_uid)) {
        fault = "must not be a symlink of another user";
    }
    if (fault == NULL) {
        fault = secret_judge(fd);
    }
    if (fault == NULL) {
        fault = secret_take(fd, ret);
    }
    close(fd);
    if (fault == NULL) {
        return 0;
    }
    *ret_fault = fault;
    return SECRET_E_UNFIT;
}

void secret_free(char *secret)
{
    if (secret != NULL) {
        explicit_bzero(secret, strlen(secret));
    }
    free(secret);
}
