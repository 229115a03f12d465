/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * How fast one key goes round among processes: through the daemon, or, for comparison, as programs do
 * without it: SET NX PX in Redis, a compare-and-delete script to unlock, a retry every 10 ms.
 *
 *     contend awaited|paired|notified|direct SOCKET[,SOCKET...] CLIENTS SECONDS
 *     contend ring - CLIENTS SECONDS
 *
 * Each client is a process with blocking I/O that locks and unlocks as fast as it can, with nothing in
 * between. "awaited" reads the answer to unlock before it goes on; "paired" sends unlock and the next lock in
 * one write; "notified" does so too, but with unlock as a notification, which has no answer. With several
 * sockets, which are several hosts' daemons, the clients are dealt out to them in turn. "ring" is what the
 * machine does by itself: the processes hand a byte round through pipes, and nothing can be fairer.
 *
 * Counts after a fifth of a second, when all of them are under way. Prints eight numbers: grants per second,
 * grants per second to another client than the one before, the longest wait in ms, how often two were inside
 * at once, the mean wait in ms, the first socket's share of the grants in percent, and how many grants there
 * were during a wait, at the most and on average.
 *
 * The bench measures the daemon, so its clients are as cheap as clients can be: no JSON library.
 */

#include <errno.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    CONTEND_CLIENTS_MAX = 256,
    CONTEND_SOCKETS_MAX = 8,
    CONTEND_RETRY_MS = 10,
    CONTEND_RUN_IN_MS = 200,
    CONTEND_START_MS_MAX = 10000
};

#define CONTEND_KEY "bench"
#define CONTEND_DIRECT_KEY "bench-direct" /* the last holder of a run is killed, and leaves it behind */
#define CONTEND_UNLOCK \
    "if redis.call('get',KEYS[1]) == ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end"

enum manner { MANNER_AWAITED = 1, MANNER_PAIRED, MANNER_NOTIFIED, MANNER_DIRECT, MANNER_RING };

/* Shared by all processes. What only the holder writes needs no atomics but to be seen. */
struct board {
    _Atomic int inside; /* clients that believe to hold the lock */
    _Atomic int n_ready;
    _Atomic bool counts; /* from now on: what has been asked before is not looked at */
    _Atomic int64_t overlaps, grants, handovers;
    _Atomic int last_holder;
    _Atomic int64_t waiting_since_us[CONTEND_CLIENTS_MAX]; /* 0: does not wait */
    _Atomic int64_t longest_us[CONTEND_CLIENTS_MAX];
    _Atomic int64_t waited_us[CONTEND_CLIENTS_MAX]; /* in all */
    _Atomic int64_t n_waits[CONTEND_CLIENTS_MAX];
    _Atomic int64_t most_grants[CONTEND_CLIENTS_MAX];   /* during one wait */
    _Atomic int64_t grants_waited[CONTEND_CLIENTS_MAX]; /* in all */
};

/* Where the daemons, or Redis, are to be found. */
struct places {
    char *paths[CONTEND_SOCKETS_MAX];
    int n;
};

struct contender {
    struct board *board;
    int self;
    enum manner manner;
    int fd; /* to the daemon */
    char bytes[4096];
    size_t len;
    redisContext *redis;
    char value[32], digest[41];
    int from_fd, to_fd; /* the ring's neighbours */
};

static int64_t contend_now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static _Noreturn void contend_fail(const char *what)
{
    fprintf(stderr, "contend: %s: %s\n", what, strerror(errno));
    _exit(1);
}

/* -- through the daemon -- */

static int contend_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static void contender_send(const struct contender *contender, const char *text)
{
    size_t len = strlen(text);

    if (send(contender->fd, text, len, MSG_NOSIGNAL) != (ssize_t)len) {
        contend_fail("send");
    }
}

/* Reads one line, which must be a good answer. */
static void contender_answer(struct contender *contender)
{
    char *end;

    while (!(end = memchr(contender->bytes, '\n', contender->len))) {
        ssize_t got = recv(contender->fd, contender->bytes + contender->len,
                           sizeof(contender->bytes) - 1 - contender->len, 0);

        if (got <= 0) {
            contend_fail("recv");
        }
        contender->len += (size_t)got;
    }
    *end = '\0';
    if (!strstr(contender->bytes, "\"result\":")) {
        fprintf(stderr, "contend: the daemon says: %s\n", contender->bytes);
        _exit(1);
    }
    contender->len -= (size_t)(end + 1 - contender->bytes);
    memmove(contender->bytes, end + 1, contender->len);
}

#define CONTEND_REQUEST(id, method, more)                                                                    \
    "{\"jsonrpc\":\"2.0\"," id "\"method\":\"" method "\",\"params\":{\"key\":\"" CONTEND_KEY "\"" more "}}" \
    "\n"
#define CONTEND_LOCK CONTEND_REQUEST("\"id\":1,", "lock", ",\"wait_ms\":null")

static void contender_lock_here(struct contender *contender, bool is_first)
{
    if (contender->manner == MANNER_NOTIFIED && !is_first) {
        contender_send(contender, CONTEND_REQUEST("", "unlock", "") CONTEND_LOCK);
    } else if (contender->manner == MANNER_PAIRED && !is_first) {
        contender_send(contender, CONTEND_REQUEST("\"id\":2,", "unlock", "") CONTEND_LOCK);
        contender_answer(contender);
    } else {
        contender_send(contender, CONTEND_LOCK);
    }
    contender_answer(contender);
}

static void contender_unlock_here(struct contender *contender)
{
    if (contender->manner == MANNER_AWAITED) {
        contender_send(contender, CONTEND_REQUEST("\"id\":2,", "unlock", ""));
        contender_answer(contender);
    } /* else it goes with the next lock */
}

/* -- directly -- */

static redisReply *contender_redis(struct contender *contender, const char *what, redisReply *reply)
{
    if (!reply || reply->type == REDIS_REPLY_ERROR) {
        fprintf(stderr, "contend: %s: %s\n", what, reply ? reply->str : contender->redis->errstr);
        _exit(1);
    }
    return reply;
}

static void contender_open_direct(struct contender *contender, const char *path)
{
    redisReply *reply;

    contender->redis = redisConnectUnix(path);
    if (!contender->redis || contender->redis->err) {
        contend_fail("Redis");
    }
    snprintf(contender->value, sizeof(contender->value), "client-%d", contender->self);
    reply = contender_redis(contender, "SCRIPT LOAD",
                            redisCommand(contender->redis, "SCRIPT LOAD %s", CONTEND_UNLOCK));
    snprintf(contender->digest, sizeof(contender->digest), "%s", reply->str);
    freeReplyObject(reply);
    if (contender->self == 0) { /* nobody locks before all are ready */
        freeReplyObject(
            contender_redis(contender, "DEL", redisCommand(contender->redis, "DEL " CONTEND_DIRECT_KEY)));
    }
}

static void contender_lock_direct(struct contender *contender)
{
    for (;;) {
        redisReply *reply = contender_redis(
            contender, "SET",
            redisCommand(contender->redis, "SET " CONTEND_DIRECT_KEY " %s NX PX 30000", contender->value));
        bool is_ours = reply->type == REDIS_REPLY_STATUS;

        freeReplyObject(reply);
        if (is_ours) {
            return;
        }
        (void)poll(NULL, 0, CONTEND_RETRY_MS);
    }
}

static void contender_unlock_direct(struct contender *contender)
{
    freeReplyObject(contender_redis(contender, "EVALSHA",
                                    redisCommand(contender->redis, "EVALSHA %s 1 " CONTEND_DIRECT_KEY " %s",
                                                 contender->digest, contender->value)));
}

/* -- a bare ring -- */

static void contender_take(const struct contender *contender)
{
    char byte;

    if (read(contender->from_fd, &byte, 1) != 1) {
        contend_fail("read");
    }
}

static void contender_pass_on(const struct contender *contender)
{
    if (write(contender->to_fd, "", 1) != 1) {
        contend_fail("write");
    }
}

/* -- all of them -- */

static void contender_open(struct contender *contender, const char *path)
{
    if (contender->manner == MANNER_DIRECT) {
        contender_open_direct(contender, path);
    } else if (contender->manner == MANNER_RING) {
        if (contender->self == 0) {
            contender_pass_on(contender); /* the byte, to be read when all go */
        }
    } else if ((contender->fd = contend_connect(path)) < 0) {
        contend_fail("connect");
    }
}

static void contender_lock(struct contender *contender, bool is_first)
{
    if (contender->manner == MANNER_DIRECT) {
        contender_lock_direct(contender);
    } else if (contender->manner == MANNER_RING) {
        contender_take(contender);
    } else {
        contender_lock_here(contender, is_first);
    }
}

static void contender_unlock(struct contender *contender)
{
    if (contender->manner == MANNER_DIRECT) {
        contender_unlock_direct(contender);
    } else if (contender->manner == MANNER_RING) {
        contender_pass_on(contender);
    } else {
        contender_unlock_here(contender);
    }
}

/* Between lock and unlock: the shortest of critical sections, which only keeps count. */
static void contender_be_inside(struct contender *contender)
{
    struct board *board = contender->board;

    if (atomic_fetch_add(&board->inside, 1) != 0) {
        atomic_fetch_add(&board->overlaps, 1);
    }
    atomic_fetch_add(&board->grants, 1);
    if (atomic_exchange(&board->last_holder, contender->self) != contender->self) {
        atomic_fetch_add(&board->handovers, 1);
    }
    atomic_fetch_sub(&board->inside, 1);
}

static void contend_raise(_Atomic int64_t *most, int64_t value)
{
    if (value > atomic_load(most)) {
        atomic_store(most, value);
    }
}

static void contender_count(const struct contender *contender, int64_t waited_us, int64_t n_grants)
{
    struct board *board = contender->board;
    int self = contender->self;

    contend_raise(&board->longest_us[self], waited_us);
    contend_raise(&board->most_grants[self], n_grants);
    atomic_fetch_add(&board->waited_us[self], waited_us);
    atomic_fetch_add(&board->grants_waited[self], n_grants);
    atomic_fetch_add(&board->n_waits[self], 1);
}

static _Noreturn void contender_run(struct contender *contender, const char *path, int go_fd)
{
    struct board *board = contender->board;
    _Atomic int64_t *since_us = &board->waiting_since_us[contender->self];
    char byte;

    contender_open(contender, path);
    atomic_fetch_add(&board->n_ready, 1);
    (void)!read(go_fd, &byte, 1); /* ends when the parent lets all go */
    for (bool is_first = true;; is_first = false) {
        bool counts = atomic_load(&board->counts);
        int64_t asked_at_us = contend_now_us(), n_grants = atomic_load(&board->grants);

        atomic_store(since_us, asked_at_us);
        contender_lock(contender, is_first);
        n_grants = atomic_load(&board->grants) - n_grants;
        contender_be_inside(contender);
        if (counts) {
            contender_count(contender, contend_now_us() - asked_at_us, n_grants);
        }
        atomic_store(since_us, 0);
        contender_unlock(contender);
    }
}

/* A wait that the end cuts short counts as long as it has been. */
static int64_t contend_longest_us(struct board *board, int n_clients, int64_t start_us, int64_t end_us)
{
    int64_t longest_us = 0;

    for (int i = 0; i < n_clients; i++) {
        int64_t since_us = atomic_load(&board->waiting_since_us[i]);
        int64_t done_us = atomic_load(&board->longest_us[i]);
        int64_t open_us = since_us ? end_us - (since_us > start_us ? since_us : start_us) : 0;

        longest_us = done_us > longest_us ? done_us : longest_us;
        longest_us = open_us > longest_us ? open_us : longest_us;
    }
    return longest_us;
}

/* Returns whether all of them ran until they were stopped. */
static bool contend_stop(const pid_t *pids, int n_clients)
{
    bool all_ran = true;

    for (int i = 0; i < n_clients; i++) {
        all_ran = waitpid(pids[i], NULL, WNOHANG) == 0 && all_ran;
        (void)kill(pids[i], SIGSTOP); /* first all stop, so that nobody wins by the others' end */
    }
    for (int i = 0; i < n_clients; i++) {
        (void)kill(pids[i], SIGKILL);
        (void)waitpid(pids[i], NULL, 0);
    }
    return all_ran;
}

static bool contend_await_server(const char *path)
{
    for (int i = 0; i < CONTEND_START_MS_MAX / 10; i++) {
        int fd = contend_connect(path);

        if (fd >= 0) {
            close(fd);
            return true;
        }
        (void)poll(NULL, 0, 10);
    }
    return false;
}

static void contend_find(struct places *places, char *list)
{
    for (char *path = strtok(list, ","); path != NULL && places->n < CONTEND_SOCKETS_MAX;
         path = strtok(NULL, ",")) {
        if (!contend_await_server(path)) {
            contend_fail(path);
        }
        places->paths[places->n++] = path;
    }
}

/* Of what has been summed up by each client: for one wait. */
static double contend_mean(struct board *board, _Atomic int64_t *sums, int n_clients)
{
    int64_t sum = 0, n_waits = 0;

    for (int i = 0; i < n_clients; i++) {
        sum += atomic_load(&sums[i]);
        n_waits += atomic_load(&board->n_waits[i]);
    }
    return n_waits > 0 ? (double)sum / (double)n_waits : 0;
}

static int64_t contend_most_grants(struct board *board, int n_clients)
{
    int64_t most = 0;

    for (int i = 0; i < n_clients; i++) {
        most = atomic_load(&board->most_grants[i]) > most ? atomic_load(&board->most_grants[i]) : most;
    }
    return most;
}

/* Of the grants, how many percent went to clients of the first place. */
static double contend_share(struct board *board, int n_clients, int n_places)
{
    int64_t n_first = 0, n_all = 0;

    for (int i = 0; i < n_clients; i++) {
        int64_t n = atomic_load(&board->n_waits[i]);

        n_all += n;
        n_first += n_places > 0 && i % n_places == 0 ? n : 0;
    }
    return n_all > 0 ? (double)n_first * 100 / (double)n_all : 0;
}

/* Starts them; each reads from the pipe behind it what the one behind it writes. Returns what lets them go. */
static int contend_start(struct board *board, enum manner manner, const struct places *places, pid_t *pids,
                         int n_clients)
{
    int ring_fds[CONTEND_CLIENTS_MAX][2], go_fds[2];

    if (pipe(go_fds) != 0) {
        contend_fail("start");
    }
    for (int i = 0; manner == MANNER_RING && i < n_clients; i++) {
        if (pipe(ring_fds[i]) != 0) {
            contend_fail("start");
        }
    }
    for (int i = 0; i < n_clients; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            struct contender contender = {.board = board, .self = i, .manner = manner};

            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
            close(go_fds[1]);
            if (manner == MANNER_RING) {
                contender.from_fd = ring_fds[i][0];
                contender.to_fd = ring_fds[(i + 1) % n_clients][1];
            }
            contender_run(&contender, places->n > 0 ? places->paths[i % places->n] : NULL, go_fds[0]);
        }
    }
    for (int i = 0; atomic_load(&board->n_ready) < n_clients; i++) {
        if (i == CONTEND_START_MS_MAX) {
            contend_fail("the clients do not get ready");
        }
        (void)poll(NULL, 0, 1);
    }
    return go_fds[1];
}

static int contend(enum manner manner, const struct places *places, int n_clients, int seconds)
{
    struct board *board =
        mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pids[CONTEND_CLIENTS_MAX];
    int64_t start_us, end_us, grants, handovers;
    bool all_ran;

    if (board == MAP_FAILED) {
        contend_fail("start");
    }
    atomic_store(&board->last_holder, -1);
    close(contend_start(board, manner, places, pids, n_clients));
    (void)poll(NULL, 0, CONTEND_RUN_IN_MS);
    grants = -atomic_load(&board->grants);
    handovers = -atomic_load(&board->handovers);
    atomic_store(&board->counts, true);
    start_us = contend_now_us();
    (void)poll(NULL, 0, seconds * 1000);
    end_us = contend_now_us();
    grants += atomic_load(&board->grants);
    handovers += atomic_load(&board->handovers);
    all_ran = contend_stop(pids, n_clients);
    printf("%.0f %.0f %.2f %lld %.3f %.1f %lld %.2f\n", (double)grants * 1e6 / (double)(end_us - start_us),
           (double)handovers * 1e6 / (double)(end_us - start_us),
           (double)contend_longest_us(board, n_clients, start_us, end_us) / 1e3,
           (long long)atomic_load(&board->overlaps), contend_mean(board, board->waited_us, n_clients) / 1e3,
           contend_share(board, n_clients, places->n), (long long)contend_most_grants(board, n_clients),
           contend_mean(board, board->grants_waited, n_clients));
    return all_ran && grants > 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    static const char *const names[] = {
        [MANNER_AWAITED] = "awaited", [MANNER_PAIRED] = "paired", [MANNER_NOTIFIED] = "notified",
        [MANNER_DIRECT] = "direct",   [MANNER_RING] = "ring",
    };
    struct places places = {0};
    int n_clients = argc == 5 ? atoi(argv[3]) : 0, seconds = argc == 5 ? atoi(argv[4]) : 0;

    for (int manner = MANNER_AWAITED;
         n_clients > 0 && n_clients <= CONTEND_CLIENTS_MAX && manner <= MANNER_RING; manner++) {
        if (strcmp(argv[1], names[manner]) == 0) {
            if (manner != MANNER_RING) {
                contend_find(&places, argv[2]);
            }
            return contend((enum manner)manner, &places, n_clients, seconds);
        }
    }
    fprintf(stderr, "usage: contend awaited|paired|notified|direct SOCKET[,SOCKET...] CLIENTS SECONDS\n"
                    "       contend ring - CLIENTS SECONDS\n");
    return 64;
}
