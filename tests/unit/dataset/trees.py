"""Small datasets on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path


def write(root: Path, tasks: Mapping[str, Mapping[int, int]]) -> Path:
    """A dataset in the published layout: repository → task → how many features. One subset, `few`."""
    for repo, numbers in tasks.items():
        for task_id, features in numbers.items():
            for number in range(1, features + 1):
                feature(root / repo / f"task{task_id}", number)
    first = next(iter(tasks))
    subset(root, "few", [(first, next(iter(tasks[first])), [[2, 1]])])
    return root


def feature(task: Path, number: int) -> Path:
    path = task / f"feature{number}"
    path.mkdir(parents=True)
    for name in ("feature.md", "feature.patch", "tests.patch"):
        (path / name).write_text(f"{name} of {task.name} {number}\r\n \n")
    return path


def subset(root: Path, name: str, tasks: list[tuple[str, int, list[list[int]]]]) -> None:
    (root / "subsets").mkdir(exist_ok=True)
    entries = [{"repo": repo, "task_id": task_id, "pairs": pairs} for repo, task_id, pairs in tasks]
    content = {"name": name, "description": f"about {name}", "tasks": entries}
    (root / "subsets" / f"{name}.json").write_text(json.dumps(content))
