#!/bin/sh
# Runs every function named test_* of the files in tests/cases, each in a shell and with a list of its own.
# A test passes when it ends with 0, is skipped with 77, and fails with anything else. `refused COMMAND` holds when the
# command fails.
cd "$(dirname "$0")/.." || exit 2
PATH=$PWD/bin:$PATH
scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT
TODO_FILE=$scratch/todo
export PATH TODO_FILE

# shellcheck disable=SC2016  # expanded by the shell that gets it
start='refused() { if "$@"; then return 1; fi; }; . "$1"; "$2"'
passed=0 failed=0 skipped=0
for case in tests/cases/*.sh; do
    # shellcheck disable=SC2013  # names of functions hold no blanks
    for name in $(sed -n 's/^\(test_[a-z0-9_]*\)() {$/\1/p' "$case"); do
        rm -f "$TODO_FILE"
        sh -eu -c "$start" sh "./$case" "$name" >"$scratch/output" 2>&1 </dev/null
        case $? in
        0) passed=$((passed + 1)) word=ok ;;
        77) skipped=$((skipped + 1)) word=skipped ;;
        *) failed=$((failed + 1)) word=FAILED ;;
        esac
        echo "$word $(basename "$case" .sh) $name"
        [ "$word" != FAILED ] || sed 's/^/    /' "$scratch/output"
    done
done

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
