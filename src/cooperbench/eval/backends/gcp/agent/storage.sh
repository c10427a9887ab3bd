#!/bin/sh
# The agent: serves sandboxes, or a batch of judgements, on a machine of the vendor's. Needs a POSIX shell, curl,
# coreutils, gzip, sed, grep, docker and iptables; all of it is outside the containers it makes. This file is the head of one
# program made of storage.sh, box.sh, sandbox.sh, batch.sh and main.sh, in that order (`agent.py` joins them).
#
# Here: objects in the bucket. Each is written once, on the condition that it does not exist; a write whose answer was
# lost is told from somebody else's by what is there.
set -u

storage=${COOPERBENCH_STORAGE:-https://storage.googleapis.com}
metadata=${COOPERBENCH_METADATA:-http://metadata.google.internal}
bucket=$COOPERBENCH_BUCKET
top=$COOPERBENCH_PREFIX
home=$(mktemp -d) || exit 1

say() { # TEXT: for the job's log
    printf '%s\n' "$1" >&2
}

clock() { # → $clock, hundredths of a second since boot; no process is started for it
    read -r up _ </proc/uptime
    clock=$((${up%.*} * 100 + 1${up#*.} - 100))
}

authorize() { # a valid token in $home/header
    renew=0
    [ ! -e "$home/renew" ] || read -r renew <"$home/renew"
    clock
    [ "$clock" -ge "$renew" ] || return 0
    curl -sS -f --retry 5 --retry-connrefused --max-time 60 -H 'Metadata-Flavor: Google' -o "$home/token.$1" \
        "$metadata/computeMetadata/v1/instance/service-accounts/default/token" || return 1
    token=$(tr -d '\n' <"$home/token.$1" | sed 's/.*"access_token" *: *"\([^"]*\)".*/\1/')
    seconds=$(tr -d '\n' <"$home/token.$1" | sed 's/.*"expires_in" *: *\([0-9][0-9]*\).*/\1/')
    printf 'Authorization: Bearer %s\n' "$token" >"$home/token.$1"
    mv -f "$home/token.$1" "$home/header"
    printf '%s\n' $((clock + seconds * 50)) >"$home/renew.$1"
    mv -f "$home/renew.$1" "$home/renew"
}

# One request, repeated until it has an answer that means something; gives up after some minutes.
request() { # FILE-FOR-THE-ANSWER ARGUMENT-OF-CURL... → $status
    answer=$1
    shift
    pause=1
    while :; do
        status=000
        if authorize "$word"; then
            status=$(curl -sS --max-time 600 --connect-timeout 20 -o "$answer" -w '%{http_code}' \
                -H "@$home/header" "$@" 2>/dev/null) ||
                case $status in 2??) status=000 ;; esac # an answer cut short is none
        fi
        case $status in
        2??) return 0 ;;
        400 | 403 | 404 | 412 | 416) return 1 ;;
        401) rm -f "$home/renew" ;;
        esac
        [ "$pause" -le 64 ] || return 1
        sleep "$pause"
        pause=$((pause * 2))
    done
}

fetch() { # NAME FILE [RANGE]
    if [ $# -gt 2 ]; then
        request "$2" -r "$3" "$storage/$bucket/$top/$1"
    else
        request "$2" "$storage/$bucket/$top/$1"
    fi
}

# Success: the object is there and holds this file's bytes. Failure: somebody else's does, or it cannot be written.
create() { # NAME FILE
    request "$home/answer.$word" -T "$2" -H 'Expect:' -H 'x-goog-if-generation-match: 0' \
        -H 'Content-Type: application/octet-stream' "$storage/$bucket/$top/$1" && return 0
    [ "$status" = 412 ] || {
        say "cannot write $1: status $status"
        return 1
    }
    fetch "$1" "$home/there.$word" && cmp -s "$home/there.$word" "$2"
}

create_text() { # NAME TEXT
    printf '%s\n' "$2" >"$home/text.$word"
    create "$1" "$home/text.$word"
}

# shellcheck disable=SC2020  # each of the characters becomes a line feed
list() { # PREFIX FILE: the names below it, without the prefix of this job, one a line
    page=
    : >"$2"
    while :; do
        request "$home/page.$word" "$storage/storage/v1/b/$bucket/o?prefix=$top/$1&fields=items(name),nextPageToken$page" ||
            return 1
        tr ',{}' '\n\n\n' <"$home/page.$word" | sed -n "s|^.*\"name\" *: *\"$top/\([^\"]*\)\".*\$|\1|p" >>"$2"
        next=$(tr ',{}' '\n\n\n' <"$home/page.$word" | sed -n 's/^.*"nextPageToken" *: *"\([^"]*\)".*$/\1/p')
        [ -n "$next" ] || return 0
        page="&pageToken=$(printf %s "$next" | sed 's/+/%2B/g; s/=/%3D/g; s|/|%2F|g')"
    done
}
