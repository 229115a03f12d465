#!/bin/sh
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The rlockd authors
#
# Installs what building and testing need and is not there yet: on Debian and Ubuntu, with apt.
# Elsewhere it names the packages. Says nothing when all is there. More packages may be given as
# arguments.
set -eu

packages="gcc libc6-dev make pkg-config libuv1-dev libhiredis-dev libjansson-dev uuid-dev
    libsystemd-dev libxxhash-dev libinih-dev uthash-dev check
    liblua5.1-0-dev redis-server socat"

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    # Somebody on another system has installed their counterparts by hand, if the compiler finds them.
    if command -v redis-server >/dev/null && command -v pkg-config >/dev/null &&
        pkg-config --exists libuv hiredis jansson uuid libsystemd libxxhash inih check lua5.1; then
        exit 0
    fi
    echo "deps: this is neither Debian nor Ubuntu; please install the counterparts of these packages:" >&2
    echo "    $packages $*" | tr -s ' \n' ' ' >&2
    echo >&2
    exit 1
fi

missing=
for package in $packages "$@"; do
    is_installed "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "deps: please run as root: apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
    as_root=sudo
fi
echo "deps: installing$missing"

# redis-server is wanted as a program, not as a service of this machine: it is not started now (the
# packages ask policy-rc.d before they start anything), nor at the next boot. A redis-server that was
# there before is not touched.
policy=/usr/sbin/policy-rc.d
case " $missing " in
*" redis-server "*)
    if [ ! -e "$policy" ]; then
        trap '$as_root rm -f "$policy"' EXIT
        trap 'exit 130' INT
        trap 'exit 143' TERM HUP
        printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
        $as_root chmod 755 "$policy"
    fi
    ;;
esac

# Word splitting is meant: these are lists.
# shellcheck disable=SC2086
{
    $as_root apt-get update -qq
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing
}

case " $missing " in
*" redis-server "*)
    if [ -d /run/systemd/system ]; then
        $as_root systemctl disable --quiet redis-server.service
    fi
    ;;
esac
