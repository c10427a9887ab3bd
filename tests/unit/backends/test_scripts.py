"""The shell scripts of the seam, in every shell this machine has."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

SHELLS = [each.split() for each in ("dash", "bash", "busybox sh", "mksh") if shutil.which(each.split()[0])]
SCRIPTS = resources.files("cooperbench.eval.backends")


def script(name: str) -> str:
    return SCRIPTS.joinpath(name).read_text("utf-8")


def limited(shell: list[str], marker: Path, seconds: int, *argv: str) -> subprocess.CompletedProcess[bytes]:
    limit = [
        *shell,
        "-c",
        script("hunt.sh") + script("limit.sh"),
        "limit",
        str(seconds),
        str(marker),
        f"T_{os.urandom(6).hex()}",
    ]
    return subprocess.run([*limit, *argv], capture_output=True, stdin=subprocess.DEVNULL, check=False)


@pytest.mark.parametrize("name", ["hunt.sh", "limit.sh", "receive.sh", "send.sh"])
def test_shellcheck(name: str) -> None:
    beside = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    program = shutil.which("shellcheck", path=beside)
    assert program, "shellcheck comes with the test extra"
    with resources.as_file(SCRIPTS.joinpath(name)) as path:
        checked = subprocess.run(
            [program, "-s", "sh", str(path)], capture_output=True, text=True, check=False
        )
    assert checked.returncode == 0, checked.stdout


@pytest.fixture(params=SHELLS, ids=" ".join, name="shell")
def _shell(request: pytest.FixtureRequest) -> list[str]:
    return list(request.param)


@pytest.mark.parametrize("code", [0, 1, 77, 124, 255])
def test_exit_code_and_streams_are_the_commands(shell: list[str], tmp_path: Path, code: int) -> None:
    done = limited(shell, tmp_path / "m", 60, "sh", "-c", f"cat; echo out; echo err >&2; exit {code}")
    assert (done.returncode, done.stdout, done.stderr) == (code, b"out\n", b"err\n")
    assert not (tmp_path / "m").exists()


def test_death_by_signal_is_its_code_and_no_words(shell: list[str], tmp_path: Path) -> None:
    done = limited(shell, tmp_path / "m", 60, "sh", "-c", "kill -KILL $$")
    assert (done.returncode, done.stdout, done.stderr) == (137, b"", b"")


@pytest.mark.parametrize("name", ["no-such-program", "exit", "cd"])
def test_only_programs_are_run(shell: list[str], tmp_path: Path, name: str) -> None:
    assert shutil.which(name) is None
    assert limited(shell, tmp_path / "m", 60, name).returncode == 127


def test_time_up_keeps_output_and_leaves_nobody(shell: list[str], tmp_path: Path) -> None:
    deep = tmp_path / "not" / "there"
    tree = (
        'echo so far; echo $$; sleep 301 & setsid sleep 302 & (setsid sh -c "sleep 303; true" &); sleep 304'
    )
    done = limited(shell, deep / "m", 1, "sh", "-c", f"export OURS={deep}; {tree}")
    assert done.returncode == 124
    assert done.stdout.startswith(b"so far\n")
    assert done.stderr == b""
    assert (deep / "m").exists()
    assert survivors(f"OURS={deep}") == []


def survivors(variable: str) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environ, state = (entry / "environ").read_bytes(), (entry / "stat").read_text("utf-8", "replace")
        except OSError:
            continue
        if variable.encode() in environ and state.rpartition(")")[2].split()[0] != "Z":
            found.append(entry.name)
    return found


def test_nothing_keeps_the_streams_open(shell: list[str], tmp_path: Path) -> None:
    done = limited(shell, tmp_path / "m", 3600, "echo", "done")  # would last an hour otherwise
    assert done.stdout == b"done\n"


def test_other_processes_are_spared(shell: list[str], tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "100"]) as bystander:
        try:
            assert limited(shell, tmp_path / "m", 1, "sleep", "100").returncode == 124
            assert bystander.poll() is None
        finally:
            bystander.kill()


def test_received_pieces_must_be_whole(shell: list[str], tmp_path: Path) -> None:
    spool = tmp_path / "spool" / "x"
    run = [*shell, "-c", script("receive.sh"), "receive", str(spool)]
    assert subprocess.run([*run, "H4sI", "more"], capture_output=True, check=True).stdout == b""
    last = subprocess.run([*run, "AAAA", str(tmp_path)], capture_output=True, check=False)
    assert last.returncode != 0
    assert list(spool.parent.iterdir()) == [], "pieces are removed"
