# The order of things, and the facts at the end.

prepare() {
    facts=$home/facts
    instead=
    line_feed='
'
    : >"$home/started" || fail 94 "the judge cannot write to $home"
    find_program git || fail 90 'the image has no git'
    git=$program
    [ "$tests" -eq 0 ] || [ -f "$runner" ] || fail 91 "the image has no $runner"
    shell=/bin/sh
    ! find_program bash || shell=$program
    # What would lead any git astray, the runner's too; no image has a reason to set these.
    unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_COMMON_DIR \
        GIT_CONFIG GIT_CONFIG_GLOBAL GIT_CONFIG_SYSTEM GIT_CONFIG_COUNT GIT_CONFIG_PARAMETERS GIT_EXTERNAL_DIFF \
        GIT_NAMESPACE GIT_CEILING_DIRECTORIES GIT_LITERAL_PATHSPECS GIT_GLOB_PATHSPECS GIT_ICASE_PATHSPECS
    printf '[safe]\ndirectory = *\n' >"$home/.gitconfig"
}

# Only now that no code under test is alive do facts leave the shell's memory, into an empty directory.
report() {
    if [ -L "$facts" ] || [ ! -d "$facts" ] || holds_anything "$facts"; then
        rm -rf "$facts"
        mkdir "$facts" || fail 94 "the judge cannot write to $home"
    fi
    fact base "$base"
    index=0
    while [ "$index" -lt "$patches" ]; do
        index=$((index + 1))
        eval "fact apply.$index \"\$status_$index\""
        [ ! -s "$home/apply.$index" ] || head -c 65536 "$home/apply.$index" >"$facts/apply.$index.log"
    done
}

holds_anything() { # DIRECTORY
    for found in "$1"/* "$1"/.[!.]* "$1"/..?*; do
        [ ! -e "$found" ] && [ ! -L "$found" ] || return 0
    done
    return 1
}

report_trial() {
    fact merge "$merge_status"
    fact merge.strategy "$strategy"
    fact merge.conflicts "$conflicts"
    fact merge.time "$merge_time"
    keep_logs
    order=0
    for name in $ran; do
        order=$((order + 1))
        eval "result=\$result_$order"
        # shellcheck disable=SC2086
        report_suite "$name" $result
    done
}

report_suite() { # NAME CODE ELAPSED LATE STATE
    case " $logs " in
    *" $1.log "*)
        read -r size _ <&4
        [ "$size" -le 4194304 ] || cap "$facts/$1.log" "$size"
        ;;
    esac
    fact "$1.rc" "$2"
    fact "$1.time" "$3"
    fact "$1.late" "$4"
    fact "$1.state" "$5"
}

# The logs, in the order of $ran, and what the merge came to. Nobody is left who could change them: all were hashed when
# the last suite's processes were dead.
keep_logs() {
    for log in $logs; do
        if [ -L "$home/$log" ] || [ ! -f "$home/$log" ]; then
            rm -rf "${home:?}/$log"
            : >"$home/$log"
        fi
    done
    # shellcheck disable=SC2086
    set -- $logs
    [ ! -f "$home/feature.patch" ] || set -- "$@" feature.patch
    [ $# -gt 0 ] || return 0
    if ! { cd "$home" && mv "$@" "$facts" && cd "$facts" && wc -c "$@" >sizes; } then
        fail 94 'the test logs cannot be kept'
    fi
    exec 4<sizes
}

cap() { # FILE SIZE: at most 4 MiB of it, head and tail
    {
        head -c 2097152 "$1"
        printf '\n[cooperbench: %s bytes left out here]\n' $(($2 - 4194304))
        tail -c 2097152 "$1"
    } >"$facts/capped"
    mv "$facts/capped" "$1"
    printf 'yes\n' >"${1%.log}.cut"
}

judge_trial() { # trial|alone
    now
    begun=$time
    merge_step
    now
    merge_time=$((time - begun))
    ran=
    logs=
    mergeable=yes
    case $merge_status in
    conflicts | missing_input) mergeable=no ;;
    esac
    if [ "$1" = alone ]; then
        [ "$mergeable" = yes ] || : >"$home/feature.patch"
        remember_image
        keep_replaced
        [ "$mergeable" = no ] || test_merged
        test_alone
    elif [ "$mergeable" = yes ]; then
        remember_image
        test_merged
    fi
    report
    report_trial
}

main() {
    home=$1 repository=$2 runner=$3 patches=$4 tests=$5 rule=$6 limit=$7
    prepare
    open_repository
    apply_all
    if [ "$8" = pairs ]; then
        report
        merge_pairs
    else
        judge_trial "$8"
    fi
    printf 'yes\n' >"$facts/done"
}

main "$@"; exit 0
