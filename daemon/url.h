/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * Where Redis is, as people write it:
 *
 *     redis://[user[:password]@]host[:port][/db]      host may be [::1]
 *     unix://[user[:password]@]/path[?db=N]
 *
 * User, password and path may hold %XX for bytes that mean something in a URL. What else URLs can
 * say (other schemes, queries, fragments) is refused.
 */

#include "daemon/base/err.h"

#include <stdint.h>

enum { URL_PORT = 6379, URL_DB_MAX = 1000000, URL_UNIX_PATH_MAX = 107 };

struct url {
    char *unix_path; /* NULL: TCP to host and port */
    char *host;      /* without the brackets; NULL: unix_path */
    int port;
    int64_t db;
    char *username, *password; /* NULL: none */
    char *shown;               /* the URL without user and password, to be shown and logged */
};

enum { URL_E_BAD = 1 };

/* 0, and url_deinit() is due; or URL_E_BAD, and nothing is. */
int url_parse(const char *text, struct url *ret) MUST_CHECK;
void url_deinit(struct url *url); /* wipes the password */
