#!/bin/sh
# Run a command under a time limit where there is nothing but a POSIX shell, grep and /proc.
#
# usage: sh -c "$(cat hunt.sh limit.sh)" limit SECONDS MARKER TAG COMMAND [ARGUMENT...]
#
# Exits as the command does. When time is up: kills every process of the command's, creates the file MARKER and exits
# 124. A process is the command's when the variable TAG is in its environment or it descends from one of those, so
# children that changed their session or whose parents are gone are found too. The command's streams are its own:
# nothing of this script is ever written to them, and nothing of it keeps them open.

seconds=$1 marker=$2 tag=$3
shift 3

# Ends with success if it had to kill, with failure if it was sent away before.
watch() {
    trap 'kill "$!"; exit 1' TERM
    sleep "$seconds" &
    wait "$!"
    trap '' TERM
    read -r self _ </proc/self/stat
    kill_all "$tag" "$self"
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
