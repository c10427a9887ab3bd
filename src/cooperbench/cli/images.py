"""`images`: what sandboxes are made from, made ready before anything asks for it; and the embedded sandbox's store."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from cooperbench.cli import exits, flags, places
from cooperbench.errors import BackendError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cooperbench.dataset.model import Task
    from cooperbench.eval.backends.local import LocalBackend
    from cooperbench.eval.backends.local.store.gc import Entry

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
    bring = verb("import", _import, "import into the embedded sandbox's store")
    bring.add_argument(
        "source",
        metavar="SOURCE",
        help="a saved image, an OCI layout or a root file system (archive or directory), - for an archive on "
        "standard input, or docker-daemon:NAME",
    )
    bring.add_argument("name", nargs="?", metavar="NAME", help="default: as it was saved")
    _platform(bring)
    listed = verb("list", _list, "the images in the embedded sandbox's store")
    listed.add_argument("--json", action="store_true", help="as one JSON value")
    inspect = verb("inspect", _inspect, "one image of the store, as JSON")
    inspect.add_argument("image", metavar="IMAGE", help="name or digest")
    remove = verb("rm", _remove, "remove images from the store, but for what is in use")
    remove.add_argument("images", nargs="+", metavar="IMAGE", help="name or digest")
    prune = verb("prune", _prune, "remove what no name stands for, and what is left of downloads")
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
                _print(f"FAILED  {image}  {problem}")
            else:
                _print(f"{image}  {digest or '-'}  {time.monotonic() - begun:.1f}s")
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


# ---------------------------------------------------------------------------- the store


def _store() -> LocalBackend:
    from cooperbench.eval import backends
    from cooperbench.eval.backends.local import LocalBackend

    backend = backends.get_backend("local")
    if not isinstance(backend, LocalBackend):
        raise UsageError("backend local is not the embedded sandbox here: its images are not known")
    return backend


def _import(args: argparse.Namespace) -> int:
    from contextlib import closing

    from cooperbench.eval.backends.local.store import importing

    with closing(_store()) as backend:
        for image in importing.bring(backend.engine(), args.source, args.name, args.platform):
            names = _names_of(backend, str(image.digest))
            _print(f"{', '.join(names) or '-'}  {image.digest}")
    return exits.DONE


def _names_of(backend: LocalBackend, digest: str) -> tuple[str, ...]:
    return next((entry.names for entry in _entries(backend) if entry.digest == digest), ())


def _entries(backend: LocalBackend) -> list[Entry]:
    from cooperbench.eval.backends.local.store import gc

    return gc.entries(backend.engine().state)


def _described(backend: LocalBackend, entry: Entry) -> dict[str, Any]:
    from cooperbench.eval.backends.local.store import gc

    state = backend.engine().state
    return {
        "names": list(entry.names),
        "digest": entry.digest,
        "platform": entry.platform,
        "origin": entry.origin,
        "size": sum(gc.size(state, layer) for layer in entry.layers),
        "layers": list(entry.layers),
        "used": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.used)),
    }


def _list(args: argparse.Namespace) -> int:
    from contextlib import closing

    with closing(_store()) as backend:
        found = [_described(backend, entry) for entry in reversed(_entries(backend))]
    if args.json:
        print(json.dumps({"images": found}))
        return exits.DONE
    for each in found:
        name = ", ".join(each["names"]) or "-"
        layers, size = len(each["layers"]), each["size"] / 1e6
        _print(
            f"{name}  {each['digest'][:19]}  {each['platform'] or '-'}  {layers} layers  {size:.0f} MB  {each['used']}"
        )
    return exits.DONE


def _inspect(args: argparse.Namespace) -> int:
    from contextlib import closing

    from cooperbench import atomic

    with closing(_store()) as backend:
        entry = _found(backend, args.image)
        described = _described(backend, entry)
        engine = backend.engine()
        described["paths"] = [str(engine.state.path / "layers" / layer) for layer in entry.layers]
        described["configuration"] = atomic.read_json(engine.state.path / "configs" / entry.path.name)
    print(json.dumps(described, indent=2))
    return exits.DONE


def _found(backend: LocalBackend, name: str) -> Entry:
    digest = name if name.startswith("sha256:") else backend.engine().images.digest(name)
    entry = next((entry for entry in _entries(backend) if entry.digest == digest), None)
    if entry is None:
        raise UsageError(f"there is no image {name!r} in the store (see: cooperbench images list)")
    return entry


def _remove(args: argparse.Namespace) -> int:
    from contextlib import closing

    from cooperbench.eval.backends.local.store import gc

    with closing(_store()) as backend:
        engine = backend.engine()
        kept = 0
        for name in args.images:
            entry = _found(backend, name)
            lines = gc.remove(engine.state, engine.claims, entry.digest, "" if name == entry.digest else name)
            if not lines:
                kept += 1
                lines = [f"KEPT  {name}: it is in use"]
            for told in lines:
                _print(told)
        engine.launcher.ask("empty")
    return exits.INCOMPLETE if kept else exits.DONE


def _prune(args: argparse.Namespace) -> int:
    from contextlib import closing

    from cooperbench.eval.backends.local.store import gc

    with closing(_store()) as backend:
        engine = backend.engine()
        lines = gc.prune(engine.state, engine.claims)
        if args.disk_budget is not None:
            lines += gc.make_room(engine.state, engine.claims, args.disk_budget)
        engine.launcher.ask("empty")
    for told in lines:
        _print(told)
    return exits.DONE


def _print(told: str) -> None:
    from cooperbench.report.escape import line

    sys.stdout.write(f"{line(told)}\n")
    sys.stdout.flush()
