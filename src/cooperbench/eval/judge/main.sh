# The order of things, and the facts at the end.

prepare() {
    facts=$home/facts
    : >"$home/started" || fail 94 "the judge cannot write to $home"
    git=$(command -v git) || fail 90 'the image has no git'
    [ "$tests" -eq 0 ] || [ -f "$runner" ] || fail 91 "the image has no $runner"
    shell=$(command -v bash) || shell=/bin/sh
    # What would lead any git astray, the runner's too; no image has a reason to set these.
    unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_COMMON_DIR \
        GIT_CONFIG GIT_CONFIG_GLOBAL GIT_CONFIG_SYSTEM GIT_CONFIG_COUNT GIT_CONFIG_PARAMETERS GIT_EXTERNAL_DIFF \
        GIT_NAMESPACE GIT_CEILING_DIRECTORIES GIT_LITERAL_PATHSPECS GIT_GLOB_PATHSPECS GIT_ICASE_PATHSPECS
    printf '[safe]\ndirectory = *\n' >"$home/.gitconfig"
}

# Only now that no code under test is alive do facts leave the shell's memory; a log that is not the one we hashed
# was written by somebody else.
report() {
    if [ -L "$facts" ] || [ -e "$facts" ]; then
        rm -rf "$facts"
    fi
    mkdir "$facts" || fail 94 "the judge cannot write to $home"
    fact base "$base"
    index=0
    while [ "$index" -lt "$patches" ]; do
        index=$((index + 1))
        eval "fact apply.$index \"\$status_$index\""
        [ ! -s "$home/apply.$index" ] || head -c 65536 "$home/apply.$index" >"$facts/apply.$index.log"
    done
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
        eval "set -- \$result_$order"
        if [ -n "${5:-}" ]; then
            read -r found <&3
            read -r size _ <&4
            [ "$found" = "$5" ] || set -- "$1" "$2" "$3" tampered
            [ "$size" -le 4194304 ] || cap "$facts/$name.log" "$size"
        fi
        fact "$name.rc" "$1"
        fact "$name.time" "$2"
        fact "$name.late" "$3"
        fact "$name.state" "$4"
    done
}

# All logs that were hashed, moved, hashed again and measured, in the order of $ran: three processes for any number.
keep_logs() {
    [ ! -f "$home/merged.patch" ] || mv "$home/merged.patch" "$facts"
    set --
    order=0
    for name in $ran; do
        order=$((order + 1))
        eval "[ \"\${result_$order##* }\" != \"\" ]" || continue
        if [ -L "$home/$name.log" ] || [ ! -f "$home/$name.log" ]; then
            rm -rf "$home/$name.log"
            : >"$home/$name.log"
        fi
        set -- "$@" "$name.log"
    done
    [ $# -gt 0 ] || return 0
    if ! { cd "$home" && mv "$@" "$facts" && cd "$facts" && judge_git hash-object --no-filters "$@" >"$home/hashes" &&
        wc -c "$@" >"$home/sizes"; } then
        fail 94 'the test logs cannot be kept'
    fi
    exec 3<"$home/hashes" 4<"$home/sizes"
}

cap() { # FILE SIZE: at most 4 MiB of it, head and tail
    {
        head -c 2097152 "$1"
        printf '\n[cooperbench: %s bytes left out here]\n' $(($2 - 4194304))
        tail -c 2097152 "$1"
    } >"$home/capped"
    mv "$home/capped" "$1"
    printf 'yes\n' >"${1%.log}.cut"
}

judge_trial() { # trial|alone
    now
    begun=$time
    merge_step
    now
    merge_time=$((time - begun))
    ran=
    case $merge_status in
    conflicts | missing_input) [ "$1" != alone ] || : >"$home/merged.patch" ;;
    *)
        remember_image
        test_merged
        ;;
    esac
    if [ "$1" = alone ]; then
        [ -n "$ran" ] || remember_image
        test_alone
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
