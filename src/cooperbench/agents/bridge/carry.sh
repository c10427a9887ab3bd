#!/bin/sh
# carry.sh: the harness's hand in the bridge's spool.
#
#   carry.sh SPOOL wait        waits for requests and prints them, one a line: id, a blank, base64
#   carry.sh SPOOL leave ID    the answer put at SPOOL/answered/ID.part is whole
#   carry.sh SPOOL again       what was fetched and never answered is a request again

spool=$1
mkdir -p "$spool/asked" "$spool/fetched" "$spool/answered"
[ -p "$spool/bell" ] || mkfifo "$spool/bell" 2>/dev/null || [ -p "$spool/bell" ] || exit 1

collect() {
    found=1
    for file in "$spool"/asked/*; do
        case $file in
        *.part | *'*') continue ;;
        esac
        id=${file##*/}
        printf '%s ' "$id"
        base64 <"$file" | tr -d '\n'
        echo
        mv "$file" "$spool/fetched/$id"
        found=0
    done
    return "$found"
}

case $2 in
leave)
    mv "$spool/answered/$3.part" "$spool/answered/$3"
    rm -f "$spool/fetched/$3"
    ;;
again)
    for file in "$spool"/fetched/*; do
        [ -f "$file" ] && mv "$file" "$spool/asked/"
    done
    exit 0
    ;;
*)
    # The bell is opened before looking: a request that comes after the look rings it.
    exec 3<>"$spool/bell"
    until collect; do
        read -r _ <&3
    done
    ;;
esac
