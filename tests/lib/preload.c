/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The environment is changed for as long as a process is being started, since it is inherited.
 */

#include "tests/lib/preload.h"

#include "tests/lib/scratch.h"

#include <check.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void *preload_begin(const char *name, const char *variable, size_t len)
{
    const char *build = getenv("RLOCK_BUILD");
    char path[SCRATCH_PATH_CAP], library[PATH_MAX], given[256];
    int fd = open(scratch_path(path, name), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    void *page;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, (off_t)len), 0);
    page = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(page, MAP_FAILED);
    close(fd);
    snprintf(given, sizeof(given), "%s/preload/%s.so", build != NULL ? build : "build", name);
    ck_assert_msg(realpath(given, library) != NULL, "there is no %s", given);
    setenv(variable, path, 1);
    setenv("LD_PRELOAD", library, 1);
    /* A sanitizer's library wants to be the first. */
    setenv("ASAN_OPTIONS", "verify_asan_link_order=0:quarantine_size_mb=1:thread_local_quarantine_size_kb=64",
           1);
    return page;
}

void preload_end(const char *variable)
{
    unsetenv("LD_PRELOAD");
    unsetenv("ASAN_OPTIONS");
    unsetenv(variable);
}

struct clock_page *shifted_clock_begin(void)
{
    return preload_begin("clock", CLOCK_PAGE_VARIABLE, sizeof(struct clock_page));
}

void shifted_clock_end(void)
{
    preload_end(CLOCK_PAGE_VARIABLE);
}
