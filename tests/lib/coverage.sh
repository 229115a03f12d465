#!/bin/bash
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The rlockd authors
#
# usage: coverage.sh BUILD
#
# After the tests have run in a build with --coverage: which lines and branches they have reached, per
# part of the house, and for the core and the protocol the lines that they have not, with their text. Fails
# below the limits. tests/README.md says why the rest is not reached. Daemons that the tests kill do not
# report; those that they stop do.
#
# The branch on which an assertion fails is not counted: no test can take it.
set -eu

build=$1
info=$build/coverage.info
failed=0

run_lcov() {
    lcov --quiet --rc lcov_branch_coverage=1 --rc 'lcov_excl_br_line=assert\(' "$@" 2>/dev/null
}

run_lcov --capture --directory "$build/obj" --base-directory . --no-external --output-file "$info"

part() { # NAME LINES_MIN BRANCHES_MIN PATTERN...
    local name=$1 lines_min=$2 branches_min=$3
    shift 3
    run_lcov --extract "$info" "$@" --output-file "$info.part"
    lcov --rc lcov_branch_coverage=1 --summary "$info.part" 2>&1 |
        awk -v name="$name" -v lines="$lines_min" -v branches="$branches_min" '
            /lines|branches/ {
                sub(/\.+:/, "", $1)
                least = $1 == "lines" ? lines : branches
                printf "  %-6s %-9s %6s, of at least %d%%%s\n", name, $1, $2, least, $2 + 0 < least ? ": TOO FEW" : ""
                too_few += $2 + 0 < least
            }
            END { exit too_few > 0 }' || failed=1
}

echo "reached by the tests:"
part core 95 85 "$PWD/daemon/core/*.c"
part proto 95 85 "$PWD/proto/frame.c" "$PWD/proto/rpc.c" "$PWD/proto/message*.c" "$PWD/proto/print.c"
part all 90 0 "$PWD/daemon/*.c" "$PWD/proto/*.c"

echo "lines of core and proto that are not reached:"
run_lcov --extract "$info" "$PWD/daemon/core/*.c" "$PWD/proto/frame.c" \
    "$PWD/proto/rpc.c" "$PWD/proto/message*.c" "$PWD/proto/print.c" --output-file "$info.part"
awk -F '[:,]' -v top="$PWD/" '
    $1 == "SF" { file = $2; sub(top, "", file) }
    $1 == "DA" && $3 == 0 { print file, $2 }' "$info.part" |
    while read -r file line; do
        printf '  %s:%d: %s\n' "$file" "$line" "$(sed -n "${line}s/^ *//p" "$file")"
    done
exit "$failed"
