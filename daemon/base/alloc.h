/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * Memory that is there or the process is not.
 *
 * Everything a client can make the daemon keep is limited and refused by name long before memory
 * runs out. If an allocation fails all the same, no answer would be right any more: one line goes
 * to stderr and the process aborts. Leases then lapse by themselves and the service manager starts
 * the daemon again. The same allocator is given to uthash, jansson and libuv.
 */

#include <stddef.h>
#include <stdlib.h> /* free() */

/* Each returns memory that the caller frees with free(), never NULL. */
void *alloc_bytes(size_t len) __attribute__((malloc, returns_nonnull));
void *alloc_zeroed(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *alloc_resize(void *old, size_t len) __attribute__((returns_nonnull));
char *alloc_copy(const char *bytes, size_t len) __attribute__((malloc, returns_nonnull)); /* NUL after it */

/* The one way out, for the libraries' own hooks. */
_Noreturn void alloc_failed(size_t len);
