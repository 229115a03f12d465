/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * What a daemon reads and what it asks for, as lines of the trace. Leases go by their numbers: values
 * in Redis are never shown.
 */

#include "daemon/core/effect.h"
#include "daemon/core/event.h"

struct host;

void tell_event(const struct host *host, const struct event *event);
void tell_effect(const struct host *host, const struct effect *effect);

const char *tell_ending(enum ending ending);
const char *tell_refusal(enum refusal refusal);
