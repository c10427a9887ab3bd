#!/bin/sh
# Find and kill every process of a command's where there is nothing but a POSIX shell, grep and /proc: functions, for
# the script that comes after.
#
# A process is the command's when a variable, its tag, is in its environment, or when it descends from one of those or
# from this shell.

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

# usage: kill_all TAG [PID]
#
# Kills them, except for PID, a child of this shell. Each process is stopped as soon as it is found, so that it can neither fork nor lose its parent; the search is
# repeated until it finds nothing new, and only then they are killed.
kill_all() {
    tag=$1 self=${2-}
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
