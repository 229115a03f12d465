/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The composition root.
 *
 *      listener --> peers --post--> engine --> broker
 *                     ^               |
 *                     +---- effects --+--> store --> link --> Redis
 *                                             +--post--> engine
 *
 * Stopping: no more connections; the broker refuses those who wait and tells those who hold; when all
 * have given back, or after two seconds, everything is closed. From then on no event reaches the
 * broker, so that the end of the connections gives back nothing: a lease that somebody may still
 * believe in runs out by itself.
 */

#include "daemon/daemon.h"

#include "daemon/base/log.h"
#include "daemon/base/stats.h"
#include "daemon/base/table.h"
#include "daemon/config.h"
#include "daemon/core/broker.h"
#include "daemon/engine.h"
#include "daemon/local/listener.h"
#include "daemon/local/peer.h"
#include "daemon/notify.h"
#include "daemon/redis/link.h"
#include "daemon/redis/script.h"
#include "daemon/redis/store.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <uuid/uuid.h>

enum {
    DAEMON_STOP_MS = 2000,   /* what holders get to unlock */
    DAEMON_FDS_PER_PEER = 2, /* its socket, and its process */
    DAEMON_FDS_OWN = 64,     /* never given to clients: Redis, the name service, the loop, logs */
};

struct daemon {
    uv_loop_t loop;
    const struct config *first; /* what cannot change is as it was at the start, whatever is reloaded */
    const struct config *config;
    struct config *reloaded; /* owned: the one that took the place of the first */
    int64_t connections_max; /* as configured, or as many as descriptors allow */
    const char *config_path;
    char instance[UUID_STR_LEN];

    struct stats stats;
    struct broker *broker;
    struct engine *engine;
    struct script scripts[N_SCRIPTS];
    struct store *store;
    struct link *link;
    struct link *ear;       /* a second connection to Redis, which hears what other hosts say */
    struct stats ear_stats; /* its own, and not shown: `redis_up` and the like are about commands */
    char channel[sizeof(STORE_CHANNEL) + UUID_STR_LEN];
    struct peers peers;
    struct listener *listener;

    uv_signal_t signals[3];
    uv_timer_t stop_timer, watchdog_timer;
    bool is_stopping, is_finished;
};

/* --- what each part gets of the configuration ------------------------------------------------------ */

static struct broker_settings daemon_broker_settings(const struct config *config)
{
    return (struct broker_settings){
        .renew_fraction = config->lease_renew_fraction,
        .drift_per_10k = config->lease_drift_per_10k,
        .linger_ms = config->lease_linger_ms,
        .redis_timeout_ms = config->redis_timeout_ms,
        .held_per_peer_max = (size_t)config->limit_held_per_connection,
        .waiting_per_peer_max = (size_t)config->limit_waiting_per_connection,
        .locks_per_user_max = (size_t)config->limit_locks_per_user,
    };
}

static struct peers_config daemon_peers_config(const struct daemon *daemon)
{
    const struct config *config = daemon->config;
    return (struct peers_config){
        .version = RLOCKD_VERSION,
        .instance = daemon->instance,
        .defaults =
            {
                .ttl_ms = config->lease_ttl_ms,
                .wait_ms = config->lock_wait_ms,
                .retry_interval_ms = config->lock_retry_interval_ms,
                .retry_max = config->lock_retry_max,
                .attempt_timeout_ms = config->redis_timeout_ms,
                .max_hold_ms = config->lock_max_hold_ms,
            },
        .connections_max = daemon->connections_max,
        .connections_per_user_max = config->limit_connections_per_user,
        .held_per_connection_max = config->limit_held_per_connection,
        .waiting_per_connection_max = config->limit_waiting_per_connection,
        .locks_per_user_max = config->limit_locks_per_user,
        .line_max = config->limit_line,
        .output_max = config->limit_output_buffer,
    };
}

/* Clients must not take the descriptors with which Redis is to be reached again. */
static int64_t daemon_connections_max(const struct config *config)
{
    struct rlimit limit;
    int64_t wanted = config->limit_connections;
    int r = getrlimit(RLIMIT_NOFILE, &limit);
    assert(r == 0);
    rlim_t needed = (rlim_t)wanted * DAEMON_FDS_PER_PEER + DAEMON_FDS_OWN;
    if (needed <= limit.rlim_cur) {
        return wanted;
    }
    rlim_t spare = limit.rlim_cur > DAEMON_FDS_OWN ? limit.rlim_cur - DAEMON_FDS_OWN : 0;
    int64_t served = spare >= DAEMON_FDS_PER_PEER ? (int64_t)(spare / DAEMON_FDS_PER_PEER) : 1;
    log_warning("[limits] connections: %" PRId64 " need %ju descriptors, and %ju are allowed "
                "(RLIMIT_NOFILE): %" PRId64 " are served",
                wanted, (uintmax_t)needed, (uintmax_t)limit.rlim_cur, served);
    return served;
}

static struct link_config daemon_link_config(struct daemon *daemon)
{
    const struct config *config = daemon->config;
    return (struct link_config){
        .unix_path = config->redis_unix_path,
        .host = config->redis_host,
        .port = config->redis_port,
        .db = config->redis_db,
        .username = config->redis_username,
        .password = config->redis_password,
        .timeout_ms = config->redis_timeout_ms,
        .connect_timeout_ms = config->redis_connect_timeout_ms,
        .reconnect_min_ms = config->redis_reconnect_min_ms,
        .reconnect_max_ms = config->redis_reconnect_max_ms,
        .strict = config->redis_strict,
        .scripts = daemon->scripts,
        .n_scripts = N_SCRIPTS,
    };
}

/* --- the way down ---------------------------------------------------------------------------------- */

static void daemon_on_peers_closed(void *ctx)
{
    struct daemon *daemon = ctx;
    link_close(daemon->link);
    link_close(daemon->ear);
    engine_close(daemon->engine);
}

/* Closes all handles; uv_run() returns when they are. */
static void daemon_finish(struct daemon *daemon)
{
    if (daemon->is_finished) {
        return;
    }
    daemon->is_finished = true;
    for (size_t i = 0; i < sizeof(daemon->signals) / sizeof(daemon->signals[0]); i++) {
        uv_close((uv_handle_t *)&daemon->signals[i], NULL);
    }
    uv_close((uv_handle_t *)&daemon->stop_timer, NULL);
    uv_close((uv_handle_t *)&daemon->watchdog_timer, NULL);
    peers_close(&daemon->peers, daemon_on_peers_closed, daemon);
}

static void daemon_on_stop_timer(uv_timer_t *timer)
{
    daemon_finish(timer->data);
}

static void daemon_stop(struct daemon *daemon)
{
    if (daemon->is_stopping) {
        daemon_finish(daemon); /* told twice: no more patience */
        return;
    }
    daemon->is_stopping = true;
    log_notice("stopping");
    notify_stopping();
    listener_close(daemon->listener);
    engine_post(daemon->engine, &(struct event){.kind = EV_STOP});
    uv_timer_start(&daemon->stop_timer, daemon_on_stop_timer, DAEMON_STOP_MS, 0);
}

/* --- the wires ------------------------------------------------------------------------------------- */

static void daemon_post(void *ctx, const struct event *event)
{
    struct daemon *daemon = ctx;
    if (!daemon->is_finished) {
        engine_post(daemon->engine, event);
    }
}

static void daemon_to_store(void *ctx, const struct effect *effect)
{
    struct daemon *daemon = ctx;
    if (!daemon->is_finished) {
        store_carry_out(daemon->store, effect);
    }
}

static void daemon_flush(void *ctx)
{
    struct daemon *daemon = ctx;
    if (daemon->is_finished) {
        return;
    }
    link_flush(daemon->link);
    conn_set_flush(&daemon->peers.conns);
    if (daemon->is_stopping && broker_is_idle(daemon->broker)) {
        daemon_finish(daemon);
    }
}

/* Commands and messages are to be with the same server, but the name of Redis may have come to mean another
 * between one connection and the other. */
static bool daemon_match_servers(struct daemon *daemon)
{
    const char *spoken_to = link_run_id(daemon->link), *heard = link_run_id(daemon->ear);
    if (*spoken_to == '\0' || *heard == '\0' || strcmp(spoken_to, heard) == 0) {
        return true;
    }
    link_break(daemon->ear, "the other connection is to another server");
    return false;
}

static void daemon_on_link_state(void *ctx, int link_state, const char *text)
{
    struct daemon *daemon = ctx;
    store_on_link_state(daemon->store, link_state, text);
    if (link_state == LINK_STATE_UP) {
        (void)daemon_match_servers(daemon);
    } else {
        link_break(daemon->ear, "the other connection broke");
    }
    if (daemon->is_stopping) {
        return;
    }
    if (link_state == LINK_STATE_UP) {
        notify_status("serving, Redis is up");
    } else if (link_state == LINK_STATE_DOWN) {
        notify_status("Redis is down: %s", text);
    } else {
        notify_status("connecting to Redis");
    }
}

static void daemon_on_ear_state(void *ctx, int link_state, const char *text)
{
    struct daemon *daemon = ctx;
    (void)text;
    if (link_state == LINK_STATE_UP && daemon_match_servers(daemon)) {
        store_on_hearing(daemon->store);
    }
}

static void daemon_on_message(void *ctx, const char *text, size_t len)
{
    struct daemon *daemon = ctx;
    store_on_message(daemon->store, text, len);
}

static void daemon_on_connection(void *ctx, uv_stream_t *server)
{
    peers_accept(ctx, server);
}

/* --- signals and timers ---------------------------------------------------------------------------- */

static bool daemon_differs(const char *a, const char *b)
{
    return strcmp(a != NULL ? a : "", b != NULL ? b : "") != 0;
}

static bool daemon_same_server(const struct config *a, const struct config *b)
{
    return a->redis_port == b->redis_port && a->redis_db == b->redis_db &&
           !daemon_differs(a->redis_unix_path, b->redis_unix_path) &&
           !daemon_differs(a->redis_host, b->redis_host);
}

/* What cannot change while clients are connected and leases held. */
static void daemon_warn_fixed(const struct config *first, const struct config *new)
{
    if (daemon_differs(first->listen_socket, new->listen_socket) || first->listen_mode != new->listen_mode ||
        first->listen_group != new->listen_group || first->listen_backlog != new->listen_backlog) {
        log_warning("reload: [listen] changes take effect at the next start");
    }
    if (daemon_differs(first->lease_prefix, new->lease_prefix)) {
        log_warning("reload: [lease] prefix changes take effect at the next start");
    }
    if (!daemon_same_server(first, new)) {
        log_warning("reload: [redis] names another server: this section takes effect at the next start");
    }
}

/* What does not change at once. */
static void daemon_note_later(const struct config *old, const struct config *new)
{
    if (old->redis_strict != new->redis_strict) {
        log_notice("reload: [redis] strict: from the next connection to Redis on");
    }
    if (daemon_differs(old->redis_username, new->redis_username) ||
        daemon_differs(old->redis_password, new->redis_password)) {
        log_notice("reload: [redis] username and password: from the next connection to Redis on");
    }
    if (old->limit_line != new->limit_line) {
        log_notice("reload: [limits] line: for new connections");
    }
}

/* The locks that are held lie in the server of the start: the link never goes to another, and a section
 * that names one, with timeouts and a password for it, does not concern this link at all. */
static void daemon_reload_link(struct daemon *daemon)
{
    if (!daemon_same_server(daemon->first, daemon->config)) {
        return;
    }
    struct link_config link_config = daemon_link_config(daemon);
    link_reconfigure(daemon->link, &link_config);
    link_config.channel = daemon->channel;
    link_reconfigure(daemon->ear, &link_config);
}

static void daemon_reload(struct daemon *daemon)
{
    struct config *config;
    char error[CONFIG_ERROR_CAP];
    notify_reloading();
    if (config_load(&config, daemon->config_path, error) != 0) {
        log_error("reload: nothing changes: %s", error);
        notify_ready();
        return;
    }
    log_setup((enum log_level)config->log_level, config->log_with_priority);
    daemon_warn_fixed(daemon->first, config);
    daemon_note_later(daemon->config, config);
    config_free(daemon->reloaded);
    daemon->config = daemon->reloaded = config;
    daemon->connections_max = daemon_connections_max(config);
    struct peers_config peers_config = daemon_peers_config(daemon);
    peers_reconfigure(&daemon->peers, &peers_config);
    daemon_reload_link(daemon);
    engine_post(daemon->engine,
                &(struct event){.kind = EV_SETTINGS, .settings = daemon_broker_settings(config)});
    log_notice("reloaded");
    notify_ready();
}

static void daemon_on_signal(uv_signal_t *handle, int signal)
{
    struct daemon *daemon = handle->data;
    if (signal != SIGHUP) {
        daemon_stop(daemon);
    } else if (!daemon->is_stopping) {
        daemon_reload(daemon);
    }
}

static void daemon_on_watchdog(uv_timer_t *timer)
{
    (void)timer;
    notify_watchdog();
}

static void daemon_watch(struct daemon *daemon)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        uv_signal_init(&daemon->loop, &daemon->signals[i]);
        daemon->signals[i].data = daemon;
        uv_signal_start(&daemon->signals[i], daemon_on_signal, signals[i]);
    }
    uv_timer_init(&daemon->loop, &daemon->stop_timer);
    daemon->stop_timer.data = daemon;
    uv_timer_init(&daemon->loop, &daemon->watchdog_timer);
    uint64_t interval_ms = (uint64_t)notify_watchdog_interval_ms();
    if (interval_ms > 0) {
        uv_timer_start(&daemon->watchdog_timer, daemon_on_watchdog, interval_ms, interval_ms);
    }
}

/* --- the way up ------------------------------------------------------------------------------------ */

/* What must be there before anything is allocated or hashed. */
static int daemon_prepare_libraries(void)
{
    int r = uv_replace_allocator(alloc_bytes, alloc_resize, alloc_zeroed, free);
    assert(r == 0);
    rpc_setup(alloc_bytes, free);
    ssize_t len;
    do {
        len = getrandom(&table_seed, sizeof(table_seed), 0);
    } while (len < 0 && errno == EINTR); /* early at boot it waits for the kernel to have some */
    if (len < 0) {
        log_error("cannot start: no random numbers: %s", strerror(errno));
        return -errno;
    }
    assert(len == sizeof(table_seed)); /* so few bytes come whole */
    return 0;
}

static void daemon_name_instance(struct daemon *daemon)
{
    uuid_t uuid;
    uuid_generate_random(uuid);
    uuid_unparse_lower(uuid, daemon->instance);
    snprintf(daemon->channel, sizeof(daemon->channel), STORE_CHANNEL "%s", daemon->instance);
}

static int daemon_open_engine(struct daemon *daemon)
{
    struct engine_sinks sinks = {
        .to_store = daemon_to_store,
        .store_ctx = daemon,
        .to_peer = peers_carry_out,
        .peer_ctx = &daemon->peers,
        .flush = daemon_flush,
        .flush_ctx = daemon,
    };
    return engine_open(&daemon->engine, &daemon->loop, daemon->broker, &sinks);
}

static int daemon_open_redis(struct daemon *daemon)
{
    struct store_config store_config = {
        .prefix = daemon->config->lease_prefix,
        .instance = daemon->instance,
        .post = daemon_post,
        .post_ctx = daemon,
    };
    script_table(daemon->scripts);
    daemon->store = store_new(&store_config, &daemon->stats);
    struct link_config link_config = daemon_link_config(daemon);
    struct link_sinks link_sinks = {.on_state = daemon_on_link_state, .ctx = daemon};
    int r = link_open(&daemon->link, &daemon->loop, &link_config, &link_sinks, &daemon->stats);
    if (r < 0) {
        return r;
    }
    store_use_link(daemon->store, daemon->link, daemon->scripts);
    link_config.channel = daemon->channel;
    link_sinks =
        (struct link_sinks){.on_state = daemon_on_ear_state, .on_message = daemon_on_message, .ctx = daemon};
    return link_open(&daemon->ear, &daemon->loop, &link_config, &link_sinks, &daemon->ear_stats);
}

static void daemon_open_peers(struct daemon *daemon)
{
    daemon->peers.config = daemon_peers_config(daemon);
    daemon->peers.broker = daemon->broker;
    daemon->peers.stats = &daemon->stats;
    daemon->peers.post = daemon_post;
    daemon->peers.post_ctx = daemon;
    peers_init(&daemon->peers, &daemon->loop);
}

static int daemon_open_listener(struct daemon *daemon)
{
    const struct config *config = daemon->config;
    struct listener_config listener_config = {
        .path = config->listen_socket,
        .mode = (mode_t)config->listen_mode,
        .group = config->listen_group,
        .backlog = (int)config->listen_backlog,
    };
    char error[LISTENER_ERROR_CAP];
    int r = listener_open(&daemon->listener, &daemon->loop, &listener_config, daemon_on_connection,
                          &daemon->peers, error);
    if (r < 0) {
        log_error("%s", error);
    }
    return r;
}

static int daemon_open(struct daemon *daemon)
{
    struct broker_settings settings = daemon_broker_settings(daemon->config);
    daemon_name_instance(daemon);
    daemon->broker = broker_new(&settings, &daemon->stats);
    daemon_open_peers(daemon);
    daemon_watch(daemon);
    int r = daemon_open_engine(daemon);
    if (r == 0) {
        r = daemon_open_redis(daemon);
    }
    if (r == 0) {
        return daemon_open_listener(daemon);
    }
    log_error("cannot start: %s", uv_strerror(r));
    return r;
}

static void daemon_free(struct daemon *daemon)
{
    store_free(daemon->store);
    broker_free(daemon->broker);
    config_free(daemon->reloaded);
    free(daemon);
}

int daemon_run(const struct config *config, const char *config_path)
{
    if (daemon_prepare_libraries() < 0) {
        return 1;
    }
    struct daemon *daemon = alloc_zeroed(1, sizeof(*daemon));
    daemon->first = daemon->config = config;
    daemon->config_path = config_path;
    log_setup((enum log_level)config->log_level, config->log_with_priority);
    daemon->connections_max = daemon_connections_max(config);
    int r = uv_loop_init(&daemon->loop);
    if (r < 0 || daemon_open(daemon) < 0) {
        return 1; /* the process ends: what was opened goes with it */
    }
    log_notice("rlockd " RLOCKD_VERSION " serves %s", config->listen_socket);
    notify_ready();

    uv_run(&daemon->loop, UV_RUN_DEFAULT);
    r = uv_loop_close(&daemon->loop);
    assert(r == 0); /* every handle was closed */
    daemon_free(daemon);
    log_notice("stopped");
    return 0;
}
