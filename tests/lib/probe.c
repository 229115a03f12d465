/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * hiredis' blocking client with every failure turned into a failed test.
 */

#include "tests/lib/probe.h"

#include <check.h>
#include <hiredis/hiredis.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct redisContext *probe_open(const char *redis_socket)
{
    redisContext *probe = redisConnectUnix(redis_socket);

    ck_assert_ptr_nonnull(probe);
    ck_assert_msg(probe->err == 0, "no Redis at %s: %s", redis_socket, probe->errstr);
    return probe;
}

void probe_close(struct redisContext *probe)
{
    redisFree(probe);
}

static redisReply *probe_reply(redisContext *probe, const char *fmt, va_list args)
{
    redisReply *reply = redisvCommand(probe, fmt, args);

    ck_assert_msg(reply != NULL, "Redis does not answer '%s': %s", fmt, probe->errstr);
    ck_assert_msg(reply->type != REDIS_REPLY_ERROR, "Redis to '%s': %s", fmt, reply->str);
    return reply;
}

int64_t probe_do(struct redisContext *probe, const char *fmt, ...)
{
    va_list args;
    redisReply *reply;
    int64_t value;

    va_start(args, fmt);
    reply = probe_reply(probe, fmt, args);
    va_end(args);
    value = reply->type == REDIS_REPLY_INTEGER ? reply->integer : reply->type != REDIS_REPLY_NIL;
    freeReplyObject(reply);
    return value;
}

void probe_post(struct redisContext *probe, const char *command)
{
    char line[256];
    int is_done = 0;

    snprintf(line, sizeof(line), "%s\r\n", command); /* as people type it */
    ck_assert_int_eq(redisAppendFormattedCommand(probe, line, strlen(line)), REDIS_OK);
    while (!is_done) {
        ck_assert_int_eq(redisBufferWrite(probe, &is_done), REDIS_OK);
    }
}

static char *probe_text(redisContext *probe, const char *fmt, ...)
{
    va_list args;
    redisReply *reply;
    char *text;

    va_start(args, fmt);
    reply = probe_reply(probe, fmt, args);
    va_end(args);
    text = reply->type == REDIS_REPLY_NIL ? NULL : strndup(reply->str, reply->len);
    freeReplyObject(reply);
    return text;
}

char *probe_get(struct redisContext *probe, const char *key)
{
    return probe_text(probe, "GET %s", key);
}

bool probe_has(struct redisContext *probe, const char *key)
{
    return probe_do(probe, "EXISTS %s", key) == 1;
}

int64_t probe_ttl_ms(struct redisContext *probe, const char *key)
{
    return probe_do(probe, "PTTL %s", key);
}

int64_t probe_script_calls(struct redisContext *probe)
{
    static const char *const names[] = {"cmdstat_eval:calls=", "cmdstat_evalsha:calls="};
    char *info = probe_text(probe, "INFO commandstats");
    int64_t calls = 0;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *at = strstr(info, names[i]);

        calls += at ? strtoll(at + strlen(names[i]), NULL, 10) : 0;
    }
    free(info);
    return calls;
}
