"""A run in a process of its own, to be interrupted or killed: ``driver.py LOGS SCRIPTS``.

Prints ``started`` when the first trial starts, then one line for each Note.
"""

from __future__ import annotations

import functools
import os
import sys
import tempfile
from pathlib import Path

from cooperbench import run
from cooperbench.dataset import demo_dataset
from cooperbench.events import Event, Note, TrialStarted

NAME = "killed"


@functools.cache
def state_directory() -> Path:
    """Where the sandboxes of what is killed are kept: beside those of nobody else, who may be looking for leftovers."""
    path = Path(tempfile.mkdtemp(prefix="cb-faults-"))
    path.chmod(0o711)  # for those whom root is inside
    return path


def in_a_place_of_its_own() -> dict[str, str]:
    """The environment a driver is started in."""
    return {**os.environ, "COOPERBENCH_STATE_DIR": str(state_directory())}


def tell(event: Event) -> None:
    if isinstance(event, TrialStarted):
        print("started", flush=True)
    elif isinstance(event, Note):
        print(event.text, flush=True)


def main() -> None:
    logs, scripts = map(Path, sys.argv[1:])
    run(
        NAME,
        subset="demo",
        agent="script",
        agent_config=scripts,
        backend="local",
        concurrency=3,
        eval_concurrency=2,
        dataset_dir=demo_dataset(),
        logs_dir=logs,
        progress=tell,
    )


if __name__ == "__main__":
    main()
