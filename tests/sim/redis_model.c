/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Commands are rows of a table. A script's redis.call() comes through the same table, and its result is
 * turned into Lua's words and back as Redis does it: integers to numbers, texts to strings, nil to false;
 * numbers to integers, tables to lists up to their first nil.
 */

#include "tests/sim/redis_model.h"

#include "daemon/base/alloc.h"

#include <assert.h>
#include <inttypes.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <xxhash.h>

enum { MODEL_ITEMS_MAX = 4, MODEL_TEXT_CAP = 256, MODEL_ARGS_MAX = 16, MODEL_SCRIPTS_MAX = 16 };

struct model_script {
    char digest[MODEL_DIGEST_LEN + 1];
    bool is_loaded;
    int function; /* in Lua's registry */
};

struct redis_model {
    struct model_data data;
    int64_t wall_us;
    bool is_replica;
    lua_State *lua;
    struct model_script scripts[MODEL_SCRIPTS_MAX];
    size_t n_scripts;
    struct reply reply, items[MODEL_ITEMS_MAX];
    char texts[MODEL_ITEMS_MAX + 1][MODEL_TEXT_CAP]; /* of the items, and of the reply itself */
};

struct model_call {
    int argc;
    const char *const *argv;
    const size_t *argv_len;
};

/* --- the data -------------------------------------------------------------------------------------- */

static struct model_entry *model_find(struct redis_model *model, const char *key, size_t len)
{
    for (size_t i = 0; i < model->data.n_entries; i++) {
        struct model_entry *entry = &model->data.entries[i];
        if (entry->key_len != len || memcmp(entry->key, key, len) != 0)
            continue;
        if (entry->expire_at_ms == -1 || entry->expire_at_ms > model->wall_us / 1000)
            return entry;
        *entry = model->data.entries[--model->data.n_entries];
        return NULL;
    }
    return NULL;
}

static void model_drop(struct redis_model *model, struct model_entry *entry)
{
    *entry = model->data.entries[--model->data.n_entries];
}

static struct model_entry *model_put(struct redis_model *model, const char *key, size_t len)
{
    struct model_entry *entry = model_find(model, key, len);
    if (entry == NULL) {
        assert(model->data.n_entries < MODEL_KEYS_MAX && len <= MODEL_KEY_CAP);
        entry = &model->data.entries[model->data.n_entries++];
        memcpy(entry->key, key, len);
        entry->key_len = len;
    }
    entry->expire_at_ms = -1;
    entry->is_hash = false;
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

static struct reply model_keep_text(struct redis_model *model, size_t slot, enum reply_kind kind,
                                    const char *text, size_t len)
{
    assert(len < MODEL_TEXT_CAP);
    memcpy(model->texts[slot], text, len);
    model->texts[slot][len] = '\0';
    return (struct reply){.kind = kind, .text = model->texts[slot], .len = len};
}

static void model_say(struct redis_model *model, enum reply_kind kind, const char *text)
{
    model->reply = model_keep_text(model, MODEL_ITEMS_MAX, kind, text, strlen(text));
}

static const char model_wrong_type[] =
    "WRONGTYPE Operation against a key holding the wrong kind of value";

/* --- commands -------------------------------------------------------------------------------------- */

static void model_get(struct redis_model *model, const struct model_call *call)
{
    const struct model_entry *entry = model_find(model, call->argv[1], call->argv_len[1]);
    if (entry == NULL)
        model_say_nil(model);
    else if (entry->is_hash)
        model_say(model, REPLY_ERROR, model_wrong_type);
    else
        model->reply =
            model_keep_text(model, MODEL_ITEMS_MAX, REPLY_TEXT, entry->value, entry->value_len);
}

/* The integer in an argument; false: it is none. */
static bool model_read(const struct model_call *call, int i, int64_t *ret)
{
    char text[32], *end;
    if (call->argv_len[i] == 0 || call->argv_len[i] >= sizeof(text))
        return false;
    memcpy(text, call->argv[i], call->argv_len[i]);
    text[call->argv_len[i]] = '\0';
    *ret = strtoll(text, &end, 10);
    return *end == '\0';
}

static bool model_is_word(const struct model_call *call, int i, const char *word)
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
    struct model_entry *entry = model_put(model, call->argv[1], call->argv_len[1]);
    assert(call->argv_len[2] <= MODEL_VALUE_CAP);
    memcpy(entry->value, call->argv[2], call->argv_len[2]);
    entry->value_len = call->argv_len[2];
    entry->expire_at_ms = ttl_ms > 0 ? model->wall_us / 1000 + ttl_ms : -1;
    model_say(model, REPLY_STATUS, "OK");
}

static void model_hset(struct redis_model *model, const struct model_call *call)
{
    model_put(model, call->argv[1], call->argv_len[1])->is_hash = true;
    model_say_integer(model, 1);
}

static void model_del(struct redis_model *model, const struct model_call *call)
{
    struct model_entry *entry = model_find(model, call->argv[1], call->argv_len[1]);
    if (entry != NULL)
        model_drop(model, entry);
    model_say_integer(model, entry != NULL);
}

static void model_exists(struct redis_model *model, const struct model_call *call)
{
    model_say_integer(model, model_find(model, call->argv[1], call->argv_len[1]) != NULL);
}

static void model_pttl(struct redis_model *model, const struct model_call *call)
{
    const struct model_entry *entry = model_find(model, call->argv[1], call->argv_len[1]);
    if (entry == NULL)
        model_say_integer(model, -2);
    else
        model_say_integer(model, entry->expire_at_ms == -1 ? -1 : entry->expire_at_ms - model->wall_us / 1000);
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
    if (entry != NULL && ttl_ms <= 0)
        model_drop(model, entry);
    else if (entry != NULL)
        entry->expire_at_ms = model->wall_us / 1000 + ttl_ms;
}

static void model_persist(struct redis_model *model, const struct model_call *call)
{
    struct model_entry *entry = model_find(model, call->argv[1], call->argv_len[1]);
    model_say_integer(model, entry != NULL && entry->expire_at_ms != -1);
    if (entry != NULL)
        entry->expire_at_ms = -1;
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

static void model_flushall(struct redis_model *model, const struct model_call *call)
{
    (void)call;
    model->data.n_entries = 0;
    model_say(model, REPLY_STATUS, "OK");
}

static void model_eval(struct redis_model *model, const struct model_call *call);
static void model_evalsha(struct redis_model *model, const struct model_call *call);
static void model_script(struct redis_model *model, const struct model_call *call);

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
    {"EVALSHA", model_evalsha, 3, MODEL_ARGS_MAX, false, false},
    {"EVAL", model_eval, 3, MODEL_ARGS_MAX, false, false},
    {"SCRIPT", model_script, 2, 3, false, false},
};

static void model_run(struct redis_model *model, const struct model_call *call, bool is_in_script)
{
    const struct model_command *command = NULL;
    for (size_t i = 0; i < sizeof(model_commands) / sizeof(model_commands[0]); i++) {
        if (model_is_word(call, 0, model_commands[i].name))
            command = &model_commands[i];
    }
    if (command == NULL)
        model_say(model, REPLY_ERROR, "ERR unknown command");
    else if (call->argc < command->argc_min || call->argc > command->argc_max)
        model_say(model, REPLY_ERROR, "ERR wrong number of arguments");
    else if (is_in_script && !command->is_plain)
        model_say(model, REPLY_ERROR, "ERR This Redis command is not allowed from script");
    else if (command->is_write && model->is_replica)
        model_say(model, REPLY_ERROR, "READONLY You can't write against a read only replica.");
    else
        command->run(model, call);
}

/* --- scripts --------------------------------------------------------------------------------------- */

static void model_push_reply(lua_State *lua, const struct reply *reply)
{
    switch (reply->kind) {
    case REPLY_INTEGER:
        lua_pushnumber(lua, (lua_Number)reply->integer);
        return;
    case REPLY_TEXT:
        lua_pushlstring(lua, reply->text, reply->len);
        return;
    case REPLY_NIL:
        lua_pushboolean(lua, 0);
        return;
    case REPLY_STATUS:
    case REPLY_ERROR:
        lua_createtable(lua, 0, 1);
        lua_pushlstring(lua, reply->text, reply->len);
        lua_setfield(lua, -2, reply->kind == REPLY_STATUS ? "ok" : "err");
        return;
    case REPLY_LIST:
        lua_createtable(lua, (int)reply->n_items, 0);
        for (size_t i = 0; i < reply->n_items; i++) {
            model_push_reply(lua, &reply->items[i]);
            lua_rawseti(lua, -2, (int)i + 1);
        }
        return;
    }
}

static void model_call_from_lua(lua_State *lua)
{
    struct redis_model *model = lua_touserdata(lua, lua_upvalueindex(1));
    const char *argv[MODEL_ARGS_MAX];
    size_t argv_len[MODEL_ARGS_MAX];
    char numbers[MODEL_ARGS_MAX][32];
    int argc = lua_gettop(lua);
    assert(argc <= MODEL_ARGS_MAX);
    for (int i = 0; i < argc; i++) {
        if (lua_type(lua, i + 1) == LUA_TNUMBER) {
            argv_len[i] =
                (size_t)snprintf(numbers[i], sizeof(numbers[i]), "%.17g", lua_tonumber(lua, i + 1));
            argv[i] = numbers[i];
        } else {
            argv[i] = luaL_checklstring(lua, i + 1, &argv_len[i]);
        }
    }
    model_run(model, &(struct model_call){argc, argv, argv_len}, /* is_in_script= */ true);
    model_push_reply(lua, &model->reply);
}

static int model_lua_pcall(lua_State *lua)
{
    model_call_from_lua(lua);
    return 1;
}

static int model_lua_call(lua_State *lua)
{
    struct redis_model *model = lua_touserdata(lua, lua_upvalueindex(1));
    model_call_from_lua(lua);
    return model->reply.kind == REPLY_ERROR ? lua_error(lua) : 1;
}

static int model_lua_error_reply(lua_State *lua)
{
    lua_createtable(lua, 0, 1);
    lua_pushvalue(lua, 1);
    lua_setfield(lua, -2, "err");
    return 1;
}

/* The value on top of Lua's stack as an item or as the whole reply. */
static struct reply model_take_value(struct redis_model *model, size_t slot)
{
    lua_State *lua = model->lua;
    size_t len;
    switch (lua_type(lua, -1)) {
    case LUA_TNUMBER:
        return (struct reply){.kind = REPLY_INTEGER, .integer = (int64_t)lua_tonumber(lua, -1)};
    case LUA_TSTRING: {
        const char *text = lua_tolstring(lua, -1, &len);
        return model_keep_text(model, slot, REPLY_TEXT, text, len);
    }
    case LUA_TBOOLEAN:
        if (lua_toboolean(lua, -1))
            return (struct reply){.kind = REPLY_INTEGER, .integer = 1};
        return (struct reply){.kind = REPLY_NIL};
    default:
        return (struct reply){.kind = REPLY_NIL};
    }
}

static bool model_take_field(struct redis_model *model, const char *field, enum reply_kind kind)
{
    size_t len;
    lua_getfield(model->lua, -1, field);
    const char *text = lua_tolstring(model->lua, -1, &len);
    if (text != NULL)
        model->reply = model_keep_text(model, MODEL_ITEMS_MAX, kind, text, len);
    lua_pop(model->lua, 1);
    return text != NULL;
}

static void model_take_result(struct redis_model *model)
{
    lua_State *lua = model->lua;
    if (lua_type(lua, -1) != LUA_TTABLE) {
        model->reply = model_take_value(model, MODEL_ITEMS_MAX);
        return;
    }
    if (model_take_field(model, "err", REPLY_ERROR) || model_take_field(model, "ok", REPLY_STATUS))
        return;
    size_t n_items = 0;
    for (;;) {
        lua_rawgeti(lua, -1, (int)n_items + 1);
        if (lua_isnil(lua, -1))
            break;
        assert(n_items < MODEL_ITEMS_MAX);
        model->items[n_items] = model_take_value(model, n_items);
        n_items++;
        lua_pop(lua, 1);
    }
    lua_pop(lua, 1);
    model->reply = (struct reply){.kind = REPLY_LIST, .items = model->items, .n_items = n_items};
}

static void model_set_list(lua_State *lua, const char *name, const struct model_call *call, int from, int to)
{
    lua_createtable(lua, to - from, 0);
    for (int i = from; i < to; i++) {
        lua_pushlstring(lua, call->argv[i], call->argv_len[i]);
        lua_rawseti(lua, -2, i - from + 1);
    }
    lua_setglobal(lua, name);
}

static void model_run_script(struct redis_model *model, const struct model_script *script,
                             const struct model_call *call)
{
    lua_State *lua = model->lua;
    int64_t n_keys;
    if (!model_read(call, 2, &n_keys) || n_keys < 0 || n_keys > call->argc - 3) {
        model_say(model, REPLY_ERROR, "ERR Number of keys can't be greater than number of args");
        return;
    }
    model_set_list(lua, "KEYS", call, 3, 3 + (int)n_keys);
    model_set_list(lua, "ARGV", call, 3 + (int)n_keys, call->argc);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, script->function);
    int r = lua_pcall(lua, 0, 1, 0);
    if (r != 0 && lua_type(lua, -1) != LUA_TTABLE) {
        /* Lua's own complaint: a mistake in the script. */
        char text[MODEL_TEXT_CAP];
        snprintf(text, sizeof(text), "ERR %s", lua_tostring(lua, -1));
        model_say(model, REPLY_ERROR, text);
    } else {
        model_take_result(model);
    }
    lua_pop(lua, 1);
}

static struct model_script *model_find_script(struct redis_model *model, const char *digest)
{
    for (size_t i = 0; i < model->n_scripts; i++) {
        if (memcmp(model->scripts[i].digest, digest, MODEL_DIGEST_LEN) == 0)
            return &model->scripts[i];
    }
    return NULL;
}

/* The digest is one of our own: whoever uses it has it from SCRIPT LOAD. NULL: it does not compile. */
static struct model_script *model_load(struct redis_model *model, const char *text, size_t len)
{
    char digest[MODEL_DIGEST_LEN + 1];
    snprintf(digest, sizeof(digest), "%040" PRIx64, (uint64_t)XXH3_64bits(text, len));
    struct model_script *script = model_find_script(model, digest);
    if (script == NULL) {
        if (luaL_loadbuffer(model->lua, text, len, "@user_script") != 0) {
            lua_pop(model->lua, 1);
            return NULL;
        }
        assert(model->n_scripts < MODEL_SCRIPTS_MAX);
        script = &model->scripts[model->n_scripts++];
        memcpy(script->digest, digest, sizeof(digest));
        script->function = luaL_ref(model->lua, LUA_REGISTRYINDEX);
    }
    script->is_loaded = true;
    return script;
}

static void model_eval(struct redis_model *model, const struct model_call *call)
{
    const struct model_script *script = model_load(model, call->argv[1], call->argv_len[1]);
    if (script == NULL)
        model_say(model, REPLY_ERROR, "ERR Error compiling script");
    else
        model_run_script(model, script, call);
}

static void model_evalsha(struct redis_model *model, const struct model_call *call)
{
    const struct model_script *script =
        call->argv_len[1] == MODEL_DIGEST_LEN ? model_find_script(model, call->argv[1]) : NULL;
    if (script == NULL || !script->is_loaded)
        model_say(model, REPLY_ERROR, "NOSCRIPT No matching script. Please use EVAL.");
    else
        model_run_script(model, script, call);
}

static void model_script(struct redis_model *model, const struct model_call *call)
{
    if (model_is_word(call, 1, "FLUSH")) {
        for (size_t i = 0; i < model->n_scripts; i++)
            model->scripts[i].is_loaded = false;
        model_say(model, REPLY_STATUS, "OK");
        return;
    }
    const struct model_script *script = NULL;
    if (model_is_word(call, 1, "LOAD") && call->argc == 3)
        script = model_load(model, call->argv[2], call->argv_len[2]);
    if (script == NULL)
        model_say(model, REPLY_ERROR, "ERR Error compiling script");
    else
        model->reply =
            model_keep_text(model, MODEL_ITEMS_MAX, REPLY_TEXT, script->digest, MODEL_DIGEST_LEN);
}

/* --- outside --------------------------------------------------------------------------------------- */

static void model_add_function(struct redis_model *model, const char *name, lua_CFunction function)
{
    lua_pushlightuserdata(model->lua, model);
    lua_pushcclosure(model->lua, function, 1);
    lua_setfield(model->lua, -2, name);
}

struct redis_model *redis_model_new(void)
{
    struct redis_model *model = alloc_zeroed(1, sizeof(*model));
    model->lua = luaL_newstate();
    assert(model->lua != NULL);
    luaL_openlibs(model->lua);
    lua_newtable(model->lua);
    model_add_function(model, "call", model_lua_call);
    model_add_function(model, "pcall", model_lua_pcall);
    model_add_function(model, "error_reply", model_lua_error_reply);
    lua_setglobal(model->lua, "redis");
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
    model->data.n_entries = 0;
    model->is_replica = false;
    model->wall_us = 0;
    for (size_t i = 0; i < model->n_scripts; i++)
        model->scripts[i].is_loaded = false;
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
        if (entry->expire_at_ms != -1 && entry->expire_at_ms <= model->wall_us / 1000)
            return entry;
    }
    return NULL;
}

int64_t redis_model_next_expiry_ms(const struct redis_model *model)
{
    int64_t next_ms = INT64_MAX;
    for (size_t i = 0; i < model->data.n_entries; i++) {
        const struct model_entry *entry = &model->data.entries[i];
        if (entry->expire_at_ms != -1 && entry->expire_at_ms < next_ms)
            next_ms = entry->expire_at_ms;
    }
    return next_ms;
}

const struct model_entry *redis_model_find(const struct redis_model *model, const char *key, size_t len)
{
    for (size_t i = 0; i < model->data.n_entries; i++) {
        const struct model_entry *entry = &model->data.entries[i];
        if (entry->key_len == len && memcmp(entry->key, key, len) == 0 &&
            (entry->expire_at_ms == -1 || entry->expire_at_ms > model->wall_us / 1000))
            return entry;
    }
    return NULL;
}

void redis_model_delete(struct redis_model *model, const char *key, size_t len)
{
    for (size_t i = 0; i < model->data.n_entries; i++) {
        struct model_entry *entry = &model->data.entries[i];
        if (entry->key_len == len && memcmp(entry->key, key, len) == 0) {
            model_drop(model, entry);
            return;
        }
    }
}
