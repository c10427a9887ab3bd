# A slot works off its share of a batch, then helps others. Work comes in chunks of items (one item, one judgement), each a line
# of the object manifest. claims/CHUNK.TRY says who is at work on a chunk; results/CHUNK.FROM.TO holds what items
# FROM to TO came to, and the chunk's last one ends in `.end`. All are written once.

batch() {
    attempt=${BATCH_TASK_RETRY_ATTEMPT:-0}
    gather=$COOPERBENCH_FLUSH
    early=1
    fetch manifest "$home/manifest" || return 1
    read -r chunks slots <"$home/manifest"
    index=$BATCH_TASK_INDEX
    # What an earlier attempt of this slot left when its machine was taken away.
    if [ "$attempt" -gt 0 ]; then
        while take_over; do :; done
    fi
    chunk=$((index * chunks / slots))
    end=$(((index + 1) * chunks / slots))
    while [ "$chunk" -lt "$end" ]; do
        ! claim "$chunk" 0 || work "$chunk" 0 || return 1
        chunk=$((chunk + 1))
    done
    while take_free || take_over; do :; done
    [ ! -e "$home/broken" ]
}

padded() { # NUMBER
    printf %06d "$1"
}

plain() { # NUMBER: without the zeros in front, which would make it octal
    number=${1#"${1%%[!0]*}"}
    echo "${number:-0}"
}

claim() { # CHUNK TRY
    line=$(sed -n "$(($1 + 2))p" "$home/manifest")
    create_text "claims/$(padded "$1").$2" "$index $attempt $(date +%s) ${line##* } $home"
}

take_free() { # a chunk nobody has claimed, if there is one
    tries=0
    while [ "$tries" -lt 5 ] && [ ! -e "$home/broken" ]; do
        list claims/ "$home/claims" || return 1
        seq -f '%06.0f' 0 $((chunks - 1)) >"$home/all"
        sed 's|^claims/||; s|\..*||' "$home/claims" | sort -u | comm -13 - "$home/all" >"$home/free"
        free=$(($(wc -l <"$home/free")))
        [ "$free" -gt 0 ] || return 1
        chunk=$(plain "$(sed -n "$((index * free / slots % free + 1))p" "$home/free")")
        if claim "$chunk" 0; then
            work "$chunk" 0
            return
        fi
        tries=$((tries + 1))
    done
    return 1
}

take_over() { # a chunk that was begun and will not be finished, if there is one
    [ ! -e "$home/broken" ] && list claims/ "$home/claims" && list results/ "$home/results" || return 1
    sed -n 's|^results/\([0-9]*\)\..*\.end$|\1|p' "$home/results" | sort -u >"$home/done"
    sed 's|^claims/||; s|\..*||' "$home/claims" | sort -u | comm -13 "$home/done" - >"$home/open"
    while read -r name; do
        try=$(sed -n "s|^claims/$name\.||p" "$home/claims" | sort -n | tail -n 1)
        fetch "claims/$name.$try" "$home/claim" || continue
        read -r owner owned since lease _ <"$home/claim"
        if { [ "$owner" = "$index" ] && [ "$owned" -lt "$attempt" ]; } || [ "$(date +%s)" -gt $((since + lease)) ]; then
            chunk=$(plain "$name")
            ! claim "$chunk" $((try + 1)) || {
                work "$chunk" $((try + 1))
                return
            }
        fi
    done <"$home/open"
    return 1
}

work() { # CHUNK TRY
    sed -n "$(($1 + 2))p" "$home/manifest" >"$home/line"
    read -r object offset script length first last _ <"$home/line"
    name=$(padded "$1")
    from=$first
    # However long its items take, a chunk becomes so many objects: each is a call to read.
    share=$(((last - first) / COOPERBENCH_PARTS + 1))
    if [ "$2" -gt 0 ] && list "results/$name." "$home/parts"; then
        reached=$(sed "s|^results/$name\.[0-9]*\.||; s|\.end\$||" "$home/parts" | sort -n | tail -n 1)
        [ -z "$reached" ] || from=$(($(plain "$reached") + 1))
    fi
    if ! fetch "$object" "$home/packed" "$offset-$((offset + length - 1))" ||
        ! gzip -d <"$home/packed" >"$home/chunk"; then
        : >"$home/broken"
        return 1
    fi
    head -c "$script" "$home/chunk" >"$home/chunk.sh"
    begin_part "$from"
    # shellcheck disable=SC1091  # lines of the harness's, their words quoted
    . "$home/chunk.sh"
    [ "$from" -gt "$last" ] || [ -e "$home/broken" ] || flush "$last" .end
}

begin_part() { # FIRST-ITEM
    part=$1
    part_begun=$(date +%s)
    : >"$home/part"
}

flush() { # LAST-ITEM [.end]
    gzip -1 -n <"$home/part" >"$home/part.gz"
    create "results/$name.$(padded "$part").$(padded "$1")${2:-}" "$home/part.gz" || [ "$status" = 412 ] ||
        [ "$status" = 200 ] || : >"$home/broken"
    early=0
    [ "$gather" -ge $((COOPERBENCH_FLUSH * 8)) ] || gather=$((gather * 2))
    begin_part $(($1 + 1))
}

is_worth_an_object() { # LAST-ITEM: whether what was gathered up to it is written now
    [ $(($(wc -c <"$home/part"))) -lt 8388608 ] || return 0
    [ $(($(date +%s) - part_begun)) -ge "$gather" ] || return 1
    [ $(($1 - part + 1)) -ge "$share" ] || [ "$early" = 1 ] # the very first soon, to show that something comes
}

# What chunk.sh consists of.
item() { # NUMBER IMAGE NETWORK SECONDS RESULTS MARKER OFFSET LENGTH ARGUMENT...
    [ "$1" -ge "$from" ] && [ ! -e "$home/broken" ] || return 0
    tail -c "+$((script + $7 + 1))" "$home/chunk" | head -c "$8" >"$home/files"
    judge "$@"
    case $kind in
    start | lost) judge "$@" ;; # once more: it says nothing of the patches
    esac
    {
        echo "$1 $kind $code $timed_out $(($(wc -c <"$w/o.out"))) $(($(wc -c <"$w/o.err"))) $facts $times"
        cat "$w/o.out" "$w/o.err"
        [ "$facts" -lt 0 ] || cat "$w/facts"
    } >>"$home/part"
    if [ "$1" -lt "$last" ] && is_worth_an_object "$1"; then
        flush "$1"
    fi
}

judge() { # as `item` → $kind $code $timed_out $facts $times, $w/o.out, $w/o.err, $w/facts
    box=cooperbench-$BATCH_JOB_UID-$index-$attempt-$1
    w=$home/box
    rm -rf "$w"
    mkdir "$w"
    kind=ok code=0 timed_out=0 facts=-1
    : >"$w/o.out"
    : >"$w/o.err"
    clock
    start=$clock
    if ! open_box "$2" /workspace "$3"; then
        kind=start
        printf '%s\n' "$why" >"$w/o.err"
        times='0 0 0 0 0'
        return
    fi
    clock
    opened=$clock
    limit=$4 results=$5 marker=$6
    shift 8
    if put_in_box / "$home/files"; then
        clock
        put=$clock
        command_within "$@"
        clock
        ran=$clock
        ! get_from_box "$results" "$w/facts" 68157440 || facts=$(($(wc -c <"$w/facts")))
    else
        kind=lost
        clock
        put=$clock ran=$clock
        cp "$w/said" "$w/o.err"
    fi
    clock
    got=$clock
    close_box
    clock
    times="$((opened - start)) $((put - opened)) $((ran - put)) $((got - ran)) $((clock - got))"
}

command_within() { # ARGUMENT...
    (
        trap 'kill $! 2>/dev/null; exit' TERM
        sleep "$limit" &
        wait $!
        : >"$w/over"
        docker kill "$box" >/dev/null 2>&1
    ) &
    watch=$!
    in_box "$w/o" 1048576 "$@"
    kill "$watch" 2>/dev/null
    read -r code <"$w/o.code"
    if [ -e "$w/over" ]; then # it outlived its limit until its container's own life ended it
        code=124 timed_out=1
    elif [ "$code" = 124 ]; then
        ! docker exec "$box" rm "$marker" </dev/null >/dev/null 2>&1 || timed_out=1
    elif [ "$code" -ne 0 ] && ! is_open; then
        kind=lost
        echo 'the container ended' >"$w/o.err"
    fi
}
