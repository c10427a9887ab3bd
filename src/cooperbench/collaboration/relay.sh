#!/bin/sh
# relay.sh: the harness's hand in a sandbox. One call leaves answers, then waits for requests and prints them.
#
#   relay.sh wait|again|leave [ID ANSWER]...
#
# "wait": for a request, however long that takes; the harness ends the call when it has waited enough. "again": the
# same, and everything not answered yet is printed again, for the harness did not see all of an earlier call.
# "leave": only leave the answers. ANSWER is base64, or "@FILE".
#
# Prints one line for each request: its id, a blank, its contents as base64. For each answer: "=ID" when it was left,
# "!ID" when whoever asked has gone, so that messages it would have read are kept for the next who asks.

spool=/var/spool/coop
limit=131072 # bytes of a request that are looked at
most=64      # requests that are taken at once
umask 0

answer() { # ID ANSWER
    work=$spool/work/$1 taken=$spool/taken/$1
    # No link: an earlier call that looked failed to the harness has left the answer.
    if [ -L "$taken" ] && [ ! -f "$work/reply" ]; then
        pid=
        if [ -f "$work/pid" ]; then read -r pid <"$work/pid"; fi
        if ! kill -0 "$pid" 2>/dev/null; then
            echo "!$1"
            if [ -p "$work/bell" ]; then echo gone 1<>"$work/bell"; fi # for a process it may have left reading
            rm -rf "$work" "$taken"
            return
        fi
        case $2 in
        @*) mv "${2#@}" "$work/reply.part" ;;
        *) printf '%s' "$2" | base64 -d >"$work/reply.part" ;;
        esac
        mv "$work/reply.part" "$work/reply"
    fi
    echo "=$1"
    if [ -L "$taken" ]; then
        if [ -p "$work/bell" ]; then echo answered 1<>"$work/bell"; fi
        rm -f "$taken"
    fi
}

# Prints what is ready; succeeds if there was something.
collect() {
    found=1 count=0
    for link in "$spool"/ready/*; do
        [ -L "$link" ] || continue
        [ "$count" -lt "$most" ] || break
        count=$((count + 1))
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
verb=$1
shift
while [ $# -ge 2 ]; do
    answer "$1" "$2"
    shift 2
done
[ "$verb" != leave ] || exit 0
if [ "$verb" = again ]; then
    for link in "$spool"/taken/*; do
        [ -L "$link" ] && mv "$link" "$spool/ready/"
    done
fi

# The bell is opened before looking: a request that comes after the look rings it. It may also ring for nothing.
exec 3<>"$spool/bell"
until collect; do
    read -r _ <&3
done
