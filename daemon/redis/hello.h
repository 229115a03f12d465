/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * How a new connection introduces itself to Redis, one command at a time, each answered well before
 * the next leaves. Knows no socket: the link asks for the next command, sends it, and shows the reply.
 *
 *     AUTH            if there is a password
 *     INFO            who this is: run_id, whether it is loading, a cluster, may evict keys
 *     ROLE            a replica is refused
 *     CLIENT ID       to be remembered, for the next connection's ...
 *     CLIENT KILL ID  ... of the former connection, so that a late command of it cannot come after ours
 *     SELECT          the database
 *     CLIENT SETNAME  rlockd
 *     SCRIPT LOAD     each script
 *
 * A link that listens only says AUTH, ROLE, CLIENT SETNAME, and
 *
 *     INFO server     whose run_id this is, so that both links can be with the same server
 *     SUBSCRIBE       its channel
 */

#include "daemon/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct link_config;
struct reply;

enum hello_stage {
    HELLO_AUTH = 1,
    HELLO_INFO,
    HELLO_ROLE,
    HELLO_SERVER,
    HELLO_CLIENT_ID,
    HELLO_KILL,
    HELLO_SELECT,
    HELLO_SETNAME,
    HELLO_SCRIPT,
    HELLO_SUBSCRIBE,
    HELLO_DONE,
};

enum { HELLO_RUN_ID_CAP = 64, HELLO_VERSION_CAP = 32 };

/* One connection, as Redis knows it. */
struct hello_self {
    int64_t client_id; /* 0: not known */
    char run_id[HELLO_RUN_ID_CAP];
};

struct hello {
    enum hello_stage stage; /* whose command is to be sent, or was sent */
    size_t script;          /* HELLO_SCRIPT: which */
    struct hello_self self, former;
    char version[HELLO_VERSION_CAP];
    char policy[32]; /* maxmemory_policy, if keys may be evicted; "" otherwise */
    bool is_denied;  /* it failed for a reason that only people can mend: password, rights */
    char number[24]; /* room for an argument */
};

enum { HELLO_ARGC_MAX = 4 };

struct hello_command {
    int argc;
    const char *argv[HELLO_ARGC_MAX];
    size_t argv_len[HELLO_ARGC_MAX];
};

/* A new connection. `former` stays the last one that got through, see hello_done(). */
void hello_start(struct hello *hello);

/* The next command; false: there is none, all has been answered. Its arguments are borrowed from
 * `hello` and `config`. */
bool hello_next(struct hello *hello, const struct link_config *config, struct hello_command *ret);

/* The reply to it. 0, or HELLO_E_REFUSED with a reason (not escaped, may be long). Fills in the
 * digests of config's scripts. */
enum { HELLO_E_REFUSED = 1, HELLO_REASON_CAP = 256 };
int hello_take(struct hello *hello, const struct link_config *config, const struct reply *reply,
               char ret_reason[HELLO_REASON_CAP]) MUST_CHECK;

/* All has been answered, commands may follow: from now on this is the connection to be killed. */
void hello_done(struct hello *hello);
