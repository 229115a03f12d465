/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * The model's insides, for its two files: redis_model.c, data and commands, and redis_lua.c, scripts.
 */

#include "tests/sim/redis_model.h"

#include <lua.h>
#include <stdbool.h>

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
    redis_model_publish_fn publish;
    void *publish_ctx;
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

/* The texts of items stand in slots 0 to MODEL_ITEMS_MAX - 1, that of the reply itself in the last. */
struct reply model_keep_text(struct redis_model *model, size_t slot, enum reply_kind kind, const char *text,
                             size_t len);
void model_say(struct redis_model *model, enum reply_kind kind, const char *text);

/* The integer in an argument; false: it is none. */
bool model_read(const struct model_call *call, int i, int64_t *ret);
bool model_is_word(const struct model_call *call, int i, const char *word);

/* Fills in model->reply. */
void model_run(struct redis_model *model, const struct model_call *call, bool is_in_script);

void model_open_lua(struct redis_model *model);
void model_eval(struct redis_model *model, const struct model_call *call);
void model_evalsha(struct redis_model *model, const struct model_call *call);
void model_script(struct redis_model *model, const struct model_call *call);
