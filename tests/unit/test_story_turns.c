/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Stories of a key that other hosts want too: recall, passing on, being offered it; and of leases that
 * linger. Time is virtual; see tests/lib/story.h for how to read a trace.
 */

#include "tests/lib/story.h"

#include <check.h>

Suite *test_story_turns_suite(void);

static struct story *story;

static void set_up(void)
{
    story = story_new();
    story_link(story, LINK_UP, NULL);
}

static void set_up_lingering(void)
{
    set_up();
    story_settings(story)->linger_ms = 500;
    story_apply(story);
}

static void tear_down(void)
{
    story = story_free(story);
}

/* Peer 1 holds key a, by value 1, from instant 0 on. */
static void hold(void)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_answer(story, 1, ANSWER_OURS);
    story_skip(story);
}

/* --- turns ----------------------------------------------------------------------------------------- */

START_TEST(recalled_it_serves_those_who_had_asked)
{
    hold();
    story_claim(story, 2, 2, "a", CLAIM());
    story_until(story, 10);
    story_recalled(story, "a");
    story_claim(story, 3, 3, "a", CLAIM());
    story_recalled(story, "a"); /* says nothing new */
    story_unlock(story, 1, 4, "a", 0);
    story_unlock(story, 2, 5, "a", 0);
    story_answer_wanted(story, 2);
    story_answer_taken(story, 3, 900);
    story_expect(story, "[  10] 1:4 unlocked a after 10\n"
                        "[  10] 2:2 granted a fence 101 until 988\n"
                        "[  10] release a #2 value 1\n"
                        "[  10] lock a #3 ttl 1000 value 2\n"
                        "[  10] 2:5 unlocked a after 0\n"
                        "[  10] forget value 1\n");
    ck_assert_uint_eq(story_stats(story)->recalls, 2);
    ck_assert_uint_eq(story_stats(story)->handoffs, 1);
}
END_TEST

/* Nobody here waits: it goes at the unlock, and not before. */
START_TEST(recalled_from_its_holder)
{
    hold();
    story_recalled(story, "a");
    story_until(story, 20);
    story_expect(story, "");
    story_unlock(story, 1, 2, "a", 0);
    story_answer_wanted(story, 2);
    story_expect(story, "[  20] release a #2 value 1\n"
                        "[  20] 1:2 unlocked a after 20\n"
                        "[  20] forget value 1\n");
    story_expect_nothing_left(story);
}
END_TEST

START_TEST(a_host_that_gets_its_turn_serves_those_it_has_then)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_claim(story, 2, 2, "a", CLAIM());
    story_answer_wanted(story, 1);
    story_claim(story, 3, 3, "a", CLAIM());
    story_unlock(story, 1, 0, "a", 0);
    story_unlock(story, 2, 0, "a", 0);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[   0] 2:2 granted a fence 101 until 988\n"
                        "[   0] release a #2 value 1\n"
                        "[   0] lock a #3 ttl 1000 value 2\n");
}
END_TEST

/* The message may overtake the answer to the attempt. */
START_TEST(recalled_before_the_answer_came)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_recalled(story, "a");
    story_answer(story, 1, ANSWER_OURS);
    story_claim(story, 2, 2, "a", CLAIM());
    story_unlock(story, 1, 0, "a", 0);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[   0] release a #2 value 1\n"
                        "[   0] lock a #3 ttl 1000 value 2\n");
}
END_TEST

/* But one that was about an earlier holder binds nobody. */
START_TEST(recalled_and_then_refused)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_recalled(story, "a");
    story_answer_taken(story, 1, 900);
    story_until(story, 100);
    story_answer(story, 2, ANSWER_OURS);
    story_claim(story, 2, 2, "a", CLAIM());
    story_skip(story);
    story_unlock(story, 1, 0, "a", 0);
    story_expect(story, "[ 100] 2:2 granted a fence 101 until 1088\n");
}
END_TEST

/* If the message is lost, the next renewal tells. */
START_TEST(a_renewal_tells_of_other_hosts)
{
    hold();
    story_claim(story, 2, 2, "a", CLAIM());
    story_until(story, 333);
    story_answer_wanted(story, 2);
    story_claim(story, 3, 3, "a", CLAIM());
    story_skip(story);
    story_unlock(story, 1, 0, "a", 0);
    story_unlock(story, 2, 0, "a", 0);
    story_expect(story, "[ 333] 2:2 granted a fence 101 until 1251\n"
                        "[ 333] release a #3 value 1\n"
                        "[ 333] lock a #4 ttl 1000 value 2\n");
}
END_TEST

/* Without other hosts there is no limit, and no command. */
START_TEST(alone_it_goes_on_without_end)
{
    hold();
    for (uint64_t i = 2; i < 50; i++) {
        story_claim(story, i, i, "a", CLAIM());
        story_unlock(story, i - 1, 0, "a", 0);
    }
    ck_assert_uint_eq(story_stats(story)->handovers, 48);
    ck_assert_uint_eq(story_stats(story)->handoffs, 0);
}
END_TEST

/* Who asked before the recall and leaves makes no room for who asked after it. */
START_TEST(the_batch_shrinks_with_those_who_leave)
{
    hold();
    story_claim(story, 2, 2, "a", CLAIM());
    story_recalled(story, "a");
    story_claim(story, 3, 3, "a", CLAIM());
    story_gone(story, 2);
    story_unlock(story, 1, 0, "a", 0);
    story_expect(story, "[   0] release a #2 value 1\n"
                        "[   0] lock a #3 ttl 1000 value 2\n");
}
END_TEST

/* Those left over queue at once, though they may have tried a moment before. */
START_TEST(the_rest_does_not_wait_for_its_interval)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_claim(story, 2, 2, "a", CLAIM(.retry_interval_ms = 5000));
    story_answer_taken(story, 1, 9000);
    story_gone(story, 1);
    story_claim(story, 3, 3, "a", CLAIM(.retry_interval_ms = 5000));
    story_answer(story, 2, ANSWER_OURS); /* the attempt for peer 3 */
    story_skip(story);
    story_recalled(story, "a");
    story_claim(story, 4, 4, "a", CLAIM(.retry_interval_ms = 5000));
    story_unlock(story, 2, 0, "a", 0);
    story_unlock(story, 3, 0, "a", 0);
    story_expect(story, "[   0] 3:3 granted a fence 101 until 988\n"
                        "[   0] release a #3 value 1\n"
                        "[   0] lock a #4 ttl 1000 value 2\n");
}
END_TEST

/* --- waiting for one's turn ------------------------------------------------------------------------ */

START_TEST(offered_it_asks_at_once)
{
    story_claim(story, 1, 1, "a", CLAIM(.retry_interval_ms = 60000, .retry_max = 0, .wait_ms = 50));
    story_claim(story, 2, 2, "a", CLAIM(.retry_interval_ms = 60000, .retry_max = 1));
    story_answer_taken(story, 1, 30000);
    story_until(story, 20);
    story_offered(story, "a");
    story_answer_found(story, 2);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 refused a held remaining 30000\n"
                        "[  20] lock a #2 ttl 1000 value 1\n"
                        "[  20] 2:2 granted a fence 100 until 1008\n");
    ck_assert_uint_eq(story_stats(story)->offers, 1);
    ck_assert_uint_eq(story_stats(story)->offers_missed, 0);
}
END_TEST

/* A hint is not believed: Redis says that another has it, and that costs no attempt. */
START_TEST(offered_but_not_so)
{
    story_claim(story, 1, 1, "a", CLAIM(.retry_max = 1));
    story_answer_taken(story, 1, 30000);
    for (uint64_t op_id = 2; op_id < 6; op_id++) {
        story_offered(story, "a");
        story_answer_taken(story, op_id, 30000);
    }
    story_skip(story);
    story_until(story, 100);
    story_answer_taken(story, 6, 30000);
    story_expect(story, "[ 100] lock a #6 ttl 1000 value 1\n"
                        "[ 100] 1:1 refused a held remaining 30000\n"
                        "[ 100] release a #7 value 1\n");
}
END_TEST

/* The attempt under way may have been too early. */
START_TEST(offered_while_an_attempt_is_under_way)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_offered(story, "a");
    story_answer_taken(story, 1, 30000);
    story_answer_found(story, 2);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] lock a #2 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n");
}
END_TEST

/* Nobody here wants it (any more), or it is here already: there is nothing to do. */
START_TEST(offered_in_vain)
{
    story_offered(story, "a");
    story_recalled(story, "a");
    story_expect_nothing_left(story);
    hold();
    story_offered(story, "a");
    story_expect(story, "");
}
END_TEST

/* The message was lost; the next attempt finds the key, and that is counted. */
START_TEST(an_offer_that_was_missed)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_answer_taken(story, 1, 30000);
    story_until(story, 100);
    story_answer_found(story, 2);
    ck_assert_uint_eq(story_stats(story)->offers_missed, 1);
}
END_TEST

/* One's own attempt, unanswered, is no offer. */
START_TEST(what_an_own_attempt_has_set_is_no_offer)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_until(story, 600);
    story_answer_found(story, 2);
    ck_assert_uint_eq(story_stats(story)->offers_missed, 0);
    ck_assert_uint_eq(story_stats(story)->grants, 1);
}
END_TEST

START_TEST(after_a_break_of_the_ear_all_is_looked_at)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_claim(story, 1, 2, "b", CLAIM());
    story_answer_taken(story, 1, 30000);
    story_answer(story, 2, ANSWER_OURS);
    story_skip(story);
    story_hearing(story);
    story_expect(story, "[   0] lock a #3 ttl 1000 value 1\n");
}
END_TEST

/* A host that has crashed costs its ttl, and no interval more. */
START_TEST(an_attempt_comes_when_the_lease_ends)
{
    story_claim(story, 1, 1, "a", CLAIM(.retry_interval_ms = 60000));
    story_answer_taken(story, 1, 700);
    story_until(story, 705);
    story_answer_taken(story, 2, 400); /* it was renewed, or there is another */
    story_until(story, 10000);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[ 701] lock a #2 ttl 1000 value 1\n"
                        "[1106] lock a #3 ttl 1000 value 1\n");
}
END_TEST

/* Who leaves the queue here also leaves the one in Redis. */
START_TEST(who_leaves_waits_nowhere)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_answer_taken(story, 1, 30000);
    story_gone(story, 1);
    story_until(story, 5);
    story_answer(story, 2, ANSWER_TAKEN);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] release a #2 value 1\n"
                        "[   5] forget value 1\n");
    story_expect_nothing_left(story);
}
END_TEST

/* That it may not be said just now keeps the place taken: so it is said again. */
START_TEST(who_may_not_leave_says_so_again)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_answer_taken(story, 1, 30000);
    story_gone(story, 1);
    story_answer(story, 2, ANSWER_REFUSED);
    story_skip(story);
    story_until(story, 40);
    story_answer(story, 3, ANSWER_TAKEN);
    story_expect(story, "[  33] release a #3 value 1\n"
                        "[  40] forget value 1\n");
}
END_TEST

/* A try queues nowhere; one that waits and comes meanwhile does, at once. */
START_TEST(a_try_does_not_queue)
{
    story_claim(story, 1, 1, "a", CLAIM(.wait_ms = 0));
    story_claim(story, 2, 2, "a", CLAIM());
    story_answer_taken(story, 1, 30000);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1 no queue\n"
                        "[   0] 1:1 refused a held remaining 30000\n"
                        "[   0] lock a #2 ttl 1000 value 1\n");
}
END_TEST

/* --- programs that know no queue ------------------------------------------------------------------- */

/* The key has gone from host to host for 200 ms: it is left free for a moment, before the next gets it. */
START_TEST(now_and_then_it_is_left_free)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_answer_wanted(story, 1);
    story_until(story, 200);
    story_claim(story, 2, 2, "a", CLAIM());
    story_skip(story);
    story_unlock(story, 1, 3, "a", 0);
    story_answer(story, 2, ANSWER_OURS);
    story_until(story, 300);
    story_answer_wanted(story, 3);
    story_expect(story, "[ 200] release a #2 value 1 left free\n"
                        "[ 200] 1:3 unlocked a after 200\n"
                        "[ 203] release a #3 value 1\n"
                        "[ 203] lock a #4 ttl 1000 value 2\n"
                        "[ 300] forget value 1\n");
}
END_TEST

/* Not at every turn. */
START_TEST(mostly_it_is_offered_at_once)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_answer_wanted(story, 1);
    story_until(story, 99);
    story_claim(story, 2, 2, "a", CLAIM());
    story_skip(story);
    story_unlock(story, 1, 3, "a", 0);
    story_expect(story, "[  99] release a #2 value 1\n"
                        "[  99] lock a #3 ttl 1000 value 2\n");
}
END_TEST

/* Somebody has taken it in that moment. */
START_TEST(what_is_left_free_may_be_taken)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_answer_wanted(story, 1);
    story_until(story, 150);
    story_skip(story);
    story_unlock(story, 1, 3, "a", 0);
    story_answer(story, 2, ANSWER_OURS);
    story_until(story, 160);
    story_answer(story, 3, ANSWER_TAKEN);
    story_expect(story, "[ 150] release a #2 value 1 left free\n"
                        "[ 150] 1:3 unlocked a after 150\n"
                        "[ 152] release a #3 value 1\n"
                        "[ 160] forget value 1\n");
    story_expect_nothing_left(story);
}
END_TEST

/* The link breaks in that moment: those who wait are not held up. */
START_TEST(left_free_when_the_link_breaks)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_answer_wanted(story, 1);
    story_until(story, 200);
    story_claim(story, 2, 2, "a", CLAIM(.fail_fast = true));
    story_unlock(story, 1, 3, "a", 0);
    story_answer(story, 2, ANSWER_OURS);
    story_skip(story);
    story_link(story, LINK_CONNECTING, NULL);
    story_link(story, LINK_DOWN, "gone");
    story_expect(story, "[ 200] 2:2 refused a unavailable (gone)\n");
    story_until(story, 250);
    story_link(story, LINK_UP, NULL);
    story_answer(story, 3, ANSWER_GONE);
    story_expect(story, "[ 250] release a #3 value 1\n"
                        "[ 250] forget value 1\n");
    story_expect_nothing_left(story);
}
END_TEST

/* It could not be left free: nothing is held up for that, and the next release offers it. */
START_TEST(left_free_in_vain)
{
    static const enum answer answers[] = {ANSWER_TRANSIENT, ANSWER_UNKNOWN, ANSWER_REFUSED};
    story_claim(story, 1, 1, "a", CLAIM());
    story_answer_wanted(story, 1);
    story_until(story, 150);
    story_claim(story, 2, 2, "a", CLAIM());
    story_skip(story);
    story_unlock(story, 1, 0, "a", 0);
    story_answer(story, 2, answers[_i]);
    story_until(story, 183);
    story_expect(story, "[ 150] release a #2 value 1 left free\n"
                        "[ 150] lock a #3 ttl 1000 value 2\n"
                        "[ 183] release a #4 value 1\n");
}
END_TEST

/* The attempt that only queues does not use up what the claim may try. */
START_TEST(who_may_try_once_tries_when_the_expired_lease_is_gone)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_answer(story, 1, ANSWER_OURS);
    story_claim(story, 2, 2, "a", CLAIM(.retry_max = 0));
    story_link(story, LINK_CONNECTING, NULL);
    story_until(story, 980);
    story_link(story, LINK_UP, NULL);
    story_skip(story);
    story_until(story, 982);
    story_answer_taken(story, 3, 20);
    story_until(story, 1003);
    story_answer(story, 4, ANSWER_OURS);
    story_expect(story, "[ 981] 1 lost a fence 100 (expired)\n"
                        "[ 981] forget value 1\n"
                        "[ 981] lock a #3 ttl 1000 value 2\n"
                        "[1003] lock a #4 ttl 1000 value 2\n"
                        "[1003] 2:2 granted a fence 164 until 1991\n");
}
END_TEST

/* Neither does one that the link's coming back makes. */
START_TEST(who_may_try_once_outlasts_a_break_of_the_link)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_answer(story, 1, ANSWER_OURS);
    story_claim(story, 2, 2, "a", CLAIM(.retry_max = 0));
    story_link(story, LINK_DOWN, "refused");
    story_until(story, 985);
    story_skip(story);
    story_link(story, LINK_UP, NULL);
    story_until(story, 987);
    story_answer_taken(story, 2, 25);
    story_until(story, 1020);
    story_expect(story, "[ 985] lock a #2 ttl 1000 value 2\n"
                        "[1013] lock a #3 ttl 1000 value 2\n");
}
END_TEST

/* The attempt under way is one that does not queue, and is not waited for any longer. */
START_TEST(who_comes_behind_an_impatient_try_queues_at_once)
{
    story_claim(story, 1, 1, "a", CLAIM(.wait_ms = 0, .attempt_timeout_ms = 1));
    story_cancel(story, 1, 0, "a", 1);
    story_claim(story, 2, 2, "a", CLAIM(.retry_interval_ms = 60000));
    story_until(story, 2);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1 no queue\n"
                        "[   0] 1:1 refused a cancelled\n"
                        "[   1] lock a #2 ttl 1000 value 1\n");
}
END_TEST

/* Nobody waits when it comes, but an attempt is under way, and somebody does before it is answered. */
START_TEST(an_offer_to_who_has_just_left_is_for_who_comes_then)
{
    story_claim(story, 1, 1, "a", CLAIM(.retry_interval_ms = 60000));
    story_cancel(story, 1, 0, "a", 1);
    story_offered(story, "a");
    story_claim(story, 2, 2, "a", CLAIM(.retry_interval_ms = 60000));
    story_answer_taken(story, 1, 1000);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 refused a cancelled\n"
                        "[   0] lock a #2 ttl 1000 value 1\n");
}
END_TEST

START_TEST(an_ear_that_opens_when_one_has_just_left_is_for_who_comes_then)
{
    story_claim(story, 1, 1, "a", CLAIM(.retry_interval_ms = 60000));
    story_cancel(story, 1, 0, "a", 1);
    story_hearing(story);
    story_claim(story, 2, 2, "a", CLAIM(.retry_interval_ms = 60000));
    story_answer_taken(story, 1, 1000);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 refused a cancelled\n"
                        "[   0] lock a #2 ttl 1000 value 1\n");
}
END_TEST

/* Its lease is gone, and with that its value from every queue: who waits here asks again at once. */
START_TEST(who_waits_behind_a_lost_lease_asks_at_once)
{
    story_claim(story, 1, 1, "a", CLAIM(.retry_interval_ms = 60000));
    story_claim(story, 2, 2, "a", CLAIM(.retry_interval_ms = 60000));
    story_answer_taken(story, 1, 30000);
    story_until(story, 20);
    story_offered(story, "a");
    story_answer_found(story, 2);
    story_until(story, 300);
    story_skip(story);
    if (_i == 0) {
        story_answer(story, 3, ANSWER_GONE);
        story_expect(story, "[ 300] 1 lost a fence 100 (deleted)\n"
                            "[ 300] forget value 1\n"
                            "[ 300] lock a #4 ttl 1000 value 2\n");
    } else {
        story_force(story, 9, 9, "a");
        story_expect(story, "[ 300] 1 lost a fence 100 (forced)\n"
                            "[ 300] release a #4 value 1\n"
                            "[ 300] lock a #5 ttl 1000 value 2\n");
    }
}
END_TEST

/* It ran out: who waits here queues at once, behind it, and asks again when Redis has dropped it. */
START_TEST(who_waits_behind_an_expired_lease_queues_and_asks_when_it_is_gone)
{
    story_claim(story, 1, 1, "a", CLAIM(.retry_interval_ms = 60000));
    story_claim(story, 2, 2, "a", CLAIM(.retry_interval_ms = 60000));
    story_answer_taken(story, 1, 30000);
    story_offered(story, "a");
    story_answer_found(story, 2);
    story_until(story, 980);
    story_skip(story);
    story_until(story, 982);
    story_answer_taken(story, 8, 20);
    story_until(story, 1100);
    story_expect(story, "[ 981] 1 lost a fence 100 (expired)\n"
                        "[ 981] forget value 1\n"
                        "[ 981] lock a #8 ttl 1000 value 2\n"
                        "[1003] lock a #9 ttl 1000 value 2\n");
}
END_TEST

/* An operator has deleted it where another host held it: who waits here asks at once. */
START_TEST(who_waits_for_what_was_forced_asks_at_once)
{
    story_claim(story, 1, 1, "a", CLAIM(.retry_interval_ms = 60000));
    story_answer_taken(story, 1, 30000);
    story_force(story, 9, 9, "a");
    story_skip(story);
    story_forced(story, 9, 9, "a");
    story_expect(story, "[   0] lock a #2 ttl 1000 value 1\n"
                        "[   0] 9:9 forced a\n");
}
END_TEST

/* --- lingering ------------------------------------------------------------------------------------- */

START_TEST(a_lease_lingers)
{
    hold();
    story_until(story, 10);
    story_unlock(story, 1, 2, "a", 0);
    story_until(story, 400); /* renewed meanwhile */
    story_answer(story, 2, ANSWER_OURS);
    story_claim(story, 2, 3, "a", CLAIM());
    story_unlock(story, 2, 4, "a", 0);
    story_claim(story, 3, 5, "a", CLAIM(.wait_ms = 0));
    story_until(story, 500);
    story_unlock(story, 3, 6, "a", 0);
    story_until(story, 640);
    story_answer(story, 3, ANSWER_OURS);
    story_until(story, 800);
    story_answer(story, 4, ANSWER_OURS);
    story_until(story, 1010);
    story_answer(story, 5, ANSWER_OURS);
    story_expect(story, "[  10] 1:2 unlocked a after 10\n"
                        "[ 263] renew a #2\n"
                        "[ 400] 2:3 granted a fence 101 until 1251\n"
                        "[ 400] 2:4 unlocked a after 0\n"
                        "[ 400] 3:5 granted a fence 102 until 1251\n"
                        "[ 500] 3:6 unlocked a after 100\n"
                        "[ 526] renew a #3\n"
                        "[ 789] renew a #4\n"
                        "[1000] release a #5 value 1\n"
                        "[1010] forget value 1\n");
    story_expect_nothing_left(story);
}
END_TEST

START_TEST(recalled_it_lingers_no_more)
{
    hold();
    story_unlock(story, 1, 2, "a", 0);
    story_until(story, 100);
    story_skip(story);
    story_recalled(story, "a");
    story_answer_wanted(story, 2);
    story_expect(story, "[ 100] release a #2 value 1\n"
                        "[ 100] forget value 1\n");
    story_expect_nothing_left(story);
}
END_TEST

/* The next time it does not linger, and earns it back with that. */
START_TEST(recalled_once_it_earns_it_back)
{
    hold();
    story_unlock(story, 1, 0, "a", 0);
    story_recalled(story, "a");
    story_answer_wanted(story, 2);

    story_claim(story, 1, 2, "a", CLAIM());
    story_answer(story, 3, ANSWER_OURS);
    story_skip(story);
    story_unlock(story, 1, 0, "a", 0);
    story_answer(story, 4, ANSWER_OURS);
    story_expect(story, "[   0] release a #4 value 2\n"
                        "[   0] forget value 2\n");

    story_claim(story, 1, 3, "a", CLAIM());
    story_answer(story, 5, ANSWER_OURS);
    story_skip(story);
    story_unlock(story, 1, 4, "a", 0);
    story_expect(story, "[   0] 1:4 unlocked a after 0\n");
}
END_TEST

START_TEST(what_lingers_is_given_up_at_the_end)
{
    hold();
    story_unlock(story, 1, 2, "a", 0);
    story_skip(story);
    story_stop(story);
    story_answer(story, 2, ANSWER_OURS);
    story_expect(story, "[   0] release a #2 value 1\n"
                        "[   0] forget value 1\n");
    story_expect_nothing_left(story);
}
END_TEST

START_TEST(what_lingers_obeys_the_configuration)
{
    hold();
    story_unlock(story, 1, 2, "a", 0);
    story_skip(story);
    story_settings(story)->linger_ms = 0;
    story_apply(story);
    story_answer(story, 2, ANSWER_OURS);
    story_expect(story, "[   0] release a #2 value 1\n"
                        "[   0] forget value 1\n");
}
END_TEST

/* It could not be renewed: nobody is granted anything on it, and nobody is told. */
START_TEST(what_lingers_may_run_out)
{
    story_settings(story)->linger_ms = 5000;
    story_apply(story);
    hold();
    story_unlock(story, 1, 2, "a", 0);
    story_link(story, LINK_DOWN, "gone");
    story_until(story, 700);
    story_skip(story);
    story_claim(story, 2, 3, "a", CLAIM(.wait_ms = 100));
    story_until(story, 1000);
    story_link(story, LINK_UP, NULL);
    story_answer(story, 2, ANSWER_GONE);
    story_expect(story, "[ 800] 2:3 refused a timeout\n"
                        "[1000] release a #2 value 1\n"
                        "[1000] forget value 1\n");
    story_expect_nothing_left(story);
}
END_TEST

START_TEST(an_operator_ends_the_lingering)
{
    hold();
    story_unlock(story, 1, 2, "a", 0);
    story_skip(story);
    story_force(story, 9, 9, "a");
    story_answer(story, 2, ANSWER_OURS);
    story_expect(story, "[   0] release a #2 value 1\n"
                        "[   0] 9:9 forced a\n"
                        "[   0] forget value 1\n");
}
END_TEST

/* A client that dies gives it back in the same manner. */
START_TEST(after_a_death_it_lingers_too)
{
    hold();
    story_gone(story, 1);
    story_expect(story, "");
    story_claim(story, 2, 2, "a", CLAIM());
    story_expect(story, "[   0] 2:2 granted a fence 101 until 988\n");
}
END_TEST

static void add_turns(TCase *tcase)
{
    tcase_add_test(tcase, recalled_it_serves_those_who_had_asked);
    tcase_add_test(tcase, recalled_from_its_holder);
    tcase_add_test(tcase, a_host_that_gets_its_turn_serves_those_it_has_then);
    tcase_add_test(tcase, recalled_before_the_answer_came);
    tcase_add_test(tcase, recalled_and_then_refused);
    tcase_add_test(tcase, a_renewal_tells_of_other_hosts);
    tcase_add_test(tcase, alone_it_goes_on_without_end);
    tcase_add_test(tcase, the_batch_shrinks_with_those_who_leave);
    tcase_add_test(tcase, the_rest_does_not_wait_for_its_interval);
    tcase_add_test(tcase, offered_it_asks_at_once);
    tcase_add_test(tcase, offered_but_not_so);
    tcase_add_test(tcase, offered_while_an_attempt_is_under_way);
    tcase_add_test(tcase, offered_in_vain);
    tcase_add_test(tcase, an_offer_that_was_missed);
    tcase_add_test(tcase, what_an_own_attempt_has_set_is_no_offer);
    tcase_add_test(tcase, after_a_break_of_the_ear_all_is_looked_at);
    tcase_add_test(tcase, an_attempt_comes_when_the_lease_ends);
    tcase_add_test(tcase, who_leaves_waits_nowhere);
    tcase_add_test(tcase, who_may_not_leave_says_so_again);
    tcase_add_test(tcase, a_try_does_not_queue);
    tcase_add_test(tcase, now_and_then_it_is_left_free);
    tcase_add_test(tcase, mostly_it_is_offered_at_once);
    tcase_add_test(tcase, what_is_left_free_may_be_taken);
    tcase_add_test(tcase, left_free_when_the_link_breaks);
    tcase_add_loop_test(tcase, left_free_in_vain, 0, 3);
    tcase_add_loop_test(tcase, who_waits_behind_a_lost_lease_asks_at_once, 0, 2);
    tcase_add_test(tcase, who_waits_behind_an_expired_lease_queues_and_asks_when_it_is_gone);
    tcase_add_test(tcase, who_waits_for_what_was_forced_asks_at_once);
    tcase_add_test(tcase, who_may_try_once_tries_when_the_expired_lease_is_gone);
    tcase_add_test(tcase, who_may_try_once_outlasts_a_break_of_the_link);
    tcase_add_test(tcase, who_comes_behind_an_impatient_try_queues_at_once);
    tcase_add_test(tcase, an_offer_to_who_has_just_left_is_for_who_comes_then);
    tcase_add_test(tcase, an_ear_that_opens_when_one_has_just_left_is_for_who_comes_then);
}

static void add_lingering(TCase *tcase)
{
    tcase_add_test(tcase, a_lease_lingers);
    tcase_add_test(tcase, recalled_it_lingers_no_more);
    tcase_add_test(tcase, recalled_once_it_earns_it_back);
    tcase_add_test(tcase, what_lingers_is_given_up_at_the_end);
    tcase_add_test(tcase, what_lingers_obeys_the_configuration);
    tcase_add_test(tcase, what_lingers_may_run_out);
    tcase_add_test(tcase, an_operator_ends_the_lingering);
    tcase_add_test(tcase, after_a_death_it_lingers_too);
}

Suite *test_story_turns_suite(void)
{
    Suite *suite = suite_create("story_turns");
    TCase *tcase = tcase_create("turns");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    add_turns(tcase);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("lingering");
    tcase_add_checked_fixture(tcase, set_up_lingering, tear_down);
    add_lingering(tcase);
    suite_add_tcase(suite, tcase);
    return suite;
}
