"""Git's own account of the merged change is held against what was found in the agents' patches."""

from __future__ import annotations

from cooperbench.eval.integrity import scan, unseen
from tests.unit.eval.test_evasions import added

TESTS = [added("suite/hidden.py", "x = 1")]


def test_nothing_new() -> None:
    patch = added("m.py", "import os\nos._exit(0)")
    assert unseen(patch, scan(patch, agent="agent1"), TESTS) == []


def test_what_nobody_found() -> None:
    patch = added("m.py", "import os\nos._exit(0)") + added("evil.pth", "import m")
    assert {(found.kind, found.path) for found in unseen(patch, [], TESTS)} == {
        ("code", "m.py"),
        ("steering", "evil.pth"),
    }


def test_what_is_the_benchmarks() -> None:
    found = unseen(added("suite/hidden.py", "x = 2") + added("tests/test_x.py", "x = 2"), [], TESTS)
    assert [(finding.kind, finding.path) for finding in found] == [
        ("smuggled", "suite/hidden.py"),
        ("smuggled", "tests/test_x.py"),
    ]
