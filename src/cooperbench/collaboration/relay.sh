#!/bin/sh
# relay.sh: the harness's hand in a sandbox. One call leaves an answer, then waits for requests and prints them.
#
#   relay.sh SECONDS again|on [ID ANSWER]
#
# SECONDS: how long to wait for a request; 0 only leaves the answer. "again": the harness never saw what the call
# before this one printed, so everything not answered yet is printed again. ANSWER is base64, or "@FILE".
# Prints one line for each request: its id, a blank, its contents as base64; and "!ID" when whoever asked has gone,
# so that messages it would have read are kept for the next who asks.

spool=/var/spool/coop
limit=131072 # bytes of a request that are looked at
umask 0

answer() { # ID ANSWER
    work=$spool/work/$1
    [ -L "$spool/taken/$1" ] || return 0 # answered by an earlier call that looked failed to the harness
    rm -f "$spool/taken/$1"
    if ! kill -0 "$(cat "$work/pid" 2>/dev/null)" 2>/dev/null; then
        echo "!$1"
        rm -rf "$work"
        return 0
    fi
    case $2 in
    @*) mv "${2#@}" "$work/reply.part" ;;
    *) printf '%s' "$2" | base64 -d >"$work/reply.part" ;;
    esac
    mv "$work/reply.part" "$work/reply"
    if [ -p "$work/bell" ]; then echo answered 1<>"$work/bell"; fi
}

# Prints what is ready; succeeds if there was something.
collect() {
    found=1
    for link in "$spool"/ready/*; do
        [ -L "$link" ] || continue
        id=${link##*/}
        mv "$link" "$spool/taken/$id" || continue
        if [ -f "$spool/work/$id/request" ]; then
            printf '%s ' "$id"
            head -c "$limit" "$spool/work/$id/request" | base64 | tr -d '\n'
            echo
            found=0
        else
            rm -f "$spool/taken/$id"
        fi
    done
    return "$found"
}

mkdir -p "$spool/ready" "$spool/taken" "$spool/work"
chmod 777 "$spool/ready" "$spool/taken" "$spool/work"
[ -p "$spool/bell" ] || mkfifo "$spool/bell"
[ $# -lt 4 ] || answer "$3" "$4"
[ "$1" -gt 0 ] || exit 0
if [ "$2" = again ]; then
    for link in "$spool"/taken/*; do
        [ -L "$link" ] && mv "$link" "$spool/ready/"
    done
fi

# The bell is opened before looking: a request that comes after the look rings it.
exec 3<>"$spool/bell"
collect && exit 0
(
    trap 'kill "$nap" 2>/dev/null; wait "$nap"; exit' TERM # no zombie: PID 1 may be lazy
    sleep "$1" 3>&- &
    nap=$!
    wait "$nap"
    echo >&3
) </dev/null >/dev/null 2>&1 &
timer=$!
read -r _ <&3
kill "$timer" 2>/dev/null
wait "$timer" 2>/dev/null
collect
exit 0
