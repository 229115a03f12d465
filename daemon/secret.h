/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * A password from a file that is fit to hold one: a regular file of root's or of the daemon's own
 * user, closed to others, not reached through a symlink of somebody else.
 */

#include "daemon/base/err.h"

enum { SECRET_MAX = 1024 };
enum { SECRET_E_UNFIT = 1 };

/*
 * 0 and a text that the caller wipes and frees; or SECRET_E_UNFIT and what the file must be or why it
 * cannot be opened, a string that stays. One newline at the end is not part of the password.
 */
int secret_read(const char *path, char **ret, const char **ret_fault) MUST_CHECK;

/* Wipes and frees; accepts NULL. */
void secret_free(char *secret);
