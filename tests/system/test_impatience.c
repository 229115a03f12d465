/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Clients that want too much too often: the daemon goes on for everybody else, and stops when told to.
 */

#include "tests/lib/scene.h"

Suite *test_impatience_suite(void);

#ifdef COVERAGE
enum { IMPATIENCE_KEYS = 500 }; /* a daemon that counts its lines has enough to do with these */
#else
enum { IMPATIENCE_KEYS = 5000 };
#endif
enum { IMPATIENCE_PINGS = 20 };

static void impatience_open(void)
{
    scene_open("");
}

/*
 * Every key is held by another program, and each of the claims on them wants to be tried each
 * millisecond and gives an attempt no longer than that: attempts come due as fast as they are carried
 * out.
 */
START_TEST(test_attempts_each_millisecond)
{
    struct client *impatient = scene_client(), *other = scene_client();

    probe_do(scene.probe, "EVAL %s 0 %d",
             "for i = 0, ARGV[1] - 1 do redis.call('SET', 'k' .. i, 'foreign', 'PX', 600000) end return 1",
             IMPATIENCE_KEYS);
    for (int i = 0; i < IMPATIENCE_KEYS; i++) {
        client_send(impatient,
                    "{'jsonrpc':'2.0','id':%d,'method':'lock','params':{'key':'k%d','wait_ms':null,"
                    "'attempt_timeout_ms':1,'retry':{'interval_ms':1}}}",
                    i, i);
    }
    AWAIT(client_stat(other, "claims_waiting") == IMPATIENCE_KEYS);
    for (int i = 0; i < IMPATIENCE_PINGS; i++) {
        client_query(other, "ping");
    }
    (void)client_lock(other, "free");
    client_close(impatient);
    AWAIT(client_stat(other, "claims_waiting") == 0);
}
END_TEST

Suite *test_impatience_suite(void)
{
    Suite *suite = suite_create("system: impatience");
    TCase *tcase = scene_case(suite, "impatience", impatience_open);

    tcase_add_test(tcase, test_attempts_each_millisecond);
    return suite;
}
