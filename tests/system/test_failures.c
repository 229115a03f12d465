/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * One allocation fails, or one system call, in a whole life of the daemon: the first, the second, the
 * third, until a life passes in which none was left to fail. The life has a start, a lock cycle with a
 * second client, a broken connection to Redis, a lock that is lost, and a stop.
 *
 * However that ends, nobody may be granted what another holds, or what Redis does not have; nothing may
 * hang. Without memory the daemon ends with its one line about that, or goes on. A failed call
 * may keep it from starting, which it then says; once it serves, it goes on serving, though a request may
 * be refused by name, or a connection end.
 *
 * Each site takes a while, so only some of them are looked at, always the same. All are with
 * RLOCK_TEST_SITES=all in the environment.
 */

#include "tests/lib/fault_page.h"
#include "tests/lib/instrumented.h"
#include "tests/lib/preload.h"
#include "tests/lib/scene.h"

#include <limits.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

Suite *test_failures_suite(void);

enum {
    FAILURES_STRIDE = 7, /* between the sites that are looked at if not all are */
    FAILURES_TRIES = 4,  /* of a request: only one failure is injected */
    FAILURES_SITES_MIN = 100,
    FAILURES_S_MAX = 1800,
};

static struct failures {
    struct redis_server *redis;
    struct redisContext *probe;
    struct rlockd *rlockd;
    struct fault_page *page;
    int n_lost;
} failures;

/* --- a client that takes it calmly ----------------------------------------------------------------- */

struct caller {
    int fd; /* -1: not connected */
    size_t len;
    char bytes[8192];
};

static _Noreturn void failures_abort(const char *what)
{
    ck_abort_msg("%s, with the %s number %d failed: %s; log:\n%s", what, failures.page->name,
                 (int)failures.page->at, what, rlockd_log(failures.rlockd));
}

static void caller_close(struct caller *caller)
{
    if (caller->fd >= 0) {
        close(caller->fd);
    }
    caller->fd = -1;
    caller->len = 0;
}

static bool caller_connect(struct caller *caller)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    caller_close(caller);
    caller->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(address.sun_path, failures.rlockd->socket_path);
    if (connect(caller->fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        caller_close(caller);
        return false;
    }
    return true;
}

/* The next message; NULL: the connection has ended. To be let go. */
static json_t *caller_message(struct caller *caller)
{
    for (;;) {
        struct pollfd pollfd = {.fd = caller->fd, .events = POLLIN};
        char *end = memchr(caller->bytes, '\n', caller->len);
        ssize_t n;

        if (end != NULL) {
            json_t *message = json_loadb(caller->bytes, (size_t)(end - caller->bytes), 0, NULL);

            caller->len -= (size_t)(end + 1 - caller->bytes);
            memmove(caller->bytes, end + 1, caller->len);
            ck_assert_ptr_nonnull(message);
            failures.n_lost += member_is(message, "method", "lost");
            return message;
        }
        ck_assert_uint_lt(caller->len, sizeof(caller->bytes));
        if (poll(&pollfd, 1, AWAIT_MS_MAX) != 1) {
            failures_abort("no answer from the daemon");
        }
        n = recv(caller->fd, caller->bytes + caller->len, sizeof(caller->bytes) - caller->len, 0);
        if (n <= 0) {
            caller_close(caller);
            return NULL;
        }
        caller->len += (size_t)n;
    }
}

enum heard { HEARD_RESULT = 1, HEARD_REFUSAL, HEARD_END };

/* What Redis' state or a failed call may make of a request. */
static bool failures_is_named(const json_t *error)
{
    static const char *const reasons[] = {"held", "not_held", "timeout", "unavailable", "limit"};
    json_t *data = json_object_get(error, "data");

    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (member_is(data, "reason", reasons[i])) {
            return true;
        }
    }
    return false;
}

static enum heard caller_ask(struct caller *caller, const char *line)
{
    enum heard heard = HEARD_END;
    bool is_answer = false;
    json_t *message;

    if ((caller->fd < 0 && !caller_connect(caller)) ||
        send(caller->fd, line, strlen(line), MSG_NOSIGNAL) != (ssize_t)strlen(line)) {
        caller_close(caller);
        return HEARD_END;
    }
    while (!is_answer && (message = caller_message(caller)) != NULL) {
        json_t *error = json_object_get(message, "error");

        is_answer = json_object_get(message, "id") != NULL;
        heard = error != NULL ? HEARD_REFUSAL : HEARD_RESULT;
        if (is_answer && error != NULL && !failures_is_named(error)) {
            failures_abort(json_dumps(error, 0));
        }
        json_decref(message);
    }
    return is_answer ? heard : HEARD_END;
}

static const char *caller_line(const char *method, const char *key, const char *more)
{
    static char line[256];

    snprintf(line, sizeof(line),
             "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":{\"key\":\"%s\"%s}}\n", method, key,
             more);
    return line;
}

/* --- the daemon's life ----------------------------------------------------------------------------- */

static bool failures_has_ended(void)
{
    siginfo_t info = {0};

    return waitid(P_PID, (id_t)failures.rlockd->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid != 0;
}

/* Asks until it is granted, by another connection if need be; false: the daemon has ended. */
static bool failures_lock(struct caller *caller, const char *key, const char *more)
{
    for (int i = 0; i < FAILURES_TRIES; i++) {
        enum heard heard = caller_ask(caller, caller_line("lock", key, more));

        if (heard == HEARD_RESULT) {
            if (!probe_has(failures.probe, key)) {
                failures_abort("granted, but not held in Redis");
            }
            return true;
        }
        if (heard == HEARD_END) {
            /* The end of a process comes a little later than that of its sockets. */
            (void)poll(NULL, 0, 1);
            if (failures_has_ended()) {
                return false;
            }
        }
    }
    if (!failures_has_ended()) {
        failures_abort("a lock was not to be got");
    }
    return false;
}

/* The holder's connection stands, and it was not told of a loss: nobody else may have the lock. */
static void failures_expect_excluded(struct caller *holder, struct caller *other)
{
    int n_lost = failures.n_lost;
    struct pollfd end = {.fd = holder->fd, .events = POLLIN};

    if (holder->fd >= 0 && caller_ask(other, caller_line("try_lock", "k", "")) == HEARD_RESULT &&
        poll(&end, 1, 0) == 0 && failures.n_lost == n_lost) {
        failures_abort("granted twice");
    }
}

/* The holder's lock outlives the connection over which it was got. */
static void failures_reconnect(struct caller *holder)
{
    probe_do(failures.probe, "CLIENT KILL TYPE normal SKIPME yes");
    for (int i = 0; i < FAILURES_TRIES && holder->fd >= 0; i++) {
        if (caller_ask(holder, caller_line("refresh", "k", "")) == HEARD_RESULT) {
            return;
        }
    }
}

static void failures_live(void)
{
    struct caller holder = {.fd = -1}, other = {.fd = -1};
    int n_lost;

    if (failures_lock(&holder, "k", ",\"ttl_ms\":5000")) {
        failures_expect_excluded(&holder, &other);
        failures_reconnect(&holder);
        failures_expect_excluded(&holder, &other);
        (void)caller_ask(&holder, caller_line("unlock", "k", ""));
        (void)caller_ask(&other, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"list\",\"params\":{}}\n");
        caller_close(&other);
        if (failures_lock(&holder, "m", ",\"ttl_ms\":100,\"auto_refresh\":false")) {
            n_lost = failures.n_lost;
            while (holder.fd >= 0 && failures.n_lost == n_lost) {
                json_decref(caller_message(&holder));
            }
        }
    }
    caller_close(&holder);
    caller_close(&other);
    if (!failures_has_ended()) {
        rlockd_signal(failures.rlockd, SIGTERM);
    }
}

/* How it may end: see the head of this file. */
static void failures_expect_good_end(int status, bool was_ready)
{
    const struct fault_page *page = failures.page;
    char *log = rlockd_log(failures.rlockd);
    bool is_out_of_memory =
        status == 128 + SIGABRT && strstr(log, "rlockd: out of memory, asking for") != NULL;
    /* libuv gives up, without a word, where it gets no pipe for signals or may not watch a descriptor. */
    bool is_loop = status == 128 + SIGABRT &&
                   (strcmp(page->name, "epoll_ctl") == 0 || (!was_ready && strcmp(page->name, "pipe2") == 0));
    bool is_start = !was_ready && (status == 1 || status == 78) && log[0] != '\0';

    /* What was allocated for a start that failed goes with the process. */
    bool is_leak = is_start && strstr(log, "LeakSanitizer") != NULL;

    if ((strstr(log, "Sanitizer") != NULL && !is_leak) || strstr(log, "Assertion") != NULL ||
        !((status == 0 && was_ready) || is_start ||
          (page->kind == FAULT_MEMORY ? is_out_of_memory : is_loop))) {
        fprintf(stderr, "status %d\n", status);
        failures_abort("a bad end");
    }
    free(log);
}

/* Whether it got so far as to serve. It says so twice, and one of that may be what fails. */
static bool failures_await_ready(void)
{
    char text[64];
    bool is_ready = false;

    AWAIT(failures_has_ended() ||
          (is_ready = recv(failures.rlockd->notify_fd, text, sizeof(text), MSG_DONTWAIT) > 0 ||
                      rlockd_log_has(failures.rlockd, " serves ")));
    return is_ready;
}

/* True: something has failed in it. */
static bool failures_run(enum fault_kind kind, enum fault_error error, int at)
{
    char extra[] = "timeout = 200ms\nconnect_timeout = 1s\nreconnect_min = 1ms\nreconnect_max = 10ms\n";
    bool was_ready;

    failures.page = preload_begin("fault", FAULT_PAGE_VARIABLE, sizeof(*failures.page));
    failures.page->kind = kind;
    failures.page->error = error;
    failures.page->at = at;
    failures.rlockd = rlockd_prepare(redis_server_socket(failures.redis), extra);
    rlockd_spawn(failures.rlockd, NULL);
    preload_end(FAULT_PAGE_VARIABLE);
    was_ready = failures_await_ready();
    if (was_ready) {
        failures_live();
    }
    failures_expect_good_end(rlockd_wait(failures.rlockd), was_ready);
    rlockd_free(failures.rlockd);
    probe_do(failures.probe, "FLUSHALL");
    return failures.page->n_failed > 0;
}

static const struct failures_row {
    enum fault_kind kind;
    enum fault_error error;
} failures_rows[] = {
    {FAULT_MEMORY, FAULT_ERROR},
    {FAULT_CALL, FAULT_ERROR},
    {FAULT_CALL, FAULT_INTERRUPTED},
};

START_TEST(test_each_failure)
{
    const struct failures_row *row = &failures_rows[_i];
    const char *sites = getenv("RLOCK_TEST_SITES");
    int stride = sites != NULL && strcmp(sites, "all") == 0 ? 1 : FAILURES_STRIDE;
    int at = 1;

    if (IS_INSTRUMENTED && row->kind == FAULT_MEMORY) {
        return;
    }
    while (failures_run(row->kind, row->error, at)) {
        at += stride;
    }
    ck_assert_int_ge(at, row->error == FAULT_INTERRUPTED ? 1 : FAILURES_SITES_MIN);
    if (stride == 1) {
        printf("failures: %d sites of kind %d, error %d\n", at - 1, (int)row->kind, (int)row->error);
    }
}
END_TEST

/* No descriptor for a new client, again and again: those who are there are served, and the loop does not
 * run round and round meanwhile. */
START_TEST(test_no_descriptor_for_clients)
{
    struct client *holder, *late;
    struct fault_page *page;

    failures.page = page = preload_begin("fault", FAULT_PAGE_VARIABLE, sizeof(*page));
    page->kind = FAULT_CALL;
    strcpy(page->only, "accept4");
    failures.rlockd = rlockd_start(redis_server_socket(failures.redis), "");
    preload_end(FAULT_PAGE_VARIABLE);
    holder = client_open(failures.rlockd->socket_path);
    client_call(holder, "lock", "{'key':'k','ttl_ms':1500}");
    page->times = INT_MAX / 2;
    page->at = page->n + 1;
    late = client_open(failures.rlockd->socket_path);
    AWAIT(page->n_failed >= 1);
    AWAIT(client_stat(holder, "renewals") >= 4); /* more than a ttl */
    ck_assert_int_lt(page->n_failed, 100);
    client_call(holder, "unlock", "{'key':'k'}");
    page->at = INT_MAX;
    client_close(late);
    client_expect_nothing(client_open(failures.rlockd->socket_path));
    client_close_all();
    rlockd_signal(failures.rlockd, SIGTERM);
    ck_assert_int_eq(rlockd_wait(failures.rlockd), 0);
    rlockd_free(failures.rlockd);
}
END_TEST

static void failures_open(void)
{
    failures.redis = redis_server_start(NULL);
    failures.probe = probe_open(redis_server_socket(failures.redis));
}

static void failures_close(void)
{
    probe_close(failures.probe);
    redis_server_stop(failures.redis);
}

Suite *test_failures_suite(void)
{
    Suite *suite = suite_create("system: failures");
    TCase *tcase = tcase_create("failures");

    tcase_set_timeout(tcase, FAILURES_S_MAX);
    tcase_add_checked_fixture(tcase, failures_open, failures_close);
    tcase_add_loop_test(tcase, test_each_failure, 0, sizeof(failures_rows) / sizeof(failures_rows[0]));
    tcase_add_test(tcase, test_no_descriptor_for_clients);
    suite_add_tcase(suite, tcase);
    return suite;
}
