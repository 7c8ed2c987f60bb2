#!/usr/bin/env bash
# Makes sure a real redis-server is installed: tests and benchmarks run against it, besides the embedded one.
set -euo pipefail

if command -v redis-server >/dev/null; then
    exit 0
fi
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "installing redis-server with apt-get" >&2
    # Steward starts its own private servers: keep the package from starting one for the whole machine.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >&2
    apt-get install -y -qq --no-install-recommends redis-server >&2
fi
if ! command -v redis-server >/dev/null; then
    echo "redis-server is missing and could not be installed: install it (Debian, Ubuntu: package redis-server; macOS: brew install redis)" >&2
    exit 1
fi
