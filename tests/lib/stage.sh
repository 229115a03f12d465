# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The rlockd authors
#
# Sourced by run.sh and demo.sh: a Redis and a daemon of one's own, on Unix sockets in the current directory,
# which has to be empty but for what a former stage has left. Both end with this shell.
#
#     this shell --+-- redis-server   redis.sock     ended last, so that locks can be given back
#                  `-- rlockd         rlockd.sock    ended first, by one SIGTERM

redis_pid='' rlockd_pid=''

# stage_begin NAME: one at a time in this directory; the children do not inherit the descriptor.
stage_begin() {
    exec 9>lock
    flock -n 9 || { echo "$1: another 'make $1' is using $PWD" >&2; exit 1; }
    rm -f redis.sock rlockd.sock
}

# A session of its own, since Ctrl-C must not reach the children: they are to end in order. Should this
# shell be killed, the kernel ends them.
stage_start() {
    setpriv --pdeathsig TERM setsid "$@" 9>&- </dev/null &
}

# stage_wait WHAT PID COMMAND...: until the command succeeds; fails if the process ends before.
stage_wait() {
    local what=$1 pid=$2
    shift 2
    for _ in $(seq 200); do
        "$@" >/dev/null 2>&1 && return 0
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.05
    done
    echo "$what did not start, see $PWD" >&2
    return 1
}

stage_start_redis() {
    stage_start redis-server --port 0 --unixsocket redis.sock --unixsocketperm 700 --save '' --appendonly no \
        --maxmemory-policy noeviction --logfile redis.log
    redis_pid=$!
    stage_wait redis-server "$redis_pid" redis-cli -s redis.sock ping
}

# stage_start_rlockd PROGRAM: on the Redis here. Paths are relative, since that of a Unix socket has at most
# 107 bytes and a checkout may be deep.
stage_start_rlockd() {
    printf '%s\n' '[listen]' 'socket = rlockd.sock' 'mode = 0600' '[redis]' 'url = unix:///proc/self/cwd/redis.sock' \
        >rlockd.conf
    stage_start "$1" -c rlockd.conf
    rlockd_pid=$!
    stage_wait rlockd "$rlockd_pid" test -S rlockd.sock
}

stage_end() {
    local pid
    for pid in $rlockd_pid $redis_pid; do
        { kill -CONT "$pid" && kill -TERM "$pid" && wait "$pid"; } 2>/dev/null || true
    done
}
