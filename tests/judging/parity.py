"""The list of Jobs on which every backend must come to the same Verdicts, field by field but for time and place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cooperbench.dataset import Dataset, Pair, Task, demo_dataset, load_dataset
from cooperbench.errors import JudgeError
from cooperbench.eval.backends.base import EvalBackend
from cooperbench.eval.backends.local import LocalBackend
from cooperbench.eval.judging import SOLO, Judging, judge
from cooperbench.eval.plan import Rules
from cooperbench.eval.sources import ready_image
from tests.judging.project import GOLD, REPO, Project, lay_out

ALMANAC, GRIDLINE, TODO = ("almanac_task", 12), ("gridline_task", 3), ("todosh_task", 0)
SUMS = (REPO, 2)
PLACE_AND_TIME = ("timings", "backend", "evaluated_at", "image")
FORGED = {
    "tests/__init__.py": b"import os, sys\nprint('Ran 99 tests in 0.1s\\n\\nOK', file=sys.stderr)\nos._exit(0)\n"
}
STEERED = {
    "sitecustomize.py": b"import os\nprint('OK')\nos._exit(0)\n",
    "unittest/__init__.py": b"print('OK')\n",
}

NAMES = (
    "clean merge", "clean merge, other task", "clean merge, tests in shell", "conflict", "conflict in a script",
    "conflict united", "nothing from one agent", "nothing from anybody", "missing input", "solo", "time-out",
    "daemons", "forged pass", "steered", "binary and odd bytes", "three agents",
)  # fmt: skip

ODD = {"bin": bytes(range(256)), "latin.txt": b"\xe8\r\n"}


@dataclass(frozen=True)
class Asked:
    """One trial to judge."""

    task: tuple[str, int]
    features: tuple[int, ...]
    gold: tuple[int, ...] = ()
    """Features whose reference solution is handed in; of the others there is nothing."""
    solo: bool = False
    patches: Mapping[int, bytes] = field(default_factory=dict)
    timeout: float = 60
    rules: Rules = field(default_factory=Rules)
    expected: str = "pass"

    @property
    def setting(self) -> str:
        """As a run has it."""
        return "solo" if self.solo else "coop"

    @property
    def judging(self) -> Judging:
        """What is asked of the judge."""
        return Judging(timeout=self.timeout, rules=self.rules)

    @property
    def pair(self) -> Pair:
        """What was worked on."""
        return Pair(*self.task, self.features)

    def handed_in(self, dataset: Dataset) -> dict[int, bytes]:
        """Every patch, by feature."""
        if self.solo:
            return dict(self.patches)
        features = dataset.task(*self.task).features.values()
        gold = {each.number: each.gold_patch for each in features if each.number in self.gold}
        return {**dict.fromkeys(self.features, b""), **gold, **self.patches}


def cases(project: Project) -> dict[str, Asked]:
    hang = {"sums.py": GOLD[1]["sums.py"] + b"\nimport time\ntime.sleep(600)\n"}
    daemons = b"\nimport subprocess\nfor _ in range(9): subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
    return {
        "clean merge": Asked(ALMANAC, (2, 4), gold=(2, 4)),
        "clean merge, other task": Asked(GRIDLINE, (3, 4), gold=(3, 4)),
        "clean merge, tests in shell": Asked(TODO, (1, 3), gold=(1, 3)),
        "three agents": Asked(ALMANAC, (2, 3, 4), gold=(2, 3, 4)),
        "conflict": Asked(GRIDLINE, (2, 3), gold=(2, 3), expected="conflicts"),
        "conflict in a script": Asked(TODO, (1, 2), gold=(1, 2), expected="conflicts"),
        "conflict united": Asked(GRIDLINE, (2, 3), gold=(2, 3), rules=Rules("union"), expected="union"),
        "nothing from one agent": Asked(ALMANAC, (1, 2), gold=(1,), expected="fail"),
        "nothing from anybody": Asked(TODO, (3, 4), expected="fail"),
        "missing input": Asked(
            SUMS, (1, 2), gold=(1,), patches={2: b"diff --git a/x b/x\n@@ nonsense\n"}, expected="missing_input"
        ),
        "solo": Asked(SUMS, (1, 2), solo=True, patches={SOLO: _both(project)}),
        "time-out": Asked(SUMS, (1, 2), gold=(2,), patches={1: project.patch(hang)}, timeout=2, expected="fail"),
        "daemons": Asked(
            SUMS, (1, 2), gold=(2,), patches={1: project.patch({"sums.py": GOLD[1]["sums.py"] + daemons})},
            expected="any",
        ),
        "forged pass": Asked(SUMS, (1, 2), gold=(2,), patches={1: project.patch(FORGED)}, expected="fail"),
        "steered": Asked(SUMS, (1, 2), gold=(2,), patches={1: project.patch(STEERED)}, expected="fail"),
        "binary and odd bytes": Asked(SUMS, (1, 2), gold=(1,), patches={2: project.patch({**GOLD[2], **ODD})}),
    }  # fmt: skip


def _both(project: Project) -> bytes:
    both = GOLD[1]["sums.py"] + b"\n\ndef div(a, b):\n    return a / b\n"
    return project.patch({"sums.py": both})


def datasets(root: Path, project: Project) -> dict[str, Dataset]:
    """What the cases are of, by repository."""
    sums = lay_out(root, project, runners={2: "python3 -m unittest -v $files"})
    demo = load_dataset(demo_dataset())
    return {"sums_task": sums, **{repo: demo for repo, _ in demo.tasks}}


class Cases:
    """The cases, what they are of, and the embedded sandbox's verdicts on them: each is come to once."""

    def __init__(self, root: Path) -> None:
        project = Project(root / "repo")
        self.asked: Mapping[str, Asked] = cases(project)
        assert sorted(self.asked) == sorted(NAMES)
        self.datasets = datasets(root, project)
        self.local = LocalBackend()
        self._here: dict[str, dict[str, Any]] = {}

    def task(self, name: str) -> Task:
        """What a case is of."""
        asked = self.asked[name]
        return self.datasets[asked.task[0]].task(*asked.task)

    def handed_in(self, name: str) -> dict[int, bytes]:
        """A case's patches."""
        asked = self.asked[name]
        return asked.handed_in(self.datasets[asked.task[0]])

    def here(self, name: str) -> dict[str, Any]:
        """What the embedded sandbox comes to."""
        if name not in self._here:
            ready_image(self.local, self.task(name))
            self._here[name] = self.verdict(self.local, name)
        return self._here[name]

    def verdict(self, backend: EvalBackend, name: str) -> dict[str, Any]:
        """What a backend that has the image comes to, a sandbox at a time."""
        asked, patches = self.asked[name], self.handed_in(name)
        try:
            found = judge(backend, self.task(name), asked.pair, patches, asked.setting, asked.judging)
        except JudgeError as error:
            return {"judge error": str(error)}
        return comparable(found.verdict.to_json())

    def compare(self, backend: EvalBackend, name: str) -> None:
        """Judge a case on a backend, and expect the same of it."""
        ready_image(backend, self.task(name))
        self.expect_the_same(self.verdict(backend, name), name)

    def expect_the_same(self, verdict: Mapping[str, Any], name: str) -> None:
        """That it is the embedded sandbox's, and what the case is meant to come to."""
        assert verdict == self.here(name)
        expect(verdict, self.asked[name])


def comparable(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """What must not differ."""
    return {name: _timeless(value) for name, value in verdict.items() if name not in PLACE_AND_TIME}


def _timeless(value: Any) -> Any:
    """Without what measures time, in logs too."""
    if isinstance(value, dict):
        measured = [name for name in value if "seconds" in name or "time" in name.split("_")]
        return {name: _timeless(inner) for name, inner in value.items() if name not in measured}
    if isinstance(value, list):
        return [_timeless(each) for each in value]
    return re.sub(r"\b\d+\.\d+ ?s\b", "N s", value) if isinstance(value, str) else value


def expect(verdict: Mapping[str, Any], asked: Asked) -> None:
    """That the case is what it is meant to be."""
    match asked.expected:
        case "pass" | "fail":
            assert verdict["passed"] is (asked.expected == "pass"), verdict
        case "conflicts" | "missing_input":
            assert verdict["merge"]["status"] == asked.expected
        case "union":
            assert verdict["merge"]["strategy"] == "union"
