"""The same Jobs on the embedded sandbox and on Docker: the same Verdicts, field by field but for time and place."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from cooperbench.dataset import Dataset, Pair, demo_dataset, load_dataset
from cooperbench.errors import JudgeError
from cooperbench.eval.backends.base import EvalBackend
from cooperbench.eval.backends.docker import DockerBackend
from cooperbench.eval.backends.local import LocalBackend
from cooperbench.eval.judging import SOLO, Judging, judge
from cooperbench.eval.plan import Rules
from cooperbench.eval.sources import ready_image
from tests.docker import engines
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


def _asked(project: Project) -> dict[str, Asked]:
    hang = {"sums.py": GOLD[1]["sums.py"] + b"\nimport time\ntime.sleep(600)\n"}
    daemons = b"\nimport subprocess\nfor _ in range(9): subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
    return {
        "clean merge": Asked(ALMANAC, (2, 4), gold=(2, 4)),
        "clean merge, other task": Asked(GRIDLINE, (3, 4), gold=(3, 4)),
        "clean merge, tests in shell": Asked(TODO, (1, 3), gold=(1, 3)),
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


@pytest.fixture(scope="module")
def local() -> Iterator[LocalBackend]:
    backend = LocalBackend()
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("parity") / "repo")


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory, project: Project) -> dict[str, Dataset]:
    sums = lay_out(
        tmp_path_factory.mktemp("paritysums"), project, runners={2: "python3 -m unittest -v $files"}
    )
    demo = load_dataset(demo_dataset())
    return {"sums_task": sums, **{repo: demo for repo, _ in demo.tasks}}


def _verdict(backend: EvalBackend, dataset: Dataset, asked: Asked) -> dict[str, Any]:
    task = dataset.task(*asked.task)
    gold = {n: next(f for f in task.features.values() if f.number == n).gold_patch for n in asked.gold}
    patches = (
        dict(asked.patches) if asked.solo else {**dict.fromkeys(asked.features, b""), **gold, **asked.patches}
    )
    ready_image(backend, task)
    try:
        found = judge(
            backend,
            task,
            Pair(*asked.task, asked.features),
            patches,
            "solo" if asked.solo else "coop",
            Judging(timeout=asked.timeout, rules=asked.rules),
        )
    except JudgeError as error:
        return {"judge error": str(error)}
    return {
        name: _timeless(value)
        for name, value in found.verdict.to_json().items()
        if name not in PLACE_AND_TIME
    }


def _timeless(value: Any) -> Any:
    """Without what measures time, in logs too."""
    if isinstance(value, dict):
        measured = [name for name in value if "seconds" in name or "time" in name.split("_")]
        return {name: _timeless(inner) for name, inner in value.items() if name not in measured}
    if isinstance(value, list):
        return [_timeless(each) for each in value]
    return re.sub(r"\b\d+\.\d+ ?s\b", "N s", value) if isinstance(value, str) else value


@pytest.mark.parametrize(
    "name",
    [
        "clean merge", "clean merge, other task", "clean merge, tests in shell", "conflict", "conflict in a script",
        "conflict united", "nothing from one agent", "nothing from anybody", "missing input", "solo", "time-out",
        "daemons", "forged pass", "steered", "binary and odd bytes",
    ],
)  # fmt: skip
def test_the_same_verdict(
    name: str, local: LocalBackend, backend: DockerBackend, project: Project, datasets: dict[str, Dataset]
) -> None:
    asked = _asked(project)[name]
    dataset = datasets[asked.task[0]]
    here, there = (_verdict(each, dataset, asked) for each in (local, backend))
    assert there == here
    match asked.expected:
        case "pass" | "fail":
            assert there["passed"] is (asked.expected == "pass"), there
        case "conflicts" | "missing_input":
            assert there["merge"]["status"] == asked.expected
        case "union":
            assert there["merge"]["strategy"] == "union"


def test_the_images_that_cannot_be_judged(backend: DockerBackend, datasets: dict[str, Dataset]) -> None:
    """Without git, without runner.sh: the image's fault, and no verdict."""
    task = datasets["todosh_task"].task(*TODO)
    ready_image(backend, task)
    for name, script, said in (
        ("nogit", "rm -f $(command -v git)", "the image has no git"),
        ("norunner", "rm -f /usr/local/bin/runner.sh", "runner.sh"),
    ):
        image = f"cooperbench-test/{name}:1"
        engines.make_image(
            backend, image, {"build.sh": "exit 1\n", "Dockerfile": f"FROM {task.image}\nRUN {script}\n"}
        )
        broken = dataclasses.replace(task, image=image, recipe=None)
        with pytest.raises(JudgeError, match=said):
            judge(backend, broken, Pair(*TODO, (3, 4)), {3: b"", 4: b""}, "coop", Judging(timeout=20))
