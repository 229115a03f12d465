/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * A client as one should be: it holds a lock as long as it has been neither told of a loss nor cut off, and
 * the instant up to which the lease is sure has not passed by its own clock; to have that put off, it refreshes
 * now and then. Before each look at its socket it notes the time; if the look shows nothing bad, it held the
 * lock at that time, and says so. That is true even if it was stopped in between.
 *
 * It speaks the protocol by hand, and watches that each request is answered once.
 */

#include "tests/soak/ring.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    CLIENT_ANSWER_MS_MAX = 45000, /* longer than any wait and any stop */
    CLIENT_PENDING_MAX = 16,
    CLIENT_ROOM = 1 << 20,
    CLIENT_LOG_LEN_MAX = 300,
};

static struct client {
    struct ring *ring;
    uint64_t seed;
    int fd; /* -1: the connection has ended */
    int64_t last_id, pending[CLIENT_PENDING_MAX];
    size_t len;
    char bytes[CLIENT_ROOM];

    int key; /* what it wants or has */
    int64_t fence, valid_until_ms, lost_at_ms;
    bool is_held, is_over;      /* over: the answer to the lock request has come */
    int64_t lock_id, unlock_id; /* 0: none in flight */
} client;

static volatile sig_atomic_t client_is_told_to_end;

static void client_on_term(int signo)
{
    (void)signo;
    client_is_told_to_end = 1;
}

int64_t soak_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

uint64_t soak_draw(uint64_t *seed, uint64_t below)
{
    *seed += 0x9e3779b97f4a7c15; /* splitmix64 */
    uint64_t x = *seed;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return (x ^ (x >> 31)) % below;
}

static void client_tell(const struct record *record)
{
    struct ring *ring = client.ring;
    uint32_t head = ring->head;

    while (head - ring->tail >= RING_RECORDS) {
        (void)poll(NULL, 0, 1); /* the soak will read them */
    }
    ring->records[head % RING_RECORDS] = *record;
    ring->head = head + 1;
}

__attribute__((format(printf, 1, 2))) static void client_complain(const char *fmt, ...)
{
    struct record record = {.kind = RECORD_FINDING, .key = client.key, .at_ms = soak_now_ms()};
    va_list args;

    va_start(args, fmt);
    vsnprintf(record.text, sizeof(record.text), fmt, args);
    va_end(args);
    client_tell(&record);
}

/* --- messages -------------------------------------------------------------------------------------- */

static void client_end_connection(void)
{
    if (client.fd >= 0) {
        close(client.fd);
        client.ring->n_ends++;
    }
    client.fd = -1;
    client.len = 0;
    client.is_held = false;
    client.is_over = true;
    client.lock_id = client.unlock_id = 0;
    memset(client.pending, 0, sizeof(client.pending));
}

static bool client_forget_pending(int64_t id)
{
    for (int i = 0; i < CLIENT_PENDING_MAX; i++) {
        if (client.pending[i] == id) {
            client.pending[i] = 0;
            return true;
        }
    }
    return false;
}

/* Sends a request; `params` with ' for ". Its id, or 0: the connection has ended. */
__attribute__((format(printf, 2, 3))) static int64_t client_ask(const char *method, const char *params, ...)
{
    char text[256], line[512];
    va_list args;
    int slot = 0;

    if (client.fd < 0) {
        return 0;
    }
    va_start(args, params);
    vsnprintf(text, sizeof(text), params, args);
    va_end(args);
    int len = snprintf(line, sizeof(line), "{'jsonrpc':'2.0','id':%lld,'method':'%s','params':{%s}}\n",
                       (long long)++client.last_id, method, text);
    for (int i = 0; i < len; i++) {
        line[i] = line[i] == '\'' ? '"' : line[i];
    }
    while (slot < CLIENT_PENDING_MAX && client.pending[slot] != 0) {
        slot++;
    }
    if (slot == CLIENT_PENDING_MAX) {
        client_complain("%d requests without an answer", CLIENT_PENDING_MAX);
        client_end_connection();
        return 0;
    }
    client.pending[slot] = client.last_id;
    printf("%lld > %.*s", (long long)soak_now_ms(), len, line);
    client.ring->n_requests++;
    if (send(client.fd, line, (size_t)len, MSG_NOSIGNAL) != len) {
        client_end_connection();
        return 0;
    }
    return client.last_id;
}

static int64_t client_number(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static bool client_is_ours(const json_t *params)
{
    const char *key = json_string_value(json_object_get(params, "key"));

    return key != NULL && key[0] == 'k' && atoi(key + 1) == client.key &&
           client_number(params, "fence") == client.fence;
}

static void client_on_notice(const char *method, const json_t *params)
{
    if (!client_is_ours(params)) {
        /* Of a grant that was given back meanwhile, but never of one that was not ours. */
        if (client_number(params, "fence") > client.fence && client.is_held) {
            client_complain("a notice of a grant that is not ours: %s", method);
        }
        return;
    }
    if (strcmp(method, "at_risk") == 0) {
        client.lost_at_ms = client_number(params, "lost_at_ms");
    } else if (strcmp(method, "safe") == 0) {
        client.lost_at_ms = 0;
        client.valid_until_ms = client_number(params, "valid_until_ms");
    } else if (strcmp(method, "lost") == 0) {
        int64_t now_ms = soak_now_ms();

        if (client.lost_at_ms != 0 && now_ms > client.lost_at_ms) {
            client_tell(&(struct record){.kind = RECORD_LATE,
                                         .key = client.key,
                                         .fence = now_ms - client.lost_at_ms,
                                         .at_ms = now_ms});
        }
        if (!client.is_held && client.unlock_id == 0) {
            client_complain("lost, fence %lld, and not held", (long long)client.fence);
        }
        client.ring->n_lost += client.is_held;
        client.is_held = false;
    } else {
        client_complain("a notice of no kind: %s", method);
    }
}

static void client_on_answer(int64_t id, const json_t *result)
{
    client.ring->n_answers++;
    if (!client_forget_pending(id)) {
        client_complain("an answer to %lld, which is not in flight", (long long)id);
    }
    if (id == client.lock_id) {
        client.lock_id = 0;
        client.is_over = true;
        client.is_held = result != NULL;
        if (result != NULL) {
            client.fence = client_number(result, "fence");
            client.valid_until_ms = client_number(result, "valid_until_ms");
            client.lost_at_ms = 0;
            client.ring->n_grants++;
        } else {
            client.ring->n_refused++;
        }
    } else if (id == client.unlock_id) {
        client.unlock_id = 0;
    } else if (client_is_ours(result) && client_number(result, "valid_until_ms") > client.valid_until_ms) {
        client.valid_until_ms = client_number(result, "valid_until_ms"); /* refreshed */
    }
}

static void client_on_line(const char *line, size_t len)
{
    if (len < CLIENT_LOG_LEN_MAX) {
        printf("%lld < %.*s\n", (long long)soak_now_ms(), (int)len, line);
    }
    json_t *message = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
    const char *method = json_string_value(json_object_get(message, "method"));

    if (method != NULL) {
        client_on_notice(method, json_object_get(message, "params"));
    } else if (json_is_integer(json_object_get(message, "id"))) {
        client_on_answer(client_number(message, "id"), json_object_get(message, "result"));
    } else {
        client_complain("no message: %.60s", line);
    }
    json_decref(message);
}

/* Takes what has come, waiting for it so long. */
static void client_listen(int wait_ms)
{
    struct pollfd input = {.fd = client.fd, .events = POLLIN};

    if (client.fd < 0 || poll(&input, 1, wait_ms) <= 0) {
        return;
    }
    ssize_t n = recv(client.fd, client.bytes + client.len, sizeof(client.bytes) - client.len, 0);
    if (n <= 0) {
        client_end_connection();
        return;
    }
    client.len += (size_t)n;
    char *start = client.bytes, *end;
    while (client.fd >= 0 && (end = memchr(start, '\n', client.len)) != NULL) {
        client_on_line(start, (size_t)(end - start));
        client.len -= (size_t)(end + 1 - start);
        start = end + 1;
    }
    memmove(client.bytes, start, client.len);
}

static void client_await(const bool *is_over, const int64_t *id)
{
    int64_t until_ms = soak_now_ms() + CLIENT_ANSWER_MS_MAX;

    while (client.fd >= 0 && (is_over == NULL || !*is_over) && (id == NULL || *id != 0)) {
        client_listen(100);
        if (soak_now_ms() > until_ms) {
            client_complain("no answer in %d ms", CLIENT_ANSWER_MS_MAX);
            client_end_connection();
        }
    }
}

/* --- life ------------------------------------------------------------------------------------------ */

static void client_connect(const char *socket_path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    strncpy(address.sun_path, socket_path, sizeof(address.sun_path) - 1);
    while (client.fd < 0 && !client_is_told_to_end) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
            client.fd = fd;
        } else {
            close(fd);
            (void)poll(NULL, 0, 20);
        }
    }
}

/* Most holds are short; some outlive their ttl. */
static void client_hold(int64_t ttl_ms)
{
    int64_t until_ms =
        soak_now_ms() + (int64_t)soak_draw(&client.seed, soak_draw(&client.seed, 24) == 0 ? 4000 : 60);
    int64_t refresh_at_ms = soak_now_ms() + ttl_ms / 4;

    while (client.is_held && !client_is_told_to_end) {
        int64_t at_ms = soak_now_ms();

        client_listen(0);
        if (client.is_held && at_ms < client.valid_until_ms) {
            client_tell(&(struct record){
                .kind = RECORD_BELIEF, .key = client.key, .fence = client.fence, .at_ms = at_ms});
        }
        if (at_ms >= until_ms) {
            break;
        }
        if (at_ms >= refresh_at_ms) {
            (void)client_ask("refresh", "'key':'k%d'", client.key);
            refresh_at_ms = at_ms + ttl_ms / 4;
        }
        client_listen(5);
    }
}

static void client_look_around(void)
{
    switch (soak_draw(&client.seed, 12)) {
    case 0:
        (void)client_ask("inspect", "'key':'k%d'", client.key);
        break;
    case 1:
        (void)client_ask("list", "%s", "");
        break;
    case 2:
        (void)client_ask("unlock", "'key':'k%d'", client.key); /* which is not held */
        break;
    default:
        break;
    }
}

static void client_cycle(void)
{
    int64_t ttl_ms = SOAK_TTL_MS_MIN + (int64_t)soak_draw(&client.seed, SOAK_TTL_MS_MAX - SOAK_TTL_MS_MIN);
    bool is_try = soak_draw(&client.seed, 6) == 0, is_cancelled = soak_draw(&client.seed, 6) == 0;

    client_look_around();
    client.key = (int)soak_draw(&client.seed, SOAK_KEYS);
    client.is_over = client.is_held = false;
    client.fence = 0;
    if (is_try) {
        client.lock_id = client_ask("try_lock", "'key':'k%d','ttl_ms':%lld", client.key, (long long)ttl_ms);
    } else {
        client.lock_id = client_ask("lock", "'key':'k%d','ttl_ms':%lld,'wait_ms':%d", client.key,
                                    (long long)ttl_ms, (int)soak_draw(&client.seed, 8000));
    }
    if (is_cancelled && !is_try) {
        int64_t lock_id = client.lock_id;

        client_listen((int)soak_draw(&client.seed, 30));
        if (client.lock_id != 0) {
            (void)client_ask("cancel", "'id':%lld", (long long)lock_id);
        }
    }
    client_await(&client.is_over, NULL);
    if (!client.is_held) {
        (void)poll(NULL, 0, 5); /* or a refusal would be asked for again at once */
        return;
    }
    client_hold(ttl_ms);
    if (client.fd >= 0) {
        client.is_held = false;
        client.unlock_id =
            client_ask("unlock", "'key':'k%d','fence':%lld", client.key, (long long)client.fence);
        client_await(NULL, &client.unlock_id);
    }
}

_Noreturn void client_live(const char *socket_path, struct ring *ring, uint64_t seed)
{
    struct sigaction action = {.sa_handler = client_on_term};

    (void)sigaction(SIGTERM, &action, NULL);
    client.ring = ring;
    client.seed = seed;
    client.fd = -1;
    while (!client_is_told_to_end) {
        client_connect(socket_path);
        while (client.fd >= 0 && !client_is_told_to_end) {
            client_cycle();
        }
    }
    client_end_connection();
    _exit(0);
}
