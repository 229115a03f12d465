/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * inspect, list, stats and hello. Costs what it shows, plus for `list` a look at every key; nothing
 * here is on a lock's way.
 */

#include "daemon/local/status.h"

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/stats.h"
#include "daemon/core/broker.h"
#include "daemon/core/key.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum {
    STATUS_COMMAND_CAP = 129,
    STATUS_WAITING_MAX = 1000, /* claims that inspect and list show of one key */
};

/* --- printing in pieces ---------------------------------------------------------------------------- */

static struct print status_open(struct buf *out)
{
    return print_into(buf_reserve(out, PRINT_ROOM), PRINT_ROOM);
}

static void status_close(struct buf *out, const struct print *print)
{
    const char *start = buf_bytes(out) + out->len;
    assert(!print->full);
    buf_commit(out, (size_t)(print->at - start));
}

static void status_print_text(struct buf *out, const char *text)
{
    struct print print = status_open(out);
    print_text(&print, text);
    status_close(out, &print);
}

static void status_open_result(struct buf *out, struct rpc_id id)
{
    struct print print = status_open(out);
    rpc_print_result_open(&print, id);
    status_close(out, &print);
}

static void status_close_result(struct buf *out)
{
    struct print print = status_open(out);
    rpc_print_close(&print);
    status_close(out, &print);
}

/* --- who ------------------------------------------------------------------------------------------- */

/* The command line of a living process, its arguments separated by blanks. False if it cannot be seen. */
static bool status_read_command(pid_t pid, char ret[STATUS_COMMAND_CAP])
{
    char path[32];
    snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t len = read(fd, ret, STATUS_COMMAND_CAP - 1);
    close(fd);
    while (len > 0 && ret[len - 1] == '\0')
        len--;
    if (len <= 0)
        return false;
    for (ssize_t i = 0; i < len; i++) {
        if (ret[i] == '\0')
            ret[i] = ' ';
    }
    ret[len] = '\0';
    return true;
}

static struct message_holder status_holder(const struct peers *peers, const struct claim *claim,
                                           char command[STATUS_COMMAND_CAP])
{
    struct message_holder holder = {.note = claim->note, .note_len = claim->note_len, .waited_ms = -1};
    const struct peer *peer = peers_find((struct peers *)peers, claim->claimant->id);
    if (peer == NULL)
        return holder; /* it has gone, and the core will hear of it in this very turn */
    holder.pid = peer->conn.creds.pid;
    holder.uid = peer->conn.creds.uid;
    holder.gid = peer->conn.creds.gid;
    if (holder.pid > 0 && status_read_command(peer->conn.creds.pid, command))
        holder.command = command;
    return holder;
}

/* --- one key --------------------------------------------------------------------------------------- */

static bool status_is_held(const struct key *key)
{
    return key != NULL && key->lease != NULL && key->lease->state == LEASE_HELD;
}

static void status_print_waiting(struct buf *out, const struct peers *peers, const struct key *key,
                                 int64_t now_ms)
{
    const struct claim *claim;
    int n_printed = 0;
    DL_FOREACH (key->waiting, claim) {
        if (n_printed == STATUS_WAITING_MAX)
            break;
        char command[STATUS_COMMAND_CAP];
        struct message_holder holder = status_holder(peers, claim, command);
        holder.waited_ms = now_ms - claim->asked_at_ms;
        struct print print = status_open(out);
        message_print_key_waiting(&print, &holder, n_printed == 0);
        status_close(out, &print);
        n_printed++;
    }
}

/* `shown` has name and state; a key that is held here gets its grant and lease from `key`. */
static void status_print_key(struct buf *out, const struct peers *peers, const struct key *key,
                             struct message_key shown)
{
    int64_t now_ms = clock_now_ms();
    char command[STATUS_COMMAND_CAP];
    if (status_is_held(key)) {
        shown.lease_ttl_ms = key->lease->ttl_ms;
        shown.lease_remaining_ms = key->lease->times.valid_until_ms - now_ms;
        if (shown.lease_remaining_ms < 0)
            shown.lease_remaining_ms = 0;
        if (key->grant != NULL) {
            shown.fence = key->grant->fence;
            shown.held_ms = now_ms - key->grant->granted_at_ms;
            shown.has_holder = true;
            shown.holder = status_holder(peers, key->grant, command);
        }
    }
    struct print print = status_open(out);
    message_print_key_open(&print, &shown);
    status_close(out, &print);
    if (key != NULL)
        status_print_waiting(out, peers, key, now_ms);
    print = status_open(out);
    message_print_key_close(&print, key != NULL && key->waiting != NULL);
    status_close(out, &print);
}

void status_print_inspect(struct buf *out, struct rpc_id id, const struct peers *peers,
                          const struct fx_reply *reply)
{
    const struct key *key = broker_find(peers->broker, reply->key, reply->key_len);
    struct message_key shown = {.key = reply->key, .key_len = reply->key_len, .lease_remaining_ms = -1};
    if (status_is_held(key)) {
        shown.state = "held";
    } else if (reply->elsewhere) {
        shown.state = "elsewhere";
        shown.lease_remaining_ms = reply->remaining_ms;
    } else {
        shown.state = key != NULL && key->waiting != NULL ? "acquiring" : "free";
    }
    status_open_result(out, id);
    status_print_key(out, peers, key, shown);
    status_close_result(out);
}

/* --- all keys -------------------------------------------------------------------------------------- */

static int status_compare_names(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

static int status_compare_keys(const void *a, const void *b)
{
    const struct key *const *left = a, *const *right = b;
    return status_compare_names((*left)->name, (*left)->name_len, (*right)->name, (*right)->name_len);
}

/* Whether a list shows the key: somebody has it or wants it, it has the prefix, and it comes after the
 * last one of the page before. */
static bool status_is_listed(const struct key *key, const struct request *request)
{
    const struct request_text *prefix = &request->key, *after = &request->after;
    if (!status_is_held(key) && key->waiting == NULL)
        return false;
    if (key->name_len < prefix->len || memcmp(key->name, prefix->bytes, prefix->len) != 0)
        return false;
    return after->len == 0 || status_compare_names(key->name, key->name_len, after->bytes, after->len) > 0;
}

/* Returns how many there are; the array is the caller's to free. */
static size_t status_collect(const struct broker *broker, const struct request *request,
                             const struct key ***ret)
{
    const struct key **list = NULL;
    size_t len = 0, cap = 0;
    for (const struct key *key = broker_next(broker, NULL); key != NULL; key = broker_next(broker, key)) {
        if (!status_is_listed(key, request))
            continue;
        if (len == cap) {
            cap = cap == 0 ? 64 : cap * 2;
            list = alloc_resize(list, cap * sizeof(*list));
        }
        list[len++] = key;
    }
    if (len > 0)
        qsort(list, len, sizeof(*list), status_compare_keys);
    *ret = list;
    return len;
}

static const char *status_state(const struct key *key, int64_t now_ms)
{
    if (status_is_held(key))
        return "held";
    return key->other_until_ms > now_ms ? "elsewhere" : "acquiring";
}

void status_print_list(struct buf *out, struct rpc_id id, const struct peers *peers,
                       const struct request *request)
{
    const struct key **list;
    size_t len = status_collect(peers->broker, request, &list);
    size_t n_shown = len < (size_t)request->limit ? len : (size_t)request->limit;
    int64_t now_ms = clock_now_ms();
    status_open_result(out, id);
    status_print_text(out, "{\"locks\":[");
    for (size_t i = 0; i < n_shown; i++) {
        const struct key *key = list[i];
        struct message_key shown = {
            .key = key->name,
            .key_len = key->name_len,
            .state = status_state(key, now_ms),
            .lease_remaining_ms = -1,
        };
        if (i > 0)
            status_print_text(out, ",");
        status_print_key(out, peers, key, shown);
    }
    struct print print = status_open(out);
    print_literal(&print, "],\"next\":");
    if (n_shown < len)
        print_string(&print, list[n_shown - 1]->name, list[n_shown - 1]->name_len);
    else
        print_literal(&print, "null");
    print_literal(&print, "}");
    rpc_print_close(&print);
    status_close(out, &print);
    free(list);
}

/* --- the daemon ------------------------------------------------------------------------------------ */

static void status_print_member(struct print *print, bool is_first, const char *name)
{
    print_text(print, is_first ? "{\"" : ",\"");
    print_text(print, name);
    print_literal(print, "\":");
}

void status_print_stats(struct buf *out, struct rpc_id id, const struct peers *peers)
{
    struct stats stats = *peers->stats;
    stats.uptime_ms = (uint64_t)(clock_now_ms() - peers->started_at_ms);
    stats.log_dropped = log_dropped();
    struct print print = status_open(out);
    bool is_first = true;
    rpc_print_result_open(&print, id);
#define STAT(name, kind, sentence)                \
    status_print_member(&print, is_first, #name); \
    print_int(&print, (int64_t)stats.name);       \
    is_first = false;
#include "daemon/base/stats.def"
#undef STAT
    print_literal(&print, "}");
    rpc_print_close(&print);
    status_close(out, &print);
}

static void status_print_number(struct print *print, bool is_first, const char *name, int64_t value)
{
    status_print_member(print, is_first, name);
    if (value == MESSAGE_UNBOUNDED)
        print_literal(print, "null");
    else
        print_int(print, value);
}

void status_print_hello(struct buf *out, struct rpc_id id, const struct peers *peers)
{
    const struct peers_config *config = &peers->config;
    const struct message_defaults *defaults = &config->defaults;
    struct print print = status_open(out);
    rpc_print_result_open(&print, id);
    print_literal(&print, "{\"server\":\"rlockd\",\"version\":\"");
    print_text(&print, config->version);
    print_literal(&print, "\",\"protocol\":1,\"instance\":\"");
    print_text(&print, config->instance);
    print_literal(&print, "\",\"defaults\":");
    status_print_number(&print, true, "ttl_ms", defaults->ttl_ms);
    status_print_number(&print, false, "wait_ms", defaults->wait_ms);
    status_print_number(&print, false, "retry_interval_ms", defaults->retry_interval_ms);
    status_print_number(&print, false, "retry_max", defaults->retry_max);
    status_print_number(&print, false, "attempt_timeout_ms", defaults->attempt_timeout_ms);
    status_print_number(&print, false, "max_hold_ms", defaults->max_hold_ms);
    print_literal(&print, "},\"limits\":");
    status_print_number(&print, true, "connections", config->connections_max);
    status_print_number(&print, false, "connections_per_user", config->connections_per_user_max);
    status_print_number(&print, false, "held_per_connection", config->held_per_connection_max);
    status_print_number(&print, false, "waiting_per_connection", config->waiting_per_connection_max);
    status_print_number(&print, false, "locks_per_user", config->locks_per_user_max);
    status_print_number(&print, false, "line", config->line_max);
    status_print_number(&print, false, "output_buffer", config->output_max);
    print_literal(&print, "}}");
    rpc_print_close(&print);
    status_close(out, &print);
}
