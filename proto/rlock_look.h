/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * The answer to `inspect`, as far as a holder or waiter needs it.
 */

#include "proto/rlock_text.h"

struct look {
    int64_t fence;                /* of whoever holds the key here; 0: nobody */
    int64_t remaining_ms;         /* of the lease; -1: not known */
    char holder[TEXT_HOLDER_CAP]; /* a phrase for people: who has it */
};

/* From the JSON of the result. What is missing in it is not known. */
struct look look_parse(const char *result);
