/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 *     effect ----> op (sent_at, key, value) ----> EVALSHA ----> Redis
 *                   ^                                             |
 *                   | NOSCRIPT: once more, as EVAL                v
 *     event <------ op <------------------------------------- reply, or none
 *
 * Knows what the broker's words mean in Redis (judge.c knows the way back); decides nothing. An op
 * carries all that a second sending needs, so that the lease it works for may be forgotten meanwhile; but
 * once a release was sent, nothing that takes or keeps goes out behind it. Ops and leases are used again,
 * with the memory of their keys.
 */

#include "daemon/redis/store.h"

#include "daemon/base/alloc.h"
#include "daemon/base/buf.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/stats.h"
#include "daemon/base/table.h"
#include "daemon/redis/judge.h"
#include "daemon/redis/link.h"
#include "daemon/redis/script.h"
#include "daemon/redis/slot.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <uuid/uuid.h>

static_assert(LINK_STATE_CONNECTING == (int)LINK_CONNECTING && LINK_STATE_UP == (int)LINK_UP &&
                  LINK_STATE_DOWN == (int)LINK_DOWN,
              "the link and the core count alike");

enum {
    STORE_UUID_LEN = 36,
    STORE_VALUE_LEN = STORE_UUID_LEN + 1 + STORE_UUID_LEN,
    STORE_ARGC_MAX = 12,
    STORE_NUMBER_CAP = 24,
    STORE_QUEUE_HEAD_CAP = 32, /* "rlockd:queue:{TAG}:" */
    STORE_FREE_OPS_MAX = 1024, /* kept to be used again */
    STORE_LOG_EVERY_MS = 60000,
};

/* The same for every prefix, so that the fences of a key grow whatever way its name is put together. */
static const char store_fence_key[] = STORE_OWN_NAMES "fence";

struct store_lease {
    uint64_t id;
    char value[STORE_VALUE_LEN + 1];
    bool is_spent; /* its release was sent */
    struct store_lease *next_free;
    UT_hash_handle hh;
};

/* One effect under way in Redis. */
struct store_op {
    struct store *store;
    struct store_op *next_free;
    enum effect_kind kind;
    bool is_second; /* sent again as EVAL */
    int64_t sent_at_ms;
    union {
        struct fx_command command; /* their keys are not used */
        struct fx_query query;
    };
    char value[STORE_VALUE_LEN + 1];
    char *names; /* the name of the queue, which ends with that of the key, prefix and all */
    size_t names_cap;
    const char *queue, *key;
    size_t queue_len, key_len;
};

struct store {
    struct store_config config;
    size_t prefix_len;
    struct stats *stats;
    struct link *link;
    const struct script *scripts;
    char unusable[TEXT_SAFE_CAP]; /* why the link is not up */
    struct store_lease *leases;   /* by id */
    struct store_lease *free_leases;
    struct store_op *free_ops;
    size_t n_free_ops;
    size_t n_ops; /* under way */
    struct log_limit fences_limit;
};

/* Sixteen bytes from the kernel for each: a generator of our own would go on alike in two copies of a
 * virtual machine. */
static void store_draw_value(const struct store *store, char ret[STORE_VALUE_LEN + 1])
{
    uuid_t uuid;
    ssize_t n_read;

    do {
        n_read = getrandom(uuid, sizeof(uuid), 0);
    } while (n_read < 0 && errno == EINTR);
    assert(n_read == (ssize_t)sizeof(uuid));
    uuid[6] = (unsigned char)((uuid[6] & 0x0f) | 0x40); /* version 4: random */
    uuid[8] = (unsigned char)((uuid[8] & 0x3f) | 0x80);
    uuid_unparse_lower(uuid, ret);
    ret[STORE_UUID_LEN] = '/';
    memcpy(ret + STORE_UUID_LEN + 1, store->config.instance, STORE_UUID_LEN + 1);
}

static struct store_lease *store_find_lease(struct store *store, uint64_t lease_id)
{
    struct store_lease *lease;

    HASH_FIND(hh, store->leases, &lease_id, sizeof(lease_id), lease);
    return lease;
}

static struct store_lease *store_add_lease(struct store *store, uint64_t lease_id)
{
    struct store_lease *lease = store->free_leases;

    if (lease != NULL) {
        store->free_leases = lease->next_free;
    } else {
        lease = alloc_bytes(sizeof(*lease));
    }
    *lease = (struct store_lease){.id = lease_id};
    store_draw_value(store, lease->value);
    HASH_ADD(hh, store->leases, id, sizeof(lease->id), lease);
    return lease;
}

static void store_forget_lease(struct store *store, uint64_t lease_id)
{
    struct store_lease *lease = store_find_lease(store, lease_id);

    if (lease != NULL) {
        HASH_DEL(store->leases, lease);
        lease->next_free = store->free_leases;
        store->free_leases = lease;
    }
}

/* The names in Redis of a key and of its queue, which lies in the same hash slot. */
static void store_name(const struct store *store, struct store_op *op, const char *key, size_t key_len)
{
    char head[STORE_QUEUE_HEAD_CAP];
    size_t len = store->prefix_len + key_len;

    if (STORE_QUEUE_HEAD_CAP + len > op->names_cap) {
        op->names_cap = STORE_QUEUE_HEAD_CAP + len;
        op->names = alloc_resize(op->names, op->names_cap);
    }
    char *at = op->names + STORE_QUEUE_HEAD_CAP;
    memcpy(at, store->config.prefix, store->prefix_len);
    memcpy(at + store->prefix_len, key, key_len);
    int head_len =
        snprintf(head, sizeof(head), STORE_OWN_NAMES "queue:{%" PRIu32 "}:", slot_tag(slot_of(at, len)));
    assert(head_len > 0 && head_len < STORE_QUEUE_HEAD_CAP);
    memcpy(at - head_len, head, (size_t)head_len);
    op->key = at;
    op->key_len = len;
    op->queue = at - head_len;
    op->queue_len = (size_t)head_len + len;
}

static struct store_op *store_new_op(struct store *store, enum effect_kind kind, const char *key,
                                     size_t key_len)
{
    struct store_op *op = store->free_ops;

    if (op != NULL) {
        store->free_ops = op->next_free;
        store->n_free_ops--;
    } else {
        op = alloc_zeroed(1, sizeof(*op));
        op->store = store;
    }
    store_name(store, op, key, key_len);
    op->kind = kind;
    op->is_second = false;
    store->n_ops++;
    return op;
}

static void store_free_op(struct store_op *op)
{
    struct store *store = op->store;

    store->n_ops--;
    if (store->n_free_ops < STORE_FREE_OPS_MAX) {
        op->next_free = store->free_ops;
        store->free_ops = op;
        store->n_free_ops++;
    } else {
        free(op->names);
        free(op);
    }
}

static bool store_is_command(enum effect_kind kind)
{
    return kind == FX_ACQUIRE || kind == FX_RENEW || kind == FX_RELEASE;
}

static void store_finish(struct store_op *op, struct judgement answer)
{
    struct store *store = op->store;
    struct event event;

    if (store_is_command(op->kind)) {
        bool is_ours = answer.answer == ANSWER_OURS;

        event = (struct event){
            .kind = EV_OUTCOME,
            .outcome = {.lease_id = op->command.lease_id,
                        .op_id = op->command.op_id,
                        .answer = answer.answer,
                        .sent_at_ms = op->sent_at_ms,
                        .ttl_ms = op->command.ttl_ms,
                        .remaining_ms = is_ours ? -1 : answer.number,
                        .fence_first = is_ours ? answer.number : 0,
                        .fence_count = is_ours && answer.number > 0 ? op->command.fence_count : 0,
                        .is_found = answer.is_found,
                        .others_wait = answer.others_wait,
                        .text = answer.text}};
    } else {
        event = (struct event){.kind = EV_QUERIED,
                               .queried = {.from = {.peer_id = op->query.peer_id,
                                                    .request_id = op->query.request_id,
                                                    .key = op->key + store->prefix_len,
                                                    .key_len = op->key_len - store->prefix_len},
                                           .was_force = op->kind == FX_FORCE,
                                           .answer = answer.answer,
                                           .remaining_ms = answer.number,
                                           .text = answer.text}};
    }
    store->config.post(store->config.post_ctx, &event);
    store_free_op(op);
}

static struct judgement store_failure(enum answer answer, const char *text)
{
    return (struct judgement){.answer = answer, .number = -1, .text = text};
}

static bool store_send(struct store_op *op);

/* Redis has lost the script: nothing was executed. Once more with its text, but for what would take or
 * keep the key behind its release, which was sent meanwhile. */
static void store_send_again(struct store_op *op)
{
    const struct store_lease *lease = store_find_lease(op->store, op->command.lease_id);

    if (op->kind == FX_RELEASE || (lease != NULL && !lease->is_spent)) {
        op->is_second = true;
        store_send(op);
    } else {
        store_finish(op, store_failure(ANSWER_TRANSIENT,
                                       "Redis had lost the script, and the lock was given back since"));
    }
}

/* For a renewal the counter's state is no error, lest the lease be lost for it. */
static void store_check_fences(const struct store_op *op, const struct judgement *answer)
{
    if (op->kind == FX_RENEW && answer->answer == ANSWER_OURS && op->command.fence_count > 0 &&
        answer->number == 0) {
        log_limited(&op->store->fences_limit, STORE_LOG_EVERY_MS, LOG_LEVEL_WARNING,
                    "redis: a renewal got no fences: the counter at %s is not usable", store_fence_key);
    }
}

static void store_take_error(struct store_op *op, const struct reply *reply)
{
    char text[TEXT_SAFE_CAP];
    enum answer answer = judge_error(reply->text);

    if (store_is_command(op->kind) && !op->is_second && strncmp(reply->text, "NOSCRIPT", 8) == 0) {
        store_send_again(op);
        return;
    }
    if (answer == ANSWER_TAKEN && op->kind != FX_RENEW && op->kind != FX_RELEASE) {
        answer = ANSWER_REFUSED; /* no use in waiting until that key is free */
    }
    if (answer == ANSWER_TRANSIENT &&
        (strstr(reply->text, "READONLY ") != NULL || strstr(reply->text, "MASTERDOWN ") != NULL)) {
        /* The master has become a replica. A new connection looks for a master again. */
        link_break(op->store->link, "Redis has become a replica");
    }
    store_finish(op, store_failure(answer, text_safe(reply->text, reply->len, text)));
}

static void store_on_reply(void *ctx, const struct reply *reply, const char *text)
{
    struct store_op *op = ctx;
    struct judgement answer;

    if (reply == NULL) {
        store_finish(op, store_failure(ANSWER_UNKNOWN, text));
    } else if (reply->kind == REPLY_ERROR) {
        store_take_error(op, reply);
    } else if (store_is_command(op->kind) ? judge_script(op->kind, reply, &answer)
                                          : judge_integer(op->kind, reply, &answer)) {
        store_check_fences(op, &answer);
        store_finish(op, answer);
    } else {
        /* This is the answer to something else, and so may be all that follow. */
        link_break(op->store->link, "a reply of Redis does not fit its command");
        store_finish(op, store_failure(ANSWER_UNKNOWN, "a reply of Redis does not fit its command"));
    }
}

struct store_args {
    int argc;
    const char *argv[STORE_ARGC_MAX];
    size_t argv_len[STORE_ARGC_MAX];
};

static void store_add(struct store_args *args, const char *arg, size_t len)
{
    assert(args->argc < STORE_ARGC_MAX);
    args->argv[args->argc] = arg;
    args->argv_len[args->argc] = len;
    args->argc++;
}

static void store_add_number(struct store_args *args, int64_t number, char room[STORE_NUMBER_CAP])
{
    store_add(args, room, (size_t)snprintf(room, STORE_NUMBER_CAP, "%" PRId64, number));
}

static int store_send_script(struct store_op *op)
{
    static const enum script_name names[] = {
        [FX_ACQUIRE] = SCRIPT_LOCK, [FX_RENEW] = SCRIPT_REFRESH, [FX_RELEASE] = SCRIPT_UNLOCK};
    const struct script *script = &op->store->scripts[names[op->kind]];
    struct store_args args = {0};
    char ttl[STORE_NUMBER_CAP], count[STORE_NUMBER_CAP], offer[STORE_NUMBER_CAP];

    if (op->is_second) {
        store_add(&args, "EVAL", 4);
        store_add(&args, script->text, script->text_len);
    } else {
        store_add(&args, "EVALSHA", 7);
        store_add(&args, script->digest, sizeof(script->digest) - 1);
    }
    store_add(&args, "3", 1);
    store_add(&args, op->key, op->key_len);
    store_add(&args, store_fence_key, sizeof(store_fence_key) - 1);
    store_add(&args, op->queue, op->queue_len);
    store_add(&args, op->value, STORE_VALUE_LEN);
    if (op->kind != FX_RELEASE) {
        store_add_number(&args, op->command.ttl_ms, ttl);
        store_add_number(&args, op->command.fence_count, count);
    }
    if (op->kind == FX_ACQUIRE) {
        store_add(&args, op->command.may_queue ? "1" : "0", 1);
    }
    if (op->kind != FX_RENEW) {
        store_add_number(&args, op->command.offer_ms, offer);
    }
    return link_send(op->store->link, args.argc, args.argv, args.argv_len, store_on_reply, op);
}

static int store_send_plain(struct store_op *op)
{
    const char *name = op->kind == FX_QUERY ? "PTTL" : "DEL";
    struct store_args args = {0};

    store_add(&args, name, strlen(name));
    store_add(&args, op->key, op->key_len);
    return link_send(op->store->link, args.argc, args.argv, args.argv_len, store_on_reply, op);
}

/* Sends it, or false: it could not be sent, and was answered so. */
static bool store_send(struct store_op *op)
{
    struct store *store = op->store;

    assert(store->link != NULL);
    op->sent_at_ms = clock_now_ms(); /* before it leaves: a lease counts from here */
    int r = store_is_command(op->kind) ? store_send_script(op) : store_send_plain(op);
    if (r == 0) {
        store->stats->attempts += op->kind == FX_ACQUIRE;
        store->stats->renewals += op->kind == FX_RENEW;
        store->stats->releases += op->kind == FX_RELEASE;
    } else if (r == LINK_E_FULL) {
        store_finish(op, store_failure(ANSWER_TRANSIENT, "too many commands wait for Redis"));
    } else {
        store_finish(op, store_failure(ANSWER_UNSENT, store->unusable));
    }
    return r == 0;
}

static void store_carry_out_command(struct store *store, enum effect_kind kind,
                                    const struct fx_command *command)
{
    struct store_lease *lease = store_find_lease(store, command->lease_id);

    if (lease == NULL && kind == FX_ACQUIRE) {
        lease = store_add_lease(store, command->lease_id);
    }
    assert(lease != NULL); /* nothing is renewed or released that was never asked for */
    assert(kind != FX_ACQUIRE || command->fence_count > 0);
    struct store_op *op = store_new_op(store, kind, command->key, command->key_len);
    op->command = *command;
    memcpy(op->value, lease->value, sizeof(op->value));
    if (store_send(op) && kind == FX_RELEASE) {
        lease->is_spent = true;
    }
}

void store_carry_out(struct store *store, const struct effect *effect)
{
    switch (effect->kind) {
    case FX_ACQUIRE:
    case FX_RENEW:
    case FX_RELEASE:
        store_carry_out_command(store, effect->kind, &effect->command);
        break;
    case FX_FORGET:
        store_forget_lease(store, effect->command.lease_id);
        break;
    case FX_QUERY:
    case FX_FORCE: {
        struct store_op *op = store_new_op(store, effect->kind, effect->query.key, effect->query.key_len);

        op->query = effect->query;
        store_send(op);
        break;
    }
    default:
        assert(effect->kind <= FX_FORCE); /* the others are for peers */
    }
}

static void store_post_hint(struct store *store, enum event_kind kind, const char *key, size_t len)
{
    size_t prefix_len = store->prefix_len;

    if (len > prefix_len && memcmp(key, store->config.prefix, prefix_len) == 0) {
        store->config.post(
            store->config.post_ctx,
            &(struct event){.kind = kind, .hint = {.key = key + prefix_len, .key_len = len - prefix_len}});
    }
}

void store_on_message(void *ctx, const char *text, size_t len)
{
    static const struct {
        const char *word;
        enum event_kind kind;
    } words[] = {{"offer ", EV_OFFERED}, {"recall ", EV_RECALLED}};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        size_t word_len = strlen(words[i].word);

        if (len > word_len && memcmp(text, words[i].word, word_len) == 0) {
            store_post_hint(ctx, words[i].kind, text + word_len, len - word_len);
        }
    }
}

void store_on_hearing(void *ctx)
{
    struct store *store = ctx;

    store->config.post(store->config.post_ctx, &(struct event){.kind = EV_HEARING});
}

void store_on_link_state(void *ctx, int link_state, const char *text)
{
    struct store *store = ctx;

    snprintf(store->unusable, sizeof(store->unusable), "%s",
             text != NULL ? text : "not connected to Redis yet");
    store->config.post(
        store->config.post_ctx,
        &(struct event){.kind = EV_LINK, .link = {.state = (enum link_state)link_state, .text = text}});
}

struct store *store_new(const struct store_config *config, struct stats *stats)
{
    struct store *store = alloc_zeroed(1, sizeof(*store));

    assert(strlen(config->instance) == STORE_UUID_LEN);
    store->config = *config;
    store->prefix_len = strlen(config->prefix);
    store->config.prefix = alloc_copy(config->prefix, store->prefix_len);
    store->config.instance = alloc_copy(config->instance, STORE_UUID_LEN);
    store->stats = stats;
    snprintf(store->unusable, sizeof(store->unusable), "not connected to Redis yet");
    return store;
}

void store_use_link(struct store *store, struct link *link, const struct script *scripts)
{
    store->link = link;
    store->scripts = scripts;
}

struct store *store_free(struct store *store)
{
    struct store_lease *lease, *next;

    if (store == NULL) {
        return NULL;
    }
    assert(store->n_ops == 0);
    HASH_ITER (hh, store->leases, lease, next) {
        store_forget_lease(store, lease->id);
    }
    while ((lease = store->free_leases) != NULL) {
        store->free_leases = lease->next_free;
        free(lease);
    }
    for (struct store_op *op; (op = store->free_ops) != NULL;) {
        store->free_ops = op->next_free;
        free(op->names);
        free(op);
    }
    free((char *)store->config.prefix);
    free((char *)store->config.instance);
    free(store);
    return NULL;
}
