#!/bin/sh
# Give the regular files directly in a directory as base64 text, one piece a call.
#
# usage: sh -c "$(cat send.sh)" send SPOOL OFFSET CHUNK DIRECTORY LIMIT COUNT
#
# At OFFSET 0 a compressed tar archive of the files is made in SPOOL. Every call prints the length of SPOOL on a line,
# then CHUNK bytes of it from OFFSET on as base64; the call that reaches the end removes it. Links, directories and
# special files are left out; more than COUNT files or LIMIT bytes of archive is an error.
set -eu
spool=$1 offset=$2 chunk=$3 directory=$4 limit=$5 count=$6

fail() {
    rm -f "$spool" "$spool.tar" "$spool.done"
    printf '%s\n' "$1" >&2
    exit 1
}

pack() {
    cd "$directory" 2>/dev/null || fail "no such directory: $directory"
    set --
    for name in * .[!.]* ..?*; do
        if [ ! -f "$name" ] || [ -L "$name" ]; then continue; fi
        set -- "$@" "./$name"
        [ "$#" -le "$count" ] || fail "more than $count files in $directory"
    done
    : >"$spool.tar"
    if [ "$#" -gt 0 ]; then
        # head bounds what is written, whatever the files are; the file .done says that tar saw nothing wrong.
        { tar -cf - "$@" && : >"$spool.done"; } | head -c "$((limit + 1))" >"$spool.tar"
        [ "$(wc -c <"$spool.tar")" -le "$limit" ] || fail "more than $limit bytes in $directory"
        [ -e "$spool.done" ] || fail "tar could not read $directory"
    fi
    gzip -1c "$spool.tar" >"$spool"
    rm -f "$spool.tar" "$spool.done"
}

umask 077
mkdir -p "${spool%/*}"
[ "$offset" -gt 0 ] || pack
total=$(($(wc -c <"$spool")))
echo "$total"
tail -c "+$((offset + 1))" "$spool" | head -c "$chunk" | base64
[ "$((offset + chunk))" -lt "$total" ] || rm -f "$spool"
