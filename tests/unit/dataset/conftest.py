"""The published dataset, where it is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cooperbench.dataset import Dataset, load_dataset


@pytest.fixture(scope="session")
def real_dataset() -> Dataset:
    beside = Path(__file__).parents[4] / "shared" / "dataset"
    root = Path(os.environ.get("COOPERBENCH_REAL_DATASET", beside))
    if not root.is_dir():
        reason = f"the published dataset is not at {root}; set COOPERBENCH_REAL_DATASET"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return load_dataset(root)
