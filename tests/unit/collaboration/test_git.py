"""Branches between real sandboxes: git bundles through the harness, looked into by nobody but the one who fetches."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cooperbench.collaboration import branches
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import ExecResult, Sandbox
from cooperbench.eval.backends.local import LocalBackend
from tests.unit.collaboration.teams import SHELLS, Team

REPO = "/workspace/repo"
GIT = "git -c user.name=me -c user.email=me@example.org"
FOUNDATION = f"""
set -e
mkdir -p {REPO} && cd {REPO} && git init -q -b main
export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z'
seq 20 >file && git add file && {GIT} commit -q -m base && git rev-parse HEAD
"""


@pytest.fixture
def pair(team: Team) -> Team:
    """Two agents with the same repository."""
    bases = {team.run(name, FOUNDATION).stdout_read().strip() for name in team.boxes}
    (base,) = bases
    return team.start(base=base)


def commit(team: Team, name: str, script: str) -> None:
    done = team.run(name, f"cd {REPO} && {script} && git add -A && {GIT} commit -q -m work")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("by", SHELLS)
def test_what_one_pushes_the_other_merges(pair: Team, by: str) -> None:
    """MS8: agents were told that pushing is not possible, and nobody did."""
    commit(pair, "agent1", "echo one >one.txt && printf '\\0\\377' >binary")
    pushed = pair.coop("agent1", "push", by=by, cwd=REPO)
    assert (pushed.returncode, pushed.stderr) == (0, b"")
    assert pushed.stdout == b"pushed (your push 1): teammates get it with: coop fetch\n"
    commit(pair, "agent2", "echo two >two.txt")
    fetched = pair.coop("agent2", "fetch", by=by, cwd=f"{REPO}")
    assert (fetched.returncode, fetched.stderr) == (0, b"")
    assert fetched.stdout.startswith(b"team/agent1 is push 1 of agent1:\n")
    assert b"one.txt" in fetched.stdout
    merged = pair.run("agent2", f"cd {REPO} && {GIT} merge -q team/agent1 -m merged && cat one.txt two.txt")
    assert merged.stdout == b"one\ntwo\n"
    refs = pair.run("agent1", f"cd {REPO} && git for-each-ref --format='%(refname)'").stdout
    assert refs == b"refs/heads/main\n"  # pushing leaves nothing
    assert [entry.kind for entry in pair.bus.timeline()] == ["push", "fetch"]


class Bare:
    """A sandbox as the ten-line backend of somebody else has it: exec and terminate."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def exec(self, *args: str) -> ExecResult:
        return self._sandbox.exec(*args)

    def terminate(self) -> None:
        self._sandbox.terminate()


def test_exec_alone_is_enough(team: Team) -> None:
    for name in team.boxes:
        base = team.run(name, FOUNDATION).stdout_read().strip()
    team.start(Bare, patience=3, base=base)
    commit(team, "agent1", "head -c 100000 /dev/urandom >noise")
    assert team.coop("agent1", "push", cwd=REPO).returncode == 0
    assert b"noise" in team.coop("agent2", "fetch", cwd=REPO).stdout
    assert team.coop("agent2", "send", "agent1", "x" * 5000).returncode == 0
    assert b"x" * 5000 in team.coop("agent1", "inbox", "--wait", "60").stdout


def test_what_is_offered_says_how_to_push(team: Team) -> None:
    """MS8: what agents read of it says that pushing works, and where it arrives."""
    offered = team.start().coop("agent1", "--help").stdout_read()
    assert "coop push " in offered
    assert "git merge team/agent2" in offered
    assert "read-only" not in offered


def test_again_and_from_a_branch_and_from_below(pair: Team) -> None:
    commit(pair, "agent1", "git checkout -q -b mine && mkdir -p sub && echo 1 >sub/a")
    assert pair.coop("agent1", "push", cwd=f"{REPO}/sub").returncode == 0
    assert pair.coop("agent2", "fetch", "agent1", cwd=REPO).returncode == 0
    commit(pair, "agent1", "git checkout -q main && echo 2 >b")  # rewritten: not on top of the first push
    dirty = pair.run("agent1", f"cd {REPO} && echo more >>file && coop push")
    assert dirty.returncode == 0
    assert b"not committed are not in it" in dirty.stderr
    assert pair.coop("agent2", "fetch", cwd=REPO).stdout.startswith(b"team/agent1 is push 2")
    names = pair.run("agent2", f"cd {REPO} && git ls-tree -r --name-only team/agent1").stdout
    assert names == b"b\nfile\n"


def test_what_cannot_be_pushed_or_fetched(pair: Team) -> None:
    nothing = pair.coop("agent1", "push", cwd=REPO)
    assert nothing.returncode == 1
    assert b"git commit first" in nothing.stderr
    elsewhere = pair.coop("agent1", "push", cwd="/tmp")
    assert elsewhere.returncode == 1
    assert b"no git repository" in elsewhere.stderr
    assert b"has pushed nothing yet" in pair.coop("agent2", "fetch", cwd=REPO).stderr
    assert b"no agent 'agent7'" in pair.coop("agent2", "fetch", "agent7", cwd=REPO).stderr
    assert pair.coop("agent2", "fetch", "../../x", cwd=REPO).returncode == 2
    assert pair.coop("agent1", "push", "main", cwd=REPO).returncode == 2


def test_a_push_that_is_too_large(pair: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branches, "BUNDLE_LIMIT", 50_000)
    commit(pair, "agent1", "head -c 60000 /dev/urandom >noise")
    refused = pair.coop("agent1", "push", cwd=REPO)
    assert refused.returncode == 1
    assert b"50000 are allowed" in refused.stderr
    shell.put_files(
        pair.boxes["agent1"],
        {"/usr/local/bin/coop": b"#!/bin/sh\n" + _client(17 * 1024 * 1024)},
    )
    flooded = pair.run("agent1", f"cd {REPO} && coop push")  # a client that does not look at sizes
    assert flooded.returncode == 1
    assert b"cannot be taken" in flooded.stderr or b"are allowed" in flooded.stderr
    assert pair.bus.timeline() == ()


def _client(size: int) -> bytes:
    """`coop push`, of so many bytes of nothing."""
    source = Path("src/cooperbench/collaboration/coop.sh").read_text()
    forged = source.replace(
        'git bundle create "$work/bundle" $branch "^$base"', f'head -c {size} /dev/zero >"$work/bundle"; true'
    )
    assert forged != source
    return forged.replace("bundle_limit=16777216", "bundle_limit=99999999").encode()


def hostile(tmp_path: Path, script: str) -> bytes:
    """A bundle as somebody who means harm makes it."""
    foundation = FOUNDATION.replace(REPO, str(tmp_path / "repo"))
    program = f"set -e\ncd {tmp_path}\n{foundation}\nBASE=$(git rev-parse HEAD)\n{script}"
    subprocess.run(["sh", "-c", program], check=True, capture_output=True)
    return (tmp_path / "bundle").read_bytes()


HOSTILE = {
    "no bundle at all": "head -c 5000 /dev/urandom >../bundle",
    "cut off": "echo x >x; git add x; GIT commit -q -m x; git update-ref refs/coop/push HEAD; "
    "git bundle create ../whole refs/coop/push ^$BASE; head -c 200 ../whole >../bundle",
    "another branch": "echo x >x; git add x; GIT commit -q -m x; git bundle create ../bundle main ^$BASE",
    "a file of git's own": "blob=$(echo '[core] sshCommand = touch /tmp/ran' | git hash-object -w --stdin); "
    "config=$(printf '100644 blob %s\\tconfig\\n' $blob | git mktree); "
    "tree=$(printf '040000 tree %s\\t.git\\n' $config | git mktree); "
    "git update-ref refs/coop/push $(GIT commit-tree $tree -p $BASE -m x); "
    "git bundle create ../bundle refs/coop/push ^$BASE",
    "a way out": "blob=$(echo x | git hash-object -w --stdin); "
    "inner=$(printf '100644 blob %s\\tran\\n' $blob | git mktree); "
    "tree=$(printf '040000 tree %s\\t..\\n' $inner | git mktree); "
    "git update-ref refs/coop/push $(GIT commit-tree $tree -p $BASE -m x); "
    "git bundle create ../bundle refs/coop/push ^$BASE",
    "on a base nobody has": "git checkout -q --orphan other; echo y >y; git add y; GIT commit -q -m y; "
    "OTHER=$(git rev-parse HEAD); "
    "echo z >z; git add z; GIT commit -q -m z; git update-ref refs/coop/push HEAD; "
    "git bundle create ../bundle refs/coop/push ^$OTHER",
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_bundle_is_refused_where_it_is_fetched(pair: Team, tmp_path: Path, how: str) -> None:
    pair.bus.branches.push("agent1", hostile(tmp_path, HOSTILE[how].replace("GIT", GIT)))
    before = pair.run("agent2", f"cd {REPO} && git for-each-ref && git status --porcelain && git config -l")
    fetched = pair.coop("agent2", "fetch", cwd=REPO)
    assert fetched.returncode == 1
    assert b"cannot be taken in" in fetched.stderr
    after = pair.run("agent2", f"cd {REPO} && git for-each-ref && git status --porcelain && git config -l")
    assert after == before
    assert pair.run("agent2", "test -e /tmp/ran").returncode != 0
    assert pair.coop("agent2", "send", "agent1", "still here").returncode == 0


def test_git_can_be_switched_off(backend: LocalBackend) -> None:
    team = Team(backend)
    try:
        team.run("agent1", FOUNDATION)
        team.start()
        refused = team.coop("agent1", "push", cwd=REPO)
        assert refused.returncode == 1
        assert b"switched off in this run" in refused.stderr
    finally:
        team.end()
