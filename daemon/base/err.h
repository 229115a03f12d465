/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * How functions report.
 *
 * A function that returns int and can fail follows one rule:
 *
 *     0    done
 *   > 0    an outcome that its header lists by name (FRAME_E_TOO_LONG, ...): a fact about the
 *          input or the world, which the direct caller handles and never passes on
 *   < 0    -errno: fatal for the nearest boundary, passed up untouched. The boundaries are a
 *          connection (close it), the link to Redis (reset it) and the start (exit)
 *
 * A function either logs or returns; base/, core/ and proto/ only return. Memory never runs out
 * in the sense of a return value: see alloc.h.
 */
#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
