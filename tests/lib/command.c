/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The rlockd authors */

/*
 * Output is read only while something is expected of it; a pipe is large enough for what these programs say.
 */

#include "tests/lib/command.h"

#include "tests/lib/scene.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { COMMAND_ARGS_MAX = 32 };

#define COMMAND_COLLECT(argv, first)                                   \
    const char *argv[COMMAND_ARGS_MAX + 2] = {rlock_program(), first}; \
    do {                                                               \
        va_list args;                                                  \
        size_t n = 1;                                                  \
        va_start(args, first);                                         \
        while (argv[n] != NULL) {                                      \
            ck_assert_uint_lt(++n, COMMAND_ARGS_MAX);                  \
            argv[n] = va_arg(args, const char *);                      \
        }                                                              \
        va_end(args);                                                  \
    } while (0)

const char *rlock_program(void)
{
    static char built[256];
    const char *build = getenv("RLOCK_BUILD");

    snprintf(built, sizeof(built), "%s/rlock", build && build[0] ? build : "build");
    return built;
}

/* --- starting -------------------------------------------------------------------------------------- */

static _Noreturn void command_exec(const char *const *argv)
{
    sigset_t none;

    /* The runner ignores some, and more under nohup(1) or in the background of a script; shells and rlock pass on
     * what they find ignored. */
    for (int signo = 1; signo < SIGRTMIN; signo++) {
        (void)signal(signo, SIG_DFL);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    (void)close_range(STDERR_FILENO + 1, ~0U, 0); /* what libraries here have left open */
    execvp(argv[0], (char *const *)argv);
    _exit(125);
}

struct command *command_start(const char *const *argv)
{
    struct command *command = calloc(1, sizeof(*command));
    int in[2], out[2];

    ck_assert_ptr_nonnull(command);
    ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
    command->pid = scratch_fork();
    if (command->pid == 0) {
        (void)dup2(in[0], STDIN_FILENO);
        (void)dup2(out[1], STDOUT_FILENO);
        (void)dup2(out[1], STDERR_FILENO);
        command_exec(argv);
    }
    close(in[0]);
    close(out[1]);
    command->in_fd = in[1];
    command->out_fd = out[0];
    return command;
}

struct command *command_start_on_terminal(const char *const *argv)
{
    struct command *command = calloc(1, sizeof(*command));
    struct winsize size = {.ws_row = 24, .ws_col = 80};

    ck_assert_ptr_nonnull(command);
    command->pid = forkpty(&command->out_fd, NULL, NULL, &size);
    ck_assert_int_ge(command->pid, 0);
    if (command->pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGHUP);
        command_exec(argv);
    }
    (void)fcntl(command->out_fd, F_SETFD, FD_CLOEXEC);
    command->in_fd = command->out_fd;
    return command;
}

static struct command *rlock_start_argv(const char *const *argv)
{
    setenv("RLOCK_SOCKET", scene.rlockd->socket_path, 1);
    return command_start(argv);
}

struct command *rlock_start(const char *arg, ...)
{
    COMMAND_COLLECT(argv, arg);
    return rlock_start_argv(argv);
}

int rlock_status(const char *arg, ...)
{
    COMMAND_COLLECT(argv, arg);
    return command_wait(rlock_start_argv(argv));
}

char *rlock_says(int status, const char *arg, ...)
{
    COMMAND_COLLECT(argv, arg);
    struct command *command = rlock_start_argv(argv);
    char *said;
    int ended;

    command_expect_end(command);
    said = strdup(command->said ? command->said : "");
    ended = command_wait(command);
    ck_assert_msg(ended == status, "rlock %s %s: status %d and not %d: %s", arg, argv[2], ended, status,
                  said);
    return said;
}

/* --- what it says ---------------------------------------------------------------------------------- */

/* False: the end. A terminal's other side says EIO when nobody has it open any more. */
static bool command_read(struct command *command, const char *what)
{
    struct pollfd readable = {.fd = command->out_fd, .events = POLLIN};
    char bytes[4096];
    ssize_t len;

    ck_assert_msg(poll(&readable, 1, AWAIT_MS_MAX) == 1, "never said \"%s\" but: %s", what,
                  command->said ? command->said : "");
    len = read(command->out_fd, bytes, sizeof(bytes));
    if (len <= 0) {
        ck_assert(len == 0 || errno == EIO);
        return false;
    }
    command->said = realloc(command->said, command->said_len + (size_t)len + 1);
    ck_assert_ptr_nonnull(command->said);
    memcpy(command->said + command->said_len, bytes, (size_t)len);
    command->said_len += (size_t)len;
    command->said[command->said_len] = '\0';
    return true;
}

static void command_forget(struct command *command, size_t len)
{
    memmove(command->said, command->said + len, command->said_len - len + 1);
    command->said_len -= len;
}

void command_expect(struct command *command, const char *text)
{
    const char *found;

    while (command->said == NULL || (found = strstr(command->said, text)) == NULL) {
        bool is_open = command_read(command, text);

        ck_assert_msg(is_open, "ended before it said \"%s\": %s", text, command->said ? command->said : "");
    }
    command_forget(command, (size_t)(found - command->said) + strlen(text));
}

char *command_line(struct command *command)
{
    static char line[4096];
    const char *end;

    while (command->said == NULL || (end = strchr(command->said, '\n')) == NULL) {
        if (!command_read(command, "a line")) {
            return NULL;
        }
    }
    snprintf(line, sizeof(line), "%.*s", (int)(end - command->said), command->said);
    command_forget(command, (size_t)(end - command->said) + 1);
    return line;
}

void command_expect_end(struct command *command)
{
    while (command_read(command, "nothing more")) {
    }
}

/* --- what it is told ------------------------------------------------------------------------------- */

void command_type(struct command *command, const char *text)
{
    ck_assert_int_eq(write(command->in_fd, text, strlen(text)), (ssize_t)strlen(text));
}

void command_close_input(struct command *command)
{
    close(command->in_fd);
    command->in_fd = -1;
}

void command_signal(const struct command *command, int signo)
{
    ck_assert_int_eq(kill(command->pid, signo), 0);
}

void command_await_stop(pid_t pid)
{
    char path[64], text[512] = "";

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    for (int64_t end_ms = await_now_ms() + AWAIT_MS_MAX; strstr(text, ") T ") == NULL;) {
        FILE *file = fopen(path, "re");

        ck_assert_ptr_nonnull(file);
        ck_assert_ptr_nonnull(fgets(text, sizeof(text), file));
        fclose(file);
        ck_assert_int_lt(await_now_ms(), end_ms);
    }
}

/* --- its end --------------------------------------------------------------------------------------- */

static int command_reap(struct command *command)
{
    struct pollfd end = {.fd = (int)syscall(SYS_pidfd_open, command->pid, 0), .events = POLLIN};
    int status;

    ck_assert_int_ge(end.fd, 0);
    ck_assert_msg(poll(&end, 1, AWAIT_MS_MAX) == 1, "has not ended");
    close(end.fd);
    ck_assert_int_eq(waitpid(command->pid, &status, 0), command->pid);
    if (command->in_fd >= 0 && command->in_fd != command->out_fd) {
        close(command->in_fd);
    }
    close(command->out_fd);
    free(command->said);
    free(command);
    return status;
}

int command_wait(struct command *command)
{
    int status = command_reap(command);

    ck_assert_msg(WIFEXITED(status), "was ended by signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

int command_wait_signal(struct command *command)
{
    int status = command_reap(command);

    ck_assert(WIFSIGNALED(status));
    return WTERMSIG(status);
}
