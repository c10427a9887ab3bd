#!/bin/sh
# Makes the task's image on its base: the repository with one commit, and the runner. Context at /build.
# Dates and names are fixed so that the base commit is the same wherever the image is built.
set -eu
umask 022

mkdir -p /workspace /usr/local/bin
cp -R /build/repo /workspace/repo
cp /build/runner.sh /usr/local/bin/runner.sh
chmod 755 /usr/local/bin/runner.sh

cd /workspace/repo
# Installing the package this came in compiles every .py file of it.
find . -name __pycache__ -prune -exec rm -rf {} +
find . -type d -exec chmod 755 {} +
find . -type f -exec chmod 644 {} +
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
git -c init.defaultBranch=main init -q --template=
git config user.name "Demo"
git config user.email "demo@example.invalid"
git add -A
GIT_AUTHOR_DATE="2024-05-01T12:00:00Z" GIT_COMMITTER_DATE="2024-05-01T12:00:00Z" \
    git commit -q --no-gpg-sign -m "almanac 1.2"
