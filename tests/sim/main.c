/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * usage: sim [-s SEED] [-n SEEDS] [-t STEPS] [-f FILE] [-v] [-u] [-q]
 *
 *     -s SEED   the first seed (drawn, if it is not given)
 *     -n SEEDS  how many, one after the other (1)
 *     -t STEPS  virtual seconds with faults, in each (60)
 *     -f FILE   the seeds that stand in a file, one a line, instead
 *     -v        print the trace
 *     -u        leave out the core's own audit, so that the oracle has to find what is wrong
 *     -q        print nothing but what was found
 *
 * Exit status 1 when the oracle has found something: it prints what, how to see it again, and the last
 * lines of the trace.
 */

#include "daemon/base/alloc.h"
#include "daemon/base/table.h"
#include "tests/sim/client.h"
#include "tests/sim/host.h"
#include "tests/sim/kernel.h"
#include "tests/sim/nemesis.h"
#include "tests/sim/oracle.h"
#include "tests/sim/server.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { STEPS_USUAL = 60, TRACE_LINES_SHOWN = 120, SLICE_MS = 50 };

struct sim {
    struct world *world;
    struct server *server;
    struct oracle *oracle;
    struct host *hosts;
    struct client *clients;
    struct nemesis nemesis;
    struct world_tally tally;
    int64_t virtual_ms;
};

struct options {
    uint64_t seed, n_seeds;
    int64_t steps;
    const char *file;
    bool is_verbose, is_unaudited, is_quiet;
};

/* --- one seed -------------------------------------------------------------------------------------- */

static void sim_begin(struct sim *sim, uint64_t seed, int64_t steps)
{
    struct world *world = sim->world;
    world_begin(world, seed);
    kernel_reset(seed);
    world->plan = plan_draw(seed, steps * 1000, &world->dice);
    world->server = sim->server;
    world->oracle = sim->oracle;
    world->hosts = sim->hosts;
    world->clients = sim->clients;
    world->nemesis = &sim->nemesis;
    TRACE(world, "seed %" PRIu64 ": %d hosts, %d clients each, %d keys, ttl %d to %d, trouble: %s", seed,
          world->plan.n_hosts, world->plan.n_clients, world->plan.n_keys, (int)world->plan.ttl_ms_min,
          (int)world->plan.ttl_ms_max, plan_trouble_name(world->plan.trouble));
    oracle_begin(sim->oracle, world);
    server_begin(sim->server, world);
    for (int i = 0; i < world->plan.n_hosts; i++) {
        host_begin(&sim->hosts[i], world, i);
    }
    for (int i = 0; i < world->plan.n_hosts * world->plan.n_clients; i++) {
        client_begin(&sim->clients[i], world, &sim->hosts[i / world->plan.n_clients], i);
    }
    nemesis_begin(&sim->nemesis, world);
}

/* Faults have ended: all who wait are served within the bound, and then everything goes. */
static void sim_calm_down(struct sim *sim)
{
    struct world *world = sim->world;
    int64_t patience_us = oracle_patience_ms(sim->oracle) * 1000;
    int64_t until_us = world->now_us + patience_us;
    nemesis_end(&sim->nemesis);
    world->is_calm = true;
    do {
        world_run(world, world->now_us + SLICE_MS * 1000);
    } while (world->verdict[0] == '\0' && world->now_us < until_us && !oracle_is_quiet(sim->oracle));
    if (world->verdict[0] != '\0') {
        return;
    }
    oracle_judge_waiting(sim->oracle);
    for (int i = 0; i < world->plan.n_hosts * world->plan.n_clients; i++) {
        client_leave(&sim->clients[i]);
    }
    world_run(world, world->now_us + patience_us);
    oracle_judge_rest(sim->oracle);
}

static void sim_add_up(struct sim *sim)
{
    const uint64_t *from = (const uint64_t *)&sim->world->tally;
    uint64_t *to = (uint64_t *)&sim->tally;
    for (size_t i = 0; i < sizeof(sim->tally) / sizeof(uint64_t); i++) {
        to[i] += from[i];
    }
    sim->virtual_ms += sim->world->now_us / 1000;
}

/* True: the oracle has nothing to say. */
static bool sim_run(struct sim *sim, uint64_t seed, int64_t steps)
{
    struct world *world = sim->world;
    sim_begin(sim, seed, steps);
    world_run(world, steps * 1000000);
    if (world->verdict[0] == '\0') {
        sim_calm_down(sim);
    }
    for (int i = 0; i < world->plan.n_hosts; i++) {
        host_end(&sim->hosts[i]);
    }
    sim_add_up(sim);
    world_end(world);
    return world->verdict[0] == '\0';
}

static void sim_init(struct sim *sim)
{
    *sim = (struct sim){.world = world_new(), .oracle = oracle_new()};
    sim->server = server_new(redis_model_new());
    sim->hosts = alloc_zeroed(HOSTS_MAX, sizeof(*sim->hosts));
    sim->clients = alloc_zeroed(HOSTS_MAX * CLIENTS_MAX, sizeof(*sim->clients));
}

static void sim_deinit(struct sim *sim)
{
    redis_model_free(sim->server->model);
    server_free(sim->server);
    oracle_free(sim->oracle);
    world_free(sim->world);
    free(sim->hosts);
    free(sim->clients);
}

/* --- many ------------------------------------------------------------------------------------------ */

/* An assertion of the daemon's own that fails ends the process: say where. With -v, the trace up to there
 * comes first. */
static uint64_t main_seed_now;
static const struct buf *main_trace;

static void main_on_abort(int signo)
{
    char line[96];
    int len = snprintf(line, sizeof(line), "sim: seed %" PRIu64 ": an assertion of the daemon has failed\n",
                       main_seed_now);
    (void)signo;
    (void)!write(STDOUT_FILENO, buf_bytes(main_trace), main_trace->len);
    (void)!write(STDERR_FILENO, line, (size_t)len);
}

static void main_print_tail(const struct buf *trace)
{
    const char *bytes = buf_bytes(trace), *from = bytes + trace->len;
    for (int lines = 0; from > bytes; from--) {
        if (from[-1] == '\n' && lines++ == TRACE_LINES_SHOWN) {
            break;
        }
    }
    fwrite(from, 1, (size_t)(bytes + trace->len - from), stdout);
}

static bool main_run(struct sim *sim, uint64_t seed, const struct options *options)
{
    main_seed_now = seed;
    sim->world->is_traced = options->is_verbose;
    bool is_good = sim_run(sim, seed, options->steps);
    if (options->is_verbose) {
        fwrite(buf_bytes(&sim->world->trace), 1, sim->world->trace.len, stdout);
    }
    if (is_good) {
        return true;
    }
    printf("seed %" PRIu64 ": %s\n", seed, sim->world->verdict);
    if (!options->is_verbose && !options->is_quiet) {
        /* Once more, in words. */
        sim->world->is_traced = true;
        sim_run(sim, seed, options->steps);
        main_print_tail(&sim->world->trace);
        printf("all of it: make sim SEED=%" PRIu64 " STEPS=%" PRId64 "\n", seed, options->steps);
    }
    return false;
}

/* Of this process on its core. */
static double main_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void main_print_sum(const struct sim *sim, uint64_t n_seeds, uint64_t n_failed, double seconds)
{
    const struct world_tally *tally = &sim->tally;
    printf(
        "%" PRIu64 " seeds, %" PRIu64 " failed; %.0f virtual s in %.1f s of one core, %.0f times real time\n",
        n_seeds, n_failed, (double)sim->virtual_ms / 1000, seconds, (double)sim->virtual_ms / 1000 / seconds);
    printf("%" PRIu64 " grants, %" PRIu64 " of them handed over; %" PRIu64 " at risk, %" PRIu64
           " lost; %" PRIu64 " attempts; %" PRIu64 " faults; %" PRIu64 " excused overlaps; %" PRIu64
           " events\n",
           tally->n_grants, tally->n_handovers, tally->n_at_risk, tally->n_lost, tally->n_attempts,
           tally->n_faults, tally->n_overlaps, tally->n_events);
}

static uint64_t main_run_file(struct sim *sim, const struct options *options, uint64_t *ret_n_seeds)
{
    char line[256];
    uint64_t n_failed = 0;
    FILE *file = fopen(options->file, "r");
    if (file == NULL) {
        perror(options->file);
        exit(2);
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        uint64_t seed;
        struct options own = *options;
        if (sscanf(line, "%" SCNu64 " %" SCNd64, &seed, &own.steps) < 1) {
            continue; /* a comment */
        }
        n_failed += !main_run(sim, seed, &own);
        ++*ret_n_seeds;
    }
    fclose(file);
    return n_failed;
}

static uint64_t main_run_range(struct sim *sim, const struct options *options, uint64_t *ret_n_seeds)
{
    for (uint64_t i = 0; i < options->n_seeds; i++) {
        ++*ret_n_seeds;
        if (!main_run(sim, options->seed + i, options)) {
            return 1; /* one at a time */
        }
    }
    return 0;
}

static struct options main_options(int argc, char **argv)
{
    struct options options = {.n_seeds = 1, .steps = STEPS_USUAL};
    options.seed = (uint64_t)time(NULL) * 100000;
    for (int c; (c = getopt(argc, argv, "s:n:t:f:vuq")) != -1;) {
        switch (c) {
        case 's':
            options.seed = strtoull(optarg, NULL, 10);
            break;
        case 'n':
            options.n_seeds = strtoull(optarg, NULL, 10);
            break;
        case 't':
            options.steps = strtoll(optarg, NULL, 10);
            break;
        case 'f':
            options.file = optarg;
            break;
        case 'v':
            options.is_verbose = true;
            break;
        case 'u':
            options.is_unaudited = true;
            break;
        case 'q':
            options.is_quiet = true;
            break;
        default:
            fprintf(stderr, "usage: sim [-s SEED] [-n SEEDS] [-t STEPS] [-f FILE] [-v] [-u] [-q]\n");
            exit(64);
        }
    }
    return options;
}

int main(int argc, char **argv)
{
    struct options options = main_options(argc, argv);
    struct sim sim;
    uint64_t n_seeds = 0, n_failed;
    double began = main_seconds();

    table_seed = 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGABRT, main_on_abort);
    sim_init(&sim);
    main_trace = &sim.world->trace;
    sim.world->is_unaudited = options.is_unaudited;
    if (!options.is_quiet && !options.is_verbose && options.file == NULL) {
        printf("sim: %" PRIu64 " seeds from %" PRIu64 ", %" PRId64 " steps each\n", options.n_seeds,
               options.seed, options.steps);
    }
    n_failed = options.file != NULL ? main_run_file(&sim, &options, &n_seeds)
                                    : main_run_range(&sim, &options, &n_seeds);
    if (!options.is_quiet && !options.is_verbose) {
        main_print_sum(&sim, n_seeds, n_failed, main_seconds() - began);
    }
    sim_deinit(&sim);
    return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
