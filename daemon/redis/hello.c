/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * A list of stages, walked through once per connection. A stage that has nothing to do is skipped; a
 * reply that is no good ends the connection, with Redis's own words as the reason.
 *
 * A user of Redis with few rights is let through where the answer only helps: without CLIENT ID and
 * CLIENT KILL a late command of a broken connection can block a key for at most its ttl; without INFO
 * and ROLE the scripts themselves find out that they run on a replica.
 */

#include "daemon/redis/hello.h"

#include "daemon/redis/link.h"
#include "daemon/redis/script.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const hello_commands[] = {
    [HELLO_AUTH] = "AUTH",           [HELLO_INFO] = "INFO",        [HELLO_ROLE] = "ROLE",
    [HELLO_SERVER] = "INFO",         [HELLO_CLIENT_ID] = "CLIENT", [HELLO_KILL] = "CLIENT",
    [HELLO_SELECT] = "SELECT",       [HELLO_SETNAME] = "CLIENT",   [HELLO_SCRIPT] = "SCRIPT",
    [HELLO_SUBSCRIBE] = "SUBSCRIBE",
};
static_assert(sizeof(hello_commands) / sizeof(hello_commands[0]) == HELLO_DONE, "a command for each stage");

void hello_start(struct hello *hello)
{
    *hello = (struct hello){.stage = HELLO_AUTH, .former = hello->former};
}

void hello_done(struct hello *hello)
{
    assert(hello->stage == HELLO_DONE);
    hello->former = hello->self;
}

static bool hello_is_due(const struct hello *hello, const struct link_config *config)
{
    bool is_listener = config->channel != NULL;

    switch (hello->stage) {
    case HELLO_AUTH:
        return config->password != NULL;
    case HELLO_KILL:
        /* Another run of Redis has given that number to somebody else. */
        return hello->former.client_id != 0 && hello->former.run_id[0] != '\0' &&
               strcmp(hello->former.run_id, hello->self.run_id) == 0;
    case HELLO_SELECT:
        return !is_listener && config->db != 0;
    case HELLO_SCRIPT:
        return !is_listener && hello->script < config->n_scripts;
    case HELLO_INFO:
    case HELLO_CLIENT_ID:
        return !is_listener;
    case HELLO_SERVER:
    case HELLO_SUBSCRIBE:
        return is_listener;
    default:
        return true;
    }
}

static void hello_add(struct hello_command *command, const char *arg)
{
    assert(command->argc < HELLO_ARGC_MAX);
    command->argv[command->argc] = arg;
    command->argv_len[command->argc] = strlen(arg);
    command->argc++;
}

static const char *hello_print_number(struct hello *hello, int64_t number)
{
    snprintf(hello->number, sizeof(hello->number), "%" PRId64, number);
    return hello->number;
}

bool hello_next(struct hello *hello, const struct link_config *config, struct hello_command *ret)
{
    while (hello->stage != HELLO_DONE && !hello_is_due(hello, config)) {
        hello->stage++;
    }
    if (hello->stage == HELLO_DONE) {
        return false;
    }
    ret->argc = 0;
    hello_add(ret, hello_commands[hello->stage]);
    switch (hello->stage) {
    case HELLO_AUTH:
        if (config->username != NULL) {
            hello_add(ret, config->username);
        }
        hello_add(ret, config->password);
        break;
    case HELLO_SERVER:
        hello_add(ret, "server");
        break;
    case HELLO_CLIENT_ID:
        hello_add(ret, "ID");
        break;
    case HELLO_KILL:
        hello_add(ret, "KILL");
        hello_add(ret, "ID");
        hello_add(ret, hello_print_number(hello, hello->former.client_id));
        break;
    case HELLO_SELECT:
        hello_add(ret, hello_print_number(hello, config->db));
        break;
    case HELLO_SETNAME:
        hello_add(ret, "SETNAME");
        hello_add(ret, "rlockd");
        break;
    case HELLO_SUBSCRIBE:
        hello_add(ret, config->channel);
        break;
    case HELLO_SCRIPT:
        hello_add(ret, "LOAD");
        hello_add(ret, config->scripts[hello->script].text);
        break;
    default:
        break;
    }
    return true;
}

static bool hello_begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* Where the answer only helps: no right to ask, or a Redis that does not know the command. */
static bool hello_is_optional(enum hello_stage stage)
{
    return stage == HELLO_INFO || stage == HELLO_ROLE || stage == HELLO_SERVER || stage == HELLO_CLIENT_ID ||
           stage == HELLO_KILL || stage == HELLO_SETNAME;
}

static int hello_take_error(struct hello *hello, const struct link_config *config, const struct reply *reply,
                            char *ret_reason)
{
    /* A server that is full says so to whoever connects, as if in reply to the first command. */
    bool is_mild =
        hello_begins(reply->text, "NOPERM ") ||
        (hello_begins(reply->text, "ERR ") && !hello_begins(reply->text, "ERR max number of clients"));

    if (is_mild && hello_is_optional(hello->stage) && !(config->strict && hello->stage == HELLO_INFO)) {
        return 0;
    }
    hello->is_denied = hello->stage == HELLO_AUTH
                           ? !hello_begins(reply->text, "LOADING ")
                           : hello_begins(reply->text, "NOAUTH ") || hello_begins(reply->text, "NOPERM ");
    snprintf(ret_reason, HELLO_REASON_CAP, "%s", reply->text);
    return HELLO_E_REFUSED;
}

/* Copies the value of a line "name:value" of INFO; "" if there is none. */
static void hello_info_field(const struct reply *info, const char *name, char *ret, size_t cap)
{
    size_t name_len = strlen(name);

    ret[0] = '\0';
    for (const char *line = info->text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, name_len) == 0 && line[name_len] == ':') {
            const char *value = line + name_len + 1;

            snprintf(ret, cap, "%.*s", (int)strcspn(value, "\r\n"), value);
            return;
        }
    }
}

static int hello_take_info(struct hello *hello, const struct link_config *config, const struct reply *reply,
                           char *ret_reason)
{
    char value[32];

    hello_info_field(reply, "run_id", hello->self.run_id, sizeof(hello->self.run_id));
    hello_info_field(reply, "redis_version", hello->version, sizeof(hello->version));
    hello_info_field(reply, "loading", value, sizeof(value));
    if (strcmp(value, "1") == 0) {
        snprintf(ret_reason, HELLO_REASON_CAP, "LOADING Redis is reading its data from disk");
        return HELLO_E_REFUSED;
    }
    hello_info_field(reply, "cluster_enabled", value, sizeof(value));
    if (strcmp(value, "1") == 0) {
        snprintf(ret_reason, HELLO_REASON_CAP, "Redis runs as a cluster, which is not supported");
        return HELLO_E_REFUSED;
    }
    hello_info_field(reply, "role", value, sizeof(value));
    if (strcmp(value, "slave") == 0) {
        snprintf(ret_reason, HELLO_REASON_CAP, "Redis is a replica, not a master");
        return HELLO_E_REFUSED;
    }
    hello_info_field(reply, "maxmemory", value, sizeof(value));
    if (strtoull(value, NULL, 10) > 0) {
        hello_info_field(reply, "maxmemory_policy", hello->policy, sizeof(hello->policy));
    }
    if (strcmp(hello->policy, "noeviction") == 0) {
        hello->policy[0] = '\0';
    }
    if (config->strict && hello->policy[0] != '\0') {
        snprintf(ret_reason, HELLO_REASON_CAP, "Redis may evict locks: maxmemory-policy %s", hello->policy);
        return HELLO_E_REFUSED;
    }
    return 0;
}

static int hello_take_role(const struct reply *reply, char *ret_reason)
{
    const struct reply *role = reply->items;

    if (reply->n_items == 0 || role->kind != REPLY_TEXT) {
        snprintf(ret_reason, HELLO_REASON_CAP, "Redis does not say its role");
        return HELLO_E_REFUSED;
    }
    if (strcmp(role->text, "slave") == 0) {
        snprintf(ret_reason, HELLO_REASON_CAP, "Redis is a replica, not a master");
        return HELLO_E_REFUSED;
    }
    if (strcmp(role->text, "master") != 0) {
        snprintf(ret_reason, HELLO_REASON_CAP, "Redis is not a master but: %s", role->text);
        return HELLO_E_REFUSED;
    }
    return 0;
}

/* Whether the reply is of the kind that the stage's command has. */
static bool hello_fits(enum hello_stage stage, const struct reply *reply)
{
    switch (stage) {
    case HELLO_INFO:
    case HELLO_SERVER:
        return reply->kind == REPLY_TEXT;
    case HELLO_ROLE:
    case HELLO_SUBSCRIBE:
        return reply->kind == REPLY_LIST;
    case HELLO_CLIENT_ID:
    case HELLO_KILL:
        return reply->kind == REPLY_INTEGER;
    case HELLO_SCRIPT:
        return reply->kind == REPLY_TEXT && reply->len == sizeof((struct script){0}.digest) - 1;
    default:
        return reply->kind == REPLY_STATUS;
    }
}

int hello_take(struct hello *hello, const struct link_config *config, const struct reply *reply,
               char ret_reason[HELLO_REASON_CAP])
{
    int r = 0;

    assert(hello->stage != HELLO_DONE);
    if (reply->kind == REPLY_ERROR) {
        r = hello_take_error(hello, config, reply, ret_reason);
    } else if (!hello_fits(hello->stage, reply)) {
        snprintf(ret_reason, HELLO_REASON_CAP, "this is no Redis: a strange reply to %s",
                 hello_commands[hello->stage]);
        r = HELLO_E_REFUSED;
    } else if (hello->stage == HELLO_INFO) {
        r = hello_take_info(hello, config, reply, ret_reason);
    } else if (hello->stage == HELLO_ROLE) {
        r = hello_take_role(reply, ret_reason);
    } else if (hello->stage == HELLO_SERVER) {
        hello_info_field(reply, "run_id", hello->self.run_id, sizeof(hello->self.run_id));
    } else if (hello->stage == HELLO_CLIENT_ID) {
        hello->self.client_id = reply->integer;
    } else if (hello->stage == HELLO_SCRIPT) {
        memcpy(config->scripts[hello->script].digest, reply->text, reply->len + 1);
    }
    if (r == 0 && hello->stage == HELLO_SCRIPT && hello->script + 1 < config->n_scripts) {
        hello->script++;
    } else if (r == 0) {
        hello->stage++;
    }
    return r;
}
