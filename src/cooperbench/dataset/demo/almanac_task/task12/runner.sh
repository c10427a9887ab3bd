#!/bin/sh
# runner.sh TESTS_PATCH [FEATURE_PATCH]
# Runs the hidden tests on the repository with the feature applied. Names are relative to /patches. Exit 0: all passed.
set -eu

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    echo "usage: runner.sh TESTS_PATCH [FEATURE_PATCH]" >&2
    exit 2
fi

cd /workspace/repo

clean() {
    git reset -q --hard HEAD
    git clean -fdq
}

# An agent that wrote nothing leaves an empty patch, which git refuses.
apply() {
    [ ! -s "/patches/$1" ] || git apply --whitespace=nowarn "/patches/$1"
}

clean
trap clean EXIT
[ $# -lt 2 ] || apply "$2"
apply "$1"

# -I: nothing in the repository may stand in for a module of the standard library.
python3 -I -B -m unittest discover -v -s tests -t .
