"""The Makefile explains itself, and says what is missing before anything fails in its own words."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")


def make(*argv: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *argv], cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, timeout=60
    )


def test_make_alone_explains_every_target() -> None:
    text = make(cwd=ROOT).stdout
    (phony,) = re.findall(r"^\.PHONY: (.*)", MAKEFILE, re.M)
    for target in phony.split():
        assert re.search(rf"^  make {target} +\S", text, re.M), target


def test_the_demo_elsewhere_installs_what_that_takes(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    assert "-e '.[docker]'" in make("-n", "demo", "BACKEND=docker", cwd=tmp_path).stdout
    assert "-e '.[" not in make("-n", "demo", cwd=tmp_path).stdout


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A checkout's Makefile on a machine with a shell and nothing else."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "bin").mkdir()
    for tool in ("sh", "rm"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    return tmp_path


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_without_a_python_that_will_do_the_demo_says_so(bare: Path) -> None:
    program(bare / "bin" / "python3", "exit 1")
    done = subprocess.run(
        [shutil.which("make"), "demo"], cwd=bare, env={"PATH": f"{bare}/bin"}, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "cooperbench needs Python 3.11 or newer" in done.stderr
    assert not (bare / ".venv").exists()


def test_without_venv_the_demo_names_the_package_and_leaves_nothing_half_made(bare: Path) -> None:
    program(bare / "bin" / "git", "exit 0")
    program(bare / "bin" / "python3", 'case "$1" in -c) exit 0;; esac; /bin/mkdir -p .venv/bin; exit 1')
    done = subprocess.run(
        [shutil.which("make"), "demo"], cwd=bare, env={"PATH": f"{bare}/bin"}, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "apt-get install python3-venv" in done.stderr
    assert not (bare / ".venv").exists()


def test_without_git_the_demo_says_so(bare: Path) -> None:
    program(bare / "bin" / "python3", "exit 0")
    done = subprocess.run(
        [shutil.which("make"), "demo"], cwd=bare, env={"PATH": f"{bare}/bin"}, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "cooperbench needs git" in done.stderr


def test_make_demo_passes_the_backend_on(bare: Path) -> None:
    (bare / ".venv" / "bin").mkdir(parents=True)
    program(bare / ".venv" / "bin" / "python", "exit 0")
    program(bare / ".venv" / "bin" / "cooperbench", 'echo "called: $*"')
    done = make("demo", "BACKEND=elsewhere", cwd=bare)
    assert "called: demo --backend elsewhere" in done.stdout
    assert "called: demo\n" in make("demo", cwd=bare).stdout
