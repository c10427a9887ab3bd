#!/bin/sh
# What somebody would type to judge patches by hand, and how long that takes: for each feature a clean tree and the
# image's runner. In /patches: agent.1 agent.2 …, tests.1 tests.2 …; prints nanoseconds. GNU date is needed.
set -eu

cd /workspace/repo
git reset -q --hard
for patch in /patches/agent.*; do
    git apply --3way --whitespace=nowarn --exclude='tests/*' "$patch"
done
git diff --cached --binary >/patches/merged
git reset -q --hard

begun=$(date +%s%N)
for tests in /patches/tests.*; do
    git reset -q --hard
    git clean -fdq
    bash /usr/local/bin/runner.sh "${tests##*/}" merged >/dev/null 2>&1
done
echo $(($(date +%s%N) - begun))
