/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * rlock, the command line of rlockd: finds the command and calls it. It stands on librlock alone.
 *
 *     rlock.c --> run, hold --> session (lock, signals, clock) --> librlock --> the daemon
 *            |      `--> child (process group, terminal)              ^
 *            `--> show, admin --> reach -------------------------------'
 */

#include "proto/rlock_args.h"
#include "proto/rlock_commands.h"
#include "proto/rlock_text.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

static const char help[] = "usage: rlock run  [OPTION...] KEY [--] COMMAND [ARG...]   run it under a lock\n"
                           "       rlock hold [OPTION...] KEY       hold a lock until stdin ends\n"
                           "       rlock list [PREFIX]              what this host holds and waits for\n"
                           "       rlock show KEY                   who has it, wherever that is\n"
                           "       rlock stats | ping               the daemon's counters; is it there?\n"
                           "       rlock force-unlock KEY           take it away from whoever has it\n"
                           "       rlock call METHOD [JSON]         any method of the protocol\n"
                           "\n"
                           "  -n, --nonblock             do not wait for the lock\n"
                           "  -w, --wait SECONDS         wait that long (0.5, forever); else lock.wait\n"
                           "  -t, --ttl SECONDS          its expiry if this host dies; renewed until then\n"
                           "  -E, --conflict-exit-code CODE   the exit status if the lock was not got (1)\n"
                           "  -k, --kill-after SECONDS   run: from TERM to KILL, when the lock is lost (5)\n"
                           "      --json                 list to force-unlock: the daemon's answer as it is\n"
                           "  -h, --help    -V, --version\n"
                           "\n"
                           "run gives the lock back when the command has ended, hold prints \"KEY FENCE\".\n"
                           "The command sees RLOCK_KEY and RLOCK_FENCE. The daemon is at $RLOCK_SOCKET, or\n"
                           "else at /run/rlockd/rlockd.sock.\n"
                           "Exit status: the command's, 128 + n if signal n ended it; 1 not got, 75 lost;\n"
                           "64 usage, 69 no daemon, 126 cannot be executed, 127 not found. See rlock(1).\n";

static const struct command {
    const char *name;
    enum args_shape shape;
    int (*call)(const struct args *args);
} commands[] = {
    {"run", ARGS_RUN, run_command},
    {"hold", ARGS_HOLD, hold_command},
    {"list", ARGS_SHOW_SOME, show_list},
    {"show", ARGS_SHOW_ONE, show_key},
    {"stats", ARGS_SHOW, show_stats},
    {"ping", ARGS_SHOW, show_ping},
    {"force-unlock", ARGS_SHOW_ONE, admin_force_unlock},
    {"call", ARGS_CALL, admin_call},
};

static const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

/* A standard descriptor that is closed would be given to the connection, and be written to as stderr. The
 * command still finds it closed. */
static void command_keep_standard_fds(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    close(fd);
}

static int command_call(const struct command *command, int argc, char **argv)
{
    struct args args;
    int status = args_parse(command->shape, argc, argv, &args);
    if (status < 0) {
        fputs(help, stdout);
        return EXIT_SUCCESS;
    }
    return status > 0 ? status : command->call(&args);
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    const struct command *command = command_find(name);
    int status = EXIT_SUCCESS;
    command_keep_standard_fds();
    if (command != NULL) {
        status = command_call(command, argc - 1, argv + 1);
    } else if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0) {
        fputs(help, stdout);
    } else if (strcmp(name, "-V") == 0 || strcmp(name, "--version") == 0) {
        puts("rlock " RLOCKD_VERSION);
    } else if (name[0] == '\0') {
        fputs(help, stderr);
        return EX_USAGE;
    } else {
        text_warn("there is no command \"%s\"; see rlock --help", name);
        return EX_USAGE;
    }
    if (fflush(stdout) != 0 && status == EXIT_SUCCESS) {
        text_warn("cannot write the output");
        status = EX_IOERR;
    }
    return status;
}
