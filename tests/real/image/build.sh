#!/bin/sh
# Makes a rebuilt task's image: runs once as root on the host's own /usr, without network, with the task's directory
# at /build. Leaves the source at /workspace/repo as a repository of one commit, what its tests import at /opt/site,
# and the runner where every published image has it.
set -eu

python3 -c 'import sys; sys.exit(sys.version_info < (3, 10) and "build.sh: needs Python 3.10 or newer as python3")'

mkdir -p /workspace/repo /opt/site /usr/local/bin

# Every commit of this source is the same commit: the image's digest does not depend on when it was built.
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
export GIT_AUTHOR_NAME=base GIT_AUTHOR_EMAIL=base@example.invalid GIT_AUTHOR_DATE='2020-01-01T00:00:00+00:00'
export GIT_COMMITTER_NAME=base GIT_COMMITTER_EMAIL=base@example.invalid GIT_COMMITTER_DATE="$GIT_AUTHOR_DATE"
cd /workspace/repo
tar -xzf /build/source.tar.gz --strip-components=1 --no-same-owner
git init -q -b main .
git add -A -f
git commit -q -m 'Base'
# A source archive comes without its .gitignore.
printf '%s\n' __pycache__/ '*.pyc' .pytest_cache/ >>.git/info/exclude

cd /opt/site
for wheel in /build/wheels/*.whl; do
    python3 -m zipfile -e "$wheel" .
done
for archive in /build/wheels/*.tar.gz; do
    [ -e "$archive" ] || continue
    tar -xzf "$archive" --no-same-owner --strip-components=2 "$(basename "$archive" .tar.gz)/src"
done
python3 -m compileall -q .

cp /build/runner.sh /usr/local/bin/runner.sh
chmod 0755 /usr/local/bin/runner.sh
