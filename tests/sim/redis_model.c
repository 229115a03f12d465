/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Commands are rows of a table, for clients and for scripts alike; scripts themselves are redis_lua.c's.
 */

#include "tests/sim/redis_model.h"

#include "daemon/base/alloc.h"
#include "tests/sim/redis_state.h"

#include <assert.h>
#include <inttypes.h>
#include <lua.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* --- the data -------------------------------------------------------------------------------------- */

static bool model_is_at(const char *key, size_t len, const char *other, size_t other_len)
{
    return len == other_len && memcmp(key, other, len) == 0;
}

static void model_drop(struct redis_model *model, struct model_entry *entry)
{
    struct model_data *data = &model->data;
    for (size_t i = data->n_members; entry->type == MODEL_ZSET && i-- > 0;) {
        const struct model_member *member = &data->members[i];
        if (model_is_at(member->key, member->key_len, entry->key, entry->key_len)) {
            data->members[i] = data->members[--data->n_members];
        }
    }
    *entry = data->entries[--data->n_entries];
}

static struct model_entry *model_find(struct redis_model *model, const char *key, size_t len)
{
    for (size_t i = 0; i < model->data.n_entries; i++) {
        struct model_entry *entry = &model->data.entries[i];
        if (!model_is_at(entry->key, entry->key_len, key, len)) {
            continue;
        }
        if (entry->expire_at_ms == -1 || entry->expire_at_ms > model->wall_us / 1000) {
            return entry;
        }
        model_drop(model, entry);
        return NULL;
    }
    return NULL;
}

static struct model_entry *model_put(struct redis_model *model, enum model_type type, const char *key,
                                     size_t len)
{
    struct model_entry *entry = model_find(model, key, len);
    if (entry != NULL) {
        model_drop(model, entry);
    }
    assert(model->data.n_entries < MODEL_KEYS_MAX && len <= MODEL_KEY_CAP);
    entry = &model->data.entries[model->data.n_entries++];
    *entry = (struct model_entry){.type = type, .key_len = len, .expire_at_ms = -1};
    memcpy(entry->key, key, len);
    return entry;
}

/* --- replies --------------------------------------------------------------------------------------- */

static void model_say_integer(struct redis_model *model, int64_t integer)
{
    model->reply = (struct reply){.kind = REPLY_INTEGER, .integer = integer};
}

static void model_say_nil(struct redis_model *model)
{
    model->reply = (struct reply){.kind = REPLY_NIL};
}

struct reply model_keep_text(struct redis_model *model, size_t slot, enum reply_kind kind, const char *text,
                             size_t len)
{
    assert(len < MODEL_TEXT_CAP);
    memcpy(model->texts[slot], text, len);
    model->texts[slot][len] = '\0';
    return (struct reply){.kind = kind, .text = model->texts[slot], .len = len};
}

void model_say(struct redis_model *model, enum reply_kind kind, const char *text)
{
    model->reply = model_keep_text(model, MODEL_ITEMS_MAX, kind, text, strlen(text));
}

static const char model_wrong_type[] = "WRONGTYPE Operation against a key holding the wrong kind of value";

/* --- commands -------------------------------------------------------------------------------------- */

static void model_get(struct redis_model *model, const struct model_call *call)
{
    const struct model_entry *entry = model_find(model, call->argv[1], call->argv_len[1]);
    if (entry == NULL) {
        model_say_nil(model);
    } else if (entry->type != MODEL_STRING) {
        model_say(model, REPLY_ERROR, model_wrong_type);
    } else {
        model->reply = model_keep_text(model, MODEL_ITEMS_MAX, REPLY_TEXT, entry->value, entry->value_len);
    }
}

/* The integer in an argument; false: it is none. */
bool model_read(const struct model_call *call, int i, int64_t *ret)
{
    char text[32], *end;
    if (call->argv_len[i] == 0 || call->argv_len[i] >= sizeof(text)) {
        return false;
    }
    memcpy(text, call->argv[i], call->argv_len[i]);
    text[call->argv_len[i]] = '\0';
    *ret = strtoll(text, &end, 10);
    return *end == '\0';
}

bool model_is_word(const struct model_call *call, int i, const char *word)
{
    return i < call->argc && strlen(word) == call->argv_len[i] &&
           strncasecmp(word, call->argv[i], call->argv_len[i]) == 0;
}

static void model_set(struct redis_model *model, const struct model_call *call)
{
    bool is_nx = false;
    int64_t ttl_ms = 0;
    for (int i = 3; i < call->argc; i++) {
        if (model_is_word(call, i, "NX")) {
            is_nx = true;
        } else if (model_is_word(call, i, "PX") && i + 1 < call->argc) {
            if (!model_read(call, ++i, &ttl_ms)) {
                model_say(model, REPLY_ERROR, "ERR value is not an integer or out of range");
                return;
            }
            if (ttl_ms <= 0) {
                model_say(model, REPLY_ERROR, "ERR invalid expire time in 'set' command");
                return;
            }
        } else {
            model_say(model, REPLY_ERROR, "ERR syntax error");
            return;
        }
    }
    if (is_nx && model_find(model, call->argv[1], call->argv_len[1]) != NULL) {
        model_say_nil(model);
        return;
    }
    struct model_entry *entry = model_put(model, MODEL_STRING, call->argv[1], call->argv_len[1]);
    assert(call->argv_len[2] <= MODEL_VALUE_CAP);
    memcpy(entry->value, call->argv[2], call->argv_len[2]);
    entry->value_len = call->argv_len[2];
    entry->expire_at_ms = ttl_ms > 0 ? model->wall_us / 1000 + ttl_ms : -1;
    model_say(model, REPLY_STATUS, "OK");
}

static void model_hset(struct redis_model *model, const struct model_call *call)
{
    model_put(model, MODEL_HASH, call->argv[1], call->argv_len[1]);
    model_say_integer(model, 1);
}

static void model_del(struct redis_model *model, const struct model_call *call)
{
    struct model_entry *entry = model_find(model, call->argv[1], call->argv_len[1]);
    if (entry != NULL) {
        model_drop(model, entry);
    }
    model_say_integer(model, entry != NULL);
}

static void model_exists(struct redis_model *model, const struct model_call *call)
{
    model_say_integer(model, model_find(model, call->argv[1], call->argv_len[1]) != NULL);
}

static void model_pttl(struct redis_model *model, const struct model_call *call)
{
    const struct model_entry *entry = model_find(model, call->argv[1], call->argv_len[1]);
    if (entry == NULL) {
        model_say_integer(model, -2);
    } else {
        model_say_integer(model,
                          entry->expire_at_ms == -1 ? -1 : entry->expire_at_ms - model->wall_us / 1000);
    }
}

static void model_pexpire(struct redis_model *model, const struct model_call *call)
{
    struct model_entry *entry = model_find(model, call->argv[1], call->argv_len[1]);
    int64_t ttl_ms;
    if (!model_read(call, 2, &ttl_ms)) {
        model_say(model, REPLY_ERROR, "ERR value is not an integer or out of range");
        return;
    }
    model_say_integer(model, entry != NULL);
    if (entry != NULL && ttl_ms <= 0) {
        model_drop(model, entry);
    } else if (entry != NULL) {
        entry->expire_at_ms = model->wall_us / 1000 + ttl_ms;
    }
}

static void model_persist(struct redis_model *model, const struct model_call *call)
{
    struct model_entry *entry = model_find(model, call->argv[1], call->argv_len[1]);
    model_say_integer(model, entry != NULL && entry->expire_at_ms != -1);
    if (entry != NULL) {
        entry->expire_at_ms = -1;
    }
}

static void model_time(struct redis_model *model, const struct model_call *call)
{
    (void)call;
    int64_t parts[2] = {model->wall_us / 1000000, model->wall_us % 1000000};
    for (size_t i = 0; i < 2; i++) {
        char text[24];
        int len = snprintf(text, sizeof(text), "%" PRId64, parts[i]);
        model->items[i] = model_keep_text(model, i, REPLY_TEXT, text, (size_t)len);
    }
    model->reply = (struct reply){.kind = REPLY_LIST, .items = model->items, .n_items = 2};
}

/* The sorted set at the key; NULL: there is none, or it is none, which has been said then. */
static struct model_entry *model_find_zset(struct redis_model *model, const struct model_call *call)
{
    struct model_entry *entry = model_find(model, call->argv[1], call->argv_len[1]);
    if (entry != NULL && entry->type != MODEL_ZSET) {
        model_say(model, REPLY_ERROR, model_wrong_type);
        return NULL;
    }
    model_say_integer(model, 0);
    return entry;
}

static struct model_member *model_find_member(struct redis_model *model, const struct model_entry *entry,
                                              const char *value, size_t len)
{
    for (size_t i = 0; i < model->data.n_members; i++) {
        struct model_member *member = &model->data.members[i];
        if (model_is_at(member->key, member->key_len, entry->key, entry->key_len) &&
            model_is_at(member->value, member->value_len, value, len)) {
            return member;
        }
    }
    return NULL;
}

/* ZADD key NX score member */
static void model_zadd(struct redis_model *model, const struct model_call *call)
{
    struct model_entry *entry = model_find_zset(model, call);
    int64_t score;
    if (model->reply.kind == REPLY_ERROR) {
        return;
    }
    if (!model_is_word(call, 2, "NX") || !model_read(call, 3, &score)) {
        model_say(model, REPLY_ERROR, "ERR syntax error");
        return;
    }
    if (entry == NULL) {
        entry = model_put(model, MODEL_ZSET, call->argv[1], call->argv_len[1]);
    } else if (model_find_member(model, entry, call->argv[4], call->argv_len[4]) != NULL) {
        return;
    }
    assert(model->data.n_members < MODEL_MEMBERS_MAX && call->argv_len[4] <= MODEL_VALUE_CAP);
    struct model_member *member = &model->data.members[model->data.n_members++];
    member->key_len = entry->key_len;
    memcpy(member->key, entry->key, entry->key_len);
    member->value_len = call->argv_len[4];
    memcpy(member->value, call->argv[4], call->argv_len[4]);
    member->score = (double)score;
    entry->n_members++;
    model_say_integer(model, 1);
}

static void model_zrem(struct redis_model *model, const struct model_call *call)
{
    struct model_entry *entry = model_find_zset(model, call);
    struct model_member *member =
        entry != NULL ? model_find_member(model, entry, call->argv[2], call->argv_len[2]) : NULL;
    if (member == NULL) {
        return;
    }
    *member = model->data.members[--model->data.n_members];
    if (--entry->n_members == 0) {
        model_drop(model, entry);
    }
    model_say_integer(model, 1);
}

static void model_zcard(struct redis_model *model, const struct model_call *call)
{
    const struct model_entry *entry = model_find_zset(model, call);
    if (entry != NULL) {
        model_say_integer(model, (int64_t)entry->n_members);
    }
}

static bool model_is_before(const struct model_member *a, const struct model_member *b)
{
    if (a->score != b->score) {
        return a->score < b->score;
    }
    size_t len = a->value_len < b->value_len ? a->value_len : b->value_len;
    int order = memcmp(a->value, b->value, len);
    return order != 0 ? order < 0 : a->value_len < b->value_len;
}

/* ZRANGE key 0 0, or -1 -1, [WITHSCORES] */
static void model_zrange(struct redis_model *model, const struct model_call *call)
{
    const struct model_entry *entry = model_find_zset(model, call);
    const struct model_member *found = NULL;
    bool is_last = model_is_word(call, 2, "-1") && model_is_word(call, 3, "-1");
    if (model->reply.kind == REPLY_ERROR) {
        return;
    }
    if (!is_last && (!model_is_word(call, 2, "0") || !model_is_word(call, 3, "0"))) {
        model_say(model, REPLY_ERROR, "ERR the model shows the first member, or the last");
        return;
    }
    for (size_t i = 0; entry != NULL && i < model->data.n_members; i++) {
        const struct model_member *member = &model->data.members[i];
        if (model_is_at(member->key, member->key_len, entry->key, entry->key_len) &&
            (found == NULL || model_is_before(member, found) != is_last)) {
            found = member;
        }
    }
    if (found != NULL) {
        char score[32];
        int len = snprintf(score, sizeof(score), "%.17g", found->score);
        model->items[0] = model_keep_text(model, 0, REPLY_TEXT, found->value, found->value_len);
        model->items[1] = model_keep_text(model, 1, REPLY_TEXT, score, (size_t)len);
    }
    size_t n_items = found == NULL ? 0 : model_is_word(call, 4, "WITHSCORES") ? 2 : 1;
    model->reply = (struct reply){.kind = REPLY_LIST, .items = model->items, .n_items = n_items};
}

static void model_publish(struct redis_model *model, const struct model_call *call)
{
    int64_t n_heard = 0;
    if (model->publish != NULL) {
        struct reply channel = {.kind = REPLY_TEXT, .text = call->argv[1], .len = call->argv_len[1]};
        struct reply message = {.kind = REPLY_TEXT, .text = call->argv[2], .len = call->argv_len[2]};
        n_heard = model->publish(model->publish_ctx, &channel, &message);
    }
    model_say_integer(model, n_heard);
}

static void model_flushall(struct redis_model *model, const struct model_call *call)
{
    (void)call;
    model->data.n_entries = model->data.n_members = 0;
    model_say(model, REPLY_STATUS, "OK");
}

static const struct model_command {
    const char *name;
    void (*run)(struct redis_model *model, const struct model_call *call);
    int argc_min, argc_max;
    bool is_write, is_plain; /* plain: may be called by a script */
} model_commands[] = {
    {"GET", model_get, 2, 2, false, true},
    {"SET", model_set, 3, 6, true, true},
    {"DEL", model_del, 2, 2, true, true},
    {"PTTL", model_pttl, 2, 2, false, true},
    {"PEXPIRE", model_pexpire, 3, 3, true, true},
    {"PERSIST", model_persist, 2, 2, true, true},
    {"TIME", model_time, 1, 1, false, true},
    {"EXISTS", model_exists, 2, 2, false, true},
    {"HSET", model_hset, 4, 4, true, true},
    {"FLUSHALL", model_flushall, 1, 1, true, true},
    {"ZADD", model_zadd, 5, 5, true, true},
    {"ZREM", model_zrem, 3, 3, true, true},
    {"ZCARD", model_zcard, 2, 2, false, true},
    {"ZRANGE", model_zrange, 4, 5, false, true},
    {"PUBLISH", model_publish, 3, 3, false, true},
    {"EVALSHA", model_evalsha, 3, MODEL_ARGS_MAX, false, false},
    {"EVAL", model_eval, 3, MODEL_ARGS_MAX, false, false},
    {"SCRIPT", model_script, 2, 3, false, false},
};

void model_run(struct redis_model *model, const struct model_call *call, bool is_in_script)
{
    const struct model_command *command = NULL;
    for (size_t i = 0; i < sizeof(model_commands) / sizeof(model_commands[0]); i++) {
        if (model_is_word(call, 0, model_commands[i].name)) {
            command = &model_commands[i];
        }
    }
    if (command == NULL) {
        model_say(model, REPLY_ERROR, "ERR unknown command");
    } else if (call->argc < command->argc_min || call->argc > command->argc_max) {
        model_say(model, REPLY_ERROR, "ERR wrong number of arguments");
    } else if (is_in_script && !command->is_plain) {
        model_say(model, REPLY_ERROR, "ERR This Redis command is not allowed from script");
    } else if (command->is_write && model->is_replica) {
        model_say(model, REPLY_ERROR, "READONLY You can't write against a read only replica.");
    } else {
        command->run(model, call);
    }
}

/* --- outside --------------------------------------------------------------------------------------- */

struct redis_model *redis_model_new(void)
{
    struct redis_model *model = alloc_zeroed(1, sizeof(*model));
    model_open_lua(model);
    return model;
}

struct redis_model *redis_model_free(struct redis_model *model)
{
    lua_close(model->lua);
    free(model);
    return NULL;
}

void redis_model_reset(struct redis_model *model)
{
    model->data.n_entries = model->data.n_members = 0;
    model->is_replica = false;
    model->wall_us = 0;
    for (size_t i = 0; i < model->n_scripts; i++) {
        model->scripts[i].is_loaded = false;
    }
}

void redis_model_set_publish(struct redis_model *model, redis_model_publish_fn publish, void *ctx)
{
    model->publish = publish;
    model->publish_ctx = ctx;
}

void redis_model_set_clock(struct redis_model *model, int64_t wall_us)
{
    model->wall_us = wall_us;
}

void redis_model_set_replica(struct redis_model *model, bool is_replica)
{
    model->is_replica = is_replica;
}

struct model_data *redis_model_data(struct redis_model *model)
{
    return &model->data;
}

const struct reply *redis_model_run(struct redis_model *model, int argc, const char *const *argv,
                                    const size_t *argv_len)
{
    model_run(model, &(struct model_call){argc, argv, argv_len}, /* is_in_script= */ false);
    return &model->reply;
}

const struct model_entry *redis_model_find_expired(const struct redis_model *model)
{
    for (size_t i = 0; i < model->data.n_entries; i++) {
        const struct model_entry *entry = &model->data.entries[i];
        if (entry->expire_at_ms != -1 && entry->expire_at_ms <= model->wall_us / 1000) {
            return entry;
        }
    }
    return NULL;
}

int64_t redis_model_next_expiry_ms(const struct redis_model *model)
{
    int64_t next_ms = INT64_MAX;
    for (size_t i = 0; i < model->data.n_entries; i++) {
        const struct model_entry *entry = &model->data.entries[i];
        if (entry->expire_at_ms != -1 && entry->expire_at_ms < next_ms) {
            next_ms = entry->expire_at_ms;
        }
    }
    return next_ms;
}

const struct model_entry *redis_model_find(const struct redis_model *model, const char *key, size_t len)
{
    for (size_t i = 0; i < model->data.n_entries; i++) {
        const struct model_entry *entry = &model->data.entries[i];
        if (model_is_at(entry->key, entry->key_len, key, len) &&
            (entry->expire_at_ms == -1 || entry->expire_at_ms > model->wall_us / 1000)) {
            return entry;
        }
    }
    return NULL;
}

void redis_model_delete(struct redis_model *model, const char *key, size_t len)
{
    for (size_t i = 0; i < model->data.n_entries; i++) {
        struct model_entry *entry = &model->data.entries[i];
        if (model_is_at(entry->key, entry->key_len, key, len)) {
            model_drop(model, entry);
            return;
        }
    }
}
