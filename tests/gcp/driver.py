"""`evaluate` on gcp in a process of its own, to be killed: ``driver.py LOGS RUN``, the cloud from the environment.

What is told goes to standard error, a line each.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cooperbench import evaluate
from cooperbench.dataset import demo_dataset
from cooperbench.events import Event, Note


def tell(event: Event) -> None:
    if isinstance(event, Note):
        print(event.text, file=sys.stderr, flush=True)


def main() -> None:
    logs, run = sys.argv[1:]
    where = {"dataset_dir": demo_dataset(), "logs_dir": Path(logs)}
    try:
        evaluate(run, backend="gcp", concurrency=2, timeout=60, progress=tell, **where)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
