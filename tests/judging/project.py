"""A dataset of one small project, judged for real on the embedded sandbox: what every test here works with.

Task 1 runs its tests with pytest, task 2 with unittest. Feature 1 adds `sub` below `add`, feature 2 adds `div` at the
end, feature 3 adds `neg` in the very place of feature 1: 1 and 2 merge, 1 and 3 conflict.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

from cooperbench.dataset import load_dataset
from cooperbench.dataset.model import Dataset
from cooperbench.eval.judging import Judgement

REPO = "sums_task"

Judge = Callable[..., Judgement]

BASE: dict[str, bytes] = {
    "sums.py": b'''"""Sums."""


def add(a, b):
    return a + b


# ------------------------------------------------------------


def mul(a, b):
    return a * b


# ------------------------------------------------------------
''',
    "words.txt": b"one\r\ntwo\r\nthree\r\n",
    "latin.txt": b"caf\xe9\n",
    "tests/__init__.py": b"",
    "tests/test_add.py": b"""import unittest

import sums


class AddTest(unittest.TestCase):
    def test_add(self):
        self.assertEqual(sums.add(1, 2), 3)
""",
    ".gitignore": b"__pycache__/\nbuild/\n",
}

AFTER_ADD = b"    return a + b\n"
SUB = AFTER_ADD + b"\n\ndef sub(a, b):\n    return a - b\n"
NEG = AFTER_ADD + b"\n\ndef neg(a):\n    return -a\n"
DIV = b"\n\ndef div(a, b):\n    return a / b\n"

GOLD: dict[int, dict[str, bytes]] = {
    1: {"sums.py": BASE["sums.py"].replace(AFTER_ADD, SUB)},
    2: {"sums.py": BASE["sums.py"] + DIV},
    3: {"sums.py": BASE["sums.py"].replace(AFTER_ADD, NEG)},
}

TESTS: dict[int, dict[str, bytes]] = {
    n: {
        f"tests/test_{name}.py": f"""import unittest

import sums


class {name.title()}Test(unittest.TestCase):
    def test_{name}(self):
        self.assertEqual(sums.{call}, {value})
""".encode()
    }
    for n, name, call, value in (
        (1, "sub", "sub(5, 3)", 2),
        (2, "div", "div(6, 3)", 2),
        (3, "neg", "neg(5)", -5),
    )
}

RUNNER = """#!/bin/bash
# runner.sh TESTS_PATCH [FEATURE_PATCH]: as the published images have it.
set -e
cd /workspace/repo
git apply --whitespace=nowarn "/patches/$1"
[ -z "${2:-}" ] || git apply --whitespace=nowarn "/patches/$2"
files=$(sed -n 's#^+++ b/\\(tests/.*\\.py\\)$#\\1#p' "/patches/$1")
COMMAND
"""

COMMANDS = {1: "python3 -m pytest -v $files", 2: "python3 -m unittest -v $files"}

BUILD = """set -eu
mkdir -p /workspace
cp -R /build/repo /workspace/repo
cp /build/runner.sh /usr/local/bin/runner.sh
chmod 755 /usr/local/bin/runner.sh
mkdir -p /opt/site
[ ! -d /build/site ] || cp -R /build/site/. /opt/site
path=$(python3 -c 'import sysconfig; print(sysconfig.get_paths(scheme="posix_local")["purelib"])' 2>/dev/null) || path=
for folder in "$path" /usr/local/lib/python3*/dist-packages /usr/local/lib/python3*/site-packages; do
    [ -w "$folder" ] && echo /opt/site >"$folder/site.pth" && break
done
cd /workspace/repo
git init -q .
git add -A
GIT_AUTHOR_DATE='1700000000 +0000' GIT_COMMITTER_DATE='1700000000 +0000' \\
    git -c user.name=n -c user.email=n@localhost commit -q -m base
sh -eu /build/extra.sh
"""


class Project:
    """The project's base in a git repository of the host's, to make patches with."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True)
        write(root, BASE)
        self._git("init", "-q")
        self._git("add", "-A")
        self._git("-c", "user.name=n", "-c", "user.email=n@localhost", "commit", "-qm", "base")

    def patch(self, files: Mapping[str, bytes | None], links: Mapping[str, str] | None = None) -> bytes:
        """The diff that gives `files` their contents (None removes one) and makes `links`."""
        self._git("reset", "-q", "--hard")
        self._git("clean", "-qfdx")
        write(self.root, {name: content for name, content in files.items() if content is not None})
        for name, content in files.items():
            if content is None:
                (self.root / name).unlink()
        for name, target in (links or {}).items():
            (self.root / name).symlink_to(target)
        self._git("add", "-A", "-f")
        return self._git("diff", "--cached", "--binary", "HEAD")

    def gold(self, number: int) -> bytes:
        return self.patch(GOLD[number])

    def _git(self, *args: str) -> bytes:
        return subprocess.run(["git", "-C", str(self.root), *args], check=True, capture_output=True).stdout


def write(root: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def lay_out(root: Path, project: Project, extra: str = "", runners: Mapping[int, str] = COMMANDS) -> Dataset:
    """The dataset on disk, in the published layout with recipes for the embedded sandbox."""
    (root / "dataset.toml").parent.mkdir(parents=True, exist_ok=True)
    (root / "dataset.toml").write_text(
        f'image = "judging-{root.name}/{{slug}}:task{{task_id}}"\nnetwork = "none"\n'
        '[recipe]\nbase = "host"\nscript = "build.sh"\n'
    )
    for task_id, command in runners.items():
        task = root / REPO / f"task{task_id}"
        for n, files in TESTS.items():
            folder = task / f"feature{n}"
            folder.mkdir(parents=True)
            (folder / "feature.md").write_text(f"**Title**: feature {n}\n")
            (folder / "feature.patch").write_bytes(project.gold(n))
            (folder / "tests.patch").write_bytes(project.patch(files))
        write(task / "repo", BASE)
        (task / "runner.sh").write_text(RUNNER.replace("COMMAND", command))
        (task / "build.sh").write_text(BUILD)
        (task / "extra.sh").write_text(extra)
        (task / "site").mkdir()
        if "pytest" in command:
            copy_pytest(task / "site")
    return load_dataset(root)


def copy_pytest(target: Path) -> None:
    """pytest and what it needs, as this test run has them; all pure Python."""
    for name in ("pytest", "pluggy", "iniconfig", "packaging", "pygments"):
        for file in metadata.files(name) or ():
            if ".." not in file.parts and (
                file.suffix == ".py" or file.name in ("METADATA", "entry_points.txt")
            ):
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(file.locate()), target / file)
