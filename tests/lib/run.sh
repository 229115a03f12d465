#!/bin/bash
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The rlockd authors
#
# usage: run.sh BUILD
#
# A Redis of its own and a daemon on it, both on Unix sockets in BUILD/run, until Ctrl-C.
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
# shellcheck source=tests/lib/stage.sh
. "$(dirname "$0")/stage.sh"
rlockd=$(realpath "$build/rlockd")
mkdir -p "$build/run"
chmod 700 "$build/run"
cd "$build/run"

stopped=''
# shellcheck disable=SC2317 # called by the trap
stop() {
    stopped=yes
    [ -z "$rlockd_pid" ] || kill -TERM "$rlockd_pid" 2>/dev/null || true
}
stage_begin run
trap stop INT TERM HUP
trap stage_end EXIT
stage_start_redis && stage_start_rlockd "$rlockd" || [ -n "$stopped" ] || exit 1
[ -z "$stopped" ] || exit 0

echo "rlockd runs; Ctrl-C ends it. Type in a second terminal, in $top:"
echo "    export RLOCK_SOCKET=$build/run/rlockd.sock"
echo "    $build/rlock run demo -- sleep 10"
echo "    $build/rlock list"

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
