# Git that nothing steers: no hook, filter, attribute, alias, signing or configuration of the repository's or the
# image's. Every command's exit status is looked at.

judge_git() {
    # $instead is `exec` in a subshell that has nothing else to do, and nothing elsewhere.
    # shellcheck disable=SC2086
    HOME=$home XDG_CONFIG_HOME=$home GIT_CONFIG_NOSYSTEM=1 GIT_ATTR_NOSYSTEM=1 GIT_NO_REPLACE_OBJECTS=1 \
        GIT_TERMINAL_PROMPT=0 LC_ALL=C $instead "$git" "$@"
}

# The repository's own directory: for its index and work tree only.
in_repository() {
    judge_git -C "$repository" -c core.hooksPath=/dev/null -c core.fsmonitor=false -c core.untrackedCache=false \
        -c gc.auto=0 "$@"
}

# Everything else happens in a git directory of ours that borrows the repository's objects.
ours() {
    judge_git --git-dir="$G" "$@"
}

open_repository() {
    in_repository rev-parse 'HEAD^{commit}' 'HEAD^{tree}' --git-common-dir --absolute-git-dir \
        >"$home/repository" 2>/dev/null || fail 93 "no git repository with a commit at $repository"
    { read -r base && read -r base_tree && read -r common && read -r git_directory; } <"$home/repository" ||
        fail 93 "no git repository with a commit at $repository"
    case $common in
    /*) ;;
    *) common=$repository/$common ;;
    esac
    make_git_directory
    GIT_INDEX_FILE=$G/index.base ours read-tree "$base_tree" || fail 93 "git cannot read the tree of HEAD in $repository"
    keep_originals
}

# What will be needed again as it is now: the base's index for another patch, and for every suite after the first the
# repository's own index and configuration. The index's date says what may have changed unseen.
keep_originals() {
    settings=
    set --
    [ "$patches" -eq 1 ] || set -- "$G/index.base"
    if [ "$tests" -gt 0 ]; then
        [ ! -f "$git_directory/index" ] || set -- "$@" "$git_directory/index"
        [ ! -f "$git_directory/config" ] || set -- "$@" "$git_directory/config"
        [ ! -f "$git_directory/config" ] || settings=$home/restore/config
    fi
    [ $# -eq 0 ] || cp -p "$@" "$home/restore" || fail 94 "the judge cannot write to $home"
}

make_git_directory() {
    G=$home/git
    set -- "$G/objects/info" "$G/refs" "$G/info" "$home/restore" "$home/alone" "$facts"
    if [ "$tests" -gt 0 ]; then # what the image has there is in the way
        [ ! -e /patches ] || rm -rf /patches
        set -- "$@" /patches
    fi
    mkdir -p "$@" || fail 94 "the judge cannot write to $home and /patches"
    printf 'ref: refs/heads/none\n' >"$G/HEAD"
    printf '%s/objects\n' "$common" >"$G/objects/info/alternates"
    format=0
    extensions=
    [ "${#base}" -ne 64 ] || format=1 extensions='[extensions]
objectFormat = sha256'
    printf '%s\n' '[core]' "repositoryformatversion = $format" 'bare = true' 'hooksPath = /dev/null' \
        'autocrlf = false' 'fsync = none' '[gc]' 'auto = 0' '[merge]' 'renames = true' "$extensions" >"$G/config"
    attributes '!merge'
}

# Attributes in our own directory win over any .gitattributes of a tree.
attributes() { # MERGE
    printf '* %s !text !eol !crlf !filter !ident !working-tree-encoding !diff !conflict-marker-size\n' "$1" \
        >"$G/info/attributes"
}

# Commits of the patches' trees in one go → $commit_1, $commit_2 … Their parent is the repository's base; that it is the
# first of all, git learns from `shallow`, so no history is looked at, nor missed where an image has none.
commit_all() {
    judge='judge <judge@localhost> 1000000000 +0000'
    printf '%s\n' "$base" >"$G/shallow"
    set --
    number=0
    while [ "$number" -lt "$patches" ]; do
        number=$((number + 1))
        eval "tree=\$tree_$number"
        printf 'tree %s\nparent %s\nauthor %s\ncommitter %s\n\n' "$tree" "$base" "$judge" "$judge" \
            >"$home/commit.$number"
        set -- "$@" "$home/commit.$number"
    done
    ours hash-object -t commit -w --no-filters "$@" >"$home/ids" || fail 94 'git hash-object failed'
    number=0
    while read -r id; do
        number=$((number + 1))
        eval "commit_$number=\$id"
    done <"$home/ids"
    [ "$number" -eq "$patches" ] || fail 94 'git hash-object failed'
}

commit() { # TREE PARENT PARENT → $id
    GIT_AUTHOR_NAME=judge GIT_AUTHOR_EMAIL=judge@localhost GIT_AUTHOR_DATE='1000000000 +0000' \
        GIT_COMMITTER_NAME=judge GIT_COMMITTER_EMAIL=judge@localhost GIT_COMMITTER_DATE='1000000000 +0000' \
        ours commit-tree -p "$2" -p "$3" "$1" </dev/null >"$home/id" || fail 94 'git commit-tree failed'
    read -r id <"$home/id"
}

difference() { # TREE FILE: what leads from the base to TREE
    : >"$2"
    [ "$1" != "$base_tree" ] || return 0
    ours diff-tree -p --binary --full-index --no-renames --no-ext-diff --no-textconv --no-color --src-prefix=a/ \
        --dst-prefix=b/ "$base_tree" "$1" >"$2" || fail 94 'git diff-tree failed'
}
