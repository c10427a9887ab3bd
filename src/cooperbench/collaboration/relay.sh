#!/bin/sh
# relay.sh: the harness's hand in a sandbox. One call leaves answers, then waits for requests and prints them.
#
#   relay.sh wait|again|leave [ID ANSWER]...
#
# "wait": for a request, however long that takes; the harness ends the call when it has waited enough. "again": the
# same, and everything not answered yet is printed again, for the harness did not see all of an earlier call.
# "leave": only leave the answers. ANSWER is base64, short enough to go through a pipe in one piece, or "@FILE".
#
# Prints the request files as they are: one line each, of an id, a blank, and the request as base64. For each answer:
# "=ID" when it was left, "!ID" when whoever asked has gone, so that messages it would have read are kept for the next
# who asks. A batch of requests and answers costs a handful of processes, however many they are.

spool=/var/spool/coop
limit=180000 # bytes of a request file that are looked at
most=64      # requests that are taken at once
umask 0

for program in chmod head mkdir mkfifo mv rm; do
    command -v "$program" >/dev/null || {
        echo "the image has no $program, which agents need to work together" >&2
        exit 1
    }
done

# Whether a request has no answer yet: when it has, its link is gone. Another call may be moving it there and back.
open() { # ID
    [ -L "$spool/taken/$1" ] || [ -L "$spool/ready/$1" ] || [ -L "$spool/taken/$1" ]
}

# Leaves an answer; adds to $left what is to be said of it.
answer() { # ID ANSWER
    work=$spool/work/$1
    mark='='
    if [ -f "$spool/gone/$1" ]; then # an earlier call that looked failed to the harness has found nobody there
        mark='!'
    elif open "$1"; then # else such a call has left the answer
        pid=
        if [ -f "$work/pid" ]; then read -r pid <"$work/pid"; fi
        if ! kill -0 "$pid" 2>/dev/null; then
            mark='!'
            : >"$spool/gone/$1"
            if [ -p "$work/bell" ]; then echo gone 1<>"$work/bell"; fi # for a process it may have left reading
            rm -rf "$work"
        else
            case $2 in
            @*) mv "${2#@}" "$work/reply" && bell="file" ;;
            *) bell=$2 ;;
            esac
            if [ -p "$work/bell" ]; then echo "$bell" 1<>"$work/bell"; fi
        fi
    fi
    left="$left$mark$1
"
}

# Forgets the requests that these answers were for.
forget() { # [ID ANSWER]...
    count=$(($# / 2))
    while [ "$count" -gt 0 ]; do
        id=$1
        shift 2
        set -- "$@" "$spool/taken/$id" "$spool/ready/$id"
        count=$((count - 1))
    done
    rm -f "$@"
}

# Prints what is ready; succeeds if there was something. A link whose call has gone is no request, and stays: the
# harness may have an answer to it, and must be told that nobody is there.
collect() {
    set --
    for link in "$spool"/ready/*; do
        [ -L "$link" ] && [ -f "$spool/work/${link##*/}/request" ] || continue
        set -- "$@" "$link"
        [ $# -lt "$most" ] || break
    done
    [ $# -gt 0 ] || return 1
    mv "$@" "$spool/taken/"
    count=$#
    while [ "$count" -gt 0 ]; do
        file=$spool/work/${1##*/}/request
        shift
        if [ -f "$file" ]; then set -- "$@" "$file"; fi
        count=$((count - 1))
    done
    [ $# -gt 0 ] || return 1
    head -q -c "$limit" "$@"
}

mkdir -p "$spool/ready" "$spool/taken" "$spool/work" "$spool/gone"
chmod 777 "$spool/ready" "$spool/taken" "$spool/work"
[ -p "$spool/bell" ] || mkfifo "$spool/bell"
verb=$1
shift
if [ $# -gt 0 ]; then
    left=
    count=$(($# / 2))
    while [ "$count" -gt 0 ]; do
        answer "$1" "$2"
        set -- "$@" "$1" "$2"
        shift 2
        count=$((count - 1))
    done
    forget "$@"
    printf '%s' "$left" # only now: what is said to be left must not be told of again
fi
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
