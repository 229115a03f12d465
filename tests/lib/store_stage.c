/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The engine's part is played here: after each run of the loop the test flushes the link if need be.
 */

#include "tests/lib/store_stage.h"

#include "daemon/base/log.h"

#include <stdio.h>
#include <string.h>

enum { STORE_STAGE_GUARD_MS = 20000 };

struct store_stage store_stage;

static void store_stage_on_guard(uv_timer_t *timer)
{
    (void)timer;
    ck_abort_msg("the loop waits for something that never comes; %d events, state %d", store_stage.n_seen,
                 store_stage.state);
}

static void store_stage_post(void *ctx, const struct event *event)
{
    ck_assert_ptr_eq(ctx, &store_stage);
    if (event->kind == EV_LINK) {
        store_stage.state = event->link.state;
        return;
    }
    if (store_stage.n_seen == STORE_STAGE_EVENTS_MAX) {
        return; /* no test looks at so many */
    }
    struct store_stage_seen *seen = &store_stage.seen[store_stage.n_seen++];
    const char *text = event->kind == EV_OUTCOME   ? event->outcome.text
                       : event->kind == EV_QUERIED ? event->queried.text
                                                   : NULL;
    seen->event = *event;
    snprintf(seen->text, sizeof(seen->text), "%s", text != NULL ? text : "");
    if (event->kind == EV_QUERIED) {
        snprintf(seen->key, sizeof(seen->key), "%.*s", (int)event->queried.from.key_len,
                 event->queried.from.key);
    } else if (event->kind == EV_OFFERED || event->kind == EV_RECALLED) {
        snprintf(seen->key, sizeof(seen->key), "%.*s", (int)event->hint.key_len, event->hint.key);
    }
}

static bool store_stage_on_command(void *ctx, struct fake_client *client, int argc, char **argv)
{
    bool is_second = strcmp(argv[0], "EVAL") == 0;

    (void)ctx;
    if (!is_second && strcmp(argv[0], "EVALSHA") != 0 && strcmp(argv[0], "PTTL") != 0 &&
        strcmp(argv[0], "DEL") != 0) {
        return false;
    }
    ck_assert_int_lt(store_stage.n_commands, STORE_STAGE_COMMANDS_MAX);
    struct store_stage_command *command = &store_stage.commands[store_stage.n_commands++];
    command->argc = argc;
    for (int i = 0; i < argc; i++) {
        snprintf(command->argv[i], STORE_STAGE_TEXT_CAP, "%s", argv[i]);
    }
    fake_reply(client,
               is_second && store_stage.second_reply != NULL ? store_stage.second_reply : store_stage.reply);
    return true;
}

void store_stage_open_link(const char *path)
{
    const struct store_config store_config = {.prefix = "pre:",
                                              .instance = STORE_STAGE_INSTANCE,
                                              .post = store_stage_post,
                                              .post_ctx = &store_stage};
    const struct link_config link_config = {.unix_path = path,
                                            .timeout_ms = 5000,
                                            .connect_timeout_ms = 5000,
                                            .reconnect_min_ms = 1,
                                            .reconnect_max_ms = 20,
                                            .scripts = store_stage.scripts,
                                            .n_scripts = N_SCRIPTS};

    log_setup(LOG_LEVEL_ERROR, false);
    script_table(store_stage.scripts);
    store_stage.store = store_new(&store_config, &store_stage.stats);
    const struct link_sinks sinks = {.on_state = store_on_link_state, .ctx = store_stage.store};
    ck_assert_int_eq(
        link_open(&store_stage.link, &store_stage.loop, &link_config, &sinks, &store_stage.stats), 0);
    store_use_link(store_stage.store, store_stage.link, store_stage.scripts);
}

void store_stage_open_loop(void)
{
    ck_assert_int_eq(uv_loop_init(&store_stage.loop), 0);
    ck_assert_int_eq(uv_timer_init(&store_stage.loop, &store_stage.guard), 0);
    uv_timer_start(&store_stage.guard, store_stage_on_guard, STORE_STAGE_GUARD_MS, 0);
    uv_unref((uv_handle_t *)&store_stage.guard);
}

void store_stage_open_fake(void)
{
    store_stage_open_loop();
    scratch_path(store_stage.path, "fake.sock");
    store_stage.fake = fake_redis_open(&store_stage.loop, store_stage.path, store_stage_on_command, NULL);
    store_stage_open_link(store_stage.path);
    STORE_STAGE_UNTIL(store_stage.state == LINK_UP);
}

void store_stage_close(void)
{
    link_close(store_stage.link);
    store_stage.store = store_free(store_stage.store);
    if (store_stage.fake != NULL) {
        fake_redis_close(store_stage.fake);
    }
    uv_close((uv_handle_t *)&store_stage.guard, NULL);
    while (uv_run(&store_stage.loop, UV_RUN_DEFAULT) != 0) {
    }
    ck_assert_int_eq(uv_loop_close(&store_stage.loop), 0);
}

void store_stage_order_key(enum effect_kind kind, uint64_t lease_id, uint64_t op_id, const char *key)
{
    struct effect effect = {.kind = kind};

    if (kind == FX_QUERY || kind == FX_FORCE) {
        effect.query =
            (struct fx_query){.peer_id = 7, .request_id = op_id, .key = key, .key_len = strlen(key)};
    } else {
        effect.command = (struct fx_command){.lease_id = lease_id,
                                             .op_id = op_id,
                                             .key = key,
                                             .key_len = strlen(key),
                                             .ttl_ms = 30000,
                                             .fence_count = 64,
                                             .may_queue = true,
                                             .offer_ms = 900};
    }
    store_carry_out(store_stage.store, &effect);
    link_flush(store_stage.link);
}

void store_stage_order(enum effect_kind kind, uint64_t lease_id, uint64_t op_id)
{
    store_stage_order_key(kind, lease_id, op_id, "key");
}

const struct ev_outcome *store_stage_outcome(int i)
{
    ck_assert_int_eq(store_stage.seen[i].event.kind, EV_OUTCOME);
    return &store_stage.seen[i].event.outcome;
}
