#!/bin/bash
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The rlockd authors
#
# usage: demo.sh BUILD
#
# A scene that ends by itself: what rlockd is for, in a quarter of a minute. Each line says when it
# happened. Exits 0 only if everything did happen as it should.
set -eu

build=$1
# shellcheck source=tests/lib/stage.sh
. "$(dirname "$0")/stage.sh"
rlockd=$(realpath "$build/rlockd")
rlock=$(realpath "$build/rlock")
mkdir -p "$build/demo"
chmod 700 "$build/demo"
cd "$build/demo"
export RLOCK_SOCKET=rlockd.sock

now_ms() {
    echo "$((${EPOCHREALTIME/[^0-9]/} / 1000))"
}
begin_ms=$(now_ms)

say() {
    local ms=$(($(now_ms) - begin_ms))
    printf '%3d.%03d  %s\n' "$((ms / 1000))" "$((ms % 1000))" "$*"
}

scene() {
    echo
    say "== $*"
}

fail() {
    say "FAILED: $*" >&2
    exit 1
}

# as NAME ARG...: rlock with these arguments in the background, its lines with the name before them, its pid in
# NAME.pid. $! is who ends with its status when all has been said.
as() {
    local name=$1
    shift
    rm -f "$name.pid"
    # shellcheck disable=SC2016 # for the inner shell
    (
        sh -c 'echo $$ >"$0.pid"; exec "$@"' "$name" "$rlock" "$@" 2>&1 |
            while IFS= read -r line; do say "  $name: $line"; done
        exit "${PIPESTATUS[0]}"
    ) 2>&1 9>&- &
}

# expect_status STATUS PID
expect_status() {
    local status=0
    wait "$2" || status=$?
    [ "$status" = "$1" ] || fail "rlock ended with status $status"
}

# until_there FILE: a command makes it when it has come so far.
until_there() {
    for _ in $(seq 200); do
        [ ! -e "$1" ] || return 0
        sleep 0.05
    done
    fail "waited in vain for $1"
}

stage_begin demo
rm -f turns here-*
trap 'exit 1' INT TERM HUP
trap stage_end EXIT
stage_start_redis
stage_start_rlockd "$rlockd" 2>rlockd.log
say "a Redis and an rlockd of our own run in $PWD"

# ------------------------------------------------------------------------------------------------------
scene "Three contenders for one lock take turns, in the order in which they asked"
pids=()
# shellcheck disable=SC2016 # for the inner shell
turn='echo "begins, with fence $RLOCK_FENCE"; echo "begin $RLOCK_FENCE" >>turns; sleep 0.4
    echo "end $RLOCK_FENCE" >>turns; echo "ends"'
for name in ada ben cleo; do
    as "$name" run printer -- sh -c "$turn"
    pids+=($!)
    sleep 0.1
done
for pid in "${pids[@]}"; do
    expect_status 0 "$pid"
done
awk '$1 != (NR % 2 ? "begin" : "end") || (NR % 2 ? $2 <= last : $2 != last) { exit 1 } { last = $2 } END { exit NR != 6 }' \
    turns || fail "their turns overlapped"
say "nobody overlapped with anybody, and each fence is larger than the one before"

# ------------------------------------------------------------------------------------------------------
scene "One is killed while it holds a lock of 30 s"
as ada run -t 30 printer -- sh -c 'trap "echo \"my rlock is gone, so I stop\"; exit" TERM
    echo "has the lock"; : >here-ada; while :; do sleep 0.05; done'
ada=$!
until_there here-ada
as ben run printer -- echo "has the lock"
ben=$!
sleep 0.3
say "kill -9 of ada's rlock"
killed_ms=$(now_ms)
kill -9 "$(<ada.pid)"
expect_status 0 "$ben"
took_ms=$(($(now_ms) - killed_ms))
[ "$took_ms" -lt 5000 ] || fail "ben had to wait for $took_ms ms"
say "ben was done $took_ms ms after that: he did not have to wait for the 30 s"
expect_status 137 "$ada"

# ------------------------------------------------------------------------------------------------------
scene "A lease of 1 s is held for 3 s, since rlockd renews it"
as cleo run -t 1 printer -- sh -c ': >here-cleo; until [ -e here-enough ]; do sleep 0.05; done
    echo "ends, and had the lock all the time"'
cleo=$!
until_there here-cleo
held_ms=$(now_ms)
while [ "$(($(now_ms) - held_ms))" -lt 3000 ]; do
    sleep 0.5
    left_ms=$(redis-cli -s redis.sock pttl printer)
    say "in Redis it has $left_ms ms left"
    [ "$left_ms" -gt 0 ] || fail "the lease is over"
done
: >here-enough
expect_status 0 "$cleo"

# ------------------------------------------------------------------------------------------------------
scene "Redis stops; the holder of a lease of 3 s is told in time"
as ada run -t 3 printer -- sh -c 'trap "echo \"I was told, and stop\"; : >here-told; exit" TERM
    echo "has the lock"; : >here-again; sleep 60 & wait'
ada=$!
until_there here-again
say "Redis is stopped"
kill -STOP "$redis_pid"
stopped_ms=$(now_ms)
expect_status 75 "$ada"
took_ms=$(($(now_ms) - stopped_ms))
[ -e here-told ] || fail "the command was not told"
# The last renewal was before Redis stopped, so the lease cannot have outlived this.
[ "$took_ms" -lt 2970 ] || fail "that took $took_ms ms"
say "rlock has ended with status 75, $took_ms ms after Redis has stopped; now Redis goes on"
kill -CONT "$redis_pid"
as ben run -w 10 printer -- echo "has the lock"
expect_status 0 $!

scene "All of that happened as it should"
