#!/bin/sh
# The judge: the only judging logic that runs inside a sandbox. POSIX sh and git are all it needs. This file is the
# head of one program made of judge.sh, git.sh, merge.sh, suite.sh and main.sh, in that order (`plan.py` joins them).
#
#   judge HOME REPOSITORY RUNNER PATCHES TESTS RULE LIMIT trial|alone|pairs
#
# HOME/in holds patch.1 … patch.PATCHES and tests.1/tests.patch … tests.TESTS/tests.patch. RULE is `git` or `union`;
# LIMIT is seconds for each run of RUNNER. `trial` merges the patches and runs every tests patch on the result; `alone`
# also runs tests.K on patch.K by itself; `pairs` merges every two patches and tests nothing.
#
# Facts are small files in HOME/facts, made at the very end, `done` last. Exit status: 0 facts are complete;
# 90–94 this image cannot be judged (the reason is on standard error). Anything else: the judge itself was ended.
#
# Code under test runs here with our own rights, so nothing it could have touched is believed. Facts wait in shell
# variables until every process of its is dead; what it must not change is compared by hash; and the whole program is
# parsed before its first command runs (a shell reads a script as it goes, and the file can be overwritten).
#
# Starting a process is what judging costs, so what the shell can do itself it does, and what one process can do for
# several files is done by one.

# shellcheck disable=SC2034,SC2154  # numbered variables are set and read through eval
set -u

fail() { # STATUS REASON
    printf '%s\n' "$2" >&2
    exit "$1"
}

now() { # → $time, hundredths of a second since boot; no process is started for it
    read -r up _ </proc/uptime
    time=$((${up%.*} * 100 + 1${up#*.} - 100))
}

find_program() { # NAME → $program; no process is started for it
    rest=${PATH:-/usr/local/bin:/usr/bin:/bin}:
    while [ -n "$rest" ]; do
        program=${rest%%:*}/$1
        rest=${rest#*:}
        case $program in
        /?*/*) [ ! -f "$program" ] || [ ! -x "$program" ] || return 0 ;;
        esac
    done
    return 1
}

fact() { # NAME VALUE
    printf '%s\n' "$2" >"$facts/$1"
}
