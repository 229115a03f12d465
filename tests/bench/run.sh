#!/bin/sh
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The rlockd authors
#
# Measures the daemon beside programs that do without it, on one Redis, in turns in one run, and
# prints medians and ratios. It judges nothing: it fails only when something does not run.
#
# Servers and clients are each started in a session of their own: the kernel shares the processor
# between sessions first, so within one session a crowd of clients would starve the servers.
#
#   RLOCK_BUILD  where the programs are (build)     ROUNDS   how often each is run (5)
#   SECONDS_EACH how long each run takes (3)        CLIENTS  how many contend (64)
#
# Two daemons on that Redis stand for two hosts, with eight clients each.
set -eu

build=${RLOCK_BUILD:-build}
rounds=${ROUNDS:-5}
seconds=${SECONDS_EACH:-3}
clients=${CLIENTS:-64}
contend=$build/bench/contend

dir=$(mktemp -d /tmp/rlockd-bench.XXXXXX)
redis_pid='' rlockd_pid='' second_pid=''

finish() {
    status=$?
    trap - EXIT INT TERM
    for pid in $second_pid $rlockd_pid $redis_pid; do
        if kill "$pid" 2>/dev/null; then wait "$pid" 2>/dev/null || :; fi
    done
    if [ "$status" -ne 0 ] && [ -s "$dir/rlockd.log" ]; then
        tail -n 20 "$dir/rlockd.log" >&2
    fi
    rm -rf "$dir"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

setsid redis-server --port 0 --unixsocket "$dir/redis.sock" --save '' --appendonly no --dir "$dir" \
    >"$dir/redis.log" 2>&1 &
redis_pid=$!
printf '[listen]\nsocket = %s\n[redis]\nurl = unix://%s\n' "$dir/rlockd.sock" "$dir/redis.sock" >"$dir/rlockd.conf"
"$contend" direct "$dir/redis.sock" 1 1 >/dev/null # waits for it, and warms it up
setsid "$build/rlockd" -c "$dir/rlockd.conf" >"$dir/rlockd.log" 2>&1 &
rlockd_pid=$!
sed "s|^socket = .*|socket = $dir/second.sock|" "$dir/rlockd.conf" >"$dir/second.conf"
setsid "$build/rlockd" -c "$dir/second.conf" >"$dir/second.log" 2>&1 &
second_pid=$!

# run NAME MANNER SOCKETS CLIENTS: one run, appended to DIR/NAME.CLIENTS; last comes how many scripts it took
run() {
    redis-cli -s "$dir/redis.sock" config resetstat >/dev/null
    numbers=$(setsid -w "$contend" "$2" "$3" "$4" "$seconds")
    scripts=$(redis-cli -s "$dir/redis.sock" info commandstats |
        sed -n 's/^cmdstat_evalsha:calls=\([0-9]*\).*/\1/p')
    echo "$numbers ${scripts:-0}" >>"$dir/$1.$4"
}

# measure MANNER CLIENTS
measure() {
    case $1 in
    direct) run "$1" "$1" "$dir/redis.sock" "$2" ;;
    *) run "$1" "$1" "$dir/rlockd.sock" "$2" ;;
    esac
}

# measure_hosts MANNER CLIENTS: the same with two daemons
measure_hosts() {
    run "hosts-$1" "$1" "$dir/rlockd.sock,$dir/second.sock" "$2"
}

# median MANNER CLIENTS COLUMN
median() {
    awk -v column="$3" '{ print $column }' "$dir/$1.$2" | sort -n |
        awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'
}

# ratio A B: A / B
ratio() {
    awk -v a="$1" -v b="$2" 'BEGIN { if (b > 0) printf "%.2f", a / b; else printf "-" }'
}

echo "$rounds rounds of $seconds s each, in turns; medians"
round=0
while [ "$round" -lt "$rounds" ]; do
    for n in "$clients" 1; do
        for manner in direct awaited notified; do
            measure "$manner" "$n"
        done
    done
    measure direct 16
    measure ring 16
    measure_hosts paired 16
    measure_hosts notified 16
    round=$((round + 1))
done

if awk '$4 != 0 { found = 1 } END { exit !found }' "$dir"/*.1 "$dir"/*.16 "$dir"/*."$clients"; then
    echo "bench: two clients were inside at once" >&2
    exit 1
fi

line='%-52s %12s %12s %9s %9s\n'
# shellcheck disable=SC2059 # one format for all lines
row() { printf "$line" "$@"; }

# compare WHAT CLIENTS COLUMN TARGET-AWAITED TARGET-NOTIFIED
compare() {
    direct=$(median direct "$2" "$3")
    for manner in awaited notified; do
        [ "$manner" = awaited ] && target=$4 || target=$5
        ours=$(median "$manner" "$2" "$3")
        row "$1, unlock $manner" "$ours" "$direct" "$(ratio "$ours" "$direct")" "$target"
    done
}

row '' rlockd direct ratio target
compare "$clients clients, hand-overs/s" "$clients" 2 '>= 4' '>= 4'
compare "$clients clients, longest wait in ms" "$clients" 3 '<= 0.20' '<= 0.20'
compare "$clients clients, grants/s" "$clients" 1 '' ''
compare '1 client, lock-unlock cycles/s' 1 1 '>= 0.45' '>= 0.75'

# scripts MANNER CLIENTS: run for a grant, the fifth of a second before the counting included
scripts() {
    awk -v s="$seconds" '{ printf "%.4f\n", $9 / ($1 * (s + 0.2)) }' "$dir/$1.$2" | sort -n |
        awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'
}

row "$clients clients, scripts run for a grant" "$(scripts awaited "$clients")" '' '' '<= 0.01'

direct=$(median direct 16 2)
for manner in paired notified; do
    ours=$(median "hosts-$manner" 16 2)
    row "2 hosts, 8 clients each, hand-overs/s, $manner" "$ours" "$direct" "$(ratio "$ours" "$direct")" '>= 8'
    row '  the first host'"'"'s share in %' "$(median "hosts-$manner" 16 6)" '' '' '45 to 55'
    row '  scripts run for a grant' "$(scripts "hosts-$manner" 16)" '' '' '<= 0.5'
    longest=$(median "hosts-$manner" 16 7) mean=$(median "hosts-$manner" 16 8)
    row '  longest and mean wait, in grants meanwhile' "$longest" "$mean" "$(ratio "$longest" "$mean")" '<= 4'
    longest=$(median "hosts-$manner" 16 3) mean=$(median "hosts-$manner" 16 5)
    row '  longest and mean wait, in ms' "$longest" "$mean" "$(ratio "$longest" "$mean")" '<= 4'
done
longest=$(median ring 16 3) mean=$(median ring 16 5)
row 'a bare ring of 16, longest and mean wait, in ms' "$longest" "$mean" "$(ratio "$longest" "$mean")" ''
