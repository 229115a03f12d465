#!/bin/sh
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The rlockd authors
#
# usage: mutants.sh BUILD [NAME...]
#
# Tests the oracle: each file in tests/sim/mutants/ breaks one rule of the daemon or of its scripts. In a
# copy of the tree, the simulator is built with one of them at a time and run, without the core's own
# audit, until the oracle finds it. Prints what found what; fails if one is not found within the seeds.
# With names, only these.
set -eu

build=$1
shift
seeds=${SEEDS:-6000}
tree=$build/mutants
here=$PWD
failed=0

rm -rf "$tree"
mkdir -p "$tree"
cp -r Makefile daemon lua tests proto "$tree"
mkdir "$tree/as-it-is"
cp -r daemon lua "$tree/as-it-is"
# A name may be a pattern.
# shellcheck disable=SC2086
patches=$(for name in "${@:-*}"; do ls tests/sim/mutants/$name.patch; done)

make_sim() {
    make -s -C "$tree" BUILD=build build/sim >"$tree/make.log" 2>&1 || {
        cat "$tree/make.log" >&2
        echo "mutants: $1 does not build" >&2
        exit 1
    }
}

make_sim "the tree without any"
printf '%-38s %6s  %s\n' MUTANT SEED "WHAT THE ORACLE SAID"
for patch in $patches; do
    name=$(basename "$patch" .patch)
    patch -s -p1 -F0 -d "$tree" <"$here/$patch" || {
        echo "mutants: $name does not fit the sources any more" >&2
        exit 1
    }
    make_sim "$name"
    said=$(timeout 900 "$tree/build/sim" -q -u -s 1 -n "$seeds" 2>&1) || true
    found=$(printf '%s\n' "$said" | sed -n 's/^\(sim: \)\{0,1\}seed \([0-9]*\): \(.*\)/\2 \3/p' | head -n 1)
    if [ -n "$found" ]; then
        printf '%-38s %6s  %s\n' "$name" "${found%% *}" "${found#* }"
    else
        printf '%-38s %6s  %s\n' "$name" - "SURVIVES $seeds seeds"
        failed=1
    fi
    sed -n 's|^+++ b/||p' "$patch" | while read -r file; do
        cp "$tree/as-it-is/$file" "$tree/$file"
    done
done
exit $failed
