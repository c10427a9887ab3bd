"""How fast gold patches are merged: the merge-only part of `cooperbench validate`, one sandbox a task, on `local`.

    python bench/merges.py [--dataset DIRECTORY] [--files 1000] [--concurrency 2] [--rounds 3]

The patches are the dataset's own. The repositories are made up around them, because the published images cannot be
had everywhere: what the patches' hunks say of a file stands where they say it, other lines and `--files` more files
are filler. So patches apply (all but one of the published 199, a series whose parts contradict each other) and
conflict as they do in the real repository; only the repository's size is a guess. Without a published dataset the
small one of the package is merged, and the table says so.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cooperbench
from cooperbench.dataset import Dataset, Task, demo_dataset, load_dataset
from cooperbench.eval.backends import get_backend, shell
from cooperbench.eval.backends.base import Closable
from cooperbench.patches import FilePatch, parse

PUBLISHED = Path(os.environ.get("COOPERBENCH_REAL_DATASET", "dataset"))
AIM_PAIRS, AIM_SECONDS = 613, 30
"""Pairs of the 27 published tasks whose images can be built here, and the time they are to take."""

BUILD = """set -eu
mkdir -p /workspace
cp -R /build/repo /workspace/repo
cd /workspace/repo
git init -q .
git add -A -f
git -c user.name=n -c user.email=n@localhost commit -q -m base
"""
_HUNK = re.compile(rb"@@ -(\d+)(?:,\d+)? \+\d+(?:,\d+)? @@")


def main() -> None:
    """The command line of this file."""
    parser = argparse.ArgumentParser(description="Merging every pair of gold patches, one sandbox a task.")
    parser.add_argument("--dataset", type=Path, default=PUBLISHED if PUBLISHED.is_dir() else demo_dataset())
    parser.add_argument("--files", type=int, default=1000, help="filler files of each repository")
    parser.add_argument("--concurrency", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    source = load_dataset(options.dataset)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place, "dataset")
        for task in source.tasks.values():
            lay_out(task, root, options.files)
        made_up = load_dataset(root)
        build(made_up)
        rounds = [measured(root, Path(place), options.concurrency) for _ in range(options.rounds)]
    show(source, [seconds for seconds, _ in rounds], rounds[-1][1], options.files)


def lay_out(task: Task, root: Path, files: int) -> None:
    """One task in the published layout, with a repository in which its gold patches apply, and a recipe for it."""
    (root / "dataset.toml").parent.mkdir(parents=True, exist_ok=True)
    (root / "dataset.toml").write_text(
        'image = "cooperbench-bench-merges/{slug}:task{task_id}"\nnetwork = "none"\n'
        '[recipe]\nbase = "host"\nscript = "build.sh"\n'
    )
    place = root / task.repo / f"task{task.task_id}"
    for number, feature in task.features.items():
        target = place / f"feature{number}"
        target.mkdir(parents=True)
        for name in ("feature.md", "feature.patch", "tests.patch"):
            shutil.copyfile(feature.path / name, target / name)
    (place / "build.sh").write_text(BUILD)
    (place / "runner.sh").write_text("#!/bin/sh\nexit 1\n")
    content = base_of([feature.gold_patch for feature in task.features.values()])
    content |= {f"filler/{n // 100}/file{n}.txt": b"".join(filler(n, 200)) for n in range(files)}
    for name, text in content.items():
        path = place / "repo" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)


def base_of(patches: list[bytes]) -> dict[str, bytes]:
    """The files that patches change, as far as their hunks tell of them; lines between are filler."""
    lines: dict[str, dict[int, bytes]] = {}
    for patch in patches:
        own: dict[str, dict[int, bytes]] = {}
        for section in parse(patch):
            if section.old is not None:  # a second section on a file is about what the first has made of it
                own.setdefault(section.old, dict(before(section)))
        for name, known in own.items():
            lines.setdefault(name, {}).update(known)
    return {
        name: b"".join(
            known.get(n) or next(filler(hash_of(name), 1, n)) for n in range(1, max(known, default=0) + 1)
        )
        for name, known in lines.items()
    }


def before(section: FilePatch) -> Iterator[tuple[int, bytes]]:
    """Lines of the file as it was, by number."""
    number = 0
    last: bytes | None = None
    for line in section.raw.splitlines(keepends=True):
        if found := _HUNK.match(line):
            number = int(found[1])
        elif number and line[:1] in b" -\n":  # an empty line stands for an empty line of context
            last = line[1:] or line
            yield number, last
            number += 1
        elif number and line[:1] == b"\\" and last is not None:
            yield number - 1, last.rstrip(b"\n")
        elif line[:1] == b"+":
            last = None


def filler(seed: int, count: int, first: int = 1) -> Iterator[bytes]:
    """Lines of which no two in a file are alike."""
    return (b"filler %d line %d\n" % (seed, n) for n in range(first, first + count))


def hash_of(name: str) -> int:
    """The same number for the same name, every time."""
    return sum(name.encode())


def build(dataset: Dataset) -> None:
    """Every image, so that merging alone is measured."""
    backend = get_backend("local")
    try:
        for task in dataset.tasks.values():
            shell.prepare_image(backend, task.image, task.recipe)
    finally:
        if isinstance(backend, Closable):
            backend.close()


def measured(root: Path, place: Path, concurrency: int) -> tuple[float, dict[str, Any]]:
    """Seconds of one whole validation, and its report."""
    begun = time.perf_counter()
    report = cooperbench.validate(
        dataset_dir=root,
        backend="local",
        output_dir=place / "validation",
        concurrency=concurrency,
        merges_only=True,
        force=True,
    )
    return time.perf_counter() - begun, report


def show(source: Dataset, seconds: list[float], report: dict[str, Any], files: int) -> None:
    """The table."""
    found = report["summary"]
    median = statistics.median(seconds)
    rate = found["total_pairs"] / median
    print(f"gold patches of {source.root.name}, made-up repositories of {files} files and those they touch\n")
    row = "{:>6} {:>7} {:>10} {:>7} {:>7} {:>9} {:>9}".format
    print(row("tasks", "pairs", "conflicts", "clean", "errors", "seconds", "pairs/s"))
    counts = [found[name] for name in ("total_pairs", "conflicts", "clean_merges", "errors")]
    print(row(len(source.tasks), *counts, f"{median:.2f}", f"{rate:.0f}"))
    load = f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
    told = f"at this rate {AIM_PAIRS} pairs take {AIM_PAIRS / rate:.1f} s; aim {AIM_SECONDS} s"
    print(f"\n{told}: {'held' if AIM_PAIRS / rate <= AIM_SECONDS else 'missed'} (load {load})")
    if found["errors"]:
        print("errors: pairs with a patch that does not apply to what the others say of the file")


if __name__ == "__main__":
    main()
