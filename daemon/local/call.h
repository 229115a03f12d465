/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * What becomes of the calls in a line: an event for the engine, and for each that is to be answered a request
 * that is kept until then. Also an error that is known already waits for its turn there.
 */

#include "proto/message.h"

struct batch;
struct peer;

/* `batch` NULL: the call is answered on a line of its own. */
void call_take(struct peer *peer, struct batch *batch, const struct rpc_call *rpc);

/* A line that is no call at all is answered as well, with a null id. `fault` NULL: the standard sentence. */
void call_take_bad_line(struct peer *peer, enum wire_error error, const char *fault);
