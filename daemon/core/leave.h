/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * Giving a lease back: the release is sent until Redis has answered it, or nothing of the lease can be left
 * there. Whoever unlocked waits for that no longer than Redis may take to answer.
 */

#include "daemon/core/state.h"

/* The key's lease becomes one that leaves; its value is spent. `departure` (copied) is the unlock to be
 * answered, or NULL. */
void leave_begin(struct broker *broker, struct key *key, const struct departure *departure);
/* What has run out, and what can be sent now. */
void leave_settle(struct broker *broker, struct key *key);
/* When leave_settle() would next find something to do. */
int64_t leave_deadline(const struct broker *broker, const struct key *key);
/* The answer to any command of a lease that is LEAVING. */
void leave_answered(struct broker *broker, struct lease *lease, const struct ev_outcome *outcome);

/* The end of a lease in any state: nothing will be asked or answered for it any more. */
void leave_forget(struct broker *broker, struct lease *lease);
