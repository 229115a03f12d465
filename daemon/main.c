/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * The command line of the daemon, and the state of the process that everything else relies on:
 * descriptors 0 to 2 are open, SIGPIPE is ignored, and as many files may be opened as the system
 * allows. Then daemon.c takes over.
 */

#include "daemon/base/log.h"
#include "daemon/config.h"
#include "daemon/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

static const char main_help[] =
    "usage: rlockd [-c FILE] [-t]\n"
    "\n"
    "Gives the processes of this host locks that are kept in Redis.\n"
    "\n"
    "  -c, --config FILE   read FILE instead of " CONFIG_PATH "\n"
    "  -t, --test          check the configuration and exit: 0 if it is good, 1 if not\n"
    "  -V, --version       print the version and exit\n"
    "  -h, --help          print this and exit\n"
    "\n"
    "SIGHUP reads the configuration again; SIGTERM and SIGINT stop.\n"
    "Exit status: 0 stopped, 1 could not start, 64 wrong usage, 78 bad configuration.\n";

/* A descriptor that the parent closed would be given to the first socket, and be written to as stderr. */
static int main_open_standard_fds(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR);
        if (fd < 0 && errno != EINTR) {
            log_error("cannot open /dev/null: %s", strerror(errno)); /* if there is somebody to be told */
            return -1;
        }
    } while (fd <= STDERR_FILENO);
    close(fd);
    return 0;
}

static void main_ignore_sigpipe(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    sigemptyset(&ignore.sa_mask);
    (void)sigaction(SIGPIPE, &ignore, NULL); /* cannot fail with these arguments */
}

/* Each client costs a descriptor or two. The soft limit is low for the sake of select(), unused here. */
static void main_raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) {
        return;
    }
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        log_warning("cannot raise the number of open files: %s", strerror(errno));
    }
}

struct main_options {
    const char *config_path; /* NULL: the default one */
    bool is_test;
};

/* Returns -1 to go on, or the exit status. */
static int main_parse(int argc, char **argv, struct main_options *ret)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"test", no_argument, NULL, 't'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "c:tVh", options, NULL)) != -1) {
        switch (c) {
        case 'c':
            ret->config_path = optarg;
            break;
        case 't':
            ret->is_test = true;
            break;
        case 'V':
            puts("rlockd " RLOCKD_VERSION);
            return EXIT_SUCCESS;
        case 'h':
            fputs(main_help, stdout);
            return EXIT_SUCCESS;
        default: /* getopt_long() has said what is wrong */
            fputs("Try: rlockd --help\n", stderr);
            return EX_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "rlockd: takes no argument: %s\nTry: rlockd --help\n", argv[optind]);
        return EX_USAGE;
    }
    return -1;
}

static int main_test_config(const char *config_path)
{
    struct config *config;
    char error[CONFIG_ERROR_CAP];

    if (config_load(&config, config_path, error) != 0) {
        fprintf(stderr, "%s\n", error);
        return EXIT_FAILURE;
    }
    config_free(config);
    printf("%s: ok\n", config_path != NULL ? config_path : CONFIG_PATH);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct main_options options = {0};
    struct config *config;
    char error[CONFIG_ERROR_CAP];

    main_ignore_sigpipe();
    if (main_open_standard_fds() != 0) {
        return EXIT_FAILURE;
    }
    int status = main_parse(argc, argv, &options);
    if (status >= 0) {
        return status;
    }
    if (options.is_test) {
        return main_test_config(options.config_path);
    }
    if (config_load(&config, options.config_path, error) != 0) {
        log_error("%s", error);
        return EX_CONFIG;
    }
    log_setup((enum log_level)config->log_level, config->log_with_priority);
    if (options.config_path == NULL && access(CONFIG_PATH, F_OK) != 0) {
        log_info("there is no " CONFIG_PATH "; all options have their defaults");
    }
    if (geteuid() == 0) {
        log_warning("running as root; a user of its own is enough");
    }
    main_raise_file_limit();
    status = daemon_run(config, options.config_path);
    config_free(config);
    return status;
}
