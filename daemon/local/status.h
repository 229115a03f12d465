/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * The daemon's state for those who ask: a read-only view of the broker and of who is connected (but for
 * the peers' commands, which are looked up when they are first shown).
 */

#include "daemon/core/effect.h"
#include "daemon/local/peer.h"

/* Each prints a whole response, without the newline. */
void status_print_inspect(struct buf *out, struct rpc_id id, struct peers *peers,
                          const struct fx_reply *reply);
void status_print_list(struct buf *out, struct rpc_id id, struct peers *peers, const struct request *request);
void status_print_stats(struct buf *out, struct rpc_id id, const struct peers *peers);
void status_print_hello(struct buf *out, struct rpc_id id, const struct peers *peers);
