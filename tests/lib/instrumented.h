/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * Whether this is built with a sanitizer, which brings an allocator of its own, or to count which lines are
 * reached, which allocates at the end of the process: neither bears an allocation that fails, nor can such a
 * library be linked to a program without the same. gcc tells by a macro, clang by a feature, and the
 * makefile of the counting.
 */

#if defined(COVERAGE) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_INSTRUMENTED true
#elif defined(__has_feature)
#define IS_INSTRUMENTED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define IS_INSTRUMENTED false
#endif
