/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * The configuration file: parsed (by libinih) and checked into one struct that nobody changes
 * afterwards. options.def lists every option once.
 */

#include "daemon/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CONFIG_PATH "/etc/rlockd/rlockd.conf"
#define CONFIG_UNLIMITED (-1) /* also `forever` */
#define CONFIG_ERROR_CAP 512

struct config {
    /* [listen] */
    char *listen_socket;
    int64_t listen_mode; /* permission bits */
    gid_t listen_group;  /* (gid_t)-1: none */
    int64_t listen_backlog;
    /* [redis] */
    char *redis_url;       /* without user and password: may be shown and logged */
    char *redis_unix_path; /* of the url; NULL: TCP */
    char *redis_host;
    int redis_port;
    int64_t redis_db;
    char *redis_username; /* NULL: none; from the option, or from the url */
    char *redis_password; /* NULL: none; from password_file, or from the url */
    char *redis_password_file;
    int64_t redis_timeout_ms, redis_connect_timeout_ms, redis_reconnect_min_ms, redis_reconnect_max_ms;
    bool redis_strict;
    /* [lease] */
    int64_t lease_ttl_ms;
    int64_t lease_renew_fraction;
    int64_t lease_drift_per_10k; /* 1% is 100 */
    char *lease_prefix;
    int64_t lease_linger_ms;
    /* [lock] */
    int64_t lock_wait_ms; /* or CONFIG_UNLIMITED */
    int64_t lock_retry_interval_ms;
    int64_t lock_retry_max;   /* or CONFIG_UNLIMITED */
    int64_t lock_max_hold_ms; /* or CONFIG_UNLIMITED */
    /* [limits] */
    int64_t limit_connections, limit_connections_per_user, limit_held_per_connection,
        limit_waiting_per_connection, limit_locks_per_user, limit_line, limit_output_buffer;
    /* [log] */
    int64_t log_level;
    bool log_with_priority; /* target is the journal: stderr is a stream of it */
};

/*
 * Reads `path`; NULL: CONFIG_PATH, which need not be there, since everything has a default. 0 and a
 * configuration that the caller frees with config_free(), or CONFIG_E_BAD with a sentence for people
 * in ret_error: file, line, section and key, what it must be.
 */
enum { CONFIG_E_BAD = 1 };
int config_load(struct config **ret, const char *path, char ret_error[CONFIG_ERROR_CAP]) MUST_CHECK;
struct config *config_free(struct config *config); /* returns NULL; wipes the password */
