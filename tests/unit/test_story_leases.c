/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Stories of leases in time: renewal, risk, loss, the link's breaks, and the end of the daemon. With a
 * ttl of 1 s: renewal from 250 ms on, at risk at 600, lost at 981, valid until 988.
 */

#include "tests/lib/story.h"

#include <check.h>

Suite *test_story_leases_suite(void);

static struct story *story;

/* Peer 1 holds "a" from the start, with what the story says of its claim. */
static void hold(struct ev_claim asked)
{
    story_claim(story, 1, 1, "a", asked);
    story_answer(story, 1, ANSWER_OURS);
}

static void set_up(void)
{
    story = story_new();
    story_link(story, LINK_UP, NULL);
}

static void tear_down(void)
{
    story = story_free(story);
}

START_TEST(a_lease_is_renewed_for_as_long_as_it_is_held)
{
    hold(CLAIM());
    story_until(story, 310);
    story_answer(story, 2, ANSWER_OURS);
    story_until(story, 620);
    story_answer(story, 3, ANSWER_OURS);
    story_until(story, 700);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[ 263] renew a #2\n"
                        "[ 526] renew a #3\n");
}
END_TEST

/* Transient answers end nothing; neither does silence. */
START_TEST(a_renewal_that_fails_is_repeated)
{
    hold(CLAIM());
    story_until(story, 310);
    story_answer(story, 2, ANSWER_TRANSIENT);
    story_until(story, 350);
    story_answer(story, 3, ANSWER_REFUSED);
    story_until(story, 560);
    story_answer(story, 5, ANSWER_OURS);
    story_until(story, 600);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[ 263] renew a #2\n"
                        "[ 343] renew a #3\n"
                        "[ 383] renew a #4\n"
                        "[ 549] renew a #5\n");
}
END_TEST

START_TEST(the_holder_is_told_of_risk_and_of_rescue)
{
    hold(CLAIM());
    story_until(story, 310);
    story_answer(story, 2, ANSWER_UNKNOWN);
    story_link(story, LINK_CONNECTING, NULL);
    story_until(story, 650);
    story_link(story, LINK_UP, NULL);
    story_until(story, 652);
    story_answer(story, 3, ANSWER_OURS);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[ 263] renew a #2\n"
                        "[ 600] 1 at_risk a fence 100 lost at 981\n"
                        "[ 650] renew a #3\n"
                        "[ 652] 1 safe a fence 100 until 1638\n");
}
END_TEST

/* ... and of the loss, before the key can go in Redis; nobody is granted on it. */
START_TEST(the_holder_is_told_of_the_loss_in_time)
{
    hold(CLAIM());
    story_claim(story, 2, 2, "a", CLAIM());
    story_link(story, LINK_DOWN, "refused");
    story_until(story, 1100);
    story_unlock(story, 1, 3, "a", 0);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[ 600] 1 at_risk a fence 100 lost at 981\n"
                        "[ 981] 1 lost a fence 100 (expired)\n"
                        "[ 981] forget value 1\n"
                        "[1100] 1:3 refused a not_held (expired)\n");
}
END_TEST

START_TEST(another_value_ends_a_lease_at_once)
{
    hold(CLAIM());
    story_claim(story, 2, 2, "a", CLAIM());
    story_until(story, 310);
    story_answer(story, 2, ANSWER_TAKEN);
    story_unlock(story, 1, 3, "a", 0);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[ 263] renew a #2\n"
                        "[ 310] 1 lost a fence 100 (taken)\n"
                        "[ 310] forget value 1\n"
                        "[ 310] lock a #3 ttl 1000 value 2\n"
                        "[ 310] 1:3 refused a not_held (taken)\n");
}
END_TEST

START_TEST(a_missing_key_ends_a_lease_at_once)
{
    hold(CLAIM());
    story_until(story, 310);
    story_answer(story, 2, ANSWER_GONE);
    story_unlock(story, 1, 3, "a", 0);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[ 263] renew a #2\n"
                        "[ 310] 1 lost a fence 100 (deleted)\n"
                        "[ 310] forget value 1\n"
                        "[ 310] 1:3 refused a not_held (deleted)\n");
    story_expect_nothing_left(story);
}
END_TEST

/* Time first: after a pause, what has run out is settled before anything else is looked at. */
START_TEST(after_a_pause_the_loss_comes_first)
{
    hold(CLAIM());
    story_claim(story, 2, 2, "a", CLAIM(.wait_ms = 0));
    story_claim(story, 3, 3, "a", CLAIM());
    story_sleep_until(story, 5000);
    story_unlock(story, 1, 4, "a", 0);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[   0] 2:2 refused a held remaining 988\n"
                        "[5000] 1 lost a fence 100 (expired)\n"
                        "[5000] forget value 1\n"
                        "[5000] lock a #2 ttl 1000 value 2\n"
                        "[5000] 1:4 refused a not_held (expired)\n");
}
END_TEST

/* A renewal that was answered during the pause proves nothing any more. */
START_TEST(after_a_pause_an_old_answer_saves_nothing)
{
    hold(CLAIM());
    story_until(story, 310);
    story_sleep_until(story, 5000);
    story_answer(story, 2, ANSWER_OURS);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[ 263] renew a #2\n"
                        "[5000] 1 lost a fence 100 (expired)\n"
                        "[5000] forget value 1\n");
    story_expect_nothing_left(story);
}
END_TEST

/* A hand-over waits for a renewal if the lease is at risk. */
START_TEST(no_grant_on_a_lease_at_risk)
{
    hold(CLAIM());
    story_claim(story, 2, 2, "a", CLAIM());
    story_link(story, LINK_CONNECTING, NULL);
    story_until(story, 650);
    story_unlock(story, 1, 3, "a", 0);
    story_until(story, 660);
    story_link(story, LINK_UP, NULL);
    story_until(story, 661);
    story_answer(story, 2, ANSWER_OURS);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[ 600] 1 at_risk a fence 100 lost at 981\n"
                        "[ 660] renew a #2\n"
                        "[ 661] 1:3 unlocked a after 650\n"
                        "[ 661] 2:2 granted a fence 101 until 1648\n");
}
END_TEST

/* The key stays in Redis until the holder is known to have heard of it: it may still believe. */
START_TEST(max_hold_takes_the_lock_away_but_gives_it_to_nobody)
{
    hold(CLAIM(.max_hold_ms = 200));
    story_claim(story, 2, 2, "a", CLAIM());
    story_until(story, 250);
    story_unlock(story, 1, 3, "a", 0);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[ 200] 1 lost a fence 100 (max_hold)\n"
                        "[ 250] 1:3 refused a not_held (max_hold)\n"
                        "[ 250] 2:2 granted a fence 101 until 988\n");
}
END_TEST

START_TEST(who_never_heard_keeps_it_from_others_until_the_lease_is_over)
{
    hold(CLAIM(.max_hold_ms = 200));
    story_claim(story, 2, 2, "a", CLAIM());
    story_until(story, 982);
    story_answer_taken(story, 2, 18);
    story_until(story, 1100);
    story_answer(story, 3, ANSWER_OURS);
    story_unlock(story, 1, 3, "a", 0);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[ 200] 1 lost a fence 100 (max_hold)\n"
                        "[ 981] forget value 1\n"
                        "[ 981] lock a #2 ttl 1000 value 2\n"
                        "[1001] lock a #3 ttl 1000 value 2\n"
                        "[1100] 2:2 granted a fence 164 until 1989\n"
                        "[1100] 1:3 refused a not_held (max_hold)\n");
}
END_TEST

START_TEST(who_asks_anew_has_heard)
{
    hold(CLAIM(.max_hold_ms = 200));
    story_until(story, 250);
    story_claim(story, 1, 2, "a", CLAIM());
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[ 200] 1 lost a fence 100 (max_hold)\n"
                        "[ 250] 1:2 granted a fence 101 until 988\n");
}
END_TEST

START_TEST(who_tries_anew_has_heard)
{
    hold(CLAIM(.max_hold_ms = 200));
    story_until(story, 250);
    story_claim(story, 1, 2, "a", CLAIM(.wait_ms = 0));
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[ 200] 1 lost a fence 100 (max_hold)\n"
                        "[ 250] 1:2 granted a fence 101 until 988\n");
}
END_TEST

START_TEST(without_auto_refresh_it_ends_after_its_ttl)
{
    hold(CLAIM(.auto_refresh = false));
    story_until(story, 900);
    story_refresh(story, 1, 2, "a", 0, 0);
    story_until(story, 901);
    story_answer(story, 2, ANSWER_OURS);
    story_until(story, 1900);
    story_unlock(story, 1, 3, "a", 0);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[ 900] renew a #2\n"
                        "[ 901] 1:2 refreshed a ttl 1000 until 1888\n"
                        "[1881] 1 lost a fence 100 (ttl)\n"
                        "[1881] forget value 1\n"
                        "[1900] 1:3 refused a not_held (ttl)\n");
    story_expect_nothing_left(story);
}
END_TEST

/* Its ttl counts from the grant, so a hand-over to it begins with a renewal. */
START_TEST(without_auto_refresh_a_hand_over_is_renewed_first)
{
    hold(CLAIM());
    story_claim(story, 2, 2, "a", CLAIM(.auto_refresh = false));
    story_until(story, 200);
    story_unlock(story, 1, 3, "a", 0);
    story_until(story, 201);
    story_answer(story, 2, ANSWER_OURS);
    story_until(story, 1300);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[ 200] renew a #2\n"
                        "[ 201] 1:3 unlocked a after 200\n"
                        "[ 201] 2:2 granted a fence 101 until 1188\n"
                        "[1181] 2 lost a fence 101 (ttl)\n"
                        "[1181] forget value 1\n");
}
END_TEST

START_TEST(a_refresh_waits_for_redis)
{
    hold(CLAIM());
    story_until(story, 100);
    story_refresh(story, 1, 2, "a", 100, 5000);
    story_until(story, 101);
    story_answer(story, 2, ANSWER_OURS);
    story_refresh(story, 1, 3, "a", 99, 0);
    story_refresh(story, 2, 4, "a", 0, 0);
    story_refresh(story, 1, 5, "a", 0, 0);
    story_answer(story, 3, ANSWER_TRANSIENT);
    story_refresh(story, 1, 6, "a", 0, 0);
    story_until(story, 650);
    story_link(story, LINK_DOWN, "refused");
    story_refresh(story, 1, 7, "a", 0, 0);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[ 100] renew a #2\n"
                        "[ 101] 1:2 refreshed a ttl 5000 until 5048\n"
                        "[ 101] 1:3 refused a not_held (stale_fence)\n"
                        "[ 101] 2:4 refused a not_held (never)\n"
                        "[ 101] renew a #3\n"
                        "[ 101] 1:5 refused a unavailable (it says no)\n"
                        "[ 101] renew a #4\n"
                        "[ 601] 1:6 refused a unavailable (no answer in time)\n"
                        "[ 601] renew a #5\n"
                        "[ 650] 1:7 refused a unavailable (refused)\n");
}
END_TEST

START_TEST(a_refresh_finds_out_that_the_lock_is_lost)
{
    hold(CLAIM());
    story_refresh(story, 1, 2, "a", 0, 0);
    story_answer(story, 2, ANSWER_GONE);
    story_refresh(story, 1, 3, "a", 0, 0);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[   0] renew a #2\n"
                        "[   0] 1 lost a fence 100 (deleted)\n"
                        "[   0] 1:2 refused a not_held (deleted)\n"
                        "[   0] forget value 1\n"
                        "[   0] 1:3 refused a not_held (deleted)\n");
    story_expect_nothing_left(story);
}
END_TEST

/* Unlock during a renewal: the renewal's answer must not bring the lease back. */
START_TEST(an_unlock_overtakes_a_renewal)
{
    hold(CLAIM());
    story_until(story, 310);
    story_unlock(story, 1, 2, "a", 0);
    story_answer(story, 2, ANSWER_OURS);
    story_answer(story, 3, ANSWER_OURS);
    story_until(story, 3000);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[ 263] renew a #2\n"
                        "[ 310] release a #3 value 1\n"
                        "[ 310] 1:2 unlocked a after 310\n"
                        "[ 310] forget value 1\n");
    story_expect_nothing_left(story);
}
END_TEST

/* Peers 1 and 2 pass the lock to and fro, beginning with peer 1. */
static void hand_over(uint64_t n_turns)
{
    for (uint64_t turn = 0; turn < n_turns; turn++) {
        uint64_t holder = 1 + turn % 2;
        story_claim(story, 3 - holder, 100 + turn, "a", CLAIM());
        story_unlock(story, holder, 0, "a", 0);
    }
}

/* Fences: a hand-over counts through the block; when half of it is gone, a renewal brings a larger one. */
START_TEST(fences_grow_through_hand_overs)
{
    hold(CLAIM());
    hand_over(30);
    story_skip(story);
    hand_over(2);
    story_answer(story, 2, ANSWER_OURS);
    hand_over(2);
    story_expect(story, "[   0] 2:100 granted a fence 131 until 988\n"
                        "[   0] renew a #2 fences 256\n"
                        "[   0] 1:101 granted a fence 132 until 988\n"
                        "[   0] 2:100 granted a fence 164 until 988\n"
                        "[   0] 1:101 granted a fence 165 until 988\n");
}
END_TEST

/* ... and a grant waits for a fence, if it comes to that. */
START_TEST(no_grant_without_a_fence)
{
    hold(CLAIM());
    hand_over(62);
    story_skip(story);
    hand_over(2);
    story_until(story, 10);
    story_answer(story, 2, ANSWER_OURS);
    story_expect(story, "[   0] 2:100 granted a fence 163 until 988\n"
                        "[  10] 1:101 granted a fence 164 until 988\n");
}
END_TEST

/* After a break everything is due at once: what is held, what is waited for, what is given back. */
START_TEST(after_a_break_everything_is_due_at_once)
{
    hold(CLAIM());
    story_claim(story, 1, 2, "b", CLAIM());
    story_claim(story, 1, 3, "c", CLAIM());
    story_answer(story, 2, ANSWER_OURS);
    story_answer_taken(story, 3, 5000);
    story_unlock(story, 1, 0, "b", 0);
    story_answer(story, 4, ANSWER_UNKNOWN);
    story_link(story, LINK_CONNECTING, NULL);
    story_until(story, 20);
    story_link(story, LINK_UP, NULL);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[   0] lock b #2 ttl 1000 value 2\n"
                        "[   0] lock c #3 ttl 1000 value 3\n"
                        "[   0] 1:2 granted b fence 164 until 988\n"
                        "[   0] release b #4 value 2\n"
                        "[  20] renew a #5\n"
                        "[  20] release b #6 value 2\n"
                        "[  20] lock c #7 ttl 1000 value 3\n");
}
END_TEST

/* While the link is connecting an attempt waits for its verdict; when it is down it fails, and with
 * fail_fast for good. */
START_TEST(without_a_link_attempts_wait_or_fail)
{
    story_link(story, LINK_CONNECTING, NULL);
    story_claim(story, 1, 1, "a", CLAIM(.fail_fast = true));
    story_claim(story, 2, 2, "b", CLAIM(.attempt_timeout_ms = 30, .wait_ms = 0));
    story_claim(story, 3, 3, "c", CLAIM(.wait_ms = 500));
    story_until(story, 50);
    story_link(story, LINK_DOWN, "refused");
    story_claim(story, 4, 4, "d", CLAIM(.wait_ms = 0));
    story_claim(story, 5, 5, "e", CLAIM(.retry_max = 2));
    story_until(story, 300);
    story_link(story, LINK_UP, NULL);
    story_until(story, 301);
    story_answer(story, 1, ANSWER_OURS);
    story_expect(story, "[  30] 2:2 refused b unavailable (not connected in time)\n"
                        "[  50] 1:1 refused a unavailable (refused)\n"
                        "[  50] 4:4 refused d unavailable (refused)\n"
                        "[ 250] 5:5 refused e unavailable (refused)\n"
                        "[ 300] lock c #1 ttl 1000 value 1\n"
                        "[ 301] 3:3 granted c fence 100 until 1288\n");
}
END_TEST

/* The holder of a lock is told that the daemon stops, and may still unlock; what is not unlocked is
 * left to its ttl. */
START_TEST(the_daemon_stops)
{
    hold(CLAIM());
    story_claim(story, 1, 2, "b", CLAIM());
    story_answer(story, 2, ANSWER_OURS);
    story_claim(story, 2, 3, "a", CLAIM());
    story_stop(story);
    story_claim(story, 3, 4, "c", CLAIM());
    story_refresh(story, 1, 5, "a", 0, 0);
    story_unlock(story, 1, 6, "a", 0);
    story_answer(story, 3, ANSWER_OURS);
    story_until(story, 900);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[   0] lock b #2 ttl 1000 value 2\n"
                        "[   0] 1:2 granted b fence 164 until 988\n"
                        "[   0] 2:3 refused a shutting_down\n"
                        "[   0] 1 lost a fence 100 (shutdown)\n"
                        "[   0] 1 lost b fence 164 (shutdown)\n"
                        "[   0] 3:4 refused c shutting_down\n"
                        "[   0] 1:5 refused a shutting_down\n"
                        "[   0] release a #3 value 1\n"
                        "[   0] 1:6 unlocked a after 0\n"
                        "[   0] forget value 1\n");
}
END_TEST

START_TEST(force_unlock_takes_it_from_a_local_holder)
{
    hold(CLAIM());
    story_force(story, 9, 2, "a");
    story_answer(story, 2, ANSWER_OURS);
    story_unlock(story, 1, 3, "a", 0);
    story_force(story, 9, 4, "b");
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[   0] 1 lost a fence 100 (forced)\n"
                        "[   0] release a #2 value 1\n"
                        "[   0] 9:2 forced a\n"
                        "[   0] forget value 1\n"
                        "[   0] 1:3 refused a not_held (forced)\n"
                        "[   0] force b\n");
}
END_TEST

/* An unlock is answered when the lock has been passed on, or nobody can say. */
START_TEST(an_unlock_waits_for_the_hand_over)
{
    hold(CLAIM());
    story_claim(story, 2, 2, "a", CLAIM());
    story_link(story, LINK_CONNECTING, NULL);
    story_until(story, 650);
    story_skip(story);
    story_unlock(story, 1, 3, "a", 0);
    story_until(story, 660);
    story_link(story, LINK_DOWN, "refused");
    story_until(story, 1000);
    story_expect(story, "[ 660] 1:3 refused a unavailable (refused)\n");
    /* Nobody has believed in it at its end: it is given back, since a renewal may have reached Redis. */
    story_link(story, LINK_UP, NULL);
    story_expect(story, "[1000] release a #2 value 1\n"
                        "[1000] lock a #3 ttl 1000 value 2\n");
}
END_TEST

/* Without auto_refresh the ttl that was asked for must be there in Redis before the grant. */
START_TEST(without_auto_refresh_a_shorter_lease_is_not_enough)
{
    story_claim(story, 1, 1, "a", CLAIM(.ttl_ms = 1000));
    story_gone(story, 1);
    story_claim(story, 2, 2, "a", CLAIM(.ttl_ms = 60000, .auto_refresh = false));
    story_answer(story, 1, ANSWER_OURS);
    story_until(story, 1);
    story_answer(story, 2, ANSWER_OURS);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] renew a #2\n"
                        "[   1] 2:2 granted a fence 100 until 59398\n");
}
END_TEST

/* ... and a longer one does not make it last longer; what was told to be the end is the end, for all. */
START_TEST(without_auto_refresh_a_longer_lease_ends_no_later)
{
    hold(CLAIM(.ttl_ms = 20000));
    story_claim(story, 2, 2, "a", CLAIM(.ttl_ms = 500, .auto_refresh = false));
    story_claim(story, 3, 3, "a", CLAIM());
    story_unlock(story, 1, 0, "a", 0);
    story_answer(story, 2, ANSWER_OURS);
    story_until(story, 600);
    story_expect(story, "[   0] lock a #1 ttl 20000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 19798\n"
                        "[   0] 2:2 granted a fence 101 until 500\n"
                        "[ 496] 2 lost a fence 101 (ttl)\n"
                        "[ 500] 3:3 granted a fence 102 until 19798\n"
                        "[ 500] renew a #2\n");
}
END_TEST

/* Redis confirms the lease, but its counter gives no fences: that is no reason to ask without pause. */
START_TEST(without_fences_the_waiting_goes_on_slowly)
{
    hold(CLAIM());
    hand_over(62);
    story_claim(story, 2, 300, "a", CLAIM(.wait_ms = 100));
    story_unlock(story, 1, 0, "a", 0);
    story_claim(story, 1, 301, "a", CLAIM(.wait_ms = 100));
    story_skip(story);
    story_unlock(story, 2, 0, "a", 0);
    story_answer_without_fences(story, 2);
    story_until(story, 40);
    story_answer_without_fences(story, 3);
    story_until(story, 110);
    story_expect(story, "[  33] renew a #3 fences 256\n"
                        "[  73] renew a #4 fences 256\n"
                        "[ 100] 1:301 refused a timeout (Redis gives no fences)\n"
                        "[ 100] release a #5 value 1\n");
}
END_TEST

/* force_unlock comes behind the lock command that is under way. */
START_TEST(force_unlock_overtakes_nothing)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_force(story, 9, 2, "a");
    story_answer(story, 1, ANSWER_OURS);
    story_forced(story, 9, 2, "a");
    story_unlock(story, 1, 3, "a", 0);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] force a\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[   0] 1 lost a fence 100 (forced)\n"
                        "[   0] forget value 1\n"
                        "[   0] 9:2 forced a\n"
                        "[   0] 1:3 refused a not_held (forced)\n");
    story_expect_nothing_left(story);
}
END_TEST

/* What was told to be lost with the shutdown, and then ran out, is remembered. */
START_TEST(an_unlock_after_the_stop_may_come_too_late)
{
    hold(CLAIM());
    story_stop(story);
    story_until(story, 1200);
    story_unlock(story, 1, 2, "a", 0);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[   0] 1 lost a fence 100 (shutdown)\n"
                        "[ 981] forget value 1\n"
                        "[1200] 1:2 refused a not_held (expired)\n");
    story_expect_nothing_left(story);
}
END_TEST

/* An unlock of another grant says nothing about this one. */
START_TEST(a_stale_unlock_tells_nothing_of_a_revoked_grant)
{
    hold(CLAIM(.max_hold_ms = 200));
    story_claim(story, 2, 2, "a", CLAIM());
    story_until(story, 250);
    story_unlock(story, 1, 3, "a", 99);
    story_unlock(story, 1, 4, "a", 100);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[ 200] 1 lost a fence 100 (max_hold)\n"
                        "[ 250] 1:3 refused a not_held (max_hold)\n"
                        "[ 250] 1:4 refused a not_held (max_hold)\n"
                        "[ 250] 2:2 granted a fence 101 until 988\n");
}
END_TEST

/* Redis's expiry is only ever lengthened, so a smaller ttl never shortens what is known to be valid. */
START_TEST(a_hand_over_to_another_ttl)
{
    hold(CLAIM(.ttl_ms = 3000));
    story_claim(story, 2, 2, "a", CLAIM(.ttl_ms = 300));
    story_claim(story, 3, 3, "a", CLAIM(.ttl_ms = 9000));
    story_unlock(story, 1, 0, "a", 0);
    story_until(story, 800);
    story_unlock(story, 2, 0, "a", 0);
    story_answer(story, 2, ANSWER_OURS);
    story_expect(story, "[   0] lock a #1 ttl 3000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 2968\n"
                        "[   0] 2:2 granted a fence 101 until 2968\n"
                        "[ 800] 3:3 granted a fence 102 until 2968\n"
                        "[ 800] renew a #2\n");
}
END_TEST

/* Redis's expiry is only ever lengthened: the key lives by the longest ttl that it was ever given. */
START_TEST(a_release_is_repeated_for_the_longest_ttl_of_all)
{
    hold(CLAIM(.ttl_ms = 3600000));
    story_until(story, 10);
    story_refresh(story, 1, 2, "a", 0, 100);
    story_until(story, 12);
    story_answer(story, 2, ANSWER_OURS);
    story_link(story, LINK_CONNECTING, NULL);
    story_unlock(story, 1, 3, "a", 0);
    story_until(story, 3000);
    story_link(story, LINK_UP, NULL);
    story_until(story, 3100);
    story_expect(story, "[   0] lock a #1 ttl 3600000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 3563998\n"
                        "[  10] renew a #2\n"
                        "[  12] 1:2 refreshed a ttl 100 until 3563998\n"
                        "[ 512] 1:3 refused a unavailable (no answer in time)\n"
                        "[3000] release a #3 value 1\n");
}
END_TEST

START_TEST(a_release_is_repeated_for_the_ttl_of_a_former_holder)
{
    hold(CLAIM(.ttl_ms = 3600000));
    story_claim(story, 2, 2, "a", CLAIM(.ttl_ms = 1000));
    story_unlock(story, 1, 0, "a", 0);
    story_link(story, LINK_CONNECTING, NULL);
    story_until(story, 100);
    story_link(story, LINK_UP, NULL);
    story_answer(story, 2, ANSWER_OURS);
    story_link(story, LINK_DOWN, "refused");
    story_gone(story, 2);
    story_until(story, 5000);
    story_link(story, LINK_UP, NULL);
    story_expect(story, "[   0] lock a #1 ttl 3600000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 3563998\n"
                        "[   0] 2:2 granted a fence 101 until 3563998\n"
                        "[ 100] renew a #2\n"
                        "[5000] release a #3 value 1\n");
}
END_TEST

/* When its holder is told goes by what it was promised, not by what it asks for. */
START_TEST(who_asks_for_more_time_does_not_lose_what_is_left)
{
    hold(CLAIM(.ttl_ms = 300, .auto_refresh = false));
    story_until(story, 200);
    story_refresh(story, 1, 2, "a", 0, 60000);
    story_until(story, 202);
    story_answer(story, 2, ANSWER_OURS);
    story_until(story, 59400);
    story_expect(story, "[   0] lock a #1 ttl 300 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 295\n"
                        "[ 200] renew a #2\n"
                        "[ 202] 1:2 refreshed a ttl 60000 until 59598\n");
    story_until(story, 59600);
    story_expect(story, "[59448] 1 lost a fence 100 (ttl)\n"
                        "[59448] forget value 1\n");
}
END_TEST

/* The pause after a refusal goes by the time that the lease has, not by the time that it is to have. */
START_TEST(a_short_lease_that_is_to_be_a_long_one_is_tried_in_time)
{
    hold(CLAIM());
    story_claim(story, 2, 2, "a", CLAIM(.ttl_ms = 30000));
    story_until(story, 100);
    story_unlock(story, 1, 0, "a", 0);
    story_answer(story, 2, ANSWER_TRANSIENT);
    story_until(story, 150);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[   0] 1:1 granted a fence 100 until 988\n"
                        "[ 100] 2:2 granted a fence 101 until 988\n"
                        "[ 100] renew a #2\n"
                        "[ 133] renew a #3\n");
}
END_TEST

/* The attempt that was answered late makes a lease, the one after it is still on its way, behind the DEL. */
START_TEST(what_is_forced_while_another_attempt_is_under_way_is_given_back)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_until(story, 550);
    story_force(story, 9, 9, "a");
    story_until(story, 610);
    story_answer(story, 1, ANSWER_OURS);
    story_gone(story, 1);
    story_expect(story, "[   0] lock a #1 ttl 1000 value 1\n"
                        "[ 550] force a\n"
                        "[ 600] lock a #2 ttl 1000 value 1\n"
                        "[ 610] renew a #3\n"
                        "[ 610] release a #4 value 1\n");
}
END_TEST

START_TEST(what_was_taken_may_have_queued_and_is_given_back)
{
    story_claim(story, 1, 1, "a", CLAIM());
    story_until(story, 600);
    story_answer(story, 1, ANSWER_OURS);
    story_skip(story);
    story_answer_taken(story, 2, 1000);
    story_expect(story, "[ 600] release a #4 value 1\n"
                        "[ 600] lock a #5 ttl 1000 value 2\n");
}
END_TEST

/* Not before 988: until then somebody may believe in it. */
START_TEST(what_has_run_out_but_may_be_set_again_is_given_back_at_its_end)
{
    story_claim(story, 1, 1, "a", CLAIM(.attempt_timeout_ms = 100));
    story_until(story, 250);
    story_answer(story, 1, ANSWER_OURS);
    story_skip(story);
    story_until(story, 980);
    story_link(story, LINK_CONNECTING, NULL);
    story_until(story, 982);
    story_link(story, LINK_UP, NULL);
    story_skip(story);
    story_until(story, 1000);
    story_expect(story, "[ 988] release a #8 value 1\n");
}
END_TEST

Suite *test_story_leases_suite(void)
{
    Suite *suite = suite_create("story_leases");
    TCase *tcase = tcase_create("leases");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_lease_is_renewed_for_as_long_as_it_is_held);
    tcase_add_test(tcase, a_renewal_that_fails_is_repeated);
    tcase_add_test(tcase, the_holder_is_told_of_risk_and_of_rescue);
    tcase_add_test(tcase, the_holder_is_told_of_the_loss_in_time);
    tcase_add_test(tcase, another_value_ends_a_lease_at_once);
    tcase_add_test(tcase, a_missing_key_ends_a_lease_at_once);
    tcase_add_test(tcase, after_a_pause_the_loss_comes_first);
    tcase_add_test(tcase, after_a_pause_an_old_answer_saves_nothing);
    tcase_add_test(tcase, no_grant_on_a_lease_at_risk);
    tcase_add_test(tcase, max_hold_takes_the_lock_away_but_gives_it_to_nobody);
    tcase_add_test(tcase, who_never_heard_keeps_it_from_others_until_the_lease_is_over);
    tcase_add_test(tcase, who_asks_anew_has_heard);
    tcase_add_test(tcase, who_tries_anew_has_heard);
    tcase_add_test(tcase, without_auto_refresh_it_ends_after_its_ttl);
    tcase_add_test(tcase, without_auto_refresh_a_hand_over_is_renewed_first);
    tcase_add_test(tcase, a_refresh_waits_for_redis);
    tcase_add_test(tcase, a_refresh_finds_out_that_the_lock_is_lost);
    tcase_add_test(tcase, an_unlock_overtakes_a_renewal);
    tcase_add_test(tcase, fences_grow_through_hand_overs);
    tcase_add_test(tcase, no_grant_without_a_fence);
    tcase_add_test(tcase, after_a_break_everything_is_due_at_once);
    tcase_add_test(tcase, without_a_link_attempts_wait_or_fail);
    tcase_add_test(tcase, the_daemon_stops);
    tcase_add_test(tcase, force_unlock_takes_it_from_a_local_holder);
    tcase_add_test(tcase, an_unlock_waits_for_the_hand_over);
    tcase_add_test(tcase, without_auto_refresh_a_shorter_lease_is_not_enough);
    tcase_add_test(tcase, without_auto_refresh_a_longer_lease_ends_no_later);
    tcase_add_test(tcase, without_fences_the_waiting_goes_on_slowly);
    tcase_add_test(tcase, force_unlock_overtakes_nothing);
    tcase_add_test(tcase, an_unlock_after_the_stop_may_come_too_late);
    tcase_add_test(tcase, a_stale_unlock_tells_nothing_of_a_revoked_grant);
    tcase_add_test(tcase, a_hand_over_to_another_ttl);
    tcase_add_test(tcase, a_release_is_repeated_for_the_longest_ttl_of_all);
    tcase_add_test(tcase, a_release_is_repeated_for_the_ttl_of_a_former_holder);
    tcase_add_test(tcase, who_asks_for_more_time_does_not_lose_what_is_left);
    tcase_add_test(tcase, a_short_lease_that_is_to_be_a_long_one_is_tried_in_time);
    tcase_add_test(tcase, what_is_forced_while_another_attempt_is_under_way_is_given_back);
    tcase_add_test(tcase, what_was_taken_may_have_queued_and_is_given_back);
    tcase_add_test(tcase, what_has_run_out_but_may_be_set_again_is_given_back_at_its_end);
    suite_add_tcase(suite, tcase);
    return suite;
}
