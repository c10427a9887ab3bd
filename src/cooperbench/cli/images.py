"""`images`: what sandboxes are made from, made ready before anything asks for it; and the embedded sandbox's store."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from cooperbench.cli import exits, flags, image_store, places
from cooperbench.errors import BackendError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cooperbench.dataset.model import Task

_EVERY = 2.0
"""Seconds between two lines of how far a pull is."""


def images_flags(parser: argparse.ArgumentParser) -> None:
    """What may follow `images`."""
    verbs = parser.add_subparsers(
        title="what to do", metavar="WHAT", required=True, parser_class=flags.Parser
    )

    def verb(name: str, action: Callable[[argparse.Namespace], int], told: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=told, description=f"{told[0].upper()}{told[1:]}.")
        made.set_defaults(action=action)
        return made

    build = verb("build", _build, "make the tasks' images from their Dockerfiles or recipes")
    flags.selection(build)
    flags.backend(build)
    pull = verb("pull", _pull, "pull images out of their registries: those named, or the tasks'")
    pull.add_argument("images", nargs="*", metavar="IMAGE", help="default: those of the tasks selected")
    flags.selection(pull)
    flags.backend(pull)
    flags.disk_budget(pull)
    _platform(pull)
    bring = verb("import", image_store.bring, "import into the embedded sandbox's store")
    bring.add_argument(
        "source",
        metavar="SOURCE",
        help="a saved image, an OCI layout or a root file system (archive or directory), - for an archive on "
        "standard input, or docker-daemon:NAME",
    )
    bring.add_argument("name", nargs="?", metavar="NAME", help="default: as it was saved")
    _platform(bring)
    listed = verb("list", image_store.listed, "the images in the embedded sandbox's store")
    listed.add_argument("--json", action="store_true", help="as one JSON value")
    inspect = verb("inspect", image_store.inspect, "one image of the store, as JSON")
    inspect.add_argument("image", metavar="IMAGE", help="name or digest")
    remove = verb("rm", image_store.remove, "remove images from the store, but for what is in use")
    remove.add_argument("images", nargs="+", metavar="IMAGE", help="name or digest")
    prune = verb("prune", image_store.prune, "remove what no name stands for, and what is left of downloads")
    flags.disk_budget(prune)


def _platform(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--platform", metavar="OS/ARCH", help="as in linux/arm64 (default: this machine's, and nothing else)"
    )


# ---------------------------------------------------------------------------- made ready


def _build(args: argparse.Namespace) -> int:
    tasks = _selected(args)

    def begin(name: str, backend: Any) -> Callable[[Any], str | None]:
        if not hasattr(backend, "build_image") and any(task.recipe is None for task in tasks):
            raise UsageError(
                f"backend {name} cannot build from Dockerfiles, and the dataset has no recipe: try docker"
            )
        return lambda task: _built(backend, task)

    return _for_each(args, tasks, begin)


def _pull(args: argparse.Namespace) -> int:
    wanted = args.images or [task.image for task in _selected(args)]
    if args.images and any((args.subset, args.repo, args.task is not None, args.features)):
        raise UsageError("name images, or select tasks; not both")

    def begin(name: str, backend: Any) -> Callable[[Any], str | None]:
        from cooperbench.eval.backends import shell
        from cooperbench.eval.backends.local import LocalBackend
        from cooperbench.eval.backends.local.store import reference

        if isinstance(backend, LocalBackend):
            for image in args.images:
                reference.parse(image)
            return lambda image: backend.provision.pull(backend.engine(), image, args.platform).digest
        if args.platform:
            raise UsageError(f"--platform is for backend local, not {name}")
        return lambda image: shell.prepare_image(backend, image, None)

    return _for_each(args, wanted, begin)


def _selected(args: argparse.Namespace) -> list[Task]:
    from cooperbench.dataset import load_dataset, select

    dataset = load_dataset(places.dataset_dir(args))
    pairs = select(
        dataset, subset=args.subset, repo=args.repo, task_id=args.task, features=args.features, setting="solo"
    )
    return [dataset.task(*key) for key in sorted({(pair.repo, pair.task_id) for pair in pairs})]


def _for_each(
    args: argparse.Namespace, wanted: list[Any], begin: Callable[[str, Any], Callable[[Any], str | None]]
) -> int:
    """Make each ready, and say how that went; one that fails does not keep the others from it.

    Args:
        begin: given a backend and its name, what makes one ready there and says its digest. Raises UsageError: what is
            asked for is wrong for all of them.
    """
    from cooperbench.eval.backends.base import Telling, offers
    from cooperbench.eval.sources import keep_images_within, opened_backend

    failed = 0
    with opened_backend(args.backend) as chosen:
        keep_images_within(chosen, getattr(args, "disk_budget", None))
        if offers(chosen.backend, Telling):
            chosen.backend.tell_by(_Lines())
        work = begin(chosen.name, chosen.backend)
        for each in wanted:
            begun = time.monotonic()
            image = each if isinstance(each, str) else each.image
            try:
                digest = work(each)
            except (BackendError, UsageError) as problem:
                failed += 1
                image_store.say(f"FAILED  {image}  {problem}")
            else:
                image_store.say(f"{image}  {digest or '-'}  {time.monotonic() - begun:.1f}s")
    return exits.INCOMPLETE if failed else exits.DONE


def _built(backend: Any, task: Task) -> str | None:
    """By the dataset's recipe where it has one, else from the Dockerfile in the task's directory."""
    from cooperbench.eval.backends import shell

    if task.recipe is not None:
        return shell.prepare_image(backend, task.image, task.recipe)
    digest: str | None = backend.build_image(task.image, task.path)
    return digest


class _Lines:
    """How far it is, as a line on standard error now and then."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, what: str, how_far: str | None) -> None:
        """See `base.Listener`."""
        from cooperbench.report.escape import line

        now = time.monotonic()
        if how_far is not None and now - self._last >= _EVERY:
            self._last = now
            print(line(f"{what}: {how_far}"), file=sys.stderr, flush=True)
