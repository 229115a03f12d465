/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * One connection at a time, tried again for ever:
 *
 *     PAUSE ----> DIAL ----> HELLO ----> READY
 *       ^          |           |           | silence, end of stream, nonsense
 *       |          v           v           v
 *       +------------------ CLOSING -------+
 *
 * dial.c finds and connects the stream, hello.c knows what is said first, wire.c sends and receives;
 * what is left here is time and order. One timer serves all phases. Whatever goes wrong ends in
 * link_drop(), which only the loop calls: a write that failed is dealt with by the timer.
 *
 * Knows nothing of leases or scripts' meaning, and has no opinion on replies.
 */

#include "daemon/redis/link.h"

#include "daemon/base/alloc.h"
#include "daemon/base/buf.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/stats.h"
#include "daemon/redis/dial.h"
#include "daemon/redis/hello.h"
#include "daemon/redis/wire.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    LINK_QUEUE_MAX = 8 * 1024 * 1024, /* bytes of commands that the socket has not taken, turns later */
    LINK_FLUSH_LEN = 256 * 1024,      /* with so much Redis begins before the turn is over */
    LINK_KEEPALIVE_MS = 15000,
    LINK_SHORT_MS = 200,       /* a pause that is worth waiting for */
    LINK_DENIED_MS = 1000,     /* the least pause after a wrong password */
    LINK_LOG_EVERY_MS = 60000, /* for the same failure again and again */
};

enum link_phase {
    LINK_PHASE_PAUSE = 1,
    LINK_PHASE_DIAL,
    LINK_PHASE_HELLO,
    LINK_PHASE_READY,
    LINK_PHASE_CLOSING,
    LINK_PHASE_END,
};

struct link {
    uv_loop_t *loop;
    struct link_config config;
    struct link_sinks sinks;
    struct stats *stats;

    enum link_phase phase;
    int state;                       /* as last told to the sink; 0: nothing yet */
    bool is_broken;                  /* to be dropped by the timer */
    char reason[TEXT_SAFE_CAP];      /* why the connection or the try ended */
    char last_reason[TEXT_SAFE_CAP]; /* the one before; "" after a success */
    struct log_limit log_limit, policy_limit;

    struct dial dial;
    uv_timer_t timer;
    struct wire wire;
    int n_open; /* the timer, and the dial while it is in use: memory goes when it is 0 */

    int64_t hello_until_ms;
    int64_t pause_ms; /* before the next try, without the random part; 0: the first after a break */
    int64_t up_at_ms;

    struct hello hello;
    int64_t timer_at_ms;
    uint64_t n_answered_overdue; /* commands answered when one was found overdue; UINT64_MAX: none was */
};

static char *link_copy(const char *text)
{
    return text != NULL ? alloc_copy(text, strlen(text)) : NULL;
}

static struct link_config link_config_copy(const struct link_config *config)
{
    struct link_config copy = *config;

    copy.unix_path = link_copy(config->unix_path);
    copy.host = link_copy(config->host);
    copy.username = link_copy(config->username);
    copy.password = link_copy(config->password);
    copy.channel = link_copy(config->channel);
    copy.keepalive_ms = config->keepalive_ms != 0 ? config->keepalive_ms : LINK_KEEPALIVE_MS;
    return copy;
}

static void link_config_drop(struct link_config *config)
{
    if (config->password != NULL) {
        explicit_bzero((char *)config->password, strlen(config->password));
    }
    free((char *)config->unix_path);
    free((char *)config->host);
    free((char *)config->username);
    free((char *)config->password);
    free((char *)config->channel);
}

/* Whom we speak to, for the log. */
static const char *link_peer(const struct link *link, char ret[TEXT_SAFE_CAP])
{
    char name[TEXT_SAFE_CAP];

    if (link->config.unix_path != NULL) {
        snprintf(name, sizeof(name), "%s", link->config.unix_path);
    } else {
        snprintf(name, sizeof(name), "%s:%d", link->config.host, link->config.port);
    }
    return text_safe(name, strlen(name), ret);
}

static void link_on_timer(uv_timer_t *timer);

static void link_arm(struct link *link, int64_t in_ms)
{
    in_ms = in_ms > 0 ? in_ms : 0;
    uv_update_time(link->loop); /* timers count from the loop's idea of now, which may be old */
    uv_timer_start(&link->timer, link_on_timer, (uint64_t)in_ms, /* repeat= */ 0);
    link->timer_at_ms = clock_now_ms() + in_ms;
}

/* A part of the pause that is ours alone, so that many hosts do not come at the same moment. */
static int64_t link_random(int64_t below)
{
    uint64_t number = 0;

    (void)!getrandom(&number, sizeof(number), 0); /* a failure would only mean a shorter pause */
    return (int64_t)(number % (uint64_t)below);
}

static int64_t link_next_pause(struct link *link)
{
    int64_t min_ms = link->config.reconnect_min_ms, max_ms = link->config.reconnect_max_ms;
    int64_t pause_ms = link->pause_ms;

    if (pause_ms == 0) {
        link->pause_ms = min_ms;
        return link_random(min_ms + 1);
    }
    link->pause_ms = pause_ms > max_ms / 2 ? max_ms : pause_ms * 2;
    pause_ms -= link_random(pause_ms / 4 + 1);
    return link->hello.is_denied && pause_ms < LINK_DENIED_MS ? LINK_DENIED_MS : pause_ms;
}

static void link_pause(struct link *link)
{
    link->phase = LINK_PHASE_PAUSE;
    link_arm(link, link_next_pause(link));
}

static void link_set_state(struct link *link, int state, const char *text)
{
    link->state = state;
    link->sinks.on_state(link->sinks.ctx, state, text);
}

/* The last of a link: when nothing of it is open any more. */
static void link_let_go(struct link *link)
{
    assert(link->n_open > 0);
    if (--link->n_open > 0) {
        return;
    }
    assert(link->phase == LINK_PHASE_END);
    link_config_drop(&link->config);
    wire_deinit(&link->wire);
    free(link);
}

static void link_on_timer_closed(uv_handle_t *handle)
{
    link_let_go(handle->data);
}

static void link_on_closed(void *ctx)
{
    struct link *link = ctx;

    if (link->phase == LINK_PHASE_CLOSING) {
        link_pause(link);
    }
    link_let_go(link);
}

/* Each reason gets its line, the same one again and again only one a minute. */
static void link_log_failure(struct link *link, bool was_up, bool is_news)
{
    char peer[TEXT_SAFE_CAP];

    if (is_news) {
        link->log_limit = (struct log_limit){0};
    }
    if (link->config.channel == NULL) {
        log_limited(&link->log_limit, LINK_LOG_EVERY_MS, LOG_LEVEL_WARNING, "redis: %s %s: %s",
                    was_up ? "lost the connection to" : "cannot use", link_peer(link, peer), link->reason);
    } else {
        /* Where both fail, the other one warns. Without this one all works, but slower. */
        log_limited(
            &link->log_limit, LINK_LOG_EVERY_MS, link->hello.is_denied ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO,
            "redis: not listening to other hosts through %s: %s", link_peer(link, peer), link->reason);
    }
}

/* Ends the connection, or the try for one, because of link->reason. Only the loop may call this. */
static void link_drop(struct link *link)
{
    bool was_up = link->phase == LINK_PHASE_READY;
    bool is_news = strcmp(link->last_reason, link->reason) != 0;

    assert(link->phase >= LINK_PHASE_DIAL && link->phase <= LINK_PHASE_READY);
    link->phase = LINK_PHASE_CLOSING;
    link->is_broken = false;
    link->stats->redis_up = 0;
    link->stats->redis_failures++;
    memcpy(link->last_reason, link->reason, sizeof(link->last_reason));
    if (was_up && clock_now_ms() - link->up_at_ms >= link->pause_ms) {
        link->pause_ms = 0; /* it was a good one, unlike a server that takes us and throws us out */
    }
    uv_timer_stop(&link->timer);
    dial_end(&link->dial);
    link_log_failure(link, was_up, is_news);
    wire_stop(&link->wire, link->reason);
    if (link->phase == LINK_PHASE_END) {
        return; /* somebody who got an answer has closed the link */
    }
    if (was_up && link->pause_ms <= LINK_SHORT_MS) {
        link_set_state(link, LINK_STATE_CONNECTING, NULL);
    } else if (link->state != LINK_STATE_DOWN || is_news) {
        link_set_state(link, LINK_STATE_DOWN, link->reason);
    }
}

const char *link_run_id(const struct link *link)
{
    return link->phase == LINK_PHASE_READY ? link->hello.self.run_id : "";
}

static void link_set_reason(struct link *link, const char *reason)
{
    text_safe(reason, strlen(reason), link->reason);
}

/* `reason` may be foreign text. */
static void link_fail(void *ctx, const char *reason)
{
    struct link *link = ctx;

    link_set_reason(link, reason);
    link_drop(link);
}

/* The same for those who are not called by the loop. */
static void link_fail_soon(struct link *link, const char *reason)
{
    link_set_reason(link, reason);
    link->is_broken = true;
    wire_halt(&link->wire);
    link_arm(link, 0);
}

static void link_fail_silent(struct link *link, int64_t timeout_ms)
{
    char reason[64];

    snprintf(reason, sizeof(reason), "no answer from Redis within %" PRId64 " ms", timeout_ms);
    link_fail(link, reason);
}

static void link_queue(struct link *link, int argc, const char **argv, const size_t *argv_len,
                       const struct wire_command *command)
{
    wire_queue(&link->wire, argc, argv, argv_len, command);
    if (link->phase == LINK_PHASE_READY &&
        link->timer_at_ms > command->sent_at_ms + link->config.timeout_ms) {
        link_arm(link, link->config.timeout_ms);
    }
}

static void link_write(struct link *link)
{
    int r = wire_flush(&link->wire);

    if (r == UV_EPIPE && link->phase == LINK_PHASE_HELLO) {
        return; /* it has closed the connection, and what it said before, which is why, is still to be read */
    }
    if (r < 0) {
        link_fail_soon(link, uv_strerror(r));
    }
}

static void link_on_pong(void *ctx, const struct reply *reply, const char *text)
{
    (void)ctx, (void)reply, (void)text; /* any reply, even an error, proves that the server lives */
}

/* READY: looks whether the oldest command waits for too long, and whether all has been silent. */
static void link_watch(struct link *link)
{
    const struct wire_command *oldest = wire_oldest(&link->wire);
    int64_t now_ms = clock_now_ms();

    if (oldest != NULL && now_ms - oldest->sent_at_ms < link->config.timeout_ms) {
        link->n_answered_overdue = UINT64_MAX;
        link_arm(link, oldest->sent_at_ms + link->config.timeout_ms - now_ms);
    } else if (oldest != NULL && link->n_answered_overdue == link->wire.n_answered) {
        link_fail_silent(link, link->config.timeout_ms);
    } else if (oldest != NULL) {
        /* It may have been us who stood still, with the answer in the socket all the while. One look
         * at the sockets comes before the verdict. */
        link->n_answered_overdue = link->wire.n_answered;
        link_arm(link, 1);
    } else if (now_ms - link->wire.heard_at_ms < link->config.keepalive_ms) {
        link_arm(link, link->wire.heard_at_ms + link->config.keepalive_ms - now_ms);
    } else {
        const char *argv[] = {"PING"};
        const size_t argv_len[] = {4};

        link_arm(link, link->config.timeout_ms);
        link_queue(link, 1, argv, argv_len, &(struct wire_command){link_on_pong, NULL, now_ms});
        link_write(link);
    }
}

/* What there is to say of a server that takes commands. */
static void link_log_up(struct link *link)
{
    char peer[TEXT_SAFE_CAP], version[TEXT_SAFE_CAP], policy[TEXT_SAFE_CAP];

    text_safe(link->hello.version, strlen(link->hello.version), version);
    log_notice("redis: connected to %s, version %s", link_peer(link, peer),
               version[0] != '\0' ? version : "unknown");
    if (link->hello.policy[0] != '\0') {
        log_limited(
            &link->policy_limit, LINK_LOG_EVERY_MS, LOG_LEVEL_WARNING,
            "redis: it may evict locks when its memory is full: maxmemory-policy is %s, should be noeviction",
            text_safe(link->hello.policy, strlen(link->hello.policy), policy));
    }
}

static void link_up(struct link *link)
{
    hello_done(&link->hello);
    link->phase = LINK_PHASE_READY;
    link->up_at_ms = clock_now_ms();
    link->n_answered_overdue = UINT64_MAX;
    link->last_reason[0] = '\0';
    link->stats->redis_up = 1;
    link->stats->redis_connects++;
    link_arm(link, link->config.keepalive_ms);
    if (link->config.channel == NULL) {
        link_log_up(link);
    }
    link_set_state(link, LINK_STATE_UP, NULL);
}

static void link_on_hello(void *ctx, const struct reply *reply, const char *text);

/* Sends the next command of the introduction, or there is none and the link is up. */
static void link_greet(struct link *link)
{
    struct hello_command command;

    if (!hello_next(&link->hello, &link->config, &command)) {
        link_up(link);
        return;
    }
    link_queue(link, command.argc, command.argv, command.argv_len,
               &(struct wire_command){link_on_hello, link, clock_now_ms()});
    link_write(link);
}

static void link_on_hello(void *ctx, const struct reply *reply, const char *text)
{
    struct link *link = ctx;
    char reason[HELLO_REASON_CAP];

    (void)text;
    if (reply == NULL) {
        return;
    }
    if (hello_take(&link->hello, &link->config, reply, reason) != 0) {
        link_fail(link, reason);
    } else {
        link_greet(link);
    }
}

static void link_on_dialled(void *ctx, const char *reason)
{
    struct link *link = ctx;

    if (reason != NULL) {
        link_fail(link, reason);
        return;
    }
    link->phase = LINK_PHASE_HELLO;
    hello_start(&link->hello);
    link_arm(link, link->hello_until_ms - clock_now_ms());
    int r = wire_start(&link->wire, dial_stream(&link->dial));
    if (r < 0) {
        link_fail(link, uv_strerror(r));
        return;
    }
    link_greet(link);
}

static void link_try(struct link *link)
{
    const struct link_config *config = &link->config;

    if (link->state == 0) {
        link_set_state(link, LINK_STATE_CONNECTING, NULL);
    }
    link->phase = LINK_PHASE_DIAL;
    link->hello_until_ms = clock_now_ms() + config->connect_timeout_ms;
    link->n_open++;
    dial_start(&link->dial, config->unix_path, config->host, config->port, config->connect_timeout_ms);
}

static void link_on_timer(uv_timer_t *timer)
{
    struct link *link = timer->data;

    if (link->is_broken) {
        link_drop(link);
    } else if (link->phase == LINK_PHASE_PAUSE) {
        link_try(link);
    } else if (link->phase == LINK_PHASE_HELLO) {
        link_fail_silent(link, link->config.connect_timeout_ms);
    } else if (link->phase == LINK_PHASE_READY) {
        link_watch(link);
    }
}

static void link_on_message(void *ctx, const char *text, size_t len)
{
    struct link *link = ctx;

    link->sinks.on_message(link->sinks.ctx, text, len);
}

int link_open(struct link **ret, uv_loop_t *loop, const struct link_config *config,
              const struct link_sinks *sinks, struct stats *stats)
{
    struct link *link = alloc_zeroed(1, sizeof(*link));
    int r = uv_timer_init(loop, &link->timer);

    if (r < 0) {
        free(link);
        return r;
    }
    link->loop = loop;
    link->config = link_config_copy(config);
    link->sinks = *sinks;
    link->stats = stats;
    link->phase = LINK_PHASE_PAUSE;
    link->pause_ms = config->reconnect_min_ms;
    link->timer.data = link;
    link->n_open = 1;
    wire_init(&link->wire, stats, link_fail, link);
    link->wire.on_message = config->channel != NULL ? link_on_message : NULL;
    dial_init(&link->dial, loop, &(struct dial_sinks){link_on_dialled, link_on_closed, link});
    link_arm(link, 0);
    *ret = link;
    return 0;
}

void link_close(struct link *link)
{
    if (link == NULL || link->phase == LINK_PHASE_END) {
        return;
    }
    bool is_dialled = link->phase >= LINK_PHASE_DIAL && link->phase <= LINK_PHASE_READY;
    link->phase = LINK_PHASE_END;
    link->stats->redis_up = 0;
    snprintf(link->reason, sizeof(link->reason), "the daemon is stopping");
    wire_stop(&link->wire, link->reason);
    if (is_dialled) {
        dial_end(&link->dial);
    }
    uv_close((uv_handle_t *)&link->timer, link_on_timer_closed);
}

void link_reconfigure(struct link *link, const struct link_config *config)
{
    struct link_config old = link->config;

    link->config = link_config_copy(config);
    link_config_drop(&old);
    if (link->phase == LINK_PHASE_READY) {
        link_arm(link, 1); /* the timeout may be shorter now */
    }
}

int link_send(struct link *link, int argc, const char **argv, const size_t *argv_len, link_reply_fn on_reply,
              void *ctx)
{
    if (link->phase != LINK_PHASE_READY || link->is_broken) {
        return LINK_E_DOWN;
    }
    if (wire_late_len(&link->wire) > LINK_QUEUE_MAX) {
        return LINK_E_FULL;
    }
    link_queue(link, argc, argv, argv_len, &(struct wire_command){on_reply, ctx, clock_now_ms()});
    if (wire_gathered_len(&link->wire) > LINK_FLUSH_LEN) {
        link_write(link);
    }
    return 0;
}

void link_flush(struct link *link)
{
    if (link->phase == LINK_PHASE_READY) {
        link_write(link);
        wire_mark(&link->wire);
    }
}

void link_break(struct link *link, const char *text)
{
    if (link->phase == LINK_PHASE_READY && !link->is_broken) {
        link_fail_soon(link, text);
    }
}
