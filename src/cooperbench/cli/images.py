"""`images build`: the images of the dataset's tasks, made ready before anything asks for them."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from cooperbench.cli import exits, flags, places
from cooperbench.errors import BackendError, UsageError

if TYPE_CHECKING:
    from cooperbench.dataset.model import Task


def images_flags(parser: argparse.ArgumentParser) -> None:
    """What may follow `images`."""
    parser.add_argument(
        "what", choices=["build"], help="build: make images from their Dockerfiles or recipes"
    )
    flags.selection(parser)
    flags.backend(parser)
    parser.set_defaults(action=_images)


def _images(args: argparse.Namespace) -> int:
    from cooperbench.dataset import load_dataset, select
    from cooperbench.eval.sources import opened_backend

    dataset = load_dataset(places.dataset_dir(args))
    pairs = select(
        dataset, subset=args.subset, repo=args.repo, task_id=args.task, features=args.features, setting="solo"
    )
    tasks = [dataset.task(*key) for key in sorted({(pair.repo, pair.task_id) for pair in pairs})]
    failed = 0
    with opened_backend(args.backend) as chosen:
        for task in tasks:
            begun = time.monotonic()
            try:
                digest = _build(chosen.name, chosen.backend, task)
            except BackendError as problem:
                failed += 1
                _print(f"FAILED  {task.name}  {problem}")
            else:
                _print(f"{task.image}  {digest or '-'}  {time.monotonic() - begun:.1f}s")
    return exits.INCOMPLETE if failed else exits.DONE


def _build(name: str, backend: Any, task: Task) -> str | None:
    """By the dataset's recipe where it has one, else from the Dockerfile in the task's directory."""
    from cooperbench.eval.backends import shell

    if task.recipe is not None:
        return shell.prepare_image(backend, task.image, task.recipe)
    if not hasattr(backend, "build_image"):
        raise UsageError(
            f"backend {name} cannot build from Dockerfiles, and the dataset has no recipe: try docker"
        )
    digest: str | None = backend.build_image(task.image, task.path)
    return digest


def _print(told: str) -> None:
    from cooperbench.report.escape import line

    sys.stdout.write(f"{line(told)}\n")
    sys.stdout.flush()
