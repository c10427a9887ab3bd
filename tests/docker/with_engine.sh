#!/bin/sh
# with_engine.sh COMMAND [ARGUMENT ...]: run it with a Docker engine: the one that answers, else one of its own, started
# for it and ended after it, which takes root.
set -eu

answers() { docker info >/dev/null 2>&1; }

fail() {
    echo "$1" >&2
    exit 1
}

command -v docker >/dev/null || fail "needs Docker (Debian: apt-get install docker.io)"
if answers; then
    exec "$@"
fi
[ -z "${DOCKER_HOST:-}" ] || fail "no engine answers at DOCKER_HOST=$DOCKER_HOST"
[ "$(id -u)" = 0 ] || fail "no Docker engine answers, and only root can start one"

log=$(mktemp)
setsid dockerd >"$log" 2>&1 </dev/null &
engine=$!
trap 'kill "$engine" 2>/dev/null || true; wait "$engine" || true; rm -f "$log"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
tries=0
until answers; do
    tries=$((tries + 1))
    if ! kill -0 "$engine" 2>/dev/null || [ "$tries" -gt 120 ]; then
        tail -n 5 "$log" >&2
        fail "dockerd does not start"
    fi
    sleep 1
done
"$@"
