/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The list of effects grows to the size of the largest step and stays; see emit.h.
 */

#include "daemon/core/emit.h"

#include "daemon/base/alloc.h"
#include "daemon/core/turn.h"

static struct effect *emit(struct broker *broker, enum effect_kind kind)
{
    struct effects *effects = &broker->effects;
    if (effects->len == effects->cap) {
        effects->cap = effects->cap == 0 ? 64 : effects->cap * 2;
        effects->list = alloc_resize(effects->list, effects->cap * sizeof(*effects->list));
    }
    struct effect *effect = &effects->list[effects->len++];
    effect->kind = kind;
    return effect;
}

void emit_command(struct broker *broker, enum effect_kind kind, const struct lease *lease, uint64_t op_id,
                  int64_t fence_count)
{
    emit(broker, kind)->command = (struct fx_command){
        .lease_id = lease->id,
        .op_id = op_id,
        .key = lease->key->name,
        .key_len = lease->key->name_len,
        .ttl_ms = lease->ttl_ms,
        .fence_count = fence_count,
        .may_queue = kind == FX_ACQUIRE && lease->key->attempt.may_queue,
        .offer_ms = lease->open_ms == 0 ? turn_offer_ms(lease) : 0,
    };
}

void emit_forget(struct broker *broker, const struct lease *lease)
{
    emit(broker, FX_FORGET)->command = (struct fx_command){.lease_id = lease->id};
}

void emit_query(struct broker *broker, enum effect_kind kind, const struct ev_request *from)
{
    emit(broker, kind)->query = (struct fx_query){
        .peer_id = from->peer_id,
        .request_id = from->request_id,
        .key = from->key,
        .key_len = from->key_len,
    };
}

/* NULL if nobody waits for this reply. */
static struct fx_reply *emit_reply(struct broker *broker, enum effect_kind kind, uint64_t peer_id,
                                   uint64_t request_id, const char *key, size_t key_len)
{
    if (request_id == 0) {
        return NULL;
    }
    struct fx_reply *reply = &emit(broker, kind)->reply;
    *reply = (struct fx_reply){
        .peer_id = peer_id,
        .request_id = request_id,
        .key = key,
        .key_len = key_len,
        .remaining_ms = -1,
    };
    return reply;
}

/* Until when the holder may believe: its own bound may come before the lease's. */
static int64_t emit_valid_until(const struct claim *claim, const struct lease *lease)
{
    int64_t until_ms = lease->times.valid_until_ms;
    return claim->ttl_until_ms < until_ms ? claim->ttl_until_ms : until_ms;
}

void emit_granted(struct broker *broker, const struct claim *claim, const struct lease *lease)
{
    const struct key *key = claim->key;
    struct fx_reply *reply =
        emit_reply(broker, FX_GRANTED, claim->claimant->id, claim->request_id, key->name, key->name_len);
    reply->fence = claim->fence;
    reply->ttl_ms = claim->ttl_ms;
    reply->valid_until_ms = emit_valid_until(claim, lease);
    reply->waited_ms = broker->now_ms - claim->asked_at_ms;
    broker->stats->grants++;
}

void emit_departed(struct broker *broker, const struct key *key, const struct departure *departure)
{
    struct fx_reply *reply = emit_reply(broker, departure->is_forced ? FX_FORCED : FX_UNLOCKED,
                                        departure->peer_id, departure->request_id, key->name, key->name_len);
    if (reply == NULL) {
        return;
    }
    reply->fence = departure->fence;
    reply->held_ms = departure->held_ms;
}

void emit_refreshed(struct broker *broker, const struct key *key, const struct refresh *refresh)
{
    struct fx_reply *reply =
        emit_reply(broker, FX_REFRESHED, refresh->peer_id, refresh->request_id, key->name, key->name_len);
    if (reply == NULL) {
        return;
    }
    reply->fence = key->grant->fence;
    reply->ttl_ms = key->grant->ttl_ms;
    reply->valid_until_ms = emit_valid_until(key->grant, key->lease);
}

void emit_cancelled(struct broker *broker, const struct ev_request *from, bool cancelled)
{
    struct fx_reply *reply =
        emit_reply(broker, FX_CANCELLED, from->peer_id, from->request_id, from->key, from->key_len);
    if (reply != NULL) {
        reply->cancelled = cancelled;
    }
}

void emit_inspected(struct broker *broker, const struct ev_request *from, bool elsewhere,
                    int64_t remaining_ms)
{
    struct fx_reply *reply =
        emit_reply(broker, FX_INSPECTED, from->peer_id, from->request_id, from->key, from->key_len);
    if (reply == NULL) {
        return;
    }
    reply->elsewhere = elsewhere;
    reply->remaining_ms = remaining_ms;
}

void emit_forced(struct broker *broker, const struct ev_request *from)
{
    emit_reply(broker, FX_FORCED, from->peer_id, from->request_id, from->key, from->key_len);
}

void emit_echoed(struct broker *broker, const struct ev_request *from)
{
    emit_reply(broker, FX_ECHOED, from->peer_id, from->request_id, NULL, 0);
}

struct fx_reply *emit_refused(struct broker *broker, uint64_t peer_id, uint64_t request_id,
                              enum refusal refusal, const char *key, size_t key_len)
{
    static struct fx_reply nobody; /* takes what the caller fills in when nobody waits */
    struct fx_reply *reply = emit_reply(broker, FX_REFUSED, peer_id, request_id, key, key_len);
    if (reply == NULL) {
        return &nobody;
    }
    reply->refusal = refusal;
    return reply;
}

void emit_notice(struct broker *broker, enum effect_kind kind, const struct claim *claim, enum ending reason)
{
    const struct key *key = claim->key;
    emit(broker, kind)->notice = (struct fx_notice){
        .peer_id = claim->claimant->id,
        .key = key->name,
        .key_len = key->name_len,
        .fence = claim->fence,
        .lost_at_ms = key->lease->times.lost_at_ms,
        .valid_until_ms = key->lease->times.valid_until_ms,
        .reason = reason,
    };
    if (kind == FX_AT_RISK) {
        broker->stats->at_risk++;
    } else if (kind == FX_SAFE) {
        broker->stats->safe++;
    } else {
        broker->stats->lost++;
    }
}
