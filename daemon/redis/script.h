/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * The Lua scripts of lua/, built into the daemon, and their digests as Redis reported them.
 */

#include <stddef.h>

enum script_name { SCRIPT_LOCK, SCRIPT_UNLOCK, SCRIPT_REFRESH, N_SCRIPTS };

struct script {
    const char *name; /* for logs */
    const char *text; /* NUL-terminated */
    size_t text_len;
    char digest[41]; /* hexadecimal, filled in from SCRIPT LOAD's reply; "" before */
};

/* Fills an array of N_SCRIPTS, indexed by script_name. */
void script_table(struct script ret[N_SCRIPTS]);
