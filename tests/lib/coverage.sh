#!/bin/bash
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The rlockd authors
#
# usage: coverage.sh BUILD
#
# After the tests have run in a build with --coverage: which lines and branches they have reached, per
# part of the house, and for the core and the protocol the lines that they have not. Daemons that the
# tests kill do not report; those that they stop do.
set -eu

build=$1
info=$build/coverage.info

lcov --quiet --rc lcov_branch_coverage=1 --capture --directory "$build/obj" --base-directory . --no-external \
    --output-file "$info" 2>/dev/null
part() { # NAME PATTERN...
    local name=$1
    shift
    lcov --quiet --rc lcov_branch_coverage=1 --extract "$info" "$@" --output-file "$info.part" 2>/dev/null
    lcov --rc lcov_branch_coverage=1 --summary "$info.part" 2>&1 |
        awk -v name="$name" '/lines|branches/ { sub(/\.+:/, "", $1); printf "  %-8s %-9s %s\n", name, $1, $2 }'
}

echo "reached by the tests:"
part core "$PWD/daemon/core/*.c"
part proto "$PWD/proto/frame.c" "$PWD/proto/rpc.c" "$PWD/proto/message*.c" "$PWD/proto/print.c"
part all "$PWD/daemon/*.c" "$PWD/proto/*.c"

echo "lines of core and proto that are not reached:"
lcov --quiet --rc lcov_branch_coverage=1 --extract "$info" "$PWD/daemon/core/*.c" "$PWD/proto/frame.c" \
    "$PWD/proto/rpc.c" "$PWD/proto/message*.c" "$PWD/proto/print.c" --output-file "$info.part" 2>/dev/null
awk -F '[:,]' -v top="$PWD/" '
    $1 == "SF" { file = $2; sub(top, "", file) }
    $1 == "DA" && $3 == 0 { print "  " file ":" $2 }' "$info.part"
