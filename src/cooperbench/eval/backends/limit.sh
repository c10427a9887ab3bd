#!/bin/sh
# Run a command under a time limit where there is nothing but a POSIX shell, grep and /proc.
#
# usage: sh -c "$(cat limit.sh)" limit SECONDS MARKER TAG COMMAND [ARGUMENT...]
#
# Exits as the command does. When time is up: kills every process of the command's, creates the file MARKER and exits
# 124. A process is the command's when the variable TAG is in its environment or it descends from one of those, so
# children that changed their session or whose parents are gone are found too. The command's streams are its own:
# nothing of this script is ever written to them, and nothing of it keeps them open.

seconds=$1 marker=$2 tag=$3
shift 3

# Whether process $1 is the command's, given those found so far.
ours() {
    grep -q "$tag=" "/proc/$1/environ" && return 0
    while read -r key value; do
        [ "$key" = PPid: ] || continue
        case "$found" in *" $value "*) return 0 ;; esac
        [ "$value" = $$ ] && [ "$1" != "$self" ]
        return
    done <"/proc/$1/status"
    return 1
}

# Each process is stopped as soon as it is found, so that it can neither fork nor lose its parent; the search is
# repeated until it finds nothing new, and only then they are killed.
kill_all() {
    found=' '
    news=yes
    while [ -n "$news" ]; do
        news=
        for entry in /proc/[0-9]*; do
            pid=${entry#/proc/}
            case "$found" in *" $pid "*) continue ;; esac
            ours "$pid" || continue
            kill -STOP "$pid"
            found="$found$pid "
            news=yes
        done
    done
    # shellcheck disable=SC2086
    kill -KILL $found
    true
}

# Ends with success if it had to kill, with failure if it was sent away before.
watch() {
    trap 'kill "$!"; exit 1' TERM
    sleep "$seconds" &
    wait "$!"
    trap '' TERM
    read -r self _ </proc/self/stat
    kill_all
}

exec 4>&2 2>/dev/null
watch </dev/null >/dev/null 4>&- &
watchdog=$!
# In a subshell, so that this shell's own word on a killed child goes to its own stderr, which is nowhere.
(exec env "$tag=1" "$@" 2>&4 4>&-)
status=$?
kill -TERM "$watchdog"
if wait "$watchdog"; then
    mkdir -p "${marker%/*}" && true >"$marker"
    exit 124
fi
exit "$status"
