# Patches to trees, trees to one merged tree. No work tree is needed.

apply() { # NUMBER → $tree, $status: applied, empty or failed
    tree=$base_tree
    status=empty
    [ -s "$home/in/patch.$1" ] || return 0
    status=failed
    case $1 in
    "$patches") index=$G/index.base ;; # nobody needs it after the last one, and a patch that fails leaves it as it is
    1) index=$home/restore/index.base ;;
    *)
        index=$G/index.$1
        cp "$G/index.base" "$index" || fail 94 "the judge cannot write to $home"
        ;;
    esac
    apply_to_index "$1" || apply_to_index "$1" --3way || return 0
    GIT_INDEX_FILE=$index ours write-tree >"$home/id" && read -r tree <"$home/id" && status=applied
}

apply_to_index() { # NUMBER [--3way]
    number=$1
    shift
    GIT_INDEX_FILE=$index ours apply --cached --whitespace=nowarn "$@" "$home/in/patch.$number" \
        >>"$home/apply.$number" 2>&1
}

apply_all() {
    applied=yes
    all_empty=yes
    agent=0
    while [ "$agent" -lt "$patches" ]; do
        agent=$((agent + 1))
        apply "$agent"
        eval "tree_$agent=\$tree status_$agent=\$status"
        [ "$status" != failed ] || applied=no
        [ "$status" = empty ] || all_empty=no
    done
}

# Two commits → $tree and 0, or 1 with the conflicting files in $home/conflicts, one a line, quoted as git quotes.
merge_commits() { # OURS THEIRS
    ours merge-tree --write-tree --name-only --no-messages "$1" "$2" >"$home/merge" 2>"$home/merge.log"
    case $? in
    0) read -r tree <"$home/merge" && return 0 ;;
    1) sed 1d "$home/merge" >"$home/conflicts" && return 1 ;;
    esac
    merge_in_work_tree "$1" "$2"
}

# The same for a git older than 2.38.
merge_in_work_tree() { # OURS THEIRS
    rm -rf "$home/tree" "$G/index.merge" "$G/MERGE_HEAD" "$G/MERGE_MODE" "$G/MERGE_MSG"
    mkdir "$home/tree" || fail 94 "the judge cannot write to $home"
    if ! { printf '%s\n' "$1" >"$G/HEAD" && merge_git read-tree "$1" &&
        merge_git checkout-index -a -q && merge_git update-index -q --refresh; }; then
        fail 94 'git cannot check out a tree to merge in'
    fi
    if merge_git merge --no-commit --no-ff -q "$2" >"$home/merge.log" 2>&1; then
        tree=$(merge_git write-tree) || fail 94 'git write-tree failed after a clean merge'
        return 0
    fi
    merge_git diff --name-only --diff-filter=U >"$home/conflicts"
    [ -s "$home/conflicts" ] || fail 94 "git merge failed: $(head -c 500 "$home/merge.log")"
    return 1
}

merge_git() {
    GIT_INDEX_FILE=$G/index.merge ours --work-tree="$home/tree" -c core.bare=false -c merge.stat=false \
        -c user.name=judge -c user.email=judge@localhost "$@"
}

# All patches, in feature order → $merged (a tree), $merge_status.
merge_all() {
    eval "merged=\$tree_1"
    merge_status=clean
    [ "$patches" -gt 1 ] || return 0
    left=
    different=no
    index=1
    while [ "$index" -lt "$patches" ]; do
        index=$((index + 1))
        eval "tree=\$tree_$index"
        [ "$tree" != "$merged" ] || continue
        if [ "$different" = no ]; then
            commit_all
            different=yes left=$commit_1
        fi
        eval "right=\$commit_$index"
        merge_commits "$left" "$right" || { merge_status=conflicts && return 0; }
        merged=$tree
        [ "$index" -eq "$patches" ] || { commit "$merged" "$left" "$right" && left=$id; }
    done
    [ "$different" = yes ] || merge_status=identical
    [ "$all_empty" = no ] || merge_status=empty
}

merge_step() {
    strategy=git
    conflicts=
    merge_status=missing_input
    [ "$applied" = yes ] || return 0
    merge_all
    if [ "$merge_status" = conflicts ] && [ "$rule" = union ]; then
        strategy=union
        attributes 'merge=union'
        merge_all
        attributes '!merge'
    fi
    if [ "$merge_status" = conflicts ]; then
        conflicts=$(cat "$home/conflicts")
    else
        difference "$merged" "$home/feature.patch"
    fi
}

# Every two patches of a task in one sandbox: what `validate` asks.
merge_pairs() {
    commit_all
    : >"$facts/pairs"
    first=0
    while [ "$first" -lt "$patches" ]; do
        first=$((first + 1))
        second=$first
        while [ "$second" -lt "$patches" ]; do
            second=$((second + 1))
            merge_pair
        done
    done
}

merge_pair() {
    result=missing_input
    eval "both=\$status_$first-\$status_$second"
    case $both in
    *failed*) ;;
    *)
        result=clean
        eval "left=\$commit_$first right=\$commit_$second"
        merge_commits "$left" "$right" || {
            result=conflicts
            cp "$home/conflicts" "$facts/conflicts.$first.$second"
        }
        ;;
    esac
    printf '%s %s %s\n' "$first" "$second" "$result" >>"$facts/pairs"
}
