/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * inspect, list, stats and hello. Costs what it shows, plus for `list` a look at every key (so there is one
 * `list` in a turn of the loop, see peers_post_list()); nothing here is on a lock's way.
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
    STATUS_COMMAND_MAX = 128,
    STATUS_INSPECT_WAITING_MAX = 100, /* claims that are shown of one key */
    STATUS_LIST_WAITING_MAX = 10,
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

/* Whether what was printed since `start_len` is all that one answer may be: half of what is kept for a client,
 * since one that is busy with an answer must not look as if it did not read. */
static bool status_is_long(const struct buf *out, size_t start_len, const struct peers *peers)
{
    return out->len - start_len > peers->conns.output_max / 2;
}

/* --- who ------------------------------------------------------------------------------------------- */

/* The command line of a living process, its arguments separated by blanks; "" if it cannot be seen. The
 * caller frees it. */
static char *status_read_command(pid_t pid)
{
    char path[32], command[STATUS_COMMAND_MAX];
    ssize_t len = 0;
    snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        len = read(fd, command, sizeof(command));
        close(fd);
    }
    while (len > 0 && command[len - 1] == '\0') {
        len--;
    }
    for (ssize_t i = 0; i < len; i++) {
        if (command[i] == '\0') {
            command[i] = ' ';
        }
    }
    return alloc_copy(command, len > 0 ? (size_t)len : 0);
}

/* Looked up once: a client that holds much is shown often. NULL if it cannot be seen. */
static const char *status_command(struct peer *peer)
{
    if (peer->conn.creds.pid <= 0) {
        return NULL;
    }
    if (peer->command == NULL) {
        peer->command = status_read_command(peer->conn.creds.pid);
    }
    return peer->command[0] != '\0' ? peer->command : NULL;
}

/* False if it has gone; the core will hear of it in this turn or the next. */
static bool status_find_holder(struct peers *peers, const struct claim *claim, struct message_holder *ret)
{
    struct peer *peer = peers_find(peers, claim->claimant->id);
    if (peer == NULL) {
        return false;
    }
    *ret = (struct message_holder){
        .pid = peer->conn.creds.pid,
        .uid = peer->conn.creds.uid,
        .gid = peer->conn.creds.gid,
        .command = status_command(peer),
        .note = claim->note,
        .note_len = claim->note_len,
        .waited_ms = -1,
    };
    return true;
}

/* --- one key --------------------------------------------------------------------------------------- */

static bool status_has_lease(const struct key *key)
{
    return key != NULL && key_has_lease(key);
}

/* Somebody here has it, or will in a moment. A lease that only lingers is nobody's. */
static bool status_is_held(const struct key *key)
{
    return status_has_lease(key) && !key->lease->is_idle;
}

/* The end of the key's object, with its first `max` waiters. */
static void status_print_waiting(struct buf *out, struct peers *peers, const struct key *key, size_t max,
                                 int64_t now_ms)
{
    const struct claim *claim = key != NULL ? key->waiting : NULL;
    size_t n_seen = 0, start_len = out->len;
    bool any = false;
    for (; claim != NULL && n_seen < max && !status_is_long(out, start_len, peers); claim = claim->next) {
        struct message_holder holder;
        n_seen++;
        if (!status_find_holder(peers, claim, &holder)) {
            continue;
        }
        holder.waited_ms = now_ms - claim->asked_at_ms;
        struct print print = status_open(out);
        message_print_key_waiting(&print, &holder, !any);
        status_close(out, &print);
        any = true;
    }
    struct print print = status_open(out);
    message_print_key_close(&print, any, key != NULL ? key->n_waiting - n_seen : 0);
    status_close(out, &print);
}

/* `shown` has name and state; a key that is held here gets its grant and lease from `key`. */
static void status_print_key(struct buf *out, struct peers *peers, const struct key *key,
                             struct message_key shown, size_t waiting_max)
{
    int64_t now_ms = clock_now_ms();
    if (status_has_lease(key)) {
        shown.lease_ttl_ms = key->lease->ttl_ms;
        shown.lease_remaining_ms = key->lease->times.valid_until_ms - now_ms;
        if (shown.lease_remaining_ms < 0) {
            shown.lease_remaining_ms = 0;
        }
        if (key->grant != NULL) {
            shown.fence = key->grant->fence;
            shown.held_ms = now_ms - key->grant->granted_at_ms;
            shown.has_holder = status_find_holder(peers, key->grant, &shown.holder);
        }
    }
    struct print print = status_open(out);
    message_print_key_open(&print, &shown);
    status_close(out, &print);
    status_print_waiting(out, peers, key, waiting_max, now_ms);
}

void status_print_inspect(struct buf *out, struct rpc_id id, struct peers *peers,
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
    status_print_key(out, peers, key, shown, STATUS_INSPECT_WAITING_MAX);
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
    if (!status_is_held(key) && key->waiting == NULL) {
        return false;
    }
    if (key->name_len < prefix->len || memcmp(key->name, prefix->bytes, prefix->len) != 0) {
        return false;
    }
    return after->len == 0 || status_compare_names(key->name, key->name_len, after->bytes, after->len) > 0;
}

/* The first `limit` keys of all that were added, found without sorting all: twice as many are gathered,
 * sorted, and the latter half is dropped; the last one left is what a key has to come before from then on. */
struct status_page {
    const struct key *keys[2 * MESSAGE_LIST_LIMIT_MAX];
    size_t len, limit;
    bool is_cut; /* there are more; keys[limit - 1] is the last one that counts */
};

static void status_page_cut(struct status_page *page)
{
    qsort(page->keys, page->len, sizeof(page->keys[0]), status_compare_keys);
    if (page->len > page->limit) {
        page->len = page->limit;
        page->is_cut = true;
    }
}

static void status_page_add(struct status_page *page, const struct key *key)
{
    if (page->is_cut && status_compare_keys(&key, &page->keys[page->limit - 1]) > 0) {
        return;
    }
    page->keys[page->len++] = key;
    if (page->len == 2 * page->limit) {
        status_page_cut(page);
    }
}

static void status_page_fill(struct status_page *page, const struct broker *broker,
                             const struct request *request)
{
    page->limit = (size_t)request->limit;
    page->len = 0;
    page->is_cut = false;
    for (const struct key *key = broker_next(broker, NULL); key != NULL; key = broker_next(broker, key)) {
        if (status_is_listed(key, request)) {
            status_page_add(page, key);
        }
    }
    status_page_cut(page);
}

/* How the key is to be shown as far as this host knows, without asking Redis. */
static struct message_key status_known(const struct key *key, int64_t now_ms)
{
    bool is_elsewhere = !status_is_held(key) && key->other_until_ms > now_ms;
    return (struct message_key){
        .key = key->name,
        .key_len = key->name_len,
        .state = status_is_held(key) ? "held"
                 : is_elsewhere      ? "elsewhere"
                                     : "acquiring",
        .lease_remaining_ms = is_elsewhere ? key->other_until_ms - now_ms : -1,
    };
}

void status_print_list(struct buf *out, struct rpc_id id, struct peers *peers, const struct request *request)
{
    struct status_page page;
    int64_t now_ms = clock_now_ms();
    size_t start_len = out->len, i;
    status_page_fill(&page, peers->broker, request);
    status_open_result(out, id);
    status_print_text(out, "{\"locks\":[");
    for (i = 0; i < page.len && !status_is_long(out, start_len, peers); i++) {
        const struct key *key = page.keys[i];
        if (i > 0) {
            status_print_text(out, ",");
        }
        status_print_key(out, peers, key, status_known(key, now_ms), STATUS_LIST_WAITING_MAX);
    }
    struct print print = status_open(out);
    print_literal(&print, "],\"next\":");
    if (page.is_cut || i < page.len) {
        print_string(&print, page.keys[i - 1]->name, page.keys[i - 1]->name_len);
    } else {
        print_literal(&print, "null");
    }
    print_literal(&print, "}");
    rpc_print_close(&print);
    status_close(out, &print);
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
    if (value == MESSAGE_UNBOUNDED) {
        print_literal(print, "null");
    } else {
        print_int(print, value);
    }
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
