#!/bin/bash
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The rlockd authors
#
# Every dialogue in proto/examples stands in proto/protocol.md, and every client in README.md, word for
# word: what readers see there is what the tests run. A client without the library is short.
set -eu

failed=0
for file in proto/examples/*.jsonl; do
    [ -e "$file" ] || continue
    if [ ! -e proto/protocol.md ] || ! [[ $(<proto/protocol.md) == *"$(<"$file")"* ]]; then
        echo "examples: proto/protocol.md does not quote $file" >&2
        failed=1
    fi
done
for file in proto/examples/client.*; do
    if ! [[ $(<README.md) == *"$(<"$file")"* ]]; then
        echo "examples: README.md does not quote $file" >&2
        failed=1
    fi
    if [[ $file != *.c ]] && [ "$(grep -cvE '^\s*(#|//|$)' "$file")" -gt 30 ]; then
        echo "examples: $file has more than 30 lines" >&2
        failed=1
    fi
done
exit "$failed"
