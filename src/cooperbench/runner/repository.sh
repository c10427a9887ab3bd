#!/bin/sh
# repository.sh: what the runner does to the repository in an agent's sandbox, before and after the agent.
#
#   repository.sh prepare REPOSITORY
#       Removes every trace of history after the checked-out commit and proves it; prints the commit, then what is
#       untracked already (one "mode hash 0<tab>path" a line, as git quotes paths).
#   repository.sh take REPOSITORY OBJECTS BASE LIMIT WORK [UNTRACKED]
#       Writes WORK/patch: everything that differs from BASE, new files included, ignored ones not. UNTRACKED, or
#       the file WORK/untracked, is what "prepare" printed; of that, what has not changed is left out. WORK/nested
#       lists repositories inside this one: they are not taken.
#
# Ends with 0; 3: there is no repository; 4: history could not be removed; 5: the patch is over LIMIT bytes;
# 6: the agent destroyed the repository.

set -u

fail() { # CODE TEXT
    printf '%s\n' "$2" >&2
    exit "$1"
}

# No configuration of the image's, the user's or the agent's may steer these commands.
for name in $(env | sed -n 's/^\(GIT_[A-Za-z0-9_]*\)=.*/\1/p'); do unset "$name"; done
scratch=$(mktemp -d) || fail 3 "no room for a temporary directory"
trap 'rm -rf "$scratch"' EXIT
export HOME="$scratch" XDG_CONFIG_HOME="$scratch" GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0 LC_ALL=C
export GIT_OPTIONAL_LOCKS=0 GIT_NO_REPLACE_OBJECTS=1 GIT_NO_LAZY_FETCH=1
printf '[safe]\n\tdirectory = *\n' >"$scratch/.gitconfig"

repo() {
    git -C "$repository" -c core.hooksPath=/dev/null -c core.fsmonitor=false -c gc.auto=0 \
        -c core.commitGraph=false -c core.multiPackIndex=false "$@"
}

# ------------------------------------------------------------------------------------------------- prepare

tags_before() { repo for-each-ref --merged HEAD --format='%(refname)' refs/tags; }

# Object ids reachable from the checked-out commit, the tags on its way, and the index.
reachable() {
    {
        echo HEAD
        tags_before
    } | repo rev-list --objects --indexed-objects --stdin | cut -d ' ' -f 1 | sort -u
}

present() { repo cat-file --batch-all-objects --batch-check='%(objectname)' | sort -u; }

# Whether the object database holds nothing but what is reachable, and no record of where branches have been.
only_history_before() {
    reachable >"$scratch/reachable" || return 1
    present >"$scratch/present" || return 1
    [ -s "$scratch/reachable" ] && cmp -s "$scratch/reachable" "$scratch/present"
}

# Names of commits that are gone, and of where to get them: files under the repository's own directory.
forget_names() {
    own=$(repo rev-parse --absolute-git-dir) && shared=$(repo rev-parse --git-common-dir) || return 1
    shared=$(cd "$repository" && cd "$shared" && pwd) || return 1
    for place in "$own" "$shared"; do
        rm -rf "$place/logs" "$place/worktrees" "$place/refs/replace" "$place/refs/original" \
            "$place/rebase-apply" "$place/rebase-merge" "$place/sequencer"
        rm -f "$place"/*_HEAD "$place"/*_MSG "$place"/*_EDITMSG "$place/AUTO_MERGE" "$place/info/grafts" "$place/info/refs" "$place/objects/info/packs"
    done
    repo remote | while IFS= read -r remote; do repo remote remove "$remote" 2>/dev/null; done
    return 0
}

forget_refs() {
    branch=$(repo symbolic-ref -q HEAD) || branch=
    {
        printf '%s\n' "$branch"
        tags_before
    } >"$scratch/keep"
    repo for-each-ref --format='%(refname)' | grep -vxFf "$scratch/keep" |
        sed 's/.*/option no-deref\ndelete &/' | repo update-ref --stdin
}

# Rewrites the object database to hold what is reachable and nothing else.
forget_objects() {
    objects=$(repo rev-parse --git-path objects) && objects=$(cd "$repository" && cd "$objects" && pwd) || return 1
    rm -rf "$objects/info/commit-graph" "$objects/info/commit-graphs"
    rm -f "$objects/pack"/*.keep "$objects/pack"/*.promisor "$objects/pack"/multi-pack-index*
    repo repack -a -d -q && rm -f "$objects/info/alternates" && repo prune --expire=now
}

prepare() {
    base=$(repo rev-parse --verify --quiet 'HEAD^{commit}') || fail 3 "no git repository with a commit at $repository"
    forget_names || fail 4 "the repository's own directory cannot be found"
    forget_refs || fail 4 "refs to later commits could not be deleted"
    if ! only_history_before; then
        forget_objects || fail 4 "later commits could not be removed from the object database"
        only_history_before || fail 4 "objects that the checked-out commit does not need are still there"
    fi
    [ "$(repo rev-parse HEAD)" = "$base" ] || fail 4 "HEAD moved from $base"
    [ -z "$(repo log --all --format=%H --not HEAD)" ] || fail 4 "later commits are still reachable"
    printf '%s\n%s\n' "$base" "$(repo rev-parse --git-path objects)"
    untracked_now || fail 3 "the work tree at $repository cannot be read"
}

# What is there and neither tracked nor ignored, with its contents' hash; nested repositories are not looked into.
untracked_now() {
    repo ls-files --others --exclude-standard | without_nested >"$scratch/others"
    [ -s "$scratch/others" ] || return 0
    own_database "$(repo rev-parse --git-path objects)" || fail 3 "no room for an index"
    private update-index --add --stdin <"$scratch/others" && private ls-files --stage
}

without_nested() { grep -v -e '/$' -e '/"$'; }

# ------------------------------------------------------------------------------------------------- take

# Where the agent has moved the repository's own directory to.
objects_now() {
    place=$(repo rev-parse --git-path objects 2>/dev/null) && [ -n "$place" ] && cd "$repository" && cd "$place" && pwd
}

# A git directory of our own beside the repository's: its objects are borrowed, its configuration is not read.
own_database() { # OBJECTS
    objects=$(cd "$repository" && cd "$1" 2>/dev/null && pwd) || objects=$(objects_now) || return 1
    case $(repo rev-parse --show-object-format 2>/dev/null) in
    sha256) format=--object-format=sha256 ;;
    *) format= ;;
    esac
    # shellcheck disable=SC2086 # an empty format is no argument
    git init -q --bare --template= $format "$scratch/git" || return 1
    printf '%s\n' "$objects" >"$scratch/git/objects/info/alternates"
    mkdir -p "$scratch/git/info"
    cp "$repository/.git/info/exclude" "$scratch/git/info/exclude" 2>/dev/null
    if [ "$(repo config --type bool --get core.fileMode 2>/dev/null)" = false ]; then
        git --git-dir "$scratch/git" config core.fileMode false
    fi
}

private() {
    git -C "$repository" --git-dir "$scratch/git" --work-tree "$repository" -c core.bare=false \
        -c core.hooksPath=/dev/null -c core.fsmonitor=false "$@"
}

# The index becomes the work tree: what base has, what is new, and what the agent put under version control itself.
add_everything() {
    {
        private diff-files --name-only
        private ls-files --others --exclude-standard
        repo ls-files 2>/dev/null
    } >"$scratch/all"
    grep -e '/$' -e '/"$' "$scratch/all" >"$work/nested"
    outside_sparse >"$scratch/sparse"
    without_nested <"$scratch/all" | sort -u | comm -23 - "$scratch/sparse" >"$scratch/paths"
    # A tracked path that is a repository now, or lies in one, must not end the whole list.
    private update-index --add --remove --replace --stdin <"$scratch/paths" || add_one_by_one
}

# Files that are not there because the checkout is sparse: nobody deleted them.
outside_sparse() {
    private ls-files --deleted | sort -u >"$scratch/absent"
    repo -c core.quotePath=true ls-files -t 2>/dev/null | sed -n 's/^S //p' | sort -u | comm -12 - "$scratch/absent"
}

add_one_by_one() {
    while IFS= read -r path; do
        printf '%s\n' "$path" | private update-index --add --remove --replace --stdin 2>/dev/null ||
            printf '%s\n' "$path" >>"$work/nested"
    done <"$scratch/paths"
}

# Repositories as entries of ours that base does not have, and what was lying around before the agent came.
leave_out() {
    private ls-files --stage | sort >"$scratch/now"
    { [ ! -s "$work/untracked" ] || sort "$work/untracked" | comm -12 - "$scratch/now"; } >"$scratch/out"
    private ls-tree -r "$base" | sed -n 's/^160000 commit [0-9a-f]*	//p' >"$scratch/modules"
    grep '^160000 ' "$scratch/now" | while IFS= read -r entry; do
        path=${entry#*	}
        grep -qxF -e "$path" "$scratch/modules" && continue
        printf '%s\n' "$entry"
        printf '%s\n' "$path" >>"$work/nested"
    done >>"$scratch/out"
    [ -s "$scratch/out" ] || return 0
    zeros=$(printf '%s' "$base" | tr 0-9a-f 0)
    sed "s/^[^	]*	/0 $zeros	/" "$scratch/out" | private update-index --index-info
}

take() {
    own_database "$1" || fail 6 "the repository's objects are gone"
    base=$2 limit=$3 work=$4
    mkdir -p "$work" || fail 6 "no room for the patch"
    [ $# -lt 5 ] || printf '%s' "$5" >"$work/untracked"
    private rev-parse --verify --quiet "$base^{commit}" >/dev/null || fail 6 "the base commit is gone"
    private read-tree "$base" || fail 6 "the base commit cannot be read"
    add_everything || fail 6 "the work tree cannot be read"
    leave_out || fail 6 "the index cannot be written"
    private diff-index --cached --binary --full-index --no-color --no-ext-diff --no-textconv --no-renames \
        --src-prefix=a/ --dst-prefix=b/ -p "$base" >"$scratch/patch" || fail 6 "the difference cannot be made"
    size=$(($(wc -c <"$scratch/patch")))
    [ "$size" -le "$limit" ] || fail 5 "the patch has $size bytes, $limit are allowed"
    mv "$scratch/patch" "$work/patch"
}

verb=${1-} repository=${2-}
if ! cd / || [ ! -d "$repository" ]; then fail 3 "no directory $repository"; fi
case $verb in
prepare) prepare ;;
take)
    shift 2
    take "$@"
    ;;
*) fail 3 "unknown verb $verb" ;;
esac
