#!/bin/bash
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The rlockd authors
#
# Every row of daemon/options.def stands in conf/rlockd.conf, in its section: the help sentence as a
# comment, then the option behind a ; with its default. And nothing else stands there. If there is a
# manual page, it names every option.
set -eu

# The rows as the file should show them: "[section] # help" and "[section] ;key = default".
wanted=$(sed -nE 's/^OPTION\((\w+), (\w+), .*, "(.*)", "(.*)"\)$/[\1] # \4\n[\1] ;\2 = \3/p' daemon/options.def | sed 's/ $//')
n_rows=$(grep -c '^OPTION(' daemon/options.def)
[ "$(grep -c '] ;' <<<"$wanted")" = "$n_rows" ] || { echo "options: a row of options.def has another form" >&2; exit 1; }
shown=$(awk '/^\[/ { section = $1; next } /^[;#]/ { print section, $0 }' conf/rlockd.conf)

failed=0
while IFS= read -r line; do
    grep -qxF -- "$line" <<<"$shown" || { echo "options: conf/rlockd.conf lacks: $line" >&2; failed=1; }
done <<<"$wanted"
while IFS= read -r line; do
    grep -qxF -- "$line" <<<"$wanted" || { echo "options: conf/rlockd.conf has no such option: $line" >&2; failed=1; }
done < <(grep '^\[[a-z]*\] ;' <<<"$shown")

if [ -e conf/rlockd.conf.5 ]; then
    while read -r key; do
        grep -qwF -- "$key" conf/rlockd.conf.5 || { echo "options: conf/rlockd.conf.5 lacks: $key" >&2; failed=1; }
    done < <(sed -nE 's/^OPTION\(\w+, (\w+),.*/\1/p' daemon/options.def)
fi
exit "$failed"
