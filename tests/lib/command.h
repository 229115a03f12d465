/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */
#pragma once

/*
 * A program as a user starts it, above all rlock: what it says is waited for, what it is told is typed, and
 * its status is looked at. It dies with the test.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct command {
    pid_t pid;
    int in_fd;  /* its stdin; on a terminal both are the terminal's other side */
    int out_fd; /* its stdout and stderr */
    char *said; /* what it has said and nobody has expected yet */
    size_t said_len;
};

/* The rlock that was built, with $RLOCK_SOCKET at the scene's daemon. NULL ends the arguments. */
struct command *rlock_start(const char *arg, ...);
int rlock_status(const char *arg, ...); /* starts it and waits: its status; what it says does not matter */
/* The same, and all that it has said, to be freed. */
char *rlock_says(int status, const char *arg, ...);
const char *rlock_program(void);

/* Any program, with pipes or on a terminal of its own, in whose session it then is the first. */
struct command *command_start(const char *const *argv);
struct command *command_start_on_terminal(const char *const *argv);

/* Waits until it has said this, and forgets all up to there. */
void command_expect(struct command *command, const char *text);
/* The next line, without its end: good until the next call. NULL: there is none, its output has ended. */
char *command_line(struct command *command);
/* Waits for the end of the output: nobody has it open any more. */
void command_expect_end(struct command *command);

void command_type(struct command *command, const char *text);
void command_close_input(struct command *command);
void command_signal(const struct command *command, int signo);
void command_await_stop(pid_t pid); /* any process: until it has been stopped */

/* Waits until it ends, which must be by itself and not by a signal: its status. Frees the command. */
int command_wait(struct command *command);
/* The same for one that a signal must end: its number. */
int command_wait_signal(struct command *command);
