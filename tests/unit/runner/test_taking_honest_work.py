"""Work that is taken whatever the agent did around it, and what an agent cannot blame on the infrastructure."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cooperbench.runner import repository
from tests.unit.runner.test_repository import Here, commit, git, prepared, replayed, taken

SHELLS = [shell for shell in ("sh", "busybox") if shutil.which(shell)]


@pytest.fixture(params=SHELLS)
def sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> Here:
    return Here(tmp_path, request.param)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    path = tmp_path / "repo"
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    (path / "a.txt").write_text("one\ntwo\n")
    (path / "b.txt").write_text("b\n")
    (path / "dir").mkdir()
    (path / "dir" / "c.txt").write_text("c\n")
    (path / "crlf.txt").write_bytes(b"one\r\ntwo\r\n")
    commit(path, "base")
    return path


class TestAnAgentCannotLeaveTheDenominator:
    def test_by_removing_the_repository(self, sandbox: Here, repo: Path) -> None:
        baseline = prepared(sandbox, repo)
        shutil.rmtree(repo)
        result = repository.take(sandbox, str(repo), baseline)
        assert result.patch == b""
        assert "no directory" in (result.problem or "")

    def test_by_leaving_no_room(self, sandbox: Here, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        baseline = prepared(sandbox, repo)
        monkeypatch.setenv("TMPDIR", "/proc/nowhere")
        assert repository.take(sandbox, str(repo), baseline).problem

    def test_by_breaking_git(self, sandbox: Here, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        baseline = prepared(sandbox, repo)
        broken = repo.parent / "bin"
        broken.mkdir()
        (broken / "git").write_text("#!/bin/sh\nexit 1\n")
        (broken / "git").chmod(0o755)
        monkeypatch.setenv("PATH", f"{broken}:{os.environ['PATH']}")
        assert repository.take(sandbox, str(repo), baseline).problem


WAYS: dict[str, list[list[str]]] = {
    "rebase": [
        ["add", "-A"],
        ["commit", "-q", "-m", "mine"],
        ["checkout", "-q", "-b", "other", "HEAD~1"],
        ["commit", "-q", "--allow-empty", "-m", "other"],
        ["rebase", "-q", "main"],
    ],
    "worktree": [["worktree", "add", "-q", "wt"]],
    "gc": [["add", "-A"], ["commit", "-q", "-m", "mine"], ["gc", "-q", "--prune=now"]],
    "separate": [["init", "-q", "--separate-git-dir=../elsewhere"]],
    "sparse": [["sparse-checkout", "set", "--no-cone", "/*.txt"]],
    "sparse by cones": [["sparse-checkout", "set", "--cone"]],
    "assume": [["update-index", "--assume-unchanged", "a.txt"]],
    "skip": [["update-index", "--skip-worktree", "a.txt"]],
    "detached": [["checkout", "-q", "--detach"]],
    "split index": [["update-index", "--split-index"]],
    "index version 4": [["update-index", "--index-version", "4"]],
    "untracked cache": [["update-index", "--force-untracked-cache"]],
}


@pytest.mark.parametrize("way", WAYS)
def test_what_the_agent_did_with_git_loses_nothing(sandbox: Here, repo: Path, way: str) -> None:
    baseline = prepared(sandbox, repo)
    (repo / "a.txt").write_text("mine\n")
    (repo / "n.txt").write_text("new\n")
    for command in WAYS[way]:
        git(repo, *command)
    result = repository.take(sandbox, str(repo), baseline)
    assert result.problem is None
    fresh = repo.parent / "fresh"
    subprocess.run(["git", "clone", "-q", repo, fresh], check=True, capture_output=True)
    git(fresh, "checkout", "-q", "-f", "--detach", baseline.commit)
    (repo.parent / "p").write_bytes(result.patch)
    git(fresh, "apply", str(repo.parent / "p"))
    assert (fresh / "a.txt").read_text() == "mine\n"
    assert (fresh / "n.txt").read_text() == "new\n"
    assert (fresh / "dir" / "c.txt").read_text() == "c\n", (
        "a file outside a sparse checkout is no deleted file"
    )


def test_modes_links_and_empty_files(sandbox: Here, repo: Path) -> None:
    baseline = prepared(sandbox, repo)
    (repo / "a.txt").chmod(0o755)
    (repo / "empty").touch()
    (repo / "loop").symlink_to("loop")
    (repo / "to dir").symlink_to("dir")
    (repo / "b.txt").unlink()
    (repo / "b.txt").symlink_to("a.txt")
    (repo / "crlf.txt").write_bytes(b"one\r\nchanged\r\n")
    (repo / "dir" / "c.txt").rename(repo / "dir" / "d e.txt")
    fresh = replayed(repo, baseline, taken(sandbox, repo, baseline))
    assert (fresh / "a.txt").stat().st_mode & 0o111
    assert (fresh / "empty").read_bytes() == b""
    assert (fresh / "loop").readlink() == Path("loop")
    assert (fresh / "to dir").readlink() == Path("dir")
    assert (fresh / "b.txt").readlink() == Path("a.txt")
    assert (fresh / "crlf.txt").read_bytes() == b"one\r\nchanged\r\n"
    assert sorted(os.listdir(fresh / "dir")) == ["d e.txt"]


def test_line_ends_by_attributes(sandbox: Here, repo: Path) -> None:
    (repo / ".gitattributes").write_text("*.txt text eol=crlf\n")
    git(repo, "add", "--renormalize", ".")
    commit(repo, "attributes")
    (repo / "a.txt").write_bytes(b"one\r\ntwo\r\n")
    baseline = prepared(sandbox, repo)
    assert taken(sandbox, repo, baseline) == b""
    (repo / "a.txt").write_bytes(b"one\r\ntwo\r\nthree\r\n")
    patch = taken(sandbox, repo, baseline)
    assert patch.count(b"\n+") == 2, patch
    assert (replayed(repo, baseline, patch) / "a.txt").read_bytes() == b"one\r\ntwo\r\nthree\r\n"


def test_five_thousand_files(sandbox: Here, repo: Path) -> None:
    baseline = prepared(sandbox, repo)
    for n in range(5000):
        (repo / f"f{n}").write_text(f"{n}\n")
    assert taken(sandbox, repo, baseline).count(b"diff --git ") == 5000


def test_what_was_under_way_gives_nothing_away(sandbox: Here, repo: Path) -> None:
    """Patches of an unfinished `git am`, messages of later commits."""
    own = repo / ".git"
    for name in (
        "rebase-apply/0001",
        "rebase-merge/patch",
        "sequencer/todo",
        "COMMIT_EDITMSG",
        "MERGE_MSG",
        "SQUASH_MSG",
    ):
        (own / name).parent.mkdir(exist_ok=True)
        (own / name).write_text("THE FIX\n")
    prepared(sandbox, repo)
    left = [file for file in own.rglob("*") if file.is_file() and b"THE FIX" in file.read_bytes()]
    assert left == []
