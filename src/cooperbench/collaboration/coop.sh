#!/bin/sh
# coop: talk to the other agents of this trial. Text is data here: it goes into a file, never through a shell.
#
# A call writes one request file and waits for the answer. The harness fetches the one and leaves the other
# (relay.sh); that is why no network is needed. Both directions have a named pipe as a doorbell, so nobody polls:
# a pipe is opened for reading and writing at once, which never blocks and keeps what is written until it is read.

spool=/var/spool/coop
limit=65536 # bytes a message may have
patience=120 # seconds the harness may take beyond what was asked for

usage() {
    cat <<'TEXT'
coop: talk to the other agents working on this task

  coop send AGENT TEXT      leave a message for one agent; TEXT "-" reads standard input
  coop broadcast TEXT       leave a message for all of them
  coop inbox                print your unread messages (each is shown once)
  coop inbox --wait SECONDS the same, waiting for the first one if there is none yet
  coop who                  who works here, and who has finished

Exit code: 0 done; 1 refused, the reason is printed; 2 wrong usage; 4 no answer.
TEXT
}

wrong() {
    printf 'coop: %s (coop --help)\n' "$1" >&2
    exit 2
}

# Sends what is in $work/request and prints the answer; ends the program with its exit code.
ask() { # SECONDS the harness may wait
    request=${work##*/}
    mkfifo "$work/bell" || exit 4
    exec 4<>"$work/bell"
    echo $$ >"$work/pid"
    # A link is made in one step: a request is seen whole or not at all.
    ln -s "$work/request" "$spool/ready/$request" || exit 4
    if [ -p "$spool/bell" ]; then echo 1<>"$spool/bell"; fi
    if timeout 1 true 2>/dev/null; then
        answer=$(timeout "$(($1 + patience))" head -n 1 <&4)
    else
        read -r answer <&4
    fi
    if [ ! -f "$work/reply" ]; then
        echo "coop: no answer from the harness (${answer:-none})" >&2
        exit 4
    fi
    code=$(head -n 1 "$work/reply")
    case $code in
    0) tail -n +2 "$work/reply" ;;
    1 | 2) tail -n +2 "$work/reply" >&2 ;;
    *) code=4 ;;
    esac
    exit "$code"
}

# Writes the request: one line that says what, then the text as it is.
compose() { # LINE [TEXT]
    work=$(mktemp -d "$spool/work/XXXXXXXXXX") || {
        echo "coop: no messages in this sandbox: $spool/work cannot be written" >&2
        exit 4
    }
    # On EXIT only: a trap for a signal would wait for the pipe to be read. What a killed call leaves, relay.sh removes.
    trap 'rm -rf "$work"' EXIT
    printf '%s\n' "$1" >"$work/request"
    [ $# -eq 2 ] || return 0
    if [ "$2" = - ]; then cat; else printf '%s' "$2"; fi >>"$work/request"
    size=$(($(wc -c <"$work/request") - ${#1} - 1))
    [ "$size" -le "$limit" ] || wrong "the message has $size bytes, $limit are allowed"
    [ "$size" -gt 0 ] || wrong "the message is empty"
}

umask 0
case ${1-} in
send)
    [ $# -eq 3 ] || wrong "send takes an agent and one text; quote it"
    case $2 in
    '' | *[!A-Za-z0-9_.-]*) wrong "'$2' cannot be an agent's name" ;;
    esac
    compose "send $2" "$3"
    ask 0
    ;;
broadcast)
    [ $# -eq 2 ] || wrong "broadcast takes one text; quote it"
    compose "broadcast" "$2"
    ask 0
    ;;
inbox)
    seconds=0
    if [ $# -eq 3 ] && [ "$2" = --wait ]; then
        seconds=$3
    elif [ $# -ne 1 ]; then
        wrong "inbox takes --wait SECONDS or nothing"
    fi
    case $seconds in
    '' | *[!0-9]* | ???????*) wrong "'$seconds' is not a whole number of seconds" ;;
    esac
    seconds=${seconds#"${seconds%%[!0]*}"} # $((010)) is 8
    seconds=${seconds:-0}
    compose "inbox $seconds"
    ask "$seconds"
    ;;
who)
    [ $# -eq 1 ] || wrong "who takes nothing"
    compose "who"
    ask 0
    ;;
-h | --help | help)
    usage
    ;;
'') wrong "say what to do" ;;
*) wrong "'$1' is unknown" ;;
esac
