"""Datasets: what one is made of (`model`), reading one (`layout`), choosing from it (`selection`),
getting one (`prepare`).

`demo/` is a small complete dataset that ships with the package.
"""

from __future__ import annotations

from pathlib import Path

from cooperbench.dataset.layout import load_dataset
from cooperbench.dataset.model import Dataset, Feature, Pair, Subset, Task
from cooperbench.dataset.selection import discover_tasks, load_subset, select, subset_names

__all__ = [
    "Dataset",
    "Feature",
    "Pair",
    "Subset",
    "Task",
    "demo_dataset",
    "discover_tasks",
    "load_dataset",
    "load_subset",
    "select",
    "subset_names",
]


def demo_dataset() -> Path:
    """The bundled dataset's directory; read-only, as it belongs to the installed package."""
    return Path(__file__).parent / "demo"
