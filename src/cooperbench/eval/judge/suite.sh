# Running a feature's hidden tests on a tree, and leaving nothing of one run to the next.

# What git does not track at the start belongs to the image (build products, environments) and stays.
remember_image() {
    in_repository ls-files --others --directory >"$home/untracked" || fail 93 "git ls-files failed in $repository"
    [ ! -f "$git_directory/config" ] || cp "$git_directory/config" "$home/config"
    [ ! -f "$git_directory/info/attributes" ] || cp "$git_directory/info/attributes" "$home/attributes"
    [ -f "$home/merged.patch" ] || : >"$home/merged.patch"
    seal
    sealed=$sum
    ran=
    order=0
}

# The work tree as the image had it: tracked files at the base, nothing that was added since.
restore_tree() {
    rm -f "$git_directory/index.lock" "$git_directory/HEAD.lock"
    if [ "$order" -gt 1 ]; then
        [ ! -f "$home/config" ] || cp "$home/config" "$git_directory/config"
        # Attributes that a patch brought must not call up a filter of the image's while we undo the patch.
        ! grep -q gitattributes "$home/merged.patch" || cp "$G/info/attributes" "$git_directory/info/attributes"
    fi
    in_repository reset -q --hard "$base" >/dev/null 2>&1 || return 1
    [ "$order" -gt 1 ] || return 0
    restore_attributes
    set --
    while IFS= read -r line; do
        case $line in
        *[][*?\\]*) line=$(printf '%s' "$line" | sed 's/[][*?\\]/\\&/g') ;;
        esac
        set -- "$@" -e "/$line"
    done <"$home/untracked"
    in_repository clean -ffdxq "$@" >/dev/null 2>&1
}

restore_attributes() {
    rm -f "$git_directory/info/attributes"
    [ ! -f "$home/attributes" ] || cp "$home/attributes" "$git_directory/info/attributes"
}

# → $sum: a hash of what code under test must not change. Of git itself only the age: code that replaces git has
# replaced the hash as well, and is for the static scan to find.
seal() {
    sum=$(judge_git hash-object --no-filters "$runner" "$home"/in/* 2>&1)
    # shellcheck disable=SC3013  # -nt is in dash, busybox, bash and ksh
    [ ! "$git" -nt "$home/started" ] || sum="$sum git"
}

processes() { # → $before
    before=
    for process in /proc/[0-9]*; do
        before="$before ${process#/proc/}"
    done
}

# Kill all that was started since `processes`, daemons included; only the shell's own globbing is used.
sweep() {
    rounds=0
    while [ "$rounds" -lt 200 ]; do
        rounds=$((rounds + 1))
        alive=no
        for process in /proc/[0-9]*; do
            case " $before $$ " in
            *" ${process#/proc/} "*) ;;
            *) ! is_alive "$process" || { alive=yes && kill -9 "${process#/proc/}" 2>/dev/null; } ;;
            esac
        done
        [ "$alive" = yes ] || return 0
    done
    return 1
}

is_alive() { # /proc/PID
    line=
    { read -r line <"$1/stat"; } 2>/dev/null || [ -n "$line" ] || return 1
    case ${line##*) } in
    Z* | X*) return 1 ;;
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

test_feature() { # NAME NUMBER PATCH
    order=$((order + 1))
    ran="$ran $1"
    printf 'testing %s\n' "$1"
    code=255 elapsed=0 late=no state=fine hash=
    if restore_tree; then
        run_tests "$@"
    else
        state=unrestorable
    fi
    eval "result_$order=\"\$code \$elapsed \$late \$state \$hash\""
}

run_tests() { # NAME NUMBER PATCH → $code $elapsed $late $state $hash
    rm -rf /patches
    if ! { mkdir /patches && cp "$home/in/tests.$2" /patches/tests.patch && cp "$3" /patches/feature.patch; }; then
        fail 94 'the judge cannot write to /patches'
    fi
    processes
    now
    begun=$time
    run_runner "$home/$1.log"
    now
    elapsed=$((time - begun))
    [ "$elapsed" -lt $((limit * 100)) ] || late=yes
    sweep || state=unkillable
    seal
    [ "$sum" = "$sealed" ] || state=tampered
    cap "$home/$1.log"
    hash=$(judge_git hash-object --no-filters "$home/$1.log" 2>/dev/null) || state=tampered
}

cap() { # FILE: at most 4 MiB of it, head and tail
    size=$(wc -c <"$1") || size=0
    [ "$size" -gt 4194304 ] || return 0
    {
        head -c 2097152 "$1"
        printf '\n[cooperbench: %s bytes left out here]\n' $((size - 4194304))
        tail -c 2097152 "$1"
    } >"$1.capped"
    mv "$1.capped" "$1"
}

test_merged() {
    index=0
    while [ "$index" -lt "$tests" ]; do
        index=$((index + 1))
        test_feature "tests.$index" "$index" "$home/merged.patch"
    done
}

test_alone() {
    index=0
    while [ "$index" -lt "$tests" ]; do
        index=$((index + 1))
        eval "tree=\$tree_$index status=\$status_$index"
        [ "$status" != failed ] || continue
        difference "$tree" "$home/alone.patch"
        test_feature "alone.$index" "$index" "$home/alone.patch"
    done
}
