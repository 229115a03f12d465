/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Who believes what, and until when; and what must be over at the end. Three small lists: requests without an
 * answer, tenures (a grant, from `granted` to its end), and overlaps that have an excuse.
 */

#include "tests/sim/oracle.h"

#include "daemon/base/alloc.h"
#include "tests/sim/oracle_state.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

struct oracle *oracle_new(void)
{
    return alloc_zeroed(1, sizeof(struct oracle));
}

struct oracle *oracle_free(struct oracle *oracle)
{
    free(oracle->peers);
    free(oracle);
    return NULL;
}

static void oracle_on_overlap(void *ctx);

void oracle_begin(struct oracle *oracle, struct world *world)
{
    oracle->world = world;
    oracle->n_asks = oracle->n_tenures = oracle->n_overlaps = 0;
    oracle->last_seq = oracle->n_strangers = 0;
    oracle->excused_until_us = oracle->orphaned_at_us = 0;
    oracle->overlap_task = (struct task){.run = oracle_on_overlap, .ctx = oracle};
    oracle->orphan_task = (struct task){.run = oracle_on_orphan, .ctx = oracle};
    memset(oracle->fence_max, 0, sizeof(oracle->fence_max));
    memset(oracle->n_fences, 0, sizeof(oracle->n_fences));
    memset(oracle->paused_until_us, 0, sizeof(oracle->paused_until_us));
    memset(oracle->claimed_seq, 0, sizeof(oracle->claimed_seq));
    memset(oracle->kept_until_us, 0, sizeof(oracle->kept_until_us));
    oracle_turns_begin(oracle);
}

int oracle_key(const char *name)
{
    return name[0] - 'a';
}

/* --- belief ---------------------------------------------------------------------------------------- */

bool tenure_is_believed(const struct tenure *tenure)
{
    const struct host *host = tenure->host;
    if (!tenure->is_read || tenure->is_over) {
        return false;
    }
    if (host == NULL || host_now_ms(host) < tenure->read_until_ms) {
        return true;
    }
    /* A daemon that goes on after a pause says `lost` in its first turn: it is given the time for that. */
    bool has_run = host_is_running(host) && host->paused_until_us + FIRST_TURN_US <= host->world->now_us;
    return !tenure->is_lost && tenure->instance == host->instance && has_run;
}

struct tenure *oracle_find_tenure(struct oracle *oracle, uint64_t peer_id, int key, int64_t fence)
{
    for (size_t i = 0; i < oracle->n_tenures; i++) {
        struct tenure *tenure = &oracle->tenures[i];
        if (tenure->peer_id == peer_id && tenure->key == key && tenure->fence == fence) {
            return tenure;
        }
    }
    return NULL;
}

void oracle_sweep(struct oracle *oracle)
{
    for (size_t i = 0; i < oracle->n_tenures;) {
        const struct tenure *tenure = &oracle->tenures[i];
        bool is_gone = tenure->host == NULL || oracle->peers[tenure->peer_id].is_gone ||
                       tenure->instance != tenure->host->instance;
        if (tenure->is_over && ((tenure->is_lost && !tenure->may_unlock) || tenure->is_unlocked || is_gone)) {
            oracle->tenures[i] = oracle->tenures[--oracle->n_tenures];
        } else if (is_gone && !tenure->is_read && oracle->peers[tenure->peer_id].has_left) {
            oracle->tenures[i] = oracle->tenures[--oracle->n_tenures];
        } else {
            i++;
        }
    }
}

int64_t oracle_bound_us(const struct oracle *oracle)
{
    int64_t ttl_us = oracle->world->plan.ttl_ms_max * 1000;
    if (oracle->world->plan.trouble == TROUBLE_FAST_CLOCK) {
        return ttl_us * (oracle->world->server->wall.rate_ppm + 5000) / 1000000 + 10000;
    }
    return ttl_us + ttl_us / 100 + 10000;
}

void oracle_excuse(struct oracle *oracle)
{
    oracle->excused_until_us = oracle->world->now_us + oracle_bound_us(oracle);
}

bool oracle_is_excused(const struct oracle *oracle)
{
    return oracle->world->plan.trouble == TROUBLE_FAST_CLOCK ||
           oracle->world->now_us < oracle->excused_until_us;
}

static void oracle_note_overlap(struct oracle *oracle, int64_t fence_a, int64_t fence_b)
{
    int64_t due_us = oracle->excused_until_us;
    if (oracle->world->plan.trouble == TROUBLE_FAST_CLOCK) {
        due_us = oracle->world->now_us + oracle_bound_us(oracle);
    }
    oracle->world->tally.n_overlaps++;
    TRACE(oracle->world, "oracle: two believers, with an excuse");
    if (oracle->n_overlaps == ORACLE_LIST_MAX) {
        return;
    }
    oracle->overlaps[oracle->n_overlaps++] = (struct overlap){fence_a, fence_b, due_us};
    if (!timer_is_set(&oracle->overlap_task.timer)) {
        world_at(oracle->world, &oracle->overlap_task, due_us);
    }
}

static bool oracle_is_believed(const struct oracle *oracle, int64_t fence)
{
    for (size_t i = 0; i < oracle->n_tenures; i++) {
        if (oracle->tenures[i].fence == fence && tenure_is_believed(&oracle->tenures[i])) {
            return true;
        }
    }
    return false;
}

static void oracle_on_overlap(void *ctx)
{
    struct oracle *oracle = ctx;
    int64_t next_us = INT64_MAX;
    for (size_t i = 0; i < oracle->n_overlaps;) {
        const struct overlap *overlap = &oracle->overlaps[i];
        if (overlap->due_us > oracle->world->now_us) {
            next_us = overlap->due_us < next_us ? overlap->due_us : next_us;
            i++;
            continue;
        }
        if (oracle_is_believed(oracle, overlap->fence_a) && oracle_is_believed(oracle, overlap->fence_b)) {
            world_judge(oracle->world,
                        "exclusion: the holders of fences %" PRId64 " and %" PRId64
                        " believe for longer than the trouble explains",
                        overlap->fence_a, overlap->fence_b);
        }
        oracle->overlaps[i] = oracle->overlaps[--oracle->n_overlaps];
    }
    if (next_us != INT64_MAX) {
        world_at(oracle->world, &oracle->overlap_task, next_us);
    }
}

/* Somebody begins to believe. */
static void oracle_judge_exclusion(struct oracle *oracle, const struct tenure *tenure)
{
    for (size_t i = 0; i < oracle->n_tenures; i++) {
        const struct tenure *other = &oracle->tenures[i];
        if (other == tenure || other->key != tenure->key || !tenure_is_believed(other)) {
            continue;
        }
        if (oracle_is_excused(oracle)) {
            oracle_note_overlap(oracle, other->fence, tenure->fence);
        } else {
            world_judge(oracle->world,
                        "exclusion: %s is believed by two, with fences %" PRId64 " and %" PRId64,
                        client_key_name(tenure->key), other->fence, tenure->fence);
        }
    }
}

void oracle_believes(struct oracle *oracle, uint64_t peer_id, int key, int64_t fence, int64_t until_ms)
{
    struct tenure *tenure = oracle_find_tenure(oracle, peer_id, key, fence);
    if (tenure == NULL) {
        return; /* it was over before this was read */
    }
    tenure->is_read = true;
    tenure->read_until_ms = until_ms;
    if (tenure_is_believed(tenure)) {
        oracle_judge_exclusion(oracle, tenure);
    }
}

void oracle_hears(struct oracle *oracle, uint64_t peer_id, int key, int64_t fence, int64_t until_ms)
{
    struct tenure *tenure = oracle_find_tenure(oracle, peer_id, key, fence);
    if (tenure != NULL && tenure->read_until_ms < until_ms) {
        tenure->read_until_ms = until_ms;
    }
}

void oracle_believes_no_more(struct oracle *oracle, uint64_t peer_id, int key, int64_t fence)
{
    struct tenure *tenure = oracle_find_tenure(oracle, peer_id, key, fence);
    if (tenure != NULL) {
        tenure->is_over = true;
    }
    oracle_sweep(oracle);
}

void oracle_stranger_begins(struct oracle *oracle, int key)
{
    assert(oracle->n_tenures < ORACLE_LIST_MAX);
    struct tenure *tenure = &oracle->tenures[oracle->n_tenures++];
    *tenure = (struct tenure){.key = key, .is_read = true, .fence = -(int64_t)++oracle->n_strangers};
    oracle_judge_exclusion(oracle, tenure);
}

void oracle_stranger_ends(struct oracle *oracle, int key)
{
    oracle_believes_no_more(oracle, 0, key, -(int64_t)oracle->n_strangers);
}

void oracle_ran_out(struct oracle *oracle, const char *key, size_t key_len)
{
    if (key_len != 1 || oracle_is_excused(oracle)) {
        return;
    }
    for (size_t i = 0; i < oracle->n_tenures; i++) {
        const struct tenure *tenure = &oracle->tenures[i];
        if (tenure->key == oracle_key(key) && tenure_is_believed(tenure)) {
            world_judge(oracle->world,
                        "expiry: %.1s runs out in Redis while the holder of fence %" PRId64 " believes", key,
                        tenure->fence);
        }
    }
}

/* --- peers ----------------------------------------------------------------------------------------- */

void oracle_connected(struct oracle *oracle, struct host *host, uint64_t peer_id, struct client *client)
{
    if (peer_id >= oracle->peers_cap) {
        oracle->peers_cap = peer_id < 64 ? 128 : (size_t)peer_id * 2;
        oracle->peers = alloc_resize(oracle->peers, oracle->peers_cap * sizeof(*oracle->peers));
    }
    oracle->peers[peer_id] = (struct peer_note){.host = host, .client = client, .instance = host->instance};
}

bool oracle_knows_peer(const struct oracle *oracle, uint64_t peer_id)
{
    const struct peer_note *peer = &oracle->peers[peer_id];
    return !peer->is_gone && peer->instance == peer->host->instance;
}

void oracle_peer_left(struct oracle *oracle, uint64_t peer_id)
{
    oracle->peers[peer_id].has_left = true;
    for (size_t i = 0; i < oracle->n_tenures; i++) {
        if (oracle->tenures[i].peer_id == peer_id && oracle->tenures[i].host != NULL) {
            oracle->tenures[i].is_over = oracle->tenures[i].is_read;
        }
    }
    oracle_sweep(oracle);
}

static void oracle_drop_asks(struct oracle *oracle, const struct host *host, uint64_t peer_id)
{
    for (size_t i = 0; i < oracle->n_asks;) {
        const struct ask *ask = &oracle->asks[i];
        if (host != NULL ? ask->host == host : ask->peer_id == peer_id) {
            oracle->asks[i] = oracle->asks[--oracle->n_asks];
        } else {
            i++;
        }
    }
}

void oracle_look_for_orphans(struct oracle *oracle)
{
    world_at(oracle->world, &oracle->orphan_task, oracle->orphaned_at_us + ORPHAN_US + 1);
}

void oracle_peer_gone(struct oracle *oracle, uint64_t peer_id)
{
    oracle->peers[peer_id].is_gone = true;
    for (size_t i = 0; i < oracle->n_tenures; i++) {
        const struct tenure *tenure = &oracle->tenures[i];
        if (tenure->peer_id == peer_id && tenure->host != NULL) {
            oracle_note_kept(oracle, tenure->host, tenure->key, ORPHAN_US);
        }
    }
    oracle_drop_asks(oracle, NULL, peer_id);
    oracle_sweep(oracle);
    oracle->orphaned_at_us = oracle->world->now_us;
    if (!timer_is_set(&oracle->orphan_task.timer)) {
        oracle_look_for_orphans(oracle);
    }
}

void oracle_host_gone(struct oracle *oracle, const struct host *host)
{
    oracle_drop_asks(oracle, host, 0);
    oracle_sweep(oracle);
    oracle->host_gone_at_us = oracle->world->now_us;
}

void oracle_paused(struct oracle *oracle, const struct host *host)
{
    oracle->paused_until_us[host->idx] = host->paused_until_us;
}

bool oracle_has_paused(const struct oracle *oracle, const struct host *host, int64_t since_ms)
{
    return clock_at_us(&host->clock, oracle->paused_until_us[host->idx]) / 1000 + GRACE_MS >= since_ms;
}

void oracle_note_kept(struct oracle *oracle, const struct host *host, int key, int64_t for_us)
{
    int64_t *until_us = &oracle->kept_until_us[host->idx][key];
    if (*until_us < oracle->world->now_us + for_us) {
        *until_us = oracle->world->now_us + for_us;
    }
}

/* --- progress, and the end ------------------------------------------------------------------------- */

bool oracle_is_quiet(const struct oracle *oracle)
{
    for (size_t i = 0; i < oracle->n_tenures; i++) {
        if (tenure_is_believed(&oracle->tenures[i])) {
            return false;
        }
    }
    return oracle->n_asks == 0;
}

int64_t oracle_patience_ms(const struct oracle *oracle)
{
    const struct plan *plan = &oracle->world->plan;
    const int64_t reconnect_ms = 4000; /* the longest pause of a link, and the hand-shake */
    /* What was offered to a host that does not take it; each may have left more than one such entry. */
    const int64_t offers_ms = 2000 * plan->n_hosts;
    int64_t ttl_ms = plan->ttl_ms_max + plan->ttl_ms_max / 20 + plan->step_back_ms_max;
    int64_t turn_ms = plan->hold_ms_max * 2 + plan->retry_ms_max + plan->redis_timeout_ms / 10 + 20;
    /* What a dead holder left runs out; then all those who wait take their turns. */
    return reconnect_ms + offers_ms + ttl_ms * 3 + plan->linger_ms +
           turn_ms * (int64_t)(plan->n_hosts * plan->n_clients * CLIENT_SLOTS);
}

void oracle_judge_waiting(struct oracle *oracle)
{
    if (oracle->n_asks > 0) {
        world_judge(oracle->world, "progress: #%" PRIu64 " waits for %s still, long after the last fault",
                    oracle->asks[0].request_id, client_key_name(oracle->asks[0].key));
    } else if (!oracle_is_quiet(oracle)) {
        world_judge(oracle->world, "progress: somebody holds a lock still, long after all should be over");
    }
}

void oracle_judge_rest(struct oracle *oracle)
{
    static const char fence_key[] = "rlockd:fence";
    struct world *world = oracle->world;
    server_settle(world->server);
    const struct model_data *data = redis_model_data(world->server->model);
    for (size_t i = 0; i < data->n_entries; i++) {
        const struct model_entry *entry = &data->entries[i];
        if (entry->key_len != strlen(fence_key) || memcmp(entry->key, fence_key, entry->key_len) != 0) {
            world_judge(world, "the end: %.*s is left in Redis", (int)entry->key_len, entry->key);
        }
    }
    for (int i = 0; i < world->plan.n_hosts; i++) {
        const struct host *host = &world->hosts[i];
        if (host->instance == 0) {
            continue;
        }
        if (!broker_is_idle(host->broker) || host->stats.keys != 0) {
            world_judge(world, "the end: the daemon of host %d has something left", i);
        }
        if (host->stats.leases_held != 0 || host->stats.claims_waiting != 0) {
            world_judge(world, "the end: the daemon of host %d counts what is not there", i);
        }
    }
}
