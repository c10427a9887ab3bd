# A slot serves sandboxes one after another. A sandbox is an object lease/SLOT/NUMBER; what is said to it and what it answers are
# objects below box/SLOT-NUMBER: in/N the command, f/N its bytes, out/N its answer, ready and gone its life.

slot() {
    number=1
    quiet=0
    clock
    idle=$clock
    while :; do
        word=$number
        if fetch "lease/$BATCH_TASK_INDEX/$number" "$home/lease"; then
            # shellcheck disable=SC1091  # a line of ours
            (. "$home/lease")
            [ "$COOPERBENCH_REUSE" = yes ] || return 0
            number=$((number + 1))
            quiet=0
            clock
            idle=$clock
        elif [ "$status" != 404 ]; then
            return 1
        else
            doze 50
            clock
            [ $(((clock - idle) / 100)) -le "$COOPERBENCH_IDLE" ] || return 0
        fi
    done
}

lease() { # IMAGE WORKDIR NETWORK SECONDS: what an object lease/… says
    here=box/$BATCH_TASK_INDEX-$number
    box=cooperbench-$BATCH_JOB_UID-$BATCH_TASK_INDEX-$number
    w=$home/$number
    mkdir "$w" || exit 1
    if ! open_box "$1" "$2" "$3"; then
        create_text "$here/gone" "start $why"
    elif create_text "$here/ready" "$w"; then
        expire "$4" &
        watch=$!
        serve
        kill "$watch" 2>/dev/null
    else
        create_text "$here/gone" "lost its machine was replaced"
    fi
    close_box
    rm -rf "$w"
}

# The end of its life: the container first, then the word.
expire() { # SECONDS
    word=$number.life
    trap 'kill $! 2>/dev/null; exit' TERM
    sleep "$1" &
    wait $!
    : >"$w/ending"
    docker kill "$box" >/dev/null 2>&1
    create_text "$here/gone" timeout
    : >"$w/over"
}

serve() {
    turn=1
    quiet=0
    while [ ! -e "$w/over" ]; do
        if fetch "$here/in/$turn" "$w/in.$turn"; then
            read -r first <"$w/in.$turn"
            [ "$first" != stop ] || return 0
            (perform) &
            turn=$((turn + 1))
            quiet=0
        elif [ "$status" != 404 ]; then
            return 1
        else
            doze 100
        fi
    done
}

# Between two looks: short while something was seen a while ago, longer after that.
doze() { # LOOKS
    quiet=$((quiet + 1))
    if [ "$quiet" -lt "$1" ]; then
        sleep 0.05
    else
        sleep 0.5
    fi
}

perform() { # what in/$turn says, and its answer
    word=$number.$turn
    mine=$w/$turn
    echo 0 >"$mine.code"
    : >"$mine.out"
    : >"$mine.err"
    # shellcheck disable=SC1090  # a line of the harness's, its words quoted
    . "$w/in.$turn"
    read -r code <"$mine.code"
    # A container that has ended gives its commands an exit code too, which is not theirs.
    if { [ "$code" -ge 125 ] || grep -q '^Error' "$mine.err"; } && ! is_open; then
        [ -e "$w/ending" ] || {
            create_text "$here/gone" "lost the container ended"
            : >"$w/over"
        }
        return
    fi
    {
        # shellcheck disable=SC2046  # two lengths, each before a name without blanks
        set -- $(wc -c "$mine.out" "$mine.err")
        echo "$code $1 $3"
        cat "$mine.out" "$mine.err"
    } >"$mine.answer"
    create "$here/out/$turn" "$mine.answer"
    rm -f "$mine".* "$w/in.$turn"
}

do_nothing() {
    :
}

do_run() { # BYTES ARGUMENT...
    in_box "$mine" "$@"
}

do_put() { # DIRECTORY
    fetch "$here/f/$turn" "$mine.f" && put_in_box "$1" "$mine.f" && return
    echo 1 >"$mine.code"
    cp "$w/said" "$mine.err"
}

do_get() { # DIRECTORY BYTES
    get_from_box "$1" "$mine.out" "$2" && return
    echo 1 >"$mine.code"
    cp "$w/said" "$mine.err"
}
