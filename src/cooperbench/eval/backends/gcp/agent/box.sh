# One container, $box, with its scratch directory $w. Nothing of the machine is in it: no mount, no socket, no token; and no
# address of the machine's, the metadata server's or a private network's can be reached from it.

# Its first process: waits, and buries what loses its parent.
keeper='while :; do sleep 1000 & wait; done'

# Rules for containers that have a network. The metadata server is the machines' name server too, so such containers
# are given a public one.
fence() {
    for range in 169.254.0.0/16 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10; do
        rule DOCKER-USER -i docker0 -d "$range" -j DROP || return 1
    done
    rule INPUT -i docker0 -j DROP
}

rule() { # CHAIN RULE...
    chain=$1
    shift
    iptables -w -C "$chain" "$@" 2>/dev/null || iptables -w -I "$chain" "$@" 2>>"$w/said"
}

# The registries of the vendor take the machine's own token.
log_in() { # IMAGE
    case ${1%%/*} in # the host alone: a path that looks like one gets no token
    *.pkg.dev | gcr.io | *.gcr.io)
        authorize "$word" && sed 's/^Authorization: Bearer //' "$home/header" |
            docker login -u oauth2accesstoken --password-stdin "https://${1%%/*}" >/dev/null 2>>"$w/said"
        ;;
    esac
}

pull() { # IMAGE
    ! docker image inspect "$1" >/dev/null 2>&1 || return 0
    log_in "$1"
    pause=2
    until timeout 1800 docker pull -q "$1" >"$w/said" 2>&1; do
        [ $? -ne 124 ] || return 1
        # What a registry says of an image that is not there; anything else may pass.
        ! grep -q -i -e 'not found' -e 'manifest unknown' -e denied -e 'no such host' -e 'invalid reference' \
            -e 'does not exist' -e unauthorized "$w/said" || return 1
        [ "$pause" -le 32 ] || return 1
        sleep "$pause"
        pause=$((pause * 2))
    done
}

# On failure $why says why.
open_box() { # IMAGE WORKDIR NETWORK
    : >"$w/said"
    pull "$1" || {
        why="image $1 cannot be pulled: $(said); it must be in a registry that the machines can reach (docs/gcp.md)"
        return 1
    }
    case $3 in
    none) set -- "$1" "$2" --network none ;;
    *)
        fence || {
            why="the metadata server cannot be kept from containers, so none with a network is started: $(said)"
            return 1
        }
        set -- "$1" "$2" --network bridge --dns 8.8.8.8
        ;;
    esac
    image=$1 workdir=$2
    shift 2
    # shellcheck disable=SC2086  # words of ours, without blanks
    docker run -d --name "$box" $COOPERBENCH_LIMITS "$@" --cap-drop MKNOD --cap-drop NET_RAW \
        --security-opt no-new-privileges --log-driver none --user 0 -w "$workdir" --entrypoint /bin/sh "$image" \
        -c "$keeper" >/dev/null 2>"$w/said" || {
        why="no container of $image: $(said)"
        close_box
        return 1
    }
}

said() {
    tail -c 600 "$w/said" | tr '\n' ' '
}

close_box() {
    docker rm -f -v "$box" >/dev/null 2>&1
}

# Whether it still runs. A command that can be started in it proves that; the engine learns of its end a little late.
is_open() {
    docker exec "$box" /bin/sh -c : </dev/null >/dev/null 2>&1 && return 0
    sleep 1
    [ "$(docker inspect -f '{{.State.Running}}' "$box" 2>/dev/null)" = true ]
}

# A command, its streams' tails in FILE.out and FILE.err and its exit code in FILE.code.
in_box() { # FILE BYTES ARGUMENT...
    file=$1 bytes=$2
    shift 2
    {
        {
            docker exec "$box" "$@" </dev/null 2>&4
            echo $? >"$file.code"
        } | tail -c "$bytes" 4>&- >"$file.out"
    } 4>&1 | tail -c "$bytes" >"$file.err"
}

# The files of a tar archive.
put_in_box() { # DIRECTORY ARCHIVE
    [ "$1" = / ] || docker exec "$box" mkdir -p -- "$1" </dev/null 2>"$w/said" || return 1
    docker cp - "$box:$1" <"$2" >/dev/null 2>"$w/said"
}

# A directory as a tar archive, cut off after BYTES.
get_from_box() { # DIRECTORY FILE BYTES
    { docker cp "$box:$1/." - 2>"$w/said" && : >"$2.whole"; } | head -c "$3" >"$2"
    [ -e "$2.whole" ]
}
