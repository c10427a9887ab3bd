"""What happens to the repository in an agent's sandbox: nothing of the future is left, all of the work is taken.

`repository.sh` runs here on plain directories; it needs no sandbox.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cooperbench.errors import BackendError
from cooperbench.eval.backends.base import Completed
from cooperbench.runner import repository
from cooperbench.runner.repository import Baseline

SHELLS = [shell for shell in ("sh", "bash", "busybox") if shutil.which(shell)]


class Here:
    """This very machine as a sandbox: programs run as they are, files go where they say, below a directory."""

    def __init__(self, root: Path, shell: str = "sh") -> None:
        self.root = root
        self.shell = [shell] if shell != "busybox" else ["busybox", "sh"]

    def run(self, argv, *, timeout=None, env=None, cwd=None, stdin=None) -> Completed:
        command = [*self.shell, *argv[1:]] if argv[0] == "sh" else list(argv)
        command = [word.replace("/tmp/.cooperbench", f"{self.root}/.cooperbench") for word in command]
        done = subprocess.run(
            command,
            cwd=cwd,
            input=stdin,
            capture_output=True,
            timeout=timeout,
            env={**os.environ, **(env or {})},
        )
        return Completed(done.returncode, done.stdout, done.stderr)

    def exec(self, *args: str) -> Completed:
        return self.run(args)

    def put_archive(self, directory: str, archive: bytes) -> None:
        place = ["-C", f"{self.root}{directory}", "--transform", "s,^tmp/,,"]
        subprocess.run(["tar", "-x", *place], input=archive, check=True, capture_output=True)

    def get_archive(self, directory: str, limit: int) -> bytes:
        assert limit > 0
        place = directory.replace("/tmp/.cooperbench", f"{self.root}/.cooperbench")
        names = [name for name in os.listdir(place) if (Path(place) / name).is_file()]
        return subprocess.run(
            ["tar", "-c", "-C", place, "--", *names], check=True, capture_output=True
        ).stdout

    def terminate(self) -> None: ...


@pytest.fixture(params=SHELLS)
def sandbox(request, tmp_path: Path) -> Here:
    return Here(tmp_path, request.param)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """Three commits, the middle one checked out."""
    path = tmp_path / "repo"
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    (path / "a.txt").write_text("one\ntwo\nthree\n")
    (path / ".gitignore").write_text("ignored/\n*.pyc\n")
    (path / "dir").mkdir()
    (path / "dir" / "b.txt").write_text("b\n")
    commit(path, "first")
    git(path, "tag", "-a", "v1", "-m", "before")
    (path / "a.txt").write_text("one\ntwo\nthree\nfour\n")
    commit(path, "base")
    return path


def git(path: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e@x", "-c", "core.hooksPath=/dev/null"]
    done = subprocess.run(["git", "-C", path, *identity, *arguments], check=True, capture_output=True)
    return done.stdout.decode()


def commit(path: Path, message: str) -> str:
    git(path, "add", "-A")
    git(path, "commit", "-q", "-m", message)
    return git(path, "rev-parse", "HEAD").strip()


def prepared(sandbox: Here, repo: Path) -> Baseline:
    return repository.prepare(sandbox, str(repo))


def taken(sandbox: Here, repo: Path, baseline: Baseline) -> bytes:
    result = repository.take(sandbox, str(repo), baseline)
    assert result.problem is None
    return result.patch


def replayed(repo: Path, baseline: Baseline, patch: bytes) -> Path:
    """A fresh checkout of the base with the patch applied."""
    fresh = repo.parent / "fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", repo, fresh], check=True, capture_output=True)
    git(fresh, "checkout", "-q", "--detach", baseline.commit)
    if patch:
        (repo.parent / "p").write_bytes(patch)
        git(fresh, "apply", "--whitespace=nowarn", str(repo.parent / "p"))
    return fresh


class TestTheFuture:
    def test_nothing_of_it_is_left(self, sandbox: Here, repo: Path) -> None:
        base = git(repo, "rev-parse", "HEAD").strip()
        (repo / "a.txt").write_text("THE FIX\n")
        fix = commit(repo, "the fix")
        git(repo, "tag", "v2")
        git(repo, "branch", "later")
        git(repo, "update-ref", "refs/remotes/origin/main", fix)
        git(repo, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
        git(repo, "update-ref", "refs/notes/commits", fix)
        git(repo, "remote", "add", "origin", "https://example.invalid/x.git")
        (repo / ".git" / "FETCH_HEAD").write_text(f"{fix}\t\tbranch 'main'\n")
        (repo / "a.txt").write_text("stashed\n")
        git(repo, "stash")
        git(repo, "gc", "-q")
        (repo / "a.txt").write_text("loose fix\n")
        loose = commit(repo, "loose")
        git(repo, "reset", "-q", "--hard", base)

        assert prepared(sandbox, repo).commit == base
        assert git(repo, "log", "--all", "--format=%H %s").splitlines()[0] == f"{base} base"
        for gone in (fix, loose):
            assert (
                subprocess.run(["git", "-C", repo, "cat-file", "-e", gone], capture_output=True).returncode
                != 0
            )
        everything = git(repo, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)").split()
        contents = "".join(
            subprocess.run(["git", "-C", repo, "cat-file", "-p", name], capture_output=True).stdout.decode(
                "utf-8", "replace"
            )
            for name in everything
        )
        assert "THE FIX" not in contents
        assert "loose fix" not in contents
        assert "stashed" not in contents
        assert git(repo, "for-each-ref", "--format=%(refname)").split() == ["refs/heads/main", "refs/tags/v1"]
        assert git(repo, "reflog", "--all") == ""
        assert git(repo, "fsck", "--lost-found") == ""
        assert not list((repo / ".git").glob("*_HEAD"))
        assert git(repo, "remote") == ""
        assert git(repo, "status", "--porcelain") == ""

    def test_detached_and_borrowed_objects(self, sandbox: Here, repo: Path, tmp_path: Path) -> None:
        base = git(repo, "rev-parse", "HEAD").strip()
        (repo / "a.txt").write_text("THE FIX\n")
        fix = commit(repo, "the fix")
        clone = tmp_path / "clone"
        git(tmp_path, "clone", "-q", "--shared", str(repo), str(clone))
        git(clone, "checkout", "-q", "--detach", base)
        assert prepared(sandbox, clone).commit == base
        assert (
            subprocess.run(["git", "-C", clone, "cat-file", "-e", fix], capture_output=True).returncode != 0
        )
        assert git(clone, "rev-parse", "HEAD").strip() == base
        assert git(clone, "log", "--format=%s") == "base\nfirst\n"

    def test_a_clean_repository_is_not_rewritten(self, sandbox: Here, repo: Path) -> None:
        def objects() -> set[str]:
            return {str(file) for file in (repo / ".git" / "objects").rglob("*") if file.is_file()}

        before = objects()
        prepared(sandbox, repo)
        assert objects() == before

    def test_kept_packs_give_nothing_away(self, sandbox: Here, repo: Path) -> None:
        (repo / "a.txt").write_text("THE FIX\n")
        fix = commit(repo, "fix")
        git(repo, "repack", "-a", "-d", "-q")
        for pack in (repo / ".git" / "objects" / "pack").glob("*.pack"):
            pack.with_suffix(".keep").touch()
        git(repo, "commit-graph", "write", "--reachable")
        git(repo, "reset", "-q", "--hard", "HEAD~1")
        prepared(sandbox, repo)
        assert subprocess.run(["git", "-C", repo, "cat-file", "-e", fix], capture_output=True).returncode != 0
        assert git(repo, "fsck", "--full", "--lost-found") == ""

    def test_hooks_do_not_run(self, sandbox: Here, repo: Path) -> None:
        hook = repo / ".git" / "hooks" / "reference-transaction"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {repo.parent}/ran\n")
        hook.chmod(0o755)
        git(repo, "branch", "other")
        prepared(sandbox, repo)
        assert not (repo.parent / "ran").exists()

    def test_no_repository(self, sandbox: Here, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(BackendError, match="no git repository"):
            prepared(sandbox, tmp_path / "empty")
        with pytest.raises(BackendError, match="no directory"):
            prepared(sandbox, tmp_path / "nowhere")


class TestTaking:
    def test_nothing_done(self, sandbox: Here, repo: Path) -> None:
        assert taken(sandbox, repo, prepared(sandbox, repo)) == b""

    def test_changed_new_deleted_binary_mode_link_and_odd_names(self, sandbox: Here, repo: Path) -> None:
        baseline = prepared(sandbox, repo)
        binary = bytes(range(256)) * 20
        (repo / "a.txt").write_bytes(b"one\r\ntwo \nno newline at the end")
        (repo / "dir" / "b.txt").unlink()
        (repo / "new dir").mkdir()
        (repo / "new dir" / 'caf\u00e9 "q"\nline').write_text("x\n")
        (repo / "latin").write_bytes(b"\xe9\xff\n")
        (repo / "binary").write_bytes(binary)
        (repo / "run").write_text("#!/bin/sh\n")
        (repo / "run").chmod(0o755)
        (repo / "link").symlink_to("a.txt")
        (repo / "-dash").write_text("d\n")
        (repo / "ignored").mkdir()
        (repo / "ignored" / "x").write_text("no\n")
        (repo / "m.pyc").write_text("no\n")
        os.mkfifo(repo / "pipe")
        patch = taken(sandbox, repo, baseline)
        fresh = replayed(repo, baseline, patch)
        assert (fresh / "a.txt").read_bytes() == b"one\r\ntwo \nno newline at the end"
        assert not (fresh / "dir").exists()
        assert (fresh / "new dir" / 'caf\u00e9 "q"\nline').read_text() == "x\n"
        assert (fresh / "latin").read_bytes() == b"\xe9\xff\n"
        assert (fresh / "binary").read_bytes() == binary
        assert (fresh / "run").stat().st_mode & 0o111
        assert (fresh / "link").readlink() == Path("a.txt")
        assert (fresh / "-dash").exists()
        assert not (fresh / "ignored").exists()
        assert not (fresh / "m.pyc").exists()

    @pytest.mark.parametrize("way", ["commit", "branch", "stage", "amend", "orphan", "lock"])
    def test_whatever_the_agent_did_with_git(self, sandbox: Here, repo: Path, way: str) -> None:
        baseline = prepared(sandbox, repo)
        if way == "orphan":
            git(repo, "checkout", "-q", "--orphan", "mine")
        if way == "branch":
            git(repo, "checkout", "-q", "-b", "mine", "HEAD~1")
            git(repo, "checkout", "-q", baseline.commit, "--", ".")
        (repo / "a.txt").write_text("mine\n")
        (repo / "n.txt").write_text("new\n")
        if way == "stage":
            git(repo, "add", "-A")
        elif way == "amend":
            git(repo, "commit", "-q", "-a", "--amend", "-m", "x")
        elif way == "lock":
            (repo / ".git" / "index.lock").touch()
        elif way != "branch":
            commit(repo, "x")
        fresh = replayed(repo, baseline, taken(sandbox, repo, baseline))
        assert (fresh / "a.txt").read_text() == "mine\n"
        assert (fresh / "n.txt").read_text() == "new\n"
        assert (fresh / "dir" / "b.txt").read_text() == "b\n"

    def test_a_conflict_left_behind(self, sandbox: Here, repo: Path) -> None:
        baseline = prepared(sandbox, repo)
        git(repo, "checkout", "-q", "-b", "other")
        (repo / "a.txt").write_text("theirs\n")
        commit(repo, "theirs")
        git(repo, "checkout", "-q", "main")
        (repo / "a.txt").write_text("ours\n")
        commit(repo, "ours")
        subprocess.run(["git", "-C", repo, "merge", "other"], capture_output=True)
        fresh = replayed(repo, baseline, taken(sandbox, repo, baseline))
        assert "<<<<<<<" in (fresh / "a.txt").read_text()

    def test_an_ignored_file_the_agent_committed_is_its_work(self, sandbox: Here, repo: Path) -> None:
        baseline = prepared(sandbox, repo)
        (repo / "ignored").mkdir()
        (repo / "ignored" / "wanted").write_text("w\n")
        git(repo, "add", "-f", "ignored/wanted")
        assert (replayed(repo, baseline, taken(sandbox, repo, baseline)) / "ignored" / "wanted").exists()

    def test_a_file_becomes_a_directory_and_back(self, sandbox: Here, repo: Path) -> None:
        baseline = prepared(sandbox, repo)
        (repo / "a.txt").unlink()
        (repo / "a.txt").mkdir()
        (repo / "a.txt" / "inner").write_text("i\n")
        shutil.rmtree(repo / "dir")
        (repo / "dir").write_text("file\n")
        fresh = replayed(repo, baseline, taken(sandbox, repo, baseline))
        assert (fresh / "a.txt" / "inner").read_text() == "i\n"
        assert (fresh / "dir").read_text() == "file\n"

    @pytest.mark.parametrize("commits", [True, False])
    def test_a_repository_inside_is_left_out_and_said_so(
        self, sandbox: Here, repo: Path, commits: bool
    ) -> None:
        baseline = prepared(sandbox, repo)
        (repo / "vendor").mkdir()
        git(repo / "vendor", "init", "-q")
        (repo / "vendor" / "v").write_text("v\n")
        if commits:
            commit(repo / "vendor", "v")
            subprocess.run(["git", "-C", repo, "add", "-A"], capture_output=True)
        (repo / "n.txt").write_text("new\n")
        result = repository.take(sandbox, str(repo), baseline)
        assert [name.rstrip("/") for name in result.left_out] == ["vendor"] * len(result.left_out) != []
        assert (replayed(repo, baseline, result.patch) / "n.txt").exists()
        assert b"vendor" not in result.patch

    def test_what_was_lying_around_is_not_the_agents_work(self, sandbox: Here, repo: Path) -> None:
        (repo / "pkg.egg-info").mkdir()
        (repo / "pkg.egg-info" / "PKG-INFO").write_text("x\n")
        (repo / "edited later").write_text("before\n")
        baseline = prepared(sandbox, repo)
        (repo / "n.txt").write_text("new\n")
        (repo / "edited later").write_text("after\n")
        patch = taken(sandbox, repo, baseline)
        assert b"egg-info" not in patch
        assert (replayed(repo, baseline, patch) / "edited later").read_text() == "after\n"

    def test_very_much_lying_around(self, sandbox: Here, repo: Path) -> None:
        for n in range(400):
            (repo / f"a rather long name that is not ignored \u00e9 {n}").write_text("x\n")
        baseline = prepared(sandbox, repo)
        assert len(baseline.untracked) > 24 * 1024
        assert taken(sandbox, repo, baseline) == b""

    def test_nothing_of_the_agents_configuration_steers_it(
        self, sandbox: Here, repo: Path, monkeypatch
    ) -> None:
        baseline = prepared(sandbox, repo)
        evil = repo.parent / "evil.sh"
        evil.write_text(f"#!/bin/sh\ntouch {repo.parent}/ran\necho forged\n")
        evil.chmod(0o755)
        for key in ("core.fsmonitor", "diff.external", "diff.x.textconv", "filter.x.clean", "core.pager"):
            git(repo, "config", key, str(evil))
        git(repo, "config", "core.quotePath", "false")
        git(repo, "config", "diff.noprefix", "true")
        git(repo, "config", "core.excludesFile", str(repo / "excludes"))
        (repo / "excludes").write_text("n.txt\n")
        (repo / ".gitattributes").write_text("a.txt diff=x filter=x\n")
        monkeypatch.setenv("GIT_EXTERNAL_DIFF", str(evil))
        monkeypatch.setenv("GIT_DIFF_OPTS", "-u0")
        (repo / "a.txt").write_text("mine\n")
        (repo / "n.txt").write_text("new\n")
        patch = taken(sandbox, repo, baseline)
        assert not (repo.parent / "ran").exists()
        fresh = replayed(repo, baseline, patch)
        assert (fresh / "a.txt").read_text() == "mine\n"
        assert (fresh / "n.txt").exists()

    def test_a_destroyed_repository_is_the_agents_doing(self, sandbox: Here, repo: Path) -> None:
        baseline = prepared(sandbox, repo)
        shutil.rmtree(repo / ".git")
        result = repository.take(sandbox, str(repo), baseline)
        assert result.patch == b""
        assert result.problem is not None
        assert "gone" in result.problem
        git(repo, "init", "-q")
        commit(repo, "all new")
        result = repository.take(sandbox, str(repo), baseline)
        assert result.problem == "the base commit is gone"

    def test_a_patch_has_a_limit(self, sandbox: Here, repo: Path) -> None:
        baseline = prepared(sandbox, repo)
        (repo / "big").write_bytes(os.urandom(200_000))
        result = repository.take(sandbox, str(repo), baseline, limit=100_000)
        assert result.patch == b""
        assert "100000 are allowed" in (result.problem or "")
