"""The published dataset's patches: every one survives byte for byte, and no gold patch loses one to a rule."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cooperbench import patches
from cooperbench.eval import integrity


def published() -> Path:
    """Where the published dataset lies; absent, the tests are skipped, but never on the build server."""
    root = Path(
        os.environ.get("COOPERBENCH_REAL_DATASET") or Path(__file__).parents[4] / "shared" / "dataset"
    )
    if not any(root.glob("*_task")):
        if os.environ.get("CI") == "true":
            pytest.fail(f"no published dataset at {root}; set COOPERBENCH_REAL_DATASET")
        pytest.skip(f"no published dataset at {root}; set COOPERBENCH_REAL_DATASET")
    return root


@pytest.fixture(scope="module")
def tasks() -> list[Path]:
    return sorted(published().glob("*_task/task*"))


def files(tasks: list[Path], pattern: str) -> list[Path]:
    return [path for task in tasks for path in sorted(task.glob(pattern))]


@pytest.mark.parametrize(
    ("pattern", "count"),
    [("feature*/feature.patch", 199), ("feature*/tests.patch", 199), ("combined.patch", 30)],
)
def test_every_patch_survives_byte_for_byte(tasks: list[Path], pattern: str, count: int) -> None:
    found = files(tasks, pattern)
    assert len(found) == count
    for path in found:
        patch = path.read_bytes()
        sections = patches.parse(patch)
        assert b"".join(section.raw for section in sections) == patch, path
        assert patches.touched(patch), path
        assert patches.drop(patch, lambda _: False) == (patch, []), path
        # Only the mail header of a few is no diff.
        assert all(section.names for section in sections[1:]), path


def test_no_gold_patch_loses_a_byte_to_the_test_file_rule(tasks: list[Path]) -> None:
    for task in tasks:
        tests_patches = [path.read_bytes() for path in files([task], "feature*/tests.patch")]
        for gold in files([task], "feature*/feature.patch"):
            filtered = patches.keep_for_judging(gold.read_bytes(), tests_patches)
            assert filtered == patches.Filtered(gold.read_bytes(), ()), gold


def test_every_file_of_the_hidden_tests_is_one_by_convention(tasks: list[Path]) -> None:
    for path in files(tasks, "feature*/tests.patch"):
        assert all(map(patches.is_test_file, patches.touched(path.read_bytes()))), path
        assert patches.keep_for_judging(path.read_bytes(), []).kept == b"", path


def test_hardly_a_gold_patch_is_suspected(tasks: list[Path]) -> None:
    gold = files(tasks, "feature*/feature.patch")
    found = {path: integrity.scan(path.read_bytes(), agent="gold") for path in gold}
    suspected = [path for path, findings in found.items() if findings]
    steering = [
        path for path, findings in found.items() if any(f.kind in integrity.STEERING for f in findings)
    ]
    assert len(steering) <= 0.03 * len(gold), steering
    assert len(suspected) <= 0.10 * len(gold), {str(p): found[p] for p in suspected}
    for path in gold:
        assert integrity.apply_rule("drop", path.read_bytes(), "gold")[0] == path.read_bytes(), path
