/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Every wait is a run of the loop, with one timer that fails the test when nothing comes.
 */

#include "tests/lib/link_stage.h"

#include "daemon/base/clock.h"
#include "daemon/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LINK_STAGE_GUARD_MS = 20000 };

struct link_stage link_stage;

static void link_stage_on_guard(uv_timer_t *timer)
{
    (void)timer;
    ck_abort_msg("the loop waits for something that never comes; state %d, log:\n%s", link_stage.state,
                 link_stage.log);
}

static void link_stage_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void link_stage_log(const char *fmt, ...)
{
    size_t len = strlen(link_stage.log);
    va_list args;

    va_start(args, fmt);
    vsnprintf(link_stage.log + len, LINK_STAGE_LOG_CAP - len, fmt, args); /* what is too much is left out */
    va_end(args);
}

static bool link_stage_on_command(void *ctx, struct fake_client *client, int argc, char **argv)
{
    const struct link_stage_hook *hook = &link_stage.hook;
    const char *name = strcmp(argv[0], "CLIENT") == 0 ? argv[1] : argv[0];

    (void)ctx;
    link_stage.client = client;
    link_stage_log("%d", fake_client_number(client));
    for (int i = 0; i < argc; i++) {
        link_stage_log(" %.20s", argv[i]);
    }
    link_stage_log("\n");
    if (hook->command == NULL || strcmp(hook->command, name) != 0 ||
        (hook->client != 0 && hook->client != fake_client_number(client))) {
        return false;
    }
    switch (hook->action) {
    case HOOK_REPLY:
        if (hook->reply != NULL) {
            fake_reply(client, hook->reply);
        }
        break;
    case HOOK_CLOSE:
        fake_client_close(client);
        break;
    case HOOK_RESET:
        fake_client_reset(client);
        break;
    case HOOK_DEAF:
        fake_client_stop_reading(client);
        break;
    }
    return true;
}

static void link_stage_on_state(void *ctx, int link_state, const char *text)
{
    (void)ctx;
    link_stage.state = link_state;
    link_stage.n_states++;
    link_stage.n_downs += link_state == LINK_STATE_DOWN;
    ck_assert_int_eq(text != NULL, link_state == LINK_STATE_DOWN);
    snprintf(link_stage.text, sizeof(link_stage.text), "%s", text != NULL ? text : "");
}

void link_stage_on_reply(void *ctx, const struct reply *reply, const char *text)
{
    ck_assert_ptr_eq(ctx, &link_stage);
    link_stage.n_replies += reply != NULL;
    if (reply == NULL) {
        link_stage.n_nulls++;
        link_stage.null_at_ms = clock_now_ms();
    }
    snprintf(link_stage.last, sizeof(link_stage.last), "%s",
             reply == NULL         ? text
             : reply->text != NULL ? reply->text
                                   : "");
}

int link_stage_ask(const char *name)
{
    const size_t len = strlen(name);

    return link_send(link_stage.link, 1, &name, &len, link_stage_on_reply, &link_stage);
}

void link_stage_open(void)
{
    log_setup(LOG_LEVEL_ERROR, false);
    ck_assert_int_eq(uv_loop_init(&link_stage.loop), 0);
    ck_assert_int_eq(uv_timer_init(&link_stage.loop, &link_stage.guard), 0);
    uv_timer_start(&link_stage.guard, link_stage_on_guard, LINK_STAGE_GUARD_MS, 0);
    uv_unref((uv_handle_t *)&link_stage.guard);
    scratch_path(link_stage.path, "fake.sock");
    script_table(link_stage.scripts);
    link_stage.config = (struct link_config){.unix_path = link_stage.path,
                                             .timeout_ms = 5000,
                                             .connect_timeout_ms = 5000,
                                             .reconnect_min_ms = 1,
                                             .reconnect_max_ms = 20,
                                             .scripts = link_stage.scripts,
                                             .n_scripts = N_SCRIPTS};
}

void link_stage_open_link(void)
{
    const struct link_sinks sinks = {.on_state = link_stage_on_state};

    ck_assert_int_eq(
        link_open(&link_stage.link, &link_stage.loop, &link_stage.config, &sinks, &link_stage.stats), 0);
}

void link_stage_open_fake(void)
{
    link_stage.fake = fake_redis_open(&link_stage.loop, link_stage.path, link_stage_on_command, NULL);
}

void link_stage_open_tcp(void)
{
    link_stage.fake = fake_redis_open(&link_stage.loop, NULL, link_stage_on_command, NULL);
    link_stage.config.unix_path = NULL;
    link_stage.config.host = "127.0.0.1";
    link_stage.config.port = fake_redis_port(link_stage.fake);
}

void link_stage_open_up(void)
{
    link_stage_open_link();
    LINK_STAGE_UNTIL(link_stage.state == LINK_STATE_UP);
    link_stage.log[0] = '\0';
}

void link_stage_close(void)
{
    link_close(link_stage.link);
    if (link_stage.fake != NULL) {
        fake_redis_close(link_stage.fake);
    }
    uv_close((uv_handle_t *)&link_stage.guard, NULL);
    while (uv_run(&link_stage.loop, UV_RUN_DEFAULT) != 0) {
    }
    ck_assert_int_eq(uv_loop_close(&link_stage.loop), 0);
}
