"""RP1 to RP6, EX6: what a log makes of a verdict, and how long a judge may take. `DEFECTS.md` names the defects."""

from __future__ import annotations

from pathlib import Path

import pytest

from cooperbench.dataset.model import Feature, Pair, Task
from cooperbench.eval.plan import Plan, Rules, plan_trial
from tests.unit.eval.test_verdict import judged
from tests.unit.test_testlog import log


def planned(root: Path, timeout: float, *, alone: bool = False) -> Plan:
    features = {n: Feature(n, root / f"feature{n}") for n in (1, 2)}
    for feature in features.values():
        feature.path.mkdir(exist_ok=True)
        (feature.path / "tests.patch").touch()
    task = Task("x_task", 1, root, features, "image")
    pair = Pair("x_task", 1, (1, 2))
    return plan_trial(task, pair, {1: b"", 2: b""}, "coop", Rules(), timeout=timeout, alone=alone)


@pytest.mark.parametrize(
    ("text", "passed", "counted"),
    [
        pytest.param(log("jest_ok"), True, (2, 0, 3), id="RP1 skipped tests come first"),
        pytest.param(log("jest_allfail"), False, (0, 1, 1), id="RP2 all failed"),
        pytest.param(log("go_none"), False, (0, 0, 0), id="RP3 go matched no test"),
        pytest.param(
            log("go_none") + log("go_none"), False, (0, 0, 0), id="RP3 go matched no test in two packages"
        ),
        pytest.param(log("cargo_ok"), True, (2, 0, 3), id="RP4 the first of two binaries is empty"),
        pytest.param(log("pytest_none") + log("pytest_v"), True, (6, 0, 8), id="RP4 the first run is empty"),
        pytest.param(
            log("pytest_v") + log("pytest_v_fail"), False, (14, 3, 21), id="RP4 a later run has failures"
        ),
        pytest.param(log("cargo_ok") + log("cargo_fail"), False, (5, 1, 8), id="RP4 a later binary fails"),
        pytest.param(b"12 errors\n" + log("pytest_v"), True, (6, 0, 8), id="RP5 a line about errors"),
        pytest.param(b"999 passed\n" + log("pytest_v"), True, (6, 0, 8), id="RP6 a printed count"),
        pytest.param(b"999 passed\n" + log("go_none"), False, (0, 0, 0), id="RP6 a printed count, no test"),
        pytest.param(b"1 passed\n", False, (0, 0, 0), id="RP6 nothing but a printed count"),
    ],
)
def test_counts_that_decide(tmp_path: Path, text: bytes, passed: bool, counted: tuple[int, int, int]) -> None:
    """The runner ended with 0 each time: only the log can tell."""
    result = judged(planned(tmp_path, 9), tests__1__log=text).results[0]
    assert (result.passed, (result.tests_passed, result.tests_failed, result.tests_total)) == (
        passed,
        counted,
    )


def test_every_suite_has_all_of_its_time(tmp_path: Path) -> None:
    """EX6: the limit is each run's own, and the sandbox lives longer than all of them together."""
    for alone, runs in ((False, 2), (True, 4)):
        job = planned(tmp_path, 600, alone=alone).job
        assert job.command[-2] == "600"
        assert job.timeout > runs * 600
