/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Hash slots: the same as a real Redis says, and tags that lie where they should.
 */

#include "daemon/redis/slot.h"
#include "tests/lib/redis.h"

#include <check.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Suite *test_slot_suite(void);

static const char *const keys[] = {
    "a",  "foo",      "123456789",  "{user}.x", "x{user}y", "x{}y",
    "{}", "{}{x}",    "}{",         "a}b",      "{{x}}",    "{x",
    "x}", "a{b{c}d}", "foo{}{bar}", " ",        "{ }",      "\xc3\xa9{\xe2\x82\xac}",
};

/* A Redis that is no cluster knows of slots all the same, when it may be asked. */
START_TEST(test_slots_are_those_of_redis)
{
    struct redis_server *server = redis_server_start("--cluster-enabled", "yes", NULL);
    redisContext *conn = redisConnectUnix(redis_server_socket(server));

    ck_assert_int_eq(conn->err, 0);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        redisReply *reply = redisCommand(conn, "CLUSTER KEYSLOT %s", keys[i]);
        ck_assert_int_eq(reply->type, REDIS_REPLY_INTEGER);
        ck_assert_msg(reply->integer == slot_of(keys[i], strlen(keys[i])), "%s: %lld", keys[i],
                      reply->integer);
        freeReplyObject(reply);
    }
    redisFree(conn);
    redis_server_stop(server);
}
END_TEST

START_TEST(test_each_slot_has_its_tag)
{
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        char name[32];
        int len = snprintf(name, sizeof(name), "x:{%u}:y}{z", slot_tag(slot));

        ck_assert_uint_eq(slot_of(name, (size_t)len), slot);
    }
}
END_TEST

Suite *test_slot_suite(void)
{
    Suite *suite = suite_create("slot");
    TCase *tcase = tcase_create("slot");

    tcase_add_test(tcase, test_slots_are_those_of_redis);
    tcase_add_test(tcase, test_each_slot_has_its_tag);
    suite_add_tcase(suite, tcase);
    return suite;
}
