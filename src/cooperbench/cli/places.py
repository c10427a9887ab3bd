"""Where things are: flags, then settings, then each part's own default."""

from __future__ import annotations

import argparse
from pathlib import Path

from cooperbench import settings

DATASET = Path("dataset")
LOGS = Path("logs")


def dataset_dir(args: argparse.Namespace, *, settled: bool = True) -> Path | None:
    """The dataset's directory; None where nobody says.

    Args:
        settled: whether the settings have a say, or only the flags.
    """
    if args.demo:
        from cooperbench.dataset import demo_dataset
        from cooperbench.errors import UsageError

        if args.dataset_dir is not None:
            raise UsageError("--demo and --dataset-dir each name a dataset; give one of them")
        return demo_dataset()
    return _path(args.dataset_dir or (settings.load().text("dataset_dir") if settled else None))


def logs_dir(args: argparse.Namespace) -> Path:
    """The directory runs are kept in."""
    return _path(args.logs_dir or settings.load().text("logs_dir")) or LOGS


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text).expanduser()
