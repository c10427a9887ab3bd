#!/bin/sh
# relay.sh: the harness's hand in a sandbox. One call leaves an answer, then waits for requests and prints them.
#
#   relay.sh wait|again|leave [ID ANSWER]
#
# "wait": for a request, however long that takes; the harness ends the call when it has waited enough. "again": the
# same, and everything not answered yet is printed again, for the harness did not see all of an earlier call.
# "leave": only leave the answer. ANSWER is base64, or "@FILE".
#
# Prints one line for each request: its id, a blank, its contents as base64. For the answer: "=ID" when it was left,
# "!ID" when whoever asked has gone, so that messages it would have read are kept for the next who asks.

spool=/var/spool/coop
limit=131072 # bytes of a request that are looked at
umask 0

answer() { # ID ANSWER
    work=$spool/work/$1
    if [ ! -L "$spool/taken/$1" ]; then # by an earlier call that looked failed to the harness
        echo "=$1"
        return 0
    fi
    rm -f "$spool/taken/$1"
    if ! kill -0 "$(cat "$work/pid" 2>/dev/null)" 2>/dev/null; then
        echo "!$1"
        if [ -p "$work/bell" ]; then echo gone 1<>"$work/bell"; fi # for a process it may have left reading
        rm -rf "$work"
        return 0
    fi
    case $2 in
    @*) mv "${2#@}" "$work/reply.part" ;;
    *) printf '%s' "$2" | base64 -d >"$work/reply.part" ;;
    esac
    mv "$work/reply.part" "$work/reply"
    if [ -p "$work/bell" ]; then echo answered 1<>"$work/bell"; fi
    echo "=$1"
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
[ $# -lt 3 ] || answer "$2" "$3"
[ "$1" != leave ] || exit 0
if [ "$1" = again ]; then
    for link in "$spool"/taken/*; do
        [ -L "$link" ] && mv "$link" "$spool/ready/"
    done
fi

# The bell is opened before looking: a request that comes after the look rings it. It may also ring for nothing.
exec 3<>"$spool/bell"
until collect; do
    read -r _ <&3
done
