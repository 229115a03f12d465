#!/bin/bash
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The rlockd authors
#
# usage: run.sh BUILD
#
# A Redis of its own and a daemon on it, both on Unix sockets in BUILD/run, until Ctrl-C.
#
#     this shell --+-- redis-server   BUILD/run/redis.sock     ended last, so that locks can be given back
#                  `-- rlockd         BUILD/run/rlockd.sock    ended first, by one SIGTERM
set -eu

# On a terminal all of this is a job of its own in the foreground: Ctrl-C then reaches it and not make,
# which would call the end that was asked for an error.
if [ -t 0 ] && [ -z "${RUN_AS_JOB-}" ]; then
    set -m
    RUN_AS_JOB=yes setpriv --pdeathsig TERM "$0" "$@"
    exit
fi

build=$1
top=$PWD
mkdir -p "$build/run"
chmod 700 "$build/run"
rlockd=$(realpath "$build/rlockd")
cd "$build/run"

# One at a time; the children do not inherit the descriptor.
exec 9>lock
flock -n 9 || { echo "run: another 'make run' is using $build/run" >&2; exit 1; }

# Ctrl-C must not reach the children themselves, since they are to end in order. Should this shell be
# killed, the kernel ends them.
start() {
    setpriv --pdeathsig TERM setsid "$@" 9>&- </dev/null &
}

redis_pid='' rlockd_pid='' stopped=''
# shellcheck disable=SC2317 # called by the traps
stop() {
    stopped=yes
    [ -z "$rlockd_pid" ] || kill -TERM "$rlockd_pid" 2>/dev/null || true
}
trap stop INT TERM HUP
# shellcheck disable=SC2317
end_all() {
    local pid
    for pid in $rlockd_pid $redis_pid; do
        { kill -TERM "$pid" && wait "$pid"; } 2>/dev/null || true
    done
}
trap end_all EXIT

# wait_until WHAT PID COMMAND...: until the command succeeds; fails if the process ends before.
wait_until() {
    local what=$1 pid=$2
    shift 2
    for _ in $(seq 200); do
        "$@" >/dev/null 2>&1 && return 0
        [ -z "$stopped" ] || exit 0
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.05
    done
    echo "run: $what did not start" >&2
    exit 1
}

rm -f redis.sock rlockd.sock
start redis-server --port 0 --unixsocket redis.sock --unixsocketperm 700 --save '' --appendonly no \
    --maxmemory-policy noeviction --logfile redis.log
redis_pid=$!
wait_until "redis-server (see $build/run/redis.log)" "$redis_pid" redis-cli -s redis.sock ping

# Relative to here, since the path of a Unix socket has at most 107 bytes and a checkout may be deep.
cat >rlockd.conf <<CONF
[listen]
socket = rlockd.sock
mode = 0600
[redis]
url = unix:///proc/self/cwd/redis.sock
CONF
start "$rlockd" -c rlockd.conf
rlockd_pid=$!
wait_until rlockd "$rlockd_pid" test -S rlockd.sock

echo "rlockd runs; Ctrl-C ends it. Type in a second terminal, in $top:"
if [ -x "$top/$build/rlock" ]; then
    echo "    export RLOCK_SOCKET=$build/run/rlockd.sock"
    echo "    $build/rlock run demo -- sleep 10"
    echo "    $build/rlock list"
else
    echo "    socat - UNIX:$build/run/rlockd.sock"
    echo '    {"jsonrpc":"2.0","id":1,"method":"lock","params":{"key":"demo"}}'
    echo '    {"jsonrpc":"2.0","id":2,"method":"unlock","params":{"key":"demo"}}'
fi

# A signal interrupts `wait`; the daemon then takes a moment to end.
status=0
wait "$rlockd_pid" || status=$?
while kill -0 "$rlockd_pid" 2>/dev/null; do
    status=0
    wait "$rlockd_pid" || status=$?
done
[ -z "$stopped" ] || exit 0
echo "run: rlockd has ended with status $status" >&2
exit "$((status != 0 ? status : 1))"
