"""What judging a pair costs beyond its tests: `judge` beside the same commands by hand in the same image.

    python bench/overhead.py [--backend local] [--rounds 9] [--dataset DIRECTORY ...] [--json FILE]

One pair of each task, reference solutions: a pair whose merge passes, else (where every two conflict) the
task's combined patch as one agent's. Rounds are interleaved: in each, every pair is judged once and done by
hand once. The aim is a median difference of at most 40 ms on `local`, 600 ms on an engine's containers.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from cooperbench.dataset import Pair, Task, demo_dataset, load_dataset
from cooperbench.eval import backends
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import Closable, EvalBackend, SandboxSpec
from cooperbench.eval.judging import SOLO, Judging, judge

AIMS_MS = {"local": 40}
AIM_MS = 600
"""Of backends that have none of their own: an engine's."""
HERE = Path(__file__).resolve().parent
REAL = HERE.parent / ".real" / "dataset"


@dataclass(frozen=True, slots=True)
class Case:
    """One trial to judge, again and again, and what each round took in milliseconds."""

    task: Task
    pair: Pair
    patches: Mapping[int, bytes]
    setting: str
    digest: str | None
    judged: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)

    @property
    def overhead(self) -> float:
        """Median over the rounds of what judging took beyond the bare commands."""
        return statistics.median(whole - bare for whole, bare in zip(self.judged, self.bare, strict=True))


def main() -> None:
    """The command line of this file."""
    parser = argparse.ArgumentParser(description="Judging cost beyond the bare test commands.")
    parser.add_argument("--backend", default="local")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--dataset", type=Path, action="append", help="default: the demo, and .real if it is there"
    )
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    datasets = options.dataset or [demo_dataset(), *([REAL] if REAL.is_dir() else [])]
    backend = backends.get_backend(options.backend)
    try:
        cases = [case for root in datasets for case in choose(backend, root)]
        for _ in range(options.rounds):
            for case in cases:
                case.judged.append(judged(backend, case))
                case.bare.append(bare(backend, case))
    finally:
        if isinstance(backend, Closable):
            backend.close()
    show(cases, AIMS_MS.get(options.backend, AIM_MS))
    if options.json:
        options.json.write_text(json.dumps([figures(case) for case in cases], indent=2) + "\n")


def choose(backend: EvalBackend, root: Path) -> Iterator[Case]:
    """For each task of a dataset one trial that passes, found by judging; its image is warm afterwards."""
    for task in load_dataset(root).tasks.values():
        digest = shell.prepare_image(backend, task.image, task.recipe)
        for case in candidates(task, digest):
            if judge_case(backend, case):
                yield case
                break
        else:
            sys.exit(f"overhead.py: no trial of {task.name} passes with its reference solutions")


def candidates(task: Task, digest: str | None) -> Iterator[Case]:
    """Every pair of reference solutions, then the combined one."""
    pairs = [Pair(task.repo, task.task_id, features) for features in combinations(task.features, 2)]
    for pair in pairs:
        yield Case(task, pair, {n: task.features[n].gold_patch for n in pair.features}, "coop", digest)
    combined = task.path / "combined.patch"
    if combined.is_file():
        yield Case(task, pairs[0], {SOLO: combined.read_bytes()}, "solo", digest)


def judge_case(backend: EvalBackend, case: Case) -> bool:
    """Whether the case passes."""
    judgement = judge(
        backend, case.task, case.pair, case.patches, case.setting, Judging(), image_digest=case.digest
    )
    return judgement.verdict.passed


def judged(backend: EvalBackend, case: Case) -> float:
    """Milliseconds of one judgement, sandbox and all."""
    begun = time.perf_counter()
    passed = judge_case(backend, case)
    took = (time.perf_counter() - begun) * 1000
    if not passed:
        sys.exit(f"overhead.py: {case.pair.name} passed before and does not now")
    return took


def bare(backend: EvalBackend, case: Case) -> float:
    """Milliseconds of the bare commands, by the clock inside a sandbox that is already there."""
    tests = [case.task.features[n].tests_patch for n in case.pair.features]
    files = {f"/patches/agent.{n}": patch for n, patch in enumerate(case.patches.values(), 1)}
    files |= {f"/patches/tests.{n}": patch for n, patch in enumerate(tests, 1)}
    files["/bare.sh"] = (HERE / "bare.sh").read_bytes()
    sandbox = shell.create(backend, SandboxSpec(case.task.image, network=case.task.network))
    try:
        shell.put_files(sandbox, files)
        done = shell.run(sandbox, ["sh", "/bare.sh"])
    finally:
        sandbox.terminate()
    if done.returncode:
        sys.exit(
            f"overhead.py: {case.pair.name} by hand ended with {done.returncode}: {done.stderr_read()[-300:]}"
        )
    return int(done.stdout) / 1e6


def show(cases: list[Case], aim: int) -> None:
    """The table."""
    row = "{:<40} {:<5} {:>9} {:>9} {:>9} {:>12}".format
    print(row("pair", "", "judge ms", "bare ms", "diff ms", "quickest ms"))
    for case in cases:
        numbers = [statistics.median(case.judged), statistics.median(case.bare), case.overhead]
        quickest = f"{min(case.judged) - min(case.bare):.0f}"
        print(row(case.pair.name, case.setting, *(f"{number:.0f}" for number in numbers), quickest))
    worst = max(case.overhead for case in cases)
    verdict = "held" if worst <= aim else "missed"
    load = f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
    print(f"\nworst median difference {worst:.0f} ms; aim {aim} ms: {verdict} (load {load})")


def figures(case: Case) -> dict[str, object]:
    """The same for programs."""
    return {
        "repo": case.pair.repo,
        "task_id": case.pair.task_id,
        "features": list(case.pair.features),
        "setting": case.setting,
        "judge_ms": statistics.median(case.judged),
        "bare_ms": statistics.median(case.bare),
        "overhead_ms": case.overhead,
        "rounds": len(case.judged),
    }


if __name__ == "__main__":
    main()
