"""What `images` does with the embedded sandbox's store."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from cooperbench.cli import exits
from cooperbench.errors import UsageError

if TYPE_CHECKING:
    from cooperbench.eval.backends.local import LocalBackend
    from cooperbench.eval.backends.local.store.gc import Entry


def _store() -> LocalBackend:
    from cooperbench.eval import backends
    from cooperbench.eval.backends.local import LocalBackend

    backend = backends.get_backend("local")
    if not isinstance(backend, LocalBackend):
        raise UsageError("backend local is not the embedded sandbox here: its images are not known")
    return backend


def bring(args: argparse.Namespace) -> int:
    """Import images."""
    from contextlib import closing

    from cooperbench.eval.backends.local.store import importing

    with closing(_store()) as backend:
        for image in importing.bring(backend.engine(), args.source, args.name, args.platform):
            names = _names_of(backend, str(image.digest))
            say(f"{', '.join(names) or '-'}  {image.digest}")
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


def listed(args: argparse.Namespace) -> int:
    """List the images."""
    from contextlib import closing

    with closing(_store()) as backend:
        found = [_described(backend, entry) for entry in reversed(_entries(backend))]
    if args.json:
        print(json.dumps({"images": found}))
        return exits.DONE
    for each in found:
        name = ", ".join(each["names"]) or "-"
        layers, size = len(each["layers"]), each["size"] / 1e6
        say(
            f"{name}  {each['digest'][:19]}  {each['platform'] or '-'}  {layers} layers  {size:.0f} MB  {each['used']}"
        )
    return exits.DONE


def inspect(args: argparse.Namespace) -> int:
    """Show one image, as JSON."""
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


def remove(args: argparse.Namespace) -> int:
    """Remove images; one that is in use is kept, and told."""
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
                say(told)
        engine.launcher.ask("empty")
    return exits.INCOMPLETE if kept else exits.DONE


def prune(args: argparse.Namespace) -> int:
    """Remove what nobody asks for any more."""
    from contextlib import closing

    from cooperbench.eval.backends.local.store import gc

    with closing(_store()) as backend:
        engine = backend.engine()
        lines = gc.prune(engine.state, engine.claims)
        if args.disk_budget is not None:
            lines += gc.make_room(engine.state, engine.claims, args.disk_budget)
        engine.launcher.ask("empty")
    for told in lines:
        say(told)
    return exits.DONE


def say(told: str) -> None:
    """One line on standard output, made harmless."""
    from cooperbench.report.escape import line

    sys.stdout.write(f"{line(told)}\n")
    sys.stdout.flush()
