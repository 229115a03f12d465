/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * Writing effects. Each function appends one, from the facts as they are at that moment, and counts
 * it; none changes a fact. A reply that nobody waits for (request_id 0) is left out.
 */

#include "daemon/core/state.h"

/* For the store. */
void emit_command(struct broker *broker, enum effect_kind kind, const struct lease *lease, uint64_t op_id,
                  int64_t fence_count);
void emit_forget(struct broker *broker, const struct lease *lease);
void emit_query(struct broker *broker, enum effect_kind kind, const struct ev_request *from);

/* Replies. */
void emit_granted(struct broker *broker, const struct claim *claim, const struct lease *lease);
void emit_departed(struct broker *broker, const struct key *key, const struct departure *departure);
void emit_refreshed(struct broker *broker, const struct key *key, const struct refresh *refresh);
void emit_cancelled(struct broker *broker, const struct ev_request *from, bool cancelled);
void emit_inspected(struct broker *broker, const struct ev_request *from, bool elsewhere,
                    int64_t remaining_ms);
void emit_forced(struct broker *broker, const struct ev_request *from);
void emit_echoed(struct broker *broker, const struct ev_request *from);

/* A refusal: the caller fills in what its kind has. `key` may be NULL. */
struct fx_reply *emit_refused(struct broker *broker, uint64_t peer_id, uint64_t request_id,
                              enum refusal refusal, const char *key, size_t key_len);

/* Notices to the key's grant. */
void emit_notice(struct broker *broker, enum effect_kind kind, const struct claim *claim, enum ending reason);
