"""`evaluate` on gcp in a process of its own, to be killed: ``driver.py LOGS RUN``, the cloud from the environment."""

from __future__ import annotations

import sys
from pathlib import Path

from cooperbench import evaluate
from cooperbench.dataset import demo_dataset


def main() -> None:
    logs, run = sys.argv[1:]
    evaluate(run, backend="gcp", concurrency=2, dataset_dir=demo_dataset(), logs_dir=Path(logs), timeout=60)


if __name__ == "__main__":
    main()
