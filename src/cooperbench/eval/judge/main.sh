# The order of things, and the facts at the end.

prepare() {
    facts=$home/facts
    rm -rf "$facts"
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
    rm -rf "$facts"
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
    [ -z "$merged_hash" ] || keep merged.patch "$merged_hash" || fact merged.state tampered
    order=0
    for name in $ran; do
        order=$((order + 1))
        eval "set -- \$result_$order"
        [ -z "${5:-}" ] || keep "$name.log" "$5" || set -- "$1" "$2" "$3" tampered
        fact "$name.rc" "$1"
        fact "$name.time" "$2"
        fact "$name.late" "$3"
        fact "$name.state" "$4"
    done
}

keep() { # FILE HASH
    mv "$home/$1" "$facts/$1" && [ "$(judge_git hash-object --no-filters "$facts/$1" 2>/dev/null)" = "$2" ]
}

judge_trial() { # trial|alone
    now
    begun=$time
    merge_step
    now
    merge_time=$((time - begun))
    merged_hash=
    remember_image
    case $merge_status in
    conflicts | missing_input) ;;
    *)
        merged_hash=$(judge_git hash-object --no-filters "$home/merged.patch") || fail 94 'git hash-object failed'
        test_merged
        ;;
    esac
    [ "$1" != alone ] || test_alone
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
