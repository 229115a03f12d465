/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * usage: soak [-m MINUTES] [-s SEED] RLOCKD
 *
 * A real Redis, two daemons, and client processes that lock, hold and unlock, half of them at each daemon. Each
 * second one of them all is killed, stopped for a while, or cut off, as dice say that the seed decides. What
 * the clients believe is compared all the while (history.h). At the end everybody is let go: then nothing may
 * be left in Redis, and in the first daemon, which was stopped now and then but never killed, no descriptor
 * and no memory beyond what it had at the beginning.
 *
 * Redis writes each change to its disk before it answers, so that its death loses nothing. The one excuse for two
 * holders is a step of the wall clock, by which Redis measures: a virtual machine that is stopped by its
 * host and goes on makes one. It is looked for, told, and excuses only who held a lock just then.
 */

#include "tests/soak/history.h"
#include "tests/soak/look.h"
#include "tests/soak/ring.h"

#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    N_DAEMONS = 2,
    PATH_CAP = 100,
    ACT_EVERY_MS = 1000,
    STOP_MS_MAX = 4000,
    LATE_MS_MAX = 1000, /* for `lost` to be read, where nobody was stopped or starved */
    LAST_KEY_MS_MAX = 60000,
    RSS_KIB_MAX = 4096,
    STEP_MS_MAX = 5, /* of the wall clock, between two looks: half of the least margin */
};

struct process {
    const char *name;
    int number;
    pid_t pid;            /* 0: it does not run */
    int64_t back_at_ms;   /* when it is started or continued; 0: it runs */
    int64_t disturbed_ms; /* until then it may have been stopped or away */
    bool is_stopped;
};

static struct soak {
    uint64_t seed;
    int64_t end_ms;
    const char *rlockd;
    char dir[32], redis_path[PATH_CAP], daemon_paths[N_DAEMONS][PATH_CAP];
    struct process redis, daemons[N_DAEMONS], clients[SOAK_CLIENTS];
    struct ring *rings;
    struct history *history;
    FILE *acts; /* what was done when, for whoever looks into a finding */
    uint64_t n_findings, n_acts, n_beliefs;
    uint64_t n_of_act[16], n_steps;
    int64_t wall_offset_ms;
    int64_t late_ms_max;
} soak;

/* --- processes ------------------------------------------------------------------------------------- */

/* A child that ends with us. */
static pid_t soak_fork(const char *log)
{
    pid_t pid = fork();

    if (pid < 0) {
        soak_fail("fork");
    }
    if (pid == 0) {
        char path[PATH_CAP];
        snprintf(path, sizeof(path), "%s/%s", soak.dir, log);
        int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        (void)dup2(fd, STDOUT_FILENO);
        (void)dup2(fd, STDERR_FILENO);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    }
    return pid;
}

static void soak_start(struct process *process)
{
    fflush(stdout);
    if (process == &soak.redis) {
        process->pid = soak_fork("redis.log");
        if (process->pid == 0) {
            execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", soak.redis_path, "--save",
                   "", "--appendonly", "yes", "--appendfsync", "always", "--dir", soak.dir, (char *)NULL);
            _exit(127);
        }
    } else if (process < soak.clients) {
        char conf[PATH_CAP];

        snprintf(conf, sizeof(conf), "%s/%d.conf", soak.dir, process->number);
        process->pid = soak_fork("rlockd.log");
        if (process->pid == 0) {
            execl(soak.rlockd, "rlockd", "-c", conf, (char *)NULL);
            _exit(127);
        }
    } else {
        uint64_t seed = soak_draw(&soak.seed, UINT64_MAX);

        char log[32];
        snprintf(log, sizeof(log), "client.%d.log", process->number);
        process->pid = soak_fork(log);
        if (process->pid == 0) {
            client_live(soak.daemon_paths[process->number % N_DAEMONS], &soak.rings[process->number], seed);
        }
    }
}

static void soak_write_conf(int number)
{
    char path[PATH_CAP];

    snprintf(path, sizeof(path), "%s/%d.conf", soak.dir, number);
    FILE *file = fopen(path, "we");
    if (file == NULL) {
        soak_fail(path);
    }
    fprintf(file,
            "[listen]\nsocket = %s\n[redis]\nurl = unix://%s\ntimeout = 500ms\nreconnect_max = 200ms\n"
            "[lock]\nretry_interval = 50ms\n",
            soak.daemon_paths[number], soak.redis_path);
    fclose(file);
}

static void soak_open(void)
{
    strcpy(soak.dir, "/tmp/rlockd-soak.XXXXXX");
    if (mkdtemp(soak.dir) == NULL) {
        soak_fail(soak.dir);
    }
    snprintf(soak.redis_path, PATH_CAP, "%s/redis.sock", soak.dir);
    soak.rings = mmap(NULL, sizeof(struct ring) * SOAK_CLIENTS, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (soak.rings == MAP_FAILED) {
        soak_fail("mmap");
    }
    soak.history = history_new();
    char acts[PATH_CAP];
    snprintf(acts, sizeof(acts), "%s/acts.log", soak.dir);
    soak.acts = fopen(acts, "we");
    if (soak.acts == NULL) {
        soak_fail(acts);
    }
    setvbuf(soak.acts, NULL, _IOLBF, 0);
    soak.redis = (struct process){.name = "redis"};
    soak_start(&soak.redis);
    for (int i = 0; i < N_DAEMONS; i++) {
        snprintf(soak.daemon_paths[i], PATH_CAP, "%s/%d.sock", soak.dir, i);
        soak_write_conf(i);
        soak.daemons[i] = (struct process){.name = "daemon", .number = i};
        soak_start(&soak.daemons[i]);
    }
    for (int i = 0; i < SOAK_CLIENTS; i++) {
        soak.clients[i] = (struct process){.name = "client", .number = i};
    }
}

/* --- what clients tell ----------------------------------------------------------------------------- */

static bool soak_was_disturbed(int client, int64_t at_ms)
{
    return at_ms <= soak.clients[client].disturbed_ms ||
           at_ms <= soak.daemons[client % N_DAEMONS].disturbed_ms;
}

static void soak_take(int client, const struct record *record)
{
    switch (record->kind) {
    case RECORD_BELIEF:
        soak.n_beliefs++;
        soak.n_findings +=
            (unsigned)history_note(soak.history, client, record->key, record->fence, record->at_ms);
        break;
    case RECORD_LATE:
        if (!soak_was_disturbed(client, record->at_ms)) {
            soak.late_ms_max = record->fence > soak.late_ms_max ? record->fence : soak.late_ms_max;
            if (record->fence > LATE_MS_MAX) {
                soak.n_findings++;
                printf("FINDING: client %d was told %lld ms late of a loss\n", client,
                       (long long)record->fence);
            }
        }
        break;
    case RECORD_FINDING:
        soak.n_findings++;
        printf("FINDING: client %d, k%d, at %lld: %s\n", client, record->key, (long long)record->at_ms,
               record->text);
        break;
    }
}

static void soak_listen(void)
{
    for (int i = 0; i < SOAK_CLIENTS; i++) {
        struct ring *ring = &soak.rings[i];

        for (uint32_t head = ring->head; ring->tail != head; ring->tail++) {
            soak_take(i, &ring->records[ring->tail % RING_RECORDS]);
        }
    }
}

static void soak_watch_clock(void)
{
    int64_t offset_ms = soak_wall_offset_ms(), step_ms = offset_ms - soak.wall_offset_ms;

    if (step_ms > STEP_MS_MAX || step_ms < -STEP_MS_MAX) {
        soak.n_steps++;
        printf("at %lld: this machine's clock was set, or the machine stopped: by %lld ms\n",
               (long long)soak_now_ms(), (long long)step_ms);
        history_note_step(soak.history, soak_now_ms(), SOAK_TTL_MS_MAX);
    }
    soak.wall_offset_ms = offset_ms;
}

/* --- acts ------------------------------------------------------------------------------------------ */

static void soak_kill(struct process *process, int64_t away_ms)
{
    if (process->pid == 0) {
        return;
    }
    (void)kill(process->pid, SIGKILL);
    (void)waitpid(process->pid, NULL, 0);
    process->pid = 0;
    process->is_stopped = false;
    process->back_at_ms = soak_now_ms() + away_ms;
    process->disturbed_ms = INT64_MAX;
}

static void soak_stop(struct process *process, int64_t for_ms)
{
    if (process->pid == 0 || process->is_stopped) {
        return;
    }
    (void)kill(process->pid, SIGSTOP);
    process->is_stopped = true;
    process->back_at_ms = soak_now_ms() + for_ms;
    process->disturbed_ms = INT64_MAX;
}

static void soak_bring_back(struct process *process)
{
    int64_t now_ms = soak_now_ms();

    if (process->back_at_ms == 0 || process->back_at_ms > now_ms) {
        return;
    }
    if (process->is_stopped) {
        (void)kill(process->pid, SIGCONT);
    } else {
        soak_start(process);
    }
    process->is_stopped = false;
    process->back_at_ms = 0;
    process->disturbed_ms = now_ms + 1000; /* until it has caught up */
}

static void soak_bring_all_back(bool now)
{
    struct process *all[1 + N_DAEMONS + SOAK_CLIENTS];
    int n = 0;

    all[n++] = &soak.redis;
    for (int i = 0; i < N_DAEMONS; i++) {
        all[n++] = &soak.daemons[i];
    }
    for (int i = 0; i < SOAK_CLIENTS; i++) {
        all[n++] = &soak.clients[i];
    }
    for (int i = 0; i < n; i++) {
        if (now && all[i]->back_at_ms != 0) {
            all[i]->back_at_ms = 1;
        }
        soak_bring_back(all[i]);
    }
}

/* Cuts all links to Redis, of both daemons. */
static void soak_cut_links(void)
{
    const struct timeval second = {.tv_sec = 1};
    redisContext *redis = soak.redis.pid != 0 && !soak.redis.is_stopped
                              ? redisConnectUnixWithTimeout(soak.redis_path, second)
                              : NULL;

    if (redis != NULL && redis->err == 0) {
        (void)redisSetTimeout(redis, second);
        freeReplyObject(redisCommand(redis, "CLIENT KILL TYPE normal SKIPME yes"));
    }
    if (redis != NULL) {
        redisFree(redis);
    }
}

static const char *const act_names[] = {
    "client killed", "client stopped", "daemon killed", "daemon stopped",
    "redis killed",  "redis stopped",  "links cut",     "nothing",
};
enum { N_ACTS = sizeof(act_names) / sizeof(act_names[0]) };

static void soak_act(void)
{
    static const uint8_t weights[N_ACTS] = {5, 5, 2, 2, 1, 2, 1, 2};
    uint64_t drawn = soak_draw(&soak.seed, 20), act = 0;
    int64_t for_ms = 100 + (int64_t)soak_draw(&soak.seed, STOP_MS_MAX - 100);
    uint64_t whom = soak_draw(&soak.seed, SOAK_CLIENTS);

    while (drawn >= weights[act]) {
        drawn -= weights[act++];
    }
    soak.n_acts++;
    soak.n_of_act[act]++;
    fprintf(soak.acts, "%lld %s %d, %lld ms\n", (long long)soak_now_ms(), act_names[act], (int)whom,
            (long long)for_ms);
    switch (act) {
    case 0:
        soak_kill(&soak.clients[whom], for_ms / 8);
        break;
    case 1:
        soak_stop(&soak.clients[whom], for_ms);
        break;
    case 2:
        soak_kill(&soak.daemons[1], for_ms / 4); /* the first one shall grow old */
        break;
    case 3:
        soak_stop(&soak.daemons[whom % N_DAEMONS], for_ms);
        break;
    case 4:
        soak_kill(&soak.redis, for_ms / 2);
        break;
    case 5:
        soak_stop(&soak.redis, for_ms);
        break;
    case 6:
        soak_cut_links();
        break;
    default:
        break;
    }
}

/* Nobody may end but by our hand. */
static void soak_look_for_the_dead(void)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        soak.n_findings++;
        printf("FINDING: process %d has ended by itself, status 0x%x; logs in %s\n", (int)pid, status,
               soak.dir);
        for (int i = 0; i < N_DAEMONS; i++) {
            soak.daemons[i].pid = soak.daemons[i].pid == pid ? 0 : soak.daemons[i].pid;
        }
    }
}

/* --- the beginning and the end --------------------------------------------------------------------- */

static void soak_await_start(void)
{
    for (int i = 0; i < N_DAEMONS; i++) {
        while (!soak_can_connect(soak.redis_path) || !soak_can_connect(soak.daemon_paths[i])) {
            soak_look_for_the_dead();
            if (soak.n_findings > 0) {
                exit(1);
            }
            (void)poll(NULL, 0, 10);
        }
    }
    (void)poll(NULL, 0, 500); /* for the daemons' links */
}

/* Everybody runs again, the clients give back what they hold and go, and the leases of the dead run out. */
static void soak_wind_down(void)
{
    soak_bring_all_back(true);
    for (int i = 0; i < SOAK_CLIENTS; i++) {
        (void)kill(soak.clients[i].pid, SIGTERM);
    }
    for (int i = 0; i < SOAK_CLIENTS; i++) {
        int64_t until_ms = soak_now_ms() + LAST_KEY_MS_MAX;
        int status;

        while (waitpid(soak.clients[i].pid, &status, WNOHANG) == 0) {
            soak_listen();
            (void)poll(NULL, 0, 10);
            if (soak_now_ms() > until_ms) {
                soak.n_findings++;
                printf("FINDING: client %d does not end\n", i);
                (void)kill(soak.clients[i].pid, SIGKILL);
            }
        }
        soak.clients[i].pid = 0;
    }
    soak_listen();
    int64_t until_ms = soak_now_ms() + LAST_KEY_MS_MAX;
    while (soak_n_keys(soak.redis_path, false) != 0 && soak_now_ms() < until_ms) {
        (void)poll(NULL, 0, 50);
    }
    if (soak_n_keys(soak.redis_path, true) != 0) {
        soak.n_findings++;
        printf("FINDING: keys are left in Redis\n");
    }
}

static void soak_check_size(long rss_kib, int n_fds)
{
    int64_t until_ms = soak_now_ms() + 10000;
    pid_t pid = soak.daemons[0].pid;

    while (soak_n_fds(pid) != n_fds && soak_now_ms() < until_ms) {
        (void)poll(NULL, 0, 50);
    }
    printf("the first daemon: %ld KiB resident at the beginning, %ld at the end; %d descriptors, %d\n",
           rss_kib, soak_rss_kib(pid), n_fds, soak_n_fds(pid));
    if (soak_n_fds(pid) != n_fds || soak_rss_kib(pid) > rss_kib + RSS_KIB_MAX) {
        soak.n_findings++;
        printf("FINDING: the first daemon has grown\n");
    }
}

static void soak_end_daemons(void)
{
    for (int i = 0; i < N_DAEMONS; i++) {
        int status = 0;

        (void)kill(soak.daemons[i].pid, SIGTERM);
        if (waitpid(soak.daemons[i].pid, &status, 0) != soak.daemons[i].pid || status != 0) {
            soak.n_findings++;
            printf("FINDING: daemon %d ends with status 0x%x\n", i, status);
        }
    }
    soak_kill(&soak.redis, 0);
}

static void soak_report(void)
{
    uint64_t n_requests = 0, n_answers = 0, n_grants = 0, n_lost = 0, n_refused = 0, n_ends = 0;

    for (int i = 0; i < SOAK_CLIENTS; i++) {
        const struct ring *ring = &soak.rings[i];

        n_requests += ring->n_requests;
        n_answers += ring->n_answers;
        n_grants += ring->n_grants;
        n_lost += ring->n_lost;
        n_refused += ring->n_refused;
        n_ends += ring->n_ends;
        if (ring->n_grants == 0) {
            soak.n_findings++;
            printf("FINDING: client %d was never granted anything\n", i);
        }
    }
    for (int i = 0; i < N_ACTS; i++) {
        printf("%s%s: %" PRIu64, i > 0 ? ", " : "", act_names[i], soak.n_of_act[i]);
    }
    printf("\n%" PRIu64 " requests, %" PRIu64 " answers, %" PRIu64 " connections ended\n", n_requests,
           n_answers, n_ends);
    printf("%" PRIu64 " grants (%" PRIu64 " compared, at %" PRIu64 " instants), %" PRIu64
           " refusals, %" PRIu64 " losses, the latest told %lld ms late\n",
           n_grants, history_n_grants(soak.history), soak.n_beliefs, n_refused, n_lost,
           (long long)soak.late_ms_max);
    printf("%" PRIu64 " steps of the clock, %" PRIu64 " findings\n", soak.n_steps, soak.n_findings);
}

int main(int argc, char **argv)
{
    uint64_t seed = (uint64_t)soak_now_ms();
    double minutes = 1;
    int c;

    while ((c = getopt(argc, argv, "m:s:")) != -1) {
        if (c == 'm') {
            minutes = strtod(optarg, NULL);
        } else if (c == 's') {
            seed = strtoull(optarg, NULL, 0);
        } else {
            return 64;
        }
    }
    if (optind + 1 != argc || (soak.rlockd = realpath(argv[optind], NULL)) == NULL) {
        fprintf(stderr, "usage: soak [-m MINUTES] [-s SEED] RLOCKD\n");
        return 64;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    printf("soak: seed %" PRIu64 ", %g minutes\n", seed, minutes);
    soak.seed = seed;
    soak_open();
    soak_await_start();
    long rss_kib = soak_rss_kib(soak.daemons[0].pid);
    int n_fds = soak_n_fds(soak.daemons[0].pid);

    for (int i = 0; i < SOAK_CLIENTS; i++) {
        soak_start(&soak.clients[i]);
    }
    soak.wall_offset_ms = soak_wall_offset_ms();
    int64_t act_at_ms = soak_now_ms() + ACT_EVERY_MS;
    soak.end_ms = soak_now_ms() + (int64_t)(minutes * 60000);
    while (soak_now_ms() < soak.end_ms && soak.n_findings < 20) {
        if (soak_now_ms() >= act_at_ms) {
            act_at_ms += ACT_EVERY_MS;
            soak_act();
        }
        soak_bring_all_back(false);
        soak_watch_clock(); /* before what it has led to is heard of */
        soak_listen();
        soak_look_for_the_dead();
        (void)poll(NULL, 0, 10);
    }
    soak_wind_down();
    soak_check_size(rss_kib, n_fds);
    soak_end_daemons();
    soak_report();
    soak.history = history_free(soak.history);
    if (soak.n_findings == 0) {
        soak_remove_dir(soak.dir);
    } else {
        printf("the logs are in %s; the same dice: SEED=%" PRIu64 "\n", soak.dir, seed);
    }
    return soak.n_findings == 0 ? 0 : 1;
}
