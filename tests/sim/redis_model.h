/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * Redis, as far as this house uses it: strings and sorted sets with an expiry, and scripts in a real Lua. Its clock is
 * set from outside, and stands still while a command runs, as in Redis. What it answers is compared with
 * a real redis-server in tests/unit/test_sim_redis.c.
 *
 *     GET SET [NX] [PX] DEL EXISTS PTTL PEXPIRE PERSIST TIME HSET FLUSHALL
 *     ZADD NX, ZREM, ZCARD (one member each), ZRANGE 0 0 | -1 -1 [WITHSCORES], PUBLISH
 *     EVAL EVALSHA SCRIPT LOAD | FLUSH
 */

#include "daemon/redis/resp.h"

#include <stdbool.h>

enum {
    MODEL_KEYS_MAX = 16,
    MODEL_KEY_CAP = 32,
    MODEL_VALUE_CAP = 96,
    MODEL_MEMBERS_MAX = 512,
    MODEL_DIGEST_LEN = 40,
};

enum model_type { MODEL_STRING = 1, MODEL_HASH, MODEL_ZSET };

struct model_entry {
    enum model_type type;
    char key[MODEL_KEY_CAP], value[MODEL_VALUE_CAP];
    size_t key_len, value_len;
    int64_t expire_at_ms; /* by Redis's clock; -1: never */
    size_t n_members;     /* of a sorted set */
};

/* A member of a sorted set; all of them lie in one list. */
struct model_member {
    char key[MODEL_KEY_CAP], value[MODEL_VALUE_CAP];
    size_t key_len, value_len;
    double score;
};

/* All that a snapshot of it holds. */
struct model_data {
    struct model_entry entries[MODEL_KEYS_MAX];
    size_t n_entries;
    struct model_member members[MODEL_MEMBERS_MAX];
    size_t n_members;
};

struct redis_model;

struct redis_model *redis_model_new(void);
struct redis_model *redis_model_free(struct redis_model *model); /* returns NULL */
/* As freshly started; what scripts it has compiled stays compiled, but is not known to clients. */
void redis_model_reset(struct redis_model *model);

/* Who hears what is published: returns how many do. Without one, nobody does. */
typedef int64_t (*redis_model_publish_fn)(void *ctx, const struct reply *channel,
                                          const struct reply *message);
void redis_model_set_publish(struct redis_model *model, redis_model_publish_fn publish, void *ctx);

void redis_model_set_clock(struct redis_model *model, int64_t wall_us);
void redis_model_set_replica(struct redis_model *model, bool is_replica); /* refuses writes, hides nothing */
struct model_data *redis_model_data(struct redis_model *model);           /* to be saved, replaced, emptied */

/* The reply is good until the next call. */
const struct reply *redis_model_run(struct redis_model *model, int argc, const char *const *argv,
                                    const size_t *argv_len);

/* The entry that runs out first, and only if its time has come by the model's clock, or NULL. */
const struct model_entry *redis_model_find_expired(const struct redis_model *model);
/* By Redis's clock; INT64_MAX: nothing will run out. */
int64_t redis_model_next_expiry_ms(const struct redis_model *model);
/* NULL if there is no such key, or it has run out. */
const struct model_entry *redis_model_find(const struct redis_model *model, const char *key, size_t len);
void redis_model_delete(struct redis_model *model, const char *key, size_t len);
