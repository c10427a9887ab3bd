#!/bin/sh
# Judges one feature of a rebuilt task: runner.sh TESTS_PATCH [FEATURE_PATCH], names relative to /patches.
# Runs exactly the test files the tests patch touches; exit status 0 says that they passed.
set -eu

tests=/patches/${1:?usage: runner.sh TESTS_PATCH [FEATURE_PATCH]}
feature=${2:+/patches/$2}
cd /workspace/repo

restore() {
    git reset -q --hard
    git clean -fdq
}
trap restore EXIT
restore

git apply --whitespace=nowarn "$tests"
if [ -n "$feature" ] && [ -s "$feature" ]; then
    git apply --whitespace=nowarn "$feature" || git apply --3way "$feature"
fi

# Byte code is told from its source by size and second: between two suites within one second that is not enough.
export PYTHONDONTWRITEBYTECODE=1 PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 PYTHONPATH=/workspace/repo/src:/opt/site

# What a finalizer raises, and when, depends on the interpreter; both projects turn it into failures.
files=$(git apply --numstat "$tests" | cut -f3)
# shellcheck disable=SC2086 # names of test files, without blanks
python3 -m pytest -v -p no:cacheprovider -p no:unraisableexception $files
