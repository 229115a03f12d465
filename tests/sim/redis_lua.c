/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Scripts. A redis.call() comes through the same table of commands as a client's call, and its result is
 * turned into Lua's words and back as Redis does it: integers to numbers, texts to strings, nil to false;
 * numbers to integers, tables to lists up to their first nil.
 */

#include "tests/sim/redis_state.h"

#include <assert.h>
#include <inttypes.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

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
            argv_len[i] = (size_t)snprintf(numbers[i], sizeof(numbers[i]), "%.17g", lua_tonumber(lua, i + 1));
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
    const char *text = luaL_checkstring(lua, 1);
    lua_createtable(lua, 0, 1);
    /* One word is taken for a message without a code. */
    lua_pushfstring(lua, strchr(text, ' ') != NULL ? "%s" : "ERR %s", text);
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
        if (lua_toboolean(lua, -1)) {
            return (struct reply){.kind = REPLY_INTEGER, .integer = 1};
        }
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
    if (text != NULL) {
        model->reply = model_keep_text(model, MODEL_ITEMS_MAX, kind, text, len);
    }
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
    if (model_take_field(model, "err", REPLY_ERROR) || model_take_field(model, "ok", REPLY_STATUS)) {
        return;
    }
    size_t n_items = 0;
    for (;;) {
        lua_rawgeti(lua, -1, (int)n_items + 1);
        if (lua_isnil(lua, -1)) {
            break;
        }
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
        if (memcmp(model->scripts[i].digest, digest, MODEL_DIGEST_LEN) == 0) {
            return &model->scripts[i];
        }
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

void model_eval(struct redis_model *model, const struct model_call *call)
{
    const struct model_script *script = model_load(model, call->argv[1], call->argv_len[1]);
    if (script == NULL) {
        model_say(model, REPLY_ERROR, "ERR Error compiling script");
    } else {
        model_run_script(model, script, call);
    }
}

void model_evalsha(struct redis_model *model, const struct model_call *call)
{
    const struct model_script *script =
        call->argv_len[1] == MODEL_DIGEST_LEN ? model_find_script(model, call->argv[1]) : NULL;
    if (script == NULL || !script->is_loaded) {
        model_say(model, REPLY_ERROR, "NOSCRIPT No matching script. Please use EVAL.");
    } else {
        model_run_script(model, script, call);
    }
}

void model_script(struct redis_model *model, const struct model_call *call)
{
    if (model_is_word(call, 1, "FLUSH")) {
        for (size_t i = 0; i < model->n_scripts; i++) {
            model->scripts[i].is_loaded = false;
        }
        model_say(model, REPLY_STATUS, "OK");
        return;
    }
    const struct model_script *script = NULL;
    if (model_is_word(call, 1, "LOAD") && call->argc == 3) {
        script = model_load(model, call->argv[2], call->argv_len[2]);
    }
    if (script == NULL) {
        model_say(model, REPLY_ERROR, "ERR Error compiling script");
    } else {
        model->reply = model_keep_text(model, MODEL_ITEMS_MAX, REPLY_TEXT, script->digest, MODEL_DIGEST_LEN);
    }
}

static void model_add_function(struct redis_model *model, const char *name, lua_CFunction function)
{
    lua_pushlightuserdata(model->lua, model);
    lua_pushcclosure(model->lua, function, 1);
    lua_setfield(model->lua, -2, name);
}

void model_open_lua(struct redis_model *model)
{
    model->lua = luaL_newstate();
    assert(model->lua != NULL);
    luaL_openlibs(model->lua);
    lua_newtable(model->lua);
    model_add_function(model, "call", model_lua_call);
    model_add_function(model, "pcall", model_lua_pcall);
    model_add_function(model, "error_reply", model_lua_error_reply);
    lua_setglobal(model->lua, "redis");
}
