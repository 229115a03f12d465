/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * What is heard from outside the host: Redis's answers, the state of the link, and what other hosts say.
 * Answers are facts; what other hosts say is a hint, and only ever makes somebody ask Redis.
 */

#include "daemon/core/state.h"

void heard_outcome(struct broker *broker, const struct ev_outcome *outcome);
void heard_queried(struct broker *broker, const struct ev_queried *queried);
void heard_link(struct broker *broker, const struct ev_link *link);

void heard_offered(struct broker *broker, const struct ev_hint *hint);
void heard_recalled(struct broker *broker, const struct ev_hint *hint);
void heard_hearing(struct broker *broker);
