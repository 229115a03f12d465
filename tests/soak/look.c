/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Looks at what the kernel and Redis say; knows nothing of the soak.
 */

#include "tests/soak/look.h"

#include "tests/soak/ring.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

_Noreturn void soak_fail(const char *what)
{
    printf("soak: %s: %s\n", what, strerror(errno));
    exit(2);
}

bool soak_can_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
    int r = connect(fd, (struct sockaddr *)&address, sizeof(address));
    close(fd);
    return r == 0;
}

int64_t soak_wall_offset_ms(void)
{
    struct timespec wall;
    int64_t before_ms, after_ms;

    do {
        before_ms = soak_now_ms();
        clock_gettime(CLOCK_REALTIME, &wall);
        after_ms = soak_now_ms();
    } while (after_ms - before_ms > 1);
    return (int64_t)wall.tv_sec * 1000 + wall.tv_nsec / 1000000 - before_ms;
}

long soak_rss_kib(pid_t pid)
{
    char path[64];
    long pages = 0;

    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL || fscanf(file, "%*d %ld", &pages) != 1) {
        soak_fail(path);
    }
    fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

int soak_n_fds(pid_t pid)
{
    char path[64];
    int n = 0;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    if (dir == NULL) {
        soak_fail(path);
    }
    while (readdir(dir) != NULL) {
        n++;
    }
    closedir(dir);
    return n;
}

int soak_n_keys(const char *redis_path, bool print)
{
    redisContext *redis = redisConnectUnix(redis_path);
    redisReply *reply = redis != NULL && redis->err == 0 ? redisCommand(redis, "KEYS k*") : NULL;
    int n = reply != NULL && reply->type == REDIS_REPLY_ARRAY ? (int)reply->elements : -1;

    for (int i = 0; print && i < n; i++) {
        printf("  left in Redis: %s\n", reply->element[i]->str);
    }
    freeReplyObject(reply);
    redisFree(redis);
    return n;
}

static int soak_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void soak_remove_dir(const char *path)
{
    (void)nftw(path, soak_remove, 8, FTW_DEPTH | FTW_PHYS);
}
