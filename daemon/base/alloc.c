/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The C library's allocator, with the branch for failure taken once and for all. The last words go
 * out by write(2): what logs may itself want memory.
 */

#include "daemon/base/alloc.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Noreturn void alloc_failed(size_t len)
{
    char line[80];
    int line_len = snprintf(line, sizeof(line), "rlockd: out of memory, asking for %zu bytes\n", len);

    if (write(STDERR_FILENO, line, (size_t)line_len) < 0) {
        /* Nobody is left to be told. */
    }
    abort();
}

/* No bytes are asked for as one byte, because malloc(0) may say NULL without having failed. */
void *alloc_bytes(size_t len)
{
    void *bytes = malloc(len > 0 ? len : 1);

    if (bytes == NULL) {
        alloc_failed(len);
    }
    return bytes;
}

void *alloc_zeroed(size_t count, size_t size)
{
    size_t len;

    if (__builtin_mul_overflow(count, size, &len)) {
        alloc_failed(SIZE_MAX);
    }
    void *bytes = calloc(1, len > 0 ? len : 1);
    if (bytes == NULL) {
        alloc_failed(len);
    }
    return bytes;
}

void *alloc_resize(void *old, size_t len)
{
    void *bytes = realloc(old, len > 0 ? len : 1);

    if (bytes == NULL) {
        alloc_failed(len);
    }
    return bytes;
}

char *alloc_copy(const char *bytes, size_t len)
{
    char *copy = alloc_bytes(len + 1);

    if (len > 0) {
        memcpy(copy, bytes, len);
    }
    copy[len] = '\0';
    return copy;
}
