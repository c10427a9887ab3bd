"""Defects known from an earlier harness, where no other test looks for them. `DEFECTS.md` names each."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import cooperbench
from cooperbench.dataset import demo_dataset
from cooperbench.dataset.model import Pair
from cooperbench.errors import UsageError
from cooperbench.eval.integrity import apply_rule
from cooperbench.eval.patch_tests import read_patch
from cooperbench.patches import keep_for_judging
from cooperbench.runs import RunDirectory, differences
from cooperbench.runs.settings import DEFINING

HEAD = b"diff --git a/x b/x\n--- a/x\n+++ b/x\n"
DELICATE = {
    "a blank line of context last": HEAD + b"@@ -1,3 +1,4 @@\n one\n+two\n three\n \n",
    "an empty line of context last": HEAD + b"@@ -1,3 +1,4 @@\n one\n+two\n three\n\n",
    "blank lines first": b"\n\n" + HEAD + b"@@ -1 +1 @@\n-a\n+b\n",
    "trailing blanks and a form feed": HEAD + b"@@ -1 +1 @@\n-a \t\n+b \t\x0c\n",
    "carriage returns": HEAD + b"@@ -1 +1 @@\n-a\r\n+b\r\n",
    "both line ends": HEAD + b"@@ -1,2 +1,2 @@\n-a\r\n+b\n c\r\n",
    "no UTF-8": HEAD + b"@@ -1 +1 @@\n-caf\xe9\n+\xff\xfe\x00\n",
    "a shell's quoted quote": HEAD + b"@@ -1,2 +1,2 @@\n echo 'it'\\''s'\n-a\n+echo 'I'\\''m'\n",
    "no line feed last": HEAD + b"@@ -1 +1 @@\n-a\n+b\n\\ No newline at end of file",
}
"""PA1, PA2, PA4: what a careless strip, text mode or replacement damages."""


def stored(patch: bytes, place: Path, setting: str, feature: int) -> bytes:
    trial = RunDirectory(place, "run").trial(setting, Pair("r_task", 0, (1, 2)))
    trial.write_patch(feature, patch)
    return trial.read_patches()[feature]


def from_file(patch: bytes, place: Path) -> bytes:
    (place / "a.patch").write_bytes(patch)
    return read_patch(str(place / "a.patch"))


CARRIERS: dict[str, Callable[[bytes, Path], bytes]] = {
    "coop trial": lambda patch, place: stored(patch, place, "coop", 2),
    "solo trial": lambda patch, place: stored(patch, place, "solo", 0),
    "bytes": lambda patch, _: read_patch(patch),
    "text": lambda patch, _: read_patch(patch.decode("utf-8", "surrogateescape")),
    "file": from_file,
    "admission": lambda patch, _: keep_for_judging(patch, []).kept,
    "integrity": lambda patch, _: apply_rule("drop", patch, "agent1")[0],
}


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("kind", DELICATE)
def test_a_patch_is_carried_byte_for_byte(kind: str, carrier: str, tmp_path: Path) -> None:
    assert CARRIERS[carrier](DELICATE[kind], tmp_path) == DELICATE[kind]


def test_text_that_happens_to_name_a_file_is_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PA8: whatever lies in the working directory, a newline makes it a patch and none makes it a path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b\n").write_bytes(b"something else")
    assert read_patch("a b\n") == b"a b\n"
    with pytest.raises(UsageError, match="cannot read the patch file"):
        read_patch("diff --git a/x b/x")


def modules() -> list[ModuleType]:
    """Ours; not the bundled dataset's, which are other projects' code, nor those that run when imported."""
    names = pkgutil.walk_packages(cooperbench.__path__, "cooperbench.")
    return [importlib.import_module(found.name) for found in names if not found.name.endswith("__main__")] + [
        cooperbench
    ]


def test_no_function_hides_a_module_of_its_name() -> None:
    """3.6: a package that gives out a function under the name of one of its modules has lost the module."""
    for package in modules():
        inside = {found.name for found in pkgutil.iter_modules(getattr(package, "__path__", ()))}
        hidden = {name for name in inside if callable(getattr(package, name, None))}
        assert not hidden, f"{package.__name__}: {hidden}"
        if package.__name__ != "cooperbench.eval.backends.contract":  # gives out its modules as such
            assert not inside & set(getattr(package, "__all__", ())), package.__name__


def test_nobody_keeps_a_getter_of_backends_for_himself() -> None:
    """3.6: who imports the function by name does not see the one a user has put in its place."""
    for path in Path(cooperbench.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.ImportFrom):
                names = {alias.name for alias in node.names}
                assert not names & {"get_backend", "default_backend"}, path.name


SHORT_OF_DISK = """
import resource, signal, sys
from pathlib import Path
from cooperbench import atomic

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
atomic.write_json(Path(sys.argv[1]), {"new": "x" * 5000})
"""


def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path: Path) -> None:
    """IO4: the disk fills up in the middle of a write."""
    target = tmp_path / "result.json"
    target.write_bytes(b'{"old": true}\n')
    done = subprocess.run([sys.executable, "-c", SHORT_OF_DISK, target], capture_output=True, check=False)
    assert b"File too large" in done.stderr
    assert target.read_bytes() == b'{"old": true}\n'
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", DEFINING)
def test_nothing_that_makes_an_experiment_may_change_within_a_run(name: str) -> None:
    """IO6: each of them by itself."""
    assert len(differences({name: "a"}, {name: "b"})) == 1


def test_what_makes_an_experiment() -> None:
    """IO6: what changes the trials or their verdicts; how many at once does not."""
    assert {
        "agent_framework", "model", "setting", "backend", "agent_config", "messaging_enabled", "git_enabled",
        "team_without", "agent_timeout", "test_timeout", "rules", "independent",
    } <= set(DEFINING)  # fmt: skip


def test_task_0_is_a_selection_when_judging(tmp_path: Path) -> None:
    """3.8: a zero taken for "no filter" would judge the run's other task."""
    trial = RunDirectory(tmp_path, "run").trial("coop", Pair("almanac_task", 12, (1, 2)))
    for feature in (1, 2):
        trial.write_patch(feature, b"")
    trial.write_result({"setting": "coop", "agents": {"agent1": {"status": "Submitted"}}})
    with pytest.raises(UsageError, match="no finished trial that fits the selection"):
        cooperbench.evaluate("run", task_id=0, dataset_dir=demo_dataset(), logs_dir=tmp_path)


def test_this_page_names_tests_that_exist() -> None:
    """`DEFECTS.md`: every test it names is there, and every row of what it covers has one."""
    tests = Path(__file__).parents[1]
    page = (tests / "DEFECTS.md").read_text("utf-8")
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", page)
    for path, name in named:
        assert re.search(rf"^ *def {name}\(", (tests / path).read_text("utf-8"), re.MULTILINE), (
            f"{path}::{name}"
        )
    wanted = {
        f"{kind}{n}"
        for kind, last in (("PA", 9), ("ME", 8), ("RP", 6), ("IO", 8))
        for n in range(1, last + 1)
    }
    rows = {row.split("|")[1].strip() for row in page.splitlines() if row.startswith("|") and "::" in row}
    assert wanted <= rows
