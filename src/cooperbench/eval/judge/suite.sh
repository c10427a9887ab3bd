# Running a feature's hidden tests on a tree, and leaving nothing of one run to the next.

# What git does not track at the start belongs to the image (build products, environments) and stays.
remember_image() {
    in_repository -c core.quotePath=false ls-files --others --directory >"$home/untracked" ||
        fail 93 "git ls-files failed in $repository"
    excludes=
    [ ! -s "$home/untracked" ] || excludes=$(exclusions) || fail 94 "the judge cannot read $home/untracked"
    [ "${#excludes}" -lt 1500000 ] || fail 93 "there are too many files that git does not track in $repository"
    [ ! -f "$git_directory/info/attributes" ] || cp "$git_directory/info/attributes" "$home/attributes"
    sealed=
    logs=
    logged=
    ran=
    order=0
    attributed=no
    looked=
    replaced=
}

# As options for `git clean`, one a line. Git quotes a name as C does if it holds a quote, a backslash or a control
# character: such a character may be any in the pattern. No name has `//` in it.
exclusions() {
    LC_ALL=C exec sed -e '/^"/!s/[][*?\\]/\\&/g' -e '/^"/{' -e 's/^"\(.*\)"$/\1/' -e 's/[][*?]/\\&/g' -e 's|\\\\|//|g' \
        -e 's/\\"/"/g' -e 's/\\[0-7][0-7][0-7]/?/g' -e 's/\\[abfnrtv]/?/g' -e 's|//|\\\\|g' -e '}' \
        -e 's|^|--exclude=/|' "$home/untracked"
}

# Patches that are tested one by one must each find the image's own files, those too that another one replaces, and none
# that another one creates. What git does not track lies in no commit, so trees of ours keep it: $created has all that
# any patch creates, $replaced what the image has there.
keep_replaced() {
    [ -n "$excludes" ] || return 0
    : >"$home/created"
    index=0
    while [ "$index" -lt "$patches" ]; do
        index=$((index + 1))
        eval "tree=\$tree_$index"
        ours diff-tree -r --no-renames --diff-filter=A "$base_tree" "$tree" >"$home/raw" ||
            fail 94 'git diff-tree failed'
        sed 's/^:[0-9]* \([0-9]*\) [0-9a-f]* \([0-9a-f]*\) A/\1 \2 0/' "$home/raw" >>"$home/created"
    done
    [ -s "$home/created" ] || return 0
    if ! { of_the_image update-index --add --replace --index-info <"$home/created" && write_image && created=$id &&
        of_the_image add -u && write_image && replaced=$id; } then
        fail 94 'the judge cannot keep what a patch replaces'
    fi
}

write_image() { # → $id
    of_the_image write-tree >"$home/id" && read -r id <"$home/id"
}

of_the_image() {
    GIT_INDEX_FILE=$G/index.image ours --work-tree="$repository" -c core.bare=false "$@"
}

# The work tree as the image had it: tracked files at the base, nothing that was added since. And nothing where PATCH
# creates a file: what git does not track in the image can be in its way, or be of an earlier run.
restore_tree() { # TREE PATCH
    [ ! -e "$git_directory/index.lock" ] || rm -f "$git_directory/index.lock"
    if [ "$order" -gt 1 ]; then
        # The index may tell git to look away from a file.
        cp -p "$home/restore/index" ${settings:+"$settings"} "$git_directory" 2>/dev/null || return 1
        if [ -e "$git_directory/info/attributes" ] || [ -f "$home/attributes" ]; then
            attributed=yes
        fi
    fi
    # Attributes that a run or a patch brings must not call up a filter of the image's, neither from the index in which
    # its files are about to be nor from the work tree in which an earlier patch's still are.
    [ "$attributed" = yes ] || [ "$looked" = "$2$1" ] || ! grep -q gitattributes "$2" || attributed=yes
    looked=$2$1
    if [ "$attributed" = yes ]; then
        [ -d "$git_directory/info" ] || mkdir "$git_directory/info"
        cp "$G/info/attributes" "$git_directory/info/attributes"
    fi
    if [ -n "$replaced" ] && [ "$order" -gt 1 ]; then
        of_the_image read-tree "$created" && of_the_image read-tree -u --reset "$replaced" || return 1
    fi >/dev/null 2>&1
    if [ -n "$excludes" ] && grep -q '^new file mode' "$2"; then
        # What is in the index and not in the base, `reset` removes.
        GIT_ALTERNATE_OBJECT_DIRECTORIES=$G/objects in_repository read-tree --reset "$1" >/dev/null 2>&1
    fi
    in_repository reset -q --hard "$base" >/dev/null 2>&1 || return 1
    [ "$attributed" = no ] || restore_attributes
    if [ "$order" -eq 1 ]; then
        [ -f "$home/restore/index" ] || cp -p "$git_directory/index" "$home/restore" || return 1
        seal && sealed=$sum$line_feed
        return
    fi
    set -f
    IFS=$line_feed
    # shellcheck disable=SC2086  # one a line
    set -- $excludes
    set +f
    unset IFS
    in_repository clean -ffdxq "$@" >/dev/null 2>&1
}

restore_attributes() {
    [ ! -e "$git_directory/info/attributes" ] || rm -f "$git_directory/info/attributes"
    [ ! -f "$home/attributes" ] || cp "$home/attributes" "$git_directory/info/attributes"
}

# → $sum: hashes, one a line, of what code under test must not change, and after them of the logs of all suites so far.
# Of git itself only the age counts: code that replaces git has replaced the hash as well, and is for the static scan to
# find.
seal() {
    set --
    sum=
    for log in feature.patch $logs; do
        [ -f "$home/$log" ] && [ ! -L "$home/$log" ] || return 1
        set -- "$@" "$home/$log"
    done
    sum=$(
        instead="exec"
        judge_git hash-object --no-filters "$G/config" "$G/info/attributes" "$runner" "$home"/in/patch.* \
            "$home"/in/tests.*/tests.patch "$home/restore/index" ${settings:+"$settings"} "$@" 2>&1
    ) || return 1
    # shellcheck disable=SC3013  # -nt is in dash, busybox, bash and ksh
    [ ! "$git" -nt "$home/started" ]
}

# What the suite that has just run left of what is sealed, and of the logs of those before it.
compare() { # → $state
    seal || state=tampered
    case $sum in
    "$sealed"*) ;;
    *) state=tampered ;;
    esac
    hash=${sum##*[!0-9a-f]}
    case $sum in
    *"$line_feed$logged$hash") ;;
    *)
        state=tampered
        distrust_earlier
        ;;
    esac
    logged=$logged$hash$line_feed
}

distrust_earlier() {
    index_of_earlier=0
    while [ "$index_of_earlier" -lt $((order - 1)) ]; do
        index_of_earlier=$((index_of_earlier + 1))
        eval "result_$index_of_earlier=\"\${result_$index_of_earlier% *} tampered\""
    done
}

processes() { # → $before
    before=
    for process in /proc/[0-9]*; do
        before="$before ${process#/proc/}"
    done
}

# Kill all that was started since `processes`, daemons included; only the shell's own globbing is used. What is killed
# is not gone at once (much memory, a crowded machine), so this waits for it.
sweep() {
    now
    patience=$((time + 1500))
    while [ "$time" -lt "$patience" ]; do
        alive=no
        for process in /proc/[0-9]*; do
            case " $before $$ " in
            *" ${process#/proc/} "*) ;;
            *) ! is_alive "$process" || { alive=yes && kill -9 "${process#/proc/}" 2>/dev/null; } ;;
            esac
        done
        [ "$alive" = yes ] || return 0
        now
    done
    return 1
}

is_alive() { # /proc/PID
    fate=
    # Not from `stat`, where a program's name may hold ") Z" and a line feed. In `status` the name comes before the
    # state, and its 15 bytes cannot hold the word at which this stops. A bash reads on to the end: it keeps what it has
    # read too much of a process that ends meanwhile, and gives that to the next who reads, whatever from.
    while read -r key word _; do
        case $key in
        State:) fate=$word ;;
        TracerPid:) [ -n "${BASH_VERSION-}" ] || break ;;
        esac
    done 2>/dev/null <"$1/status"
    case $fate in
    '') return 1 ;;
    Z* | X*) # the first thread is; others may still run
        set -- "$1"/task/*
        [ $# -gt 1 ]
        ;;
    esac
}

run_runner() { # LOG → $code; what it leaves behind is for `sweep`
    set -- "$1" tests.patch
    [ ! -s /patches/feature.patch ] || set -- "$@" feature.patch
    log=$1
    shift
    cd /
    "$shell" "$runner" "$@" </dev/null >"$log" 2>&1 &
    child=$!
    (sleep "$limit" && kill -9 "$child") </dev/null >/dev/null 2>&1 &
    wait "$child" 2>/dev/null
    code=$?
}

test_feature() { # NAME NUMBER PATCH TREE
    order=$((order + 1))
    ran="$ran $1"
    printf 'testing %s\n' "$1"
    code=255 elapsed=0 late=no state=fine
    if restore_tree "$4" "$3"; then
        run_tests "$@"
    else
        state=unrestorable
    fi
    eval "result_$order=\"\$code \$elapsed \$late \$state\""
}

run_tests() { # NAME NUMBER PATCH → $code $elapsed $late $state
    if ! cp "$home/in/tests.$2/tests.patch" "$3" /patches 2>/dev/null; then
        state=tampered
        return
    fi
    processes
    now
    begun=$time
    run_runner "$home/$1.log"
    now
    elapsed=$((time - begun))
    [ "$elapsed" -lt $((limit * 100)) ] || late=yes
    sweep || state=unkillable
    logs="$logs $1.log"
    compare
}

test_merged() {
    index=0
    while [ "$index" -lt "$tests" ]; do
        index=$((index + 1))
        test_feature "tests.$index" "$index" "$home/feature.patch" "$merged"
    done
}

test_alone() {
    index=0
    while [ "$index" -lt "$tests" ]; do
        index=$((index + 1))
        eval "tree=\$tree_$index status=\$status_$index"
        [ "$status" != failed ] || continue
        difference "$tree" "$home/alone/feature.patch"
        test_feature "alone.$index" "$index" "$home/alone/feature.patch" "$tree"
    done
}
