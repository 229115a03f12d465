/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Stories of getting, passing on and giving back. Time is virtual; see tests/lib/story.h for how to
 * read a trace.
 */

#include "tests/lib/story.h"

#include <check.h>

Suite *test_story_locks_suite(void);

static struct story *story;

static void set_up(void)
{
    story = story_new();
    story_link(story, LINK_UP, NULL);
}

static void tear_down(void)
{
    story = story_free(story);
}

START_TEST(a_free_lock_is_got_and_given_back)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_until(story, 3);
    story_answer(story, 1, ANSWER_OURS);
    story_until(story, 10);
    story_unlock(story, 1, 2, "a", 0);
    story_until(story, 12);
    story_answer(story, 2, ANSWER_OURS);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   3] 1:1 granted a fence 100 until 988\n"
                        "[  10] release a #2 value 1\n"
                        "[  12] 1:2 unlocked a after 7\n"
                        "[  12] forget value 1\n");
    story_expect_nothing_left(story);
}
END_TEST

/* Validity counts from before the request left. */
START_TEST(validity_counts_from_the_sending)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_until(story, 400);
    story_answer(story, 1, ANSWER_OURS);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[ 400] 1:1 granted a fence 100 until 988\n"
                        "[ 400] renew a #2\n");
}
END_TEST

/* An answer that comes when the lease would be over is no success: it is given back, and the next
 * attempt has another value. */
START_TEST(an_answer_that_comes_too_late_is_no_success)
{
    story_claim(story, 1, 1, "a", CLAIM(.attempt_timeout_ms = 5000));
    story_until(story, 985);
    story_answer(story, 1, ANSWER_OURS);
    story_until(story, 1200);
    story_answer(story, 2, ANSWER_GONE);
    story_answer(story, 3, ANSWER_OURS);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[ 985] release a #2 value 1\n"
                        "[1085] lock a #3 ttl 1000 value 2\n"
                        "[1200] forget value 1\n"
                        "[1200] 1:1 granted a fence 164 until 2073\n");
}
END_TEST

/* No grant on a lease at risk: the answer is good, but old; it is renewed first. */
START_TEST(an_old_answer_is_renewed_before_the_grant)
{
    story_claim(story, 1, 1, "a", CLAIM(.attempt_timeout_ms = 5000));
    story_until(story, 700);
    story_answer(story, 1, ANSWER_OURS);
    story_until(story, 701);
    story_answer(story, 2, ANSWER_OURS);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[ 700] renew a #2\n"
                        "[ 701] 1:1 granted a fence 100 until 1688\n");
}
END_TEST

START_TEST(a_lock_held_elsewhere_is_tried_again_at_the_interval)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_until(story, 1);
    story_answer_taken(story, 1, 5000);
    story_until(story, 150);
    story_answer_taken(story, 2, 4850);
    story_until(story, 250);
    story_answer(story, 3, ANSWER_OURS);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[ 101] lock a #2 ttl 1000 value 1\n"
                        "[ 250] lock a #3 ttl 1000 value 1\n"
                        "[ 250] 1:1 granted a fence 100 until 1238\n");
}
END_TEST

START_TEST(attempts_are_used_up)
{
    story_claim(story, 1, 1, "a", CLAIM(.retry_max = 1));
    story_answer_taken(story, 1, 5000);
    story_until(story, 100);
    story_answer_taken(story, 2, 4900);
    story_answer(story, 3, ANSWER_TAKEN);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[ 100] lock a #2 ttl 1000 value 1\n"
                        "[ 100] 1:1 refused a held remaining 4900\n"
                        "[ 100] release a #3 value 1\n" /* it queues no more */
                        "[ 100] forget value 1\n");
    story_expect_nothing_left(story);
}
END_TEST

START_TEST(the_wait_is_over)
{
    story_claim(story, 1, 1, "a", CLAIM(.wait_ms = 250));
    story_answer_taken(story, 1, 5000);
    story_until(story, 100);
    story_answer(story, 2, ANSWER_TRANSIENT);
    story_until(story, 205);
    story_answer(story, 3, ANSWER_TRANSIENT);
    story_until(story, 300);
    story_answer(story, 4, ANSWER_TAKEN);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[ 100] lock a #2 ttl 1000 value 1\n"
                        "[ 200] lock a #3 ttl 1000 value 1\n"
                        "[ 250] 1:1 refused a timeout (it says no)\n"
                        "[ 250] release a #4 value 1\n"
                        "[ 300] forget value 1\n");
    story_expect_nothing_left(story);
}
END_TEST

/* Unknown is not failed: the next attempt has the same value, and is recognised. */
START_TEST(an_attempt_without_an_answer_is_repeated_with_its_value)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_until(story, 601);
    story_answer(story, 2, ANSWER_OURS);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[ 600] lock a #2 ttl 1000 value 1\n"
                        "[ 601] 1:1 granted a fence 100 until 1588\n");
}
END_TEST

/* ... and when nobody wants the key any more, it is given back, and the value is spent. */
START_TEST(what_may_have_been_set_is_given_back)
{
    story_claim(story, 1, 1, "a", CLAIM(.wait_ms = 300));
    story_until(story, 500);
    story_answer(story, 2, ANSWER_OURS);
    story_claim(story, 1, 2, "a", CLAIM());
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[ 300] 1:1 refused a timeout (no answer in time)\n"
                        "[ 500] release a #2 value 1\n"
                        "[ 500] forget value 1\n"
                        "[ 500] lock a #3 ttl 1000 value 2\n");
}
END_TEST

/* The first answer comes after all, when the second attempt is under way. */
START_TEST(a_late_answer_of_the_same_value_counts)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_until(story, 605);
    story_answer(story, 1, ANSWER_OURS);
    story_until(story, 610);
    story_answer(story, 2, ANSWER_OURS);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[ 600] lock a #2 ttl 1000 value 1\n"
                        "[ 605] renew a #3\n"
                        "[ 610] 1:1 granted a fence 164 until 1588\n");
}
END_TEST

START_TEST(a_refusal_ends_all_who_wait)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_claim(story, 2, 2, "a", CLAIM());
    story_answer(story, 1, ANSWER_REFUSED);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 refused a unavailable (it says no)\n"
                        "[   0] 2:2 refused a unavailable (it says no)\n"
                        "[   0] forget value 1\n");
    story_expect_nothing_left(story);
}
END_TEST

START_TEST(one_attempt_at_a_time_and_first_come_first_served)
{
    for (uint64_t peer = 1; peer <= 4; peer++) {
        story_claim(story, peer, peer, "a", CLAIM());
    }
    story_answer(story, 1, ANSWER_OURS);
    story_gone(story, 3);
    story_until(story, 10);
    story_unlock(story, 1, 10, "a", 0);
    story_unlock(story, 2, 20, "a", 0);
    story_unlock(story, 4, 40, "a", 0);
    story_answer(story, 2, ANSWER_OURS);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[  10] 1:10 unlocked a after 10\n"
                        "[  10] 2:2 granted a fence 101 until 988\n"
                        "[  10] 2:20 unlocked a after 0\n"
                        "[  10] 4:4 granted a fence 102 until 988\n"
                        "[  10] release a #2 value 1\n"
                        "[  10] 4:40 unlocked a after 0\n"
                        "[  10] forget value 1\n");
    story_expect_nothing_left(story);
}
END_TEST

/* Peer 2 comes while the first attempt is under way, and is told when that has gone to peer 1. */
START_TEST(who_does_not_wait_is_told_without_asking_redis)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_claim(story, 2, 2, "a", CLAIM(.wait_ms = 0));
    story_answer(story, 1, ANSWER_OURS);
    story_claim(story, 2, 3, "a", CLAIM(.wait_ms = 0));
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[   0] 2:2 refused a held remaining 988\n"
                        "[   0] 2:3 refused a held remaining 988\n");
}
END_TEST

START_TEST(a_try_is_one_attempt)
{
    story_claim(story, 1, 1, "a", CLAIM(.wait_ms = 0));
    story_answer_taken(story, 1, 70);
    story_claim(story, 1, 2, "a", CLAIM(.wait_ms = 0));
    story_until(story, 500);
    story_answer(story, 3, ANSWER_GONE);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1 no queue\n"
                        "[   0] 1:1 refused a held remaining 70\n"
                        "[   0] forget value 1\n"
                        "[   0] lock a #2 ttl 1000 value 2 no queue\n"
                        "[ 500] 1:2 refused a unavailable (no answer in time)\n"
                        "[ 500] release a #3 value 2\n"
                        "[ 500] forget value 2\n");
    story_expect_nothing_left(story);
}
END_TEST

START_TEST(one_connection_has_one_claim_on_a_key)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_claim(story, 1, 2, "a", CLAIM());
    story_answer(story, 1, ANSWER_OURS);
    story_claim(story, 1, 3, "a", CLAIM());
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:2 refused a already_held\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[   0] 1:3 refused a already_held\n");
}
END_TEST

START_TEST(cancel_ends_a_waiting_claim_and_no_other)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_claim(story, 2, 2, "a", CLAIM());
    story_cancel(story, 2, 3, "a", 1);
    story_cancel(story, 2, 4, "a", 2);
    story_answer(story, 1, ANSWER_OURS);
    story_cancel(story, 1, 5, "a", 1);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 2:3 cancelled no\n"
                        "[   0] 2:2 refused a cancelled\n"
                        "[   0] 2:4 cancelled yes\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[   0] 1:5 cancelled no\n");
}
END_TEST

START_TEST(an_unlock_names_its_reason)
{
    story_unlock(story, 1, 1, "a", 0);
    story_claim(story, 1, 2, "a", CLAIM());
    story_answer(story, 1, ANSWER_OURS);
    story_unlock(story, 2, 3, "a", 0);
    story_unlock(story, 1, 4, "a", 99);
    story_unlock(story, 1, 5, "a", 100);
    story_unlock(story, 1, 6, "a", 0);
    story_answer(story, 2, ANSWER_OURS);
    story_expect(story, "[   0] 1:1 refused a not_held (never)\n"
                        "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:2 granted a fence 100 until 988\n"
                        "[   0] 2:3 refused a not_held (never)\n"
                        "[   0] 1:4 refused a not_held (stale_fence)\n"
                        "[   0] release a #2 value 1\n"
                        "[   0] 1:6 refused a not_held (released)\n"
                        "[   0] 1:5 unlocked a after 0\n"
                        "[   0] forget value 1\n");
    story_expect_nothing_left(story);
}
END_TEST

START_TEST(an_unlock_finds_out_that_there_was_nothing_left)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_claim(story, 1, 2, "b", CLAIM());
    story_answer(story, 1, ANSWER_OURS);
    story_answer(story, 2, ANSWER_OURS);
    story_unlock(story, 1, 3, "a", 0);
    story_unlock(story, 1, 4, "b", 0);
    story_answer(story, 3, ANSWER_GONE);
    story_answer(story, 4, ANSWER_TAKEN);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] lock b #2 ttl 1000 value 2\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[   0] 1:2 granted b fence 164 until 988\n"
                        "[   0] release a #3 value 1\n"
                        "[   0] release b #4 value 2\n"
                        "[   0] 1:3 refused a not_held (deleted)\n"
                        "[   0] forget value 1\n"
                        "[   0] 1:4 refused b not_held (taken)\n"
                        "[   0] forget value 2\n");
    story_expect_nothing_left(story);
}
END_TEST

/* The next attempt for a key need not wait for the answer to the release before it. */
START_TEST(a_new_attempt_follows_a_release_at_once)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_answer(story, 1, ANSWER_OURS);
    story_unlock(story, 1, 2, "a", 0);
    story_claim(story, 1, 3, "a", CLAIM());
    story_answer(story, 2, ANSWER_OURS);
    story_answer(story, 3, ANSWER_OURS);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[   0] release a #2 value 1\n"
                        "[   0] lock a #3 ttl 1000 value 2\n"
                        "[   0] 1:2 unlocked a after 0\n"
                        "[   0] forget value 1\n"
                        "[   0] 1:3 granted a fence 164 until 988\n");
}
END_TEST

/* An unlock that Redis does not answer is answered all the same; the release goes on until Redis has
 * answered it, also beyond the ttl: a command of a broken connection may still be executed then. */
START_TEST(a_release_is_repeated_until_redis_answers)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_answer(story, 1, ANSWER_OURS);
    story_until(story, 10);
    story_unlock(story, 1, 2, "a", 0);
    story_answer(story, 2, ANSWER_UNKNOWN);
    story_link(story, LINK_DOWN, "refused");
    story_until(story, 300);
    story_link(story, LINK_UP, NULL);
    story_answer(story, 3, ANSWER_TRANSIENT);
    story_until(story, 340);
    story_answer(story, 4, ANSWER_UNKNOWN);
    story_link(story, LINK_DOWN, "refused");
    story_until(story, 2000);
    story_link(story, LINK_UP, NULL);
    story_answer(story, 5, ANSWER_GONE);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[  10] release a #2 value 1\n"
                        "[  10] 1:2 refused a unavailable (it says no)\n"
                        "[ 300] release a #3 value 1\n"
                        "[ 333] release a #4 value 1\n"
                        "[2000] release a #5 value 1\n"
                        "[2000] forget value 1\n");
    story_expect_nothing_left(story);
}
END_TEST

START_TEST(the_end_of_a_connection_gives_back_everything)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_claim(story, 1, 2, "b", CLAIM());
    story_answer(story, 1, ANSWER_OURS);
    story_claim(story, 2, 3, "a", CLAIM());
    story_gone(story, 1);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] lock b #2 ttl 1000 value 2\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[   0] 2:3 granted a fence 101 until 988\n");
    story_answer(story, 2, ANSWER_OURS);
    story_gone(story, 2);
    story_answer(story, 3, ANSWER_OURS);
    story_answer(story, 4, ANSWER_OURS);
    story_expect(story, "[   0] release b #3 value 2\n"
                        "[   0] release a #4 value 1\n"
                        "[   0] forget value 2\n"
                        "[   0] forget value 1\n");
    story_expect_nothing_left(story);
}
END_TEST

/* A claim that comes while an abandoned attempt is under way takes it over. */
START_TEST(an_abandoned_attempt_serves_the_next_who_comes)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_gone(story, 1);
    story_claim(story, 2, 2, "a", CLAIM());
    story_answer(story, 1, ANSWER_OURS);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 2:2 granted a fence 100 until 988\n");
}
END_TEST

/* The first who waits wants to be tried once an hour: that does not bind the second. */
START_TEST(each_claim_is_tried_at_its_own_interval)
{
    story_claim(story, 1, 1, "a", CLAIM(.retry_interval_ms = 3600000));
    story_answer_taken(story, 1, 5000);
    story_until(story, 50);
    story_claim(story, 2, 2, "a", CLAIM(.retry_interval_ms = 20));
    story_answer_taken(story, 2, 4950);
    story_until(story, 70);
    story_answer_taken(story, 3, 4930);
    story_gone(story, 2);
    story_until(story, 3000);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[  50] lock a #2 ttl 1000 value 1\n"
                        "[  70] lock a #3 ttl 1000 value 1\n");
}
END_TEST

/* ... nor do the attempts of the one use up those of the other. */
START_TEST(attempts_count_only_for_whom_they_were_due)
{
    story_claim(story, 1, 1, "a", CLAIM(.retry_interval_ms = 10));
    story_claim(story, 2, 2, "a", CLAIM(.retry_interval_ms = 35, .retry_max = 1));
    for (uint64_t op = 1; op <= 5; op++) {
        story_answer_taken(story, op, 5000);
        story_until(story, (int64_t)op * 10);
    }
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[  10] lock a #2 ttl 1000 value 1\n"
                        "[  20] lock a #3 ttl 1000 value 1\n"
                        "[  30] lock a #4 ttl 1000 value 1\n"
                        "[  40] lock a #5 ttl 1000 value 1\n"
                        "[  40] 2:2 refused a held remaining 5000\n"
                        "[  50] lock a #6 ttl 1000 value 1\n");
}
END_TEST

/* Each comes at another moment, and is tried at once; from then on one attempt an interval is for all. */
START_TEST(many_who_wait_cost_no_more_than_one)
{
    for (uint64_t peer = 1; peer <= 4; peer++) {
        story_until(story, ((int64_t)peer - 1) * 20);
        story_claim(story, peer, peer, "a", CLAIM(.retry_interval_ms = 100));
        story_answer_taken(story, peer, 5000);
    }
    for (uint64_t op = 5; op <= 7; op++) {
        story_until(story, 60 + ((int64_t)op - 4) * 100);
        story_answer_taken(story, op, 5000);
    }
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[  20] lock a #2 ttl 1000 value 1\n"
                        "[  40] lock a #3 ttl 1000 value 1\n"
                        "[  60] lock a #4 ttl 1000 value 1\n"
                        "[ 160] lock a #5 ttl 1000 value 1\n"
                        "[ 260] lock a #6 ttl 1000 value 1\n"
                        "[ 360] lock a #7 ttl 1000 value 1\n");
}
END_TEST

/* Redis is not sent the same for ever when it does not answer. */
START_TEST(few_attempts_are_under_way_at_once)
{
    story_claim(story, 1, 1, "a", CLAIM(.attempt_timeout_ms = 1, .retry_interval_ms = 1, .wait_ms = 100));
    story_until(story, 50);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   2] lock a #2 ttl 1000 value 1\n"
                        "[   4] lock a #3 ttl 1000 value 1\n"
                        "[   6] lock a #4 ttl 1000 value 1\n"
                        "[   8] lock a #5 ttl 1000 value 1\n"
                        "[  10] lock a #6 ttl 1000 value 1\n"
                        "[  12] lock a #7 ttl 1000 value 1\n"
                        "[  14] lock a #8 ttl 1000 value 1\n");
    story_answer(story, 1, ANSWER_OURS);
    story_expect(story, "[  50] 1:1 granted a fence 100 until 988\n");
}
END_TEST

/* Without a link an attempt tells nothing, so there are not many of them. */
START_TEST(attempts_without_a_link_are_few)
{
    story_link(story, LINK_DOWN, "refused");
    story_claim(story, 1, 1, "a", CLAIM(.retry_interval_ms = 1, .retry_max = 3));
    story_until(story, 1000);
    story_expect(story, "[ 150] 1:1 refused a unavailable (refused)\n");
}
END_TEST

/* A lease of which every command was answered is over in Redis some time, answer or no answer. */
START_TEST(a_release_ends_with_the_lease)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_answer(story, 1, ANSWER_OURS);
    story_link(story, LINK_DOWN, "refused");
    story_gone(story, 1);
    story_until(story, 5000);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[2022] forget value 1\n");
    story_expect_nothing_left(story);
}
END_TEST

/* One that may still be set is not: a stopped Redis may execute an old command at any time. */
START_TEST(what_may_be_set_later_is_released_later)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_answer(story, 1, ANSWER_UNKNOWN);
    story_link(story, LINK_DOWN, "refused");
    story_gone(story, 1);
    story_until(story, 500000);
    story_link(story, LINK_UP, NULL);
    story_answer(story, 2, ANSWER_OURS);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[500000] release a #2 value 1\n"
                        "[500000] forget value 1\n");
    story_expect_nothing_left(story);
}
END_TEST

/* Its entry in the queue lives as long as other hosts wait: nobody can know when it is gone. */
START_TEST(a_place_in_the_queue_is_given_up_however_late)
{
    story_claim(story, 1, 1, "a", CLAIM(.wait_ms = 10));
    story_answer_taken(story, 1, 500);
    story_until(story, 11);
    story_answer(story, 2, ANSWER_TRANSIENT);
    story_link(story, LINK_DOWN, "refused");
    story_until(story, 60000);
    story_link(story, LINK_UP, NULL);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[  10] 1:1 refused a timeout\n"
                        "[  10] release a #2 value 1\n"
                        "[60000] release a #3 value 1\n");
}
END_TEST

/* Unless Redis says that it never will: it may not be asked for ever. */
START_TEST(a_place_in_the_queue_that_may_not_be_given_up_is_left)
{
    story_claim(story, 1, 1, "a", CLAIM(.wait_ms = 10));
    story_answer_taken(story, 1, 500);
    story_until(story, 11);
    story_answer(story, 2, ANSWER_REFUSED);
    story_skip(story);
    story_link(story, LINK_DOWN, "refused");
    story_until(story, 60000);
    story_expect(story, "[2033] forget value 1\n");
    story_expect_nothing_left(story);
}
END_TEST

/* A release that fails is sent again, less and less often; any answer counts, however late. */
START_TEST(a_release_is_answered_late)
{
    story_claim(story, 1, 1, "a", CLAIM(.wait_ms = 10));
    story_answer_taken(story, 1, 500);
    story_until(story, 700);
    story_answer(story, 2, ANSWER_TAKEN);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[  10] 1:1 refused a timeout\n"
                        "[  10] release a #2 value 1\n"
                        "[ 543] release a #3 value 1\n"
                        "[ 700] forget value 1\n");
    story_expect_nothing_left(story);
}
END_TEST

START_TEST(limits_are_refused_by_name)
{
    story_settings(story)->waiting_per_peer_max = 1;
    story_apply(story);
    story_claim(story, 1, 1, "a", CLAIM());
    story_claim(story, 1, 2, "b", CLAIM());
    story_answer(story, 1, ANSWER_OURS);
    story_settings(story)->held_per_peer_max = 1;
    story_apply(story);
    story_claim(story, 1, 3, "c", CLAIM());
    story_settings(story)->locks_per_user_max = 1;
    story_apply(story);
    story_claim(story, 2, 4, "d", CLAIM());
    story_claim(story, 3, 5, "e", CLAIM(.user_id = 7));
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:2 refused b limit waiting_per_connection\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[   0] 1:3 refused c limit held_per_connection\n"
                        "[   0] 2:4 refused d limit locks_per_user\n"
                        "[   0] lock e #2 ttl 1000 value 2\n");
}
END_TEST

Suite *test_story_locks_suite(void)
{
    Suite *suite = suite_create("story_locks");
    TCase *tcase = tcase_create("locks");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_free_lock_is_got_and_given_back);
    tcase_add_test(tcase, validity_counts_from_the_sending);
    tcase_add_test(tcase, an_answer_that_comes_too_late_is_no_success);
    tcase_add_test(tcase, an_old_answer_is_renewed_before_the_grant);
    tcase_add_test(tcase, a_lock_held_elsewhere_is_tried_again_at_the_interval);
    tcase_add_test(tcase, attempts_are_used_up);
    tcase_add_test(tcase, the_wait_is_over);
    tcase_add_test(tcase, an_attempt_without_an_answer_is_repeated_with_its_value);
    tcase_add_test(tcase, what_may_have_been_set_is_given_back);
    tcase_add_test(tcase, a_late_answer_of_the_same_value_counts);
    tcase_add_test(tcase, a_refusal_ends_all_who_wait);
    tcase_add_test(tcase, one_attempt_at_a_time_and_first_come_first_served);
    tcase_add_test(tcase, who_does_not_wait_is_told_without_asking_redis);
    tcase_add_test(tcase, a_try_is_one_attempt);
    tcase_add_test(tcase, one_connection_has_one_claim_on_a_key);
    tcase_add_test(tcase, cancel_ends_a_waiting_claim_and_no_other);
    tcase_add_test(tcase, an_unlock_names_its_reason);
    tcase_add_test(tcase, an_unlock_finds_out_that_there_was_nothing_left);
    tcase_add_test(tcase, a_new_attempt_follows_a_release_at_once);
    tcase_add_test(tcase, a_release_is_repeated_until_redis_answers);
    tcase_add_test(tcase, the_end_of_a_connection_gives_back_everything);
    tcase_add_test(tcase, an_abandoned_attempt_serves_the_next_who_comes);
    tcase_add_test(tcase, each_claim_is_tried_at_its_own_interval);
    tcase_add_test(tcase, attempts_count_only_for_whom_they_were_due);
    tcase_add_test(tcase, many_who_wait_cost_no_more_than_one);
    tcase_add_test(tcase, few_attempts_are_under_way_at_once);
    tcase_add_test(tcase, attempts_without_a_link_are_few);
    tcase_add_test(tcase, a_release_ends_with_the_lease);
    tcase_add_test(tcase, what_may_be_set_later_is_released_later);
    tcase_add_test(tcase, a_place_in_the_queue_is_given_up_however_late);
    tcase_add_test(tcase, a_place_in_the_queue_that_may_not_be_given_up_is_left);
    tcase_add_test(tcase, a_release_is_answered_late);
    tcase_add_test(tcase, limits_are_refused_by_name);
    suite_add_tcase(suite, tcase);
    return suite;
}
