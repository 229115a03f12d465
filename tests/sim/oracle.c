/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Three small lists: requests without an answer, tenures (a grant, from `granted` to its end), and
 * overlaps that have an excuse.
 */

#include "tests/sim/oracle.h"

#include "daemon/base/alloc.h"
#include "tests/sim/client.h"
#include "tests/sim/host.h"
#include "tests/sim/server.h"
#include "tests/sim/tell.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum { LIST_MAX = 512, FENCES_KEPT = 64, GRACE_MS = 5 };

struct peer_note {
    struct host *host;
    struct client *client;
    uint64_t instance;
    bool is_gone, has_left; /* the daemon has seen it go; it has gone */
};

struct ask {
    uint64_t request_id, peer_id, seq;
    enum event_kind kind;
    struct host *host;
    int key;
    int64_t asked_at_ms;           /* by the host's clock */
    int64_t wait_ms, max_hold_ms; /* of a claim */
};

struct tenure {
    struct host *host; /* NULL: a stranger's */
    struct client *client;
    uint64_t peer_id, instance;
    int key;
    int64_t fence, granted_at_ms;
    int64_t written_until_ms, read_until_ms; /* the latest valid_until_ms */
    int64_t max_hold_ms;
    bool is_read, is_over, is_lost, is_unlocked;
    bool may_unlock; /* lost by a shutdown: there is a moment left to unlock */
};

struct overlap {
    int64_t fence_a, fence_b, due_us;
};

struct oracle {
    struct world *world;
    struct peer_note *peers; /* by peer_id */
    size_t peers_cap;
    struct ask asks[LIST_MAX];
    size_t n_asks;
    uint64_t last_seq;
    struct tenure tenures[LIST_MAX];
    size_t n_tenures;
    struct overlap overlaps[LIST_MAX];
    size_t n_overlaps;
    struct task overlap_task;
    int64_t excused_until_us;
    int64_t fence_max[CLIENT_KEYS_MAX], fence_max_at_us[CLIENT_KEYS_MAX];
    int64_t fences[CLIENT_KEYS_MAX][FENCES_KEPT];
    size_t n_fences[CLIENT_KEYS_MAX];
    int64_t paused_until_us[HOSTS_MAX]; /* the end of the last pause */
};

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
    oracle->last_seq = 0;
    oracle->excused_until_us = 0;
    oracle->overlap_task = (struct task){.run = oracle_on_overlap, .ctx = oracle};
    memset(oracle->fence_max, 0, sizeof(oracle->fence_max));
    memset(oracle->n_fences, 0, sizeof(oracle->n_fences));
    memset(oracle->paused_until_us, 0, sizeof(oracle->paused_until_us));
}

static int oracle_key(const char *name)
{
    return name[0] - 'a';
}

/* --- belief ---------------------------------------------------------------------------------------- */

static bool tenure_is_believed(const struct tenure *tenure)
{
    const struct host *host = tenure->host;
    if (!tenure->is_read || tenure->is_over)
        return false;
    if (host == NULL || host_now_ms(host) < tenure->read_until_ms)
        return true;
    return !tenure->is_lost && tenure->instance == host->instance && host_is_running(host);
}

static struct tenure *oracle_find_tenure(struct oracle *oracle, uint64_t peer_id, int64_t fence)
{
    for (size_t i = 0; i < oracle->n_tenures; i++) {
        struct tenure *tenure = &oracle->tenures[i];
        if (tenure->peer_id == peer_id && tenure->fence == fence)
            return tenure;
    }
    return NULL;
}

/* Those of whom nothing can be said or believed any more. */
static void oracle_sweep(struct oracle *oracle)
{
    for (size_t i = 0; i < oracle->n_tenures;) {
        const struct tenure *tenure = &oracle->tenures[i];
        bool is_gone = tenure->host == NULL || oracle->peers[tenure->peer_id].is_gone ||
                       tenure->instance != tenure->host->instance;
        if (tenure->is_over && ((tenure->is_lost && !tenure->may_unlock) || tenure->is_unlocked || is_gone))
            oracle->tenures[i] = oracle->tenures[--oracle->n_tenures];
        else if (is_gone && !tenure->is_read && oracle->peers[tenure->peer_id].has_left)
            oracle->tenures[i] = oracle->tenures[--oracle->n_tenures];
        else
            i++;
    }
}

static int64_t oracle_bound_us(const struct oracle *oracle)
{
    int64_t ttl_us = oracle->world->plan.ttl_ms_max * 1000;
    if (oracle->world->plan.trouble == TROUBLE_FAST_CLOCK)
        return ttl_us * (oracle->world->server->wall.rate_ppm + 5000) / 1000000 + 10000;
    return ttl_us + ttl_us / 100 + 10000;
}

void oracle_excuse(struct oracle *oracle)
{
    oracle->excused_until_us = oracle->world->now_us + oracle_bound_us(oracle);
}

static bool oracle_is_excused(const struct oracle *oracle)
{
    return oracle->world->plan.trouble == TROUBLE_FAST_CLOCK ||
           oracle->world->now_us < oracle->excused_until_us;
}

static void oracle_note_overlap(struct oracle *oracle, int64_t fence_a, int64_t fence_b)
{
    int64_t due_us = oracle->excused_until_us;
    if (oracle->world->plan.trouble == TROUBLE_FAST_CLOCK)
        due_us = oracle->world->now_us + oracle_bound_us(oracle);
    oracle->world->tally.n_overlaps++;
    TRACE(oracle->world, "oracle: two believers, with an excuse");
    if (oracle->n_overlaps == LIST_MAX)
        return;
    oracle->overlaps[oracle->n_overlaps++] = (struct overlap){fence_a, fence_b, due_us};
    if (!timer_is_set(&oracle->overlap_task.timer))
        world_at(oracle->world, &oracle->overlap_task, due_us);
}

static bool oracle_is_believed(const struct oracle *oracle, int64_t fence)
{
    for (size_t i = 0; i < oracle->n_tenures; i++) {
        if (oracle->tenures[i].fence == fence && tenure_is_believed(&oracle->tenures[i]))
            return true;
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
        if (oracle_is_believed(oracle, overlap->fence_a) && oracle_is_believed(oracle, overlap->fence_b))
            world_judge(oracle->world,
                        "exclusion: the holders of fences %" PRId64 " and %" PRId64
                        " believe for longer than the trouble explains",
                        overlap->fence_a, overlap->fence_b);
        oracle->overlaps[i] = oracle->overlaps[--oracle->n_overlaps];
    }
    if (next_us != INT64_MAX)
        world_at(oracle->world, &oracle->overlap_task, next_us);
}

/* Somebody begins to believe. */
static void oracle_judge_exclusion(struct oracle *oracle, const struct tenure *tenure)
{
    for (size_t i = 0; i < oracle->n_tenures; i++) {
        const struct tenure *other = &oracle->tenures[i];
        if (other == tenure || other->key != tenure->key || !tenure_is_believed(other))
            continue;
        if (oracle_is_excused(oracle))
            oracle_note_overlap(oracle, other->fence, tenure->fence);
        else
            world_judge(oracle->world,
                        "exclusion: %s is believed by two, with fences %" PRId64 " and %" PRId64,
                        client_key_name(tenure->key), other->fence, tenure->fence);
    }
}

void oracle_believes(struct oracle *oracle, uint64_t peer_id, int64_t fence, int64_t until_ms)
{
    struct tenure *tenure = oracle_find_tenure(oracle, peer_id, fence);
    if (tenure == NULL)
        return; /* it was over before this was read */
    tenure->is_read = true;
    tenure->read_until_ms = until_ms;
    if (tenure_is_believed(tenure))
        oracle_judge_exclusion(oracle, tenure);
}

void oracle_hears(struct oracle *oracle, uint64_t peer_id, int64_t fence, int64_t until_ms)
{
    struct tenure *tenure = oracle_find_tenure(oracle, peer_id, fence);
    if (tenure != NULL && tenure->read_until_ms < until_ms)
        tenure->read_until_ms = until_ms;
}

void oracle_believes_no_more(struct oracle *oracle, uint64_t peer_id, int64_t fence)
{
    struct tenure *tenure = oracle_find_tenure(oracle, peer_id, fence);
    if (tenure != NULL)
        tenure->is_over = true;
    oracle_sweep(oracle);
}

void oracle_stranger_begins(struct oracle *oracle, int key)
{
    assert(oracle->n_tenures < LIST_MAX);
    struct tenure *tenure = &oracle->tenures[oracle->n_tenures++];
    *tenure = (struct tenure){.key = key, .is_read = true, .fence = -1 - key};
    oracle_judge_exclusion(oracle, tenure);
}

void oracle_stranger_ends(struct oracle *oracle, int key)
{
    oracle_believes_no_more(oracle, 0, -1 - key);
}

void oracle_ran_out(struct oracle *oracle, const char *key, size_t key_len)
{
    if (key_len != 1 || oracle_is_excused(oracle))
        return;
    for (size_t i = 0; i < oracle->n_tenures; i++) {
        const struct tenure *tenure = &oracle->tenures[i];
        if (tenure->key == oracle_key(key) && tenure_is_believed(tenure))
            world_judge(oracle->world,
                        "expiry: %.1s runs out in Redis while the holder of fence %" PRId64 " believes", key,
                        tenure->fence);
    }
}

/* --- peers ----------------------------------------------------------------------------------------- */

void oracle_connected(struct oracle *oracle, struct host *host, uint64_t peer_id, struct client *client)
{
    if (peer_id >= oracle->peers_cap) {
        oracle->peers_cap = peer_id < 64 ? 128 : (size_t)peer_id * 2;
        oracle->peers = alloc_resize(oracle->peers, oracle->peers_cap * sizeof(*oracle->peers));
    }
    oracle->peers[peer_id] =
        (struct peer_note){.host = host, .client = client, .instance = host->instance};
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
        if (oracle->tenures[i].peer_id == peer_id && oracle->tenures[i].host != NULL)
            oracle->tenures[i].is_over = oracle->tenures[i].is_read;
    }
    oracle_sweep(oracle);
}

static void oracle_drop_asks(struct oracle *oracle, const struct host *host, uint64_t peer_id)
{
    for (size_t i = 0; i < oracle->n_asks;) {
        const struct ask *ask = &oracle->asks[i];
        if (host != NULL ? ask->host == host : ask->peer_id == peer_id)
            oracle->asks[i] = oracle->asks[--oracle->n_asks];
        else
            i++;
    }
}

static void oracle_peer_gone(struct oracle *oracle, uint64_t peer_id)
{
    oracle->peers[peer_id].is_gone = true;
    oracle_drop_asks(oracle, NULL, peer_id);
    oracle_sweep(oracle);
}

void oracle_host_gone(struct oracle *oracle, const struct host *host)
{
    oracle_drop_asks(oracle, host, 0);
    oracle_sweep(oracle);
}

void oracle_paused(struct oracle *oracle, const struct host *host)
{
    oracle->paused_until_us[host->idx] = host->paused_until_us;
}

/* Whether the daemon has stood still since that instant of its clock. */
static bool oracle_has_paused(const struct oracle *oracle, const struct host *host, int64_t since_ms)
{
    return clock_at_us(&host->clock, oracle->paused_until_us[host->idx]) / 1000 + GRACE_MS >= since_ms;
}

/* --- what a daemon reads --------------------------------------------------------------------------- */

static void oracle_asked(struct oracle *oracle, struct host *host, const struct event *event,
                         const struct ev_request *from)
{
    assert(oracle->n_asks < LIST_MAX);
    oracle->asks[oracle->n_asks++] = (struct ask){
        .request_id = from->request_id,
        .peer_id = from->peer_id,
        .seq = ++oracle->last_seq,
        .kind = event->kind,
        .host = host,
        .key = oracle_key(from->key),
        .asked_at_ms = event->now_ms,
        .wait_ms = event->kind == EV_CLAIM ? event->claim.wait_ms : FOREVER,
        .max_hold_ms = event->kind == EV_CLAIM ? event->claim.max_hold_ms : FOREVER,
    };
}

void oracle_read(struct oracle *oracle, struct host *host, const struct event *event)
{
    switch (event->kind) {
    case EV_CLAIM:
        oracle_asked(oracle, host, event, &event->claim.from);
        return;
    case EV_UNLOCK:
        oracle_asked(oracle, host, event, &event->unlock.from);
        return;
    case EV_REFRESH:
        oracle_asked(oracle, host, event, &event->refresh.from);
        return;
    case EV_CANCEL:
        oracle_asked(oracle, host, event, &event->cancel.from);
        return;
    case EV_INSPECT:
        oracle_asked(oracle, host, event, &event->inspect);
        return;
    case EV_FORCE:
        oracle_asked(oracle, host, event, &event->force);
        return;
    case EV_ECHO:
        oracle_asked(oracle, host, event, &event->echo);
        return;
    case EV_PEER_GONE:
        oracle_peer_gone(oracle, event->gone_peer_id);
        return;
    default:
        return;
    }
}

/* --- what a daemon writes: grants ------------------------------------------------------------------ */

static void oracle_judge_order(struct oracle *oracle, const struct ask *granted)
{
    for (size_t i = 0; i < oracle->n_asks; i++) {
        const struct ask *ask = &oracle->asks[i];
        if (ask->kind == EV_CLAIM && ask->host == granted->host && ask->key == granted->key &&
            ask->seq < granted->seq)
            world_judge(oracle->world,
                        "order: request #%" PRIu64 " is granted before #%" PRIu64
                        ", which asked for %s earlier",
                        granted->request_id, ask->request_id, client_key_name(ask->key));
    }
}

static void oracle_judge_fence(struct oracle *oracle, int key, int64_t fence)
{
    int64_t now_us = oracle->world->now_us;
    bool may_fall = now_us < oracle->excused_until_us;
    if (oracle->world->plan.trouble == TROUBLE_FAST_CLOCK)
        may_fall = now_us - oracle->fence_max_at_us[key] < oracle_bound_us(oracle);
    if (fence <= 0 || fence >= INT64_C(1) << 53)
        world_judge(oracle->world, "fences: %" PRId64 " is no fence", fence);
    for (size_t i = 0; i < oracle->n_fences[key] && i < FENCES_KEPT; i++) {
        if (oracle->fences[key][i] == fence)
            world_judge(oracle->world, "fences: %s is granted with fence %" PRId64 " twice",
                        client_key_name(key), fence);
    }
    if (fence < oracle->fence_max[key] && !may_fall)
        world_judge(oracle->world,
                    "fences: %s is granted with fence %" PRId64 " after one with %" PRId64,
                    client_key_name(key), fence, oracle->fence_max[key]);
    oracle->fences[key][oracle->n_fences[key]++ % FENCES_KEPT] = fence;
    if (fence > oracle->fence_max[key]) {
        oracle->fence_max[key] = fence;
        oracle->fence_max_at_us[key] = now_us;
    }
}

/* Until then the holder may be sure; so the key must be there, be this host's, and stay that long. */
static void oracle_judge_promise(struct oracle *oracle, const struct host *host, int key, int64_t until_ms)
{
    const struct server *server = oracle->world->server;
    const char *name = client_key_name(key);
    if (oracle_is_excused(oracle))
        return;
    redis_model_set_clock(server->model, server_wall_us(server));
    const struct model_entry *entry = redis_model_find(server->model, name, strlen(name));
    bool is_ours = entry != NULL && entry->value_len > 37 &&
                   memcmp(entry->value + entry->value_len - 36, host->instance_name, 36) == 0;
    if (!is_ours)
        world_judge(oracle->world, "expiry: host %d promises %s, which it has not got in Redis", host->idx,
                    name);
    else if (entry->expire_at_ms != -1 && clock_when_us(&host->clock, until_ms) >
                                              clock_when_us(&server->wall, entry->expire_at_ms))
        world_judge(oracle->world, "expiry: host %d promises %s for longer than Redis keeps it", host->idx,
                    name);
}

static void oracle_granted(struct oracle *oracle, const struct ask *ask, const struct fx_reply *reply)
{
    struct host *host = ask->host;
    const struct plan *plan = &oracle->world->plan;
    int64_t now_ms = host_now_ms(host);
    oracle_judge_order(oracle, ask);
    oracle_judge_fence(oracle, ask->key, reply->fence);
    oracle_judge_promise(oracle, host, ask->key, reply->valid_until_ms);
    /* No grant on a lease at risk: when it is given, less than 60% of a ttl have passed. */
    if (reply->valid_until_ms - now_ms < plan->ttl_ms_min * 39 / 100 - 4)
        world_judge(oracle->world, "risk: %s is granted when its lease is valid for %" PRId64 " ms only",
                    client_key_name(ask->key), reply->valid_until_ms - now_ms);
    assert(oracle->n_tenures < LIST_MAX);
    oracle->tenures[oracle->n_tenures++] = (struct tenure){
        .host = host,
        .client = oracle->peers[ask->peer_id].client,
        .peer_id = ask->peer_id,
        .instance = host->instance,
        .key = ask->key,
        .fence = reply->fence,
        .granted_at_ms = now_ms,
        .written_until_ms = reply->valid_until_ms,
        .max_hold_ms = ask->max_hold_ms,
    };
}

static struct tenure *oracle_find_held(struct oracle *oracle, uint64_t peer_id, int key)
{
    for (size_t i = 0; i < oracle->n_tenures; i++) {
        struct tenure *tenure = &oracle->tenures[i];
        if (tenure->host != NULL && tenure->peer_id == peer_id && tenure->key == key &&
            !tenure->is_unlocked && !(tenure->is_lost && tenure->is_over))
            return tenure;
    }
    return NULL;
}

/* Whether anybody on the host has, or waits for, or gives back the key just now. */
static bool oracle_is_wanted(const struct oracle *oracle, const struct host *host, int key)
{
    for (size_t i = 0; i < oracle->n_asks; i++) {
        const struct ask *ask = &oracle->asks[i];
        if (ask->host == host && ask->key == key && (ask->kind == EV_CLAIM || ask->kind == EV_UNLOCK))
            return true;
    }
    for (size_t i = 0; i < oracle->n_tenures; i++) {
        const struct tenure *tenure = &oracle->tenures[i];
        if (tenure->host == host && tenure->instance == host->instance && tenure->key == key &&
            !tenure->is_unlocked && !tenure->is_lost)
            return true;
    }
    return false;
}

static void oracle_judge_release(struct oracle *oracle, const struct host *host, int key)
{
    const struct server *server = oracle->world->server;
    const char *name = client_key_name(key);
    if (oracle_is_excused(oracle) || oracle_is_wanted(oracle, host, key))
        return;
    redis_model_set_clock(server->model, server_wall_us(server));
    const struct model_entry *entry = redis_model_find(server->model, name, strlen(name));
    if (entry != NULL && entry->value_len > 37 &&
        memcmp(entry->value + entry->value_len - 36, host->instance_name, 36) == 0)
        world_judge(oracle->world, "release: host %d says that %s is unlocked, but Redis still has it",
                    host->idx, name);
}

/* max_hold_ms is kept, neither shorter nor longer; `reason` is why it ends. */
static void oracle_judge_hold(struct oracle *oracle, const struct tenure *tenure, enum ending reason)
{
    int64_t held_ms = host_now_ms(tenure->host) - tenure->granted_at_ms;
    if (reason == ENDING_MAX_HOLD && (tenure->max_hold_ms == FOREVER || held_ms < tenure->max_hold_ms))
        world_judge(oracle->world, "notices: fence %" PRId64 " is taken away before its max_hold",
                    tenure->fence);
    if (tenure->max_hold_ms != FOREVER && held_ms > tenure->max_hold_ms + GRACE_MS && !tenure->is_lost &&
        !oracle_has_paused(oracle, tenure->host, tenure->granted_at_ms))
        world_judge(oracle->world, "notices: fence %" PRId64 " is held for longer than its max_hold",
                    tenure->fence);
}

static void oracle_unlocked(struct oracle *oracle, const struct ask *ask, const struct fx_reply *reply)
{
    struct tenure *tenure = oracle_find_tenure(oracle, ask->peer_id, reply->fence);
    if (tenure == NULL || tenure->is_unlocked) {
        world_judge(oracle->world, "answers: #%" PRIu64 " is told that it unlocked what it did not hold",
                    ask->request_id);
        return;
    }
    oracle_judge_hold(oracle, tenure, ENDING_RELEASED);
    tenure->is_unlocked = true;
    oracle_judge_release(oracle, ask->host, ask->key);
    oracle_sweep(oracle);
}

/* --- what a daemon writes: answers ----------------------------------------------------------------- */

static bool ask_fits(const struct ask *ask, enum effect_kind kind)
{
    switch (ask->kind) {
    case EV_CLAIM:
        return kind == FX_GRANTED || kind == FX_REFUSED;
    case EV_UNLOCK:
        return kind == FX_UNLOCKED || kind == FX_REFUSED;
    case EV_REFRESH:
        return kind == FX_REFRESHED || kind == FX_REFUSED;
    case EV_CANCEL:
        return kind == FX_CANCELLED;
    case EV_INSPECT:
        return kind == FX_INSPECTED || kind == FX_REFUSED;
    case EV_FORCE:
        return kind == FX_FORCED || kind == FX_REFUSED;
    default:
        return kind == FX_ECHOED;
    }
}

static void oracle_judge_waited(struct oracle *oracle, const struct ask *ask, enum effect_kind kind,
                                const struct fx_reply *reply)
{
    int64_t waited_ms = host_now_ms(ask->host) - ask->asked_at_ms;
    bool has_paused = oracle_has_paused(oracle, ask->host, ask->asked_at_ms);
    if (kind == FX_REFUSED && reply->refusal == REFUSED_TIMEOUT && waited_ms < ask->wait_ms)
        world_judge(oracle->world, "answers: #%" PRIu64 " timed out before its time", ask->request_id);
    if (ask->kind == EV_CLAIM && ask->wait_ms > 0 && !has_paused && waited_ms > ask->wait_ms + GRACE_MS)
        world_judge(oracle->world, "answers: #%" PRIu64 " waited longer than it was willing to",
                    ask->request_id);
    if ((ask->kind == EV_UNLOCK || ask->kind == EV_REFRESH) && !has_paused &&
        waited_ms > oracle->world->plan.redis_timeout_ms + GRACE_MS)
        world_judge(oracle->world, "answers: #%" PRIu64 " waited longer than Redis may take",
                    ask->request_id);
}

/* A refusal to unlock or refresh must not be said to who holds it. */
static void oracle_refused(struct oracle *oracle, const struct ask *ask, const struct fx_reply *reply)
{
    struct tenure *tenure = oracle_find_held(oracle, ask->peer_id, ask->key);
    if (ask->kind != EV_UNLOCK && ask->kind != EV_REFRESH)
        return;
    if (reply->refusal == REFUSED_NOT_HELD && reply->why == ENDING_NEVER && tenure != NULL &&
        !tenure->is_lost)
        world_judge(oracle->world, "answers: #%" PRIu64 " is told that it never held what it holds",
                    ask->request_id);
    if (ask->kind == EV_UNLOCK && tenure != NULL && reply->refusal != REFUSED_SHUTTING_DOWN) {
        tenure->is_unlocked = true; /* given up all the same */
        oracle_sweep(oracle);
    }
}

static void oracle_answered(struct oracle *oracle, struct host *host, enum effect_kind kind,
                            const struct fx_reply *reply)
{
    struct ask ask = {0};
    for (size_t i = 0; i < oracle->n_asks; i++) {
        if (oracle->asks[i].request_id == reply->request_id) {
            ask = oracle->asks[i];
            oracle->asks[i] = oracle->asks[--oracle->n_asks];
            break;
        }
    }
    if (ask.request_id == 0) {
        if (!oracle->peers[reply->peer_id].is_gone)
            world_judge(oracle->world, "answers: #%" PRIu64 " is answered twice", reply->request_id);
        return;
    }
    if (!ask_fits(&ask, kind) || ask.host != host || ask.peer_id != reply->peer_id) {
        world_judge(oracle->world, "answers: #%" PRIu64 " gets an answer to another question",
                    reply->request_id);
        return;
    }
    oracle_judge_waited(oracle, &ask, kind, reply);
    if (kind == FX_GRANTED)
        oracle_granted(oracle, &ask, reply);
    else if (kind == FX_UNLOCKED)
        oracle_unlocked(oracle, &ask, reply);
    else if (kind == FX_REFUSED)
        oracle_refused(oracle, &ask, reply);
    else if (kind == FX_REFRESHED)
        oracle_judge_promise(oracle, host, ask.key, reply->valid_until_ms);
}

/* --- what a daemon writes: notices ----------------------------------------------------------------- */

static void oracle_lost(struct oracle *oracle, struct host *host, struct tenure *tenure, enum ending reason)
{
    const struct plan *plan = &oracle->world->plan;
    int64_t now_ms = host_now_ms(host);
    bool by_other = reason == ENDING_TAKEN || reason == ENDING_DELETED || reason == ENDING_FORCED;
    if (by_other && plan->trouble == TROUBLE_NONE)
        world_judge(oracle->world, "notices: fence %" PRId64 " is lost as %s, which cannot be",
                    tenure->fence, tell_ending(reason));
    if (reason == ENDING_EXPIRED && now_ms < tenure->written_until_ms - plan->ttl_ms_max / 10 - 10)
        world_judge(oracle->world, "notices: fence %" PRId64 " is said to have expired before its time",
                    tenure->fence);
    if (reason == ENDING_EXPIRED && plan->faults == 0 && plan->trouble == TROUBLE_NONE)
        world_judge(oracle->world, "notices: fence %" PRId64 " has expired, and nothing was wrong",
                    tenure->fence);
    oracle_judge_hold(oracle, tenure, reason);
    tenure->is_lost = true;
    tenure->may_unlock = reason == ENDING_SHUTDOWN;
    oracle_sweep(oracle);
}

static void oracle_noticed(struct oracle *oracle, struct host *host, enum effect_kind kind,
                           const struct fx_notice *notice)
{
    struct tenure *tenure = oracle_find_tenure(oracle, notice->peer_id, notice->fence);
    if (tenure == NULL || tenure->is_lost || tenure->is_unlocked) {
        if (!oracle->peers[notice->peer_id].is_gone)
            world_judge(oracle->world, "notices: a notice about fence %" PRId64 ", which is over",
                        notice->fence);
        return;
    }
    if (kind == FX_LOST)
        oracle_lost(oracle, host, tenure, notice->reason);
    else if (kind == FX_SAFE) {
        oracle_judge_promise(oracle, host, tenure->key, notice->valid_until_ms);
        if (tenure->written_until_ms < notice->valid_until_ms)
            tenure->written_until_ms = notice->valid_until_ms;
    }
}

void oracle_wrote(struct oracle *oracle, struct host *host, const struct effect *effect)
{
    if (effect->kind >= FX_AT_RISK)
        oracle_noticed(oracle, host, effect->kind, &effect->notice);
    else
        oracle_answered(oracle, host, effect->kind, &effect->reply);
}

/* --- progress, and the end ------------------------------------------------------------------------- */

bool oracle_is_quiet(const struct oracle *oracle)
{
    for (size_t i = 0; i < oracle->n_tenures; i++) {
        if (tenure_is_believed(&oracle->tenures[i]))
            return false;
    }
    return oracle->n_asks == 0;
}

int64_t oracle_patience_ms(const struct oracle *oracle)
{
    const struct plan *plan = &oracle->world->plan;
    const int64_t reconnect_ms = 4000; /* the longest pause of a link, and the hand-shake */
    int64_t ttl_ms = plan->ttl_ms_max + plan->ttl_ms_max / 20 + plan->step_back_ms_max;
    int64_t turn_ms = plan->hold_ms_max * 2 + plan->retry_ms_max + plan->redis_timeout_ms / 10 + 20;
    /* What a dead holder left runs out; then all those who wait take their turns. */
    return reconnect_ms + ttl_ms * 2 + turn_ms * (int64_t)(plan->n_hosts * plan->n_clients * CLIENT_SLOTS);
}

void oracle_judge_waiting(struct oracle *oracle)
{
    if (oracle->n_asks > 0)
        world_judge(oracle->world, "progress: #%" PRIu64 " waits for %s still, long after the last fault",
                    oracle->asks[0].request_id, client_key_name(oracle->asks[0].key));
    else if (!oracle_is_quiet(oracle))
        world_judge(oracle->world, "progress: somebody holds a lock still, long after all should be over");
}

void oracle_judge_rest(struct oracle *oracle)
{
    struct world *world = oracle->world;
    server_settle(world->server);
    const struct model_data *data = redis_model_data(world->server->model);
    for (size_t i = 0; i < data->n_entries; i++) {
        if (data->entries[i].key_len == 1)
            world_judge(world, "the end: %.1s is left in Redis", data->entries[i].key);
    }
    for (int i = 0; i < world->plan.n_hosts; i++) {
        const struct host *host = &world->hosts[i];
        if (host->instance == 0)
            continue;
        if (!broker_is_idle(host->broker) || host->stats.keys != 0)
            world_judge(world, "the end: the daemon of host %d has something left", i);
        if (host->stats.leases_held != 0 || host->stats.claims_waiting != 0)
            world_judge(world, "the end: the daemon of host %d counts what is not there", i);
    }
}
