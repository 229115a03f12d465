#!/bin/bash
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The rlockd authors
#
# usage: layers.sh OBJECTS
#
# Who may include whom. The parts of the house know of each other only what this table allows. Then
# the linker is asked the same about the core: whatever it needs from outside must be on a short
# list, so that "does no I/O and reads no clock" is a fact and not a promise.
set -eu

objects=$1
failed=0

complain() {
    echo "layers: $*" >&2
    failed=1
}

# files : house headers they may include : libraries besides libc. The first row that fits counts.
table='
proto/(client|rlock)           : proto/                                                          : jansson uthash utlist
proto/                        : proto/                                                          : jansson
daemon/base/                  : daemon/base/                                                    : uthash utlist xxhash
daemon/core/                  : daemon/core/ daemon/base/(alloc|buf|err|heap|stats|table)\.     :
daemon/local/(listener|conn)\. : daemon/local/(listener|conn)\. daemon/base/ proto/frame\.      : uv
daemon/local/status\.         : daemon/local/ daemon/base/ daemon/core/ proto/(errors|message|print|rpc)\. : jansson
daemon/local/                 : daemon/local/ daemon/base/ daemon/engine\. daemon/core/(broker|event|effect)\. proto/(errors|message|print|rpc)\. : jansson
daemon/redis/(judge|store)\.  : daemon/redis/ daemon/base/ daemon/engine\. daemon/core/(event|effect)\. : uuid
daemon/redis/script\.         : daemon/redis/script\. daemon/base/ gen/                         :
daemon/redis/resp\.           : daemon/redis/resp\. daemon/base/                                : hiredis
daemon/redis/                 : daemon/redis/ daemon/base/                                      : uv
daemon/engine\.               : daemon/engine\. daemon/base/ daemon/core/(broker|event|effect)\. : uv
daemon/notify\.               : daemon/notify\. daemon/base/                                    : systemd
daemon/config\.               : daemon/(config|options?|secret|url|value)\. daemon/base/        : ini
daemon/(option|secret|url|value)\. : daemon/(option|secret|url|value)\. daemon/base/            :
daemon/main\.                 : daemon/(daemon|config)\. daemon/base/                           :
daemon/                       : daemon/ proto/message\.                                         : uv uuid
'
# What counts as a library; everything else in <> is libc or the kernel.
libraries='<(uv\.h|hiredis/.*|jansson\.h|systemd/.*|ini\.h|uuid/.*|uthash\.h|utlist\.h|xxhash\.h|check\.h|lua.*)>'

check_file() {
    local file=$1 files headers libs include
    while IFS=: read -r files headers libs; do
        files=${files// /}
        if [ -n "$files" ] && [[ $file =~ ^$files ]]; then
            break
        fi
    done <<<"$table"
    headers=$(xargs <<<"$headers" | tr ' ' '|')
    libs=$(xargs <<<"$libs" | tr ' ' '|')
    while read -r include; do
        case $include in
        \"*) [[ $include =~ ^\"($headers) ]] || complain "$file may not include $include" ;;
        \<*)
            if [[ $include =~ $libraries ]] && ! { [ -n "$libs" ] && [[ $include =~ ^\<($libs)[./] ]]; }; then
                complain "$file may not include $include"
            fi
            ;;
        esac
    done < <(sed -nE 's/^ *# *include *(["<][^">]*[">]).*/\1/p' "$file")
}

while read -r file; do
    check_file "$file"
done < <(find daemon proto -name '*.[ch]' | sort)

# Bytes, strings and the memory that alloc.h has given: nothing that waits, writes or tells the time.
pure='^(mem(cpy|cmp|move|set|chr)|__mem(cpy|move|set)_chk|str(n?len|n?cmp)|v?snprintf|__v?snprintf_chk|free|qsort'
pure+='|__assert_fail|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|XXH3_64bits_withSeed|__(ubsan|asan)_.*)$'
if compgen -G "$objects/daemon/core/*.o" >/dev/null; then
    base=()
    for part in alloc buf heap table; do
        base+=("$objects/daemon/base/$part.o")
    done
    while read -r symbol; do
        [[ $symbol =~ $pure ]] || complain "daemon/core needs $symbol() from outside"
    done < <(comm -23 <(nm -u "$objects"/daemon/core/*.o | awk '$1 == "U" { print $2 }' | sort -u) \
        <(nm --defined-only "$objects"/daemon/core/*.o "${base[@]}" | awk 'NF == 3 { print $3 }' | sort -u))
fi

exit "$failed"
