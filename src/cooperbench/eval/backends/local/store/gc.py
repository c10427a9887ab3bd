"""Removing images: those no name stands for, those somebody asks to be gone, those a budget has no room for.

Every removal happens while `claims.STORE` is held, and passes over what anybody alive uses: an image with a sandbox, a
layer on its way into one. A removed layer is moved out of the way first, so nobody ever sees half of one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cooperbench import atomic
from cooperbench.eval.backends.local.state import State
from cooperbench.eval.backends.local.store.claims import STORE, Claims
from cooperbench.eval.backends.local.store.reference import familiar


@dataclass(frozen=True, slots=True)
class Entry:
    """An image in the store, for whoever looks after it."""

    digest: str
    names: tuple[str, ...]
    layers: tuple[str, ...]
    """Ids, the topmost first."""
    platform: str
    origin: str
    """Where it can be had again; empty for what was made here."""
    used: float
    """When it was last used, in seconds since the epoch."""
    path: Path


def entries(state: State) -> list[Entry]:
    """Every image, the one used least recently first."""
    names: dict[str, list[str]] = {}
    for path in (state.path / "names").glob("*.json"):
        entry = atomic.read_json(path)
        if isinstance(entry, dict):
            names.setdefault(str(entry.get("digest")), []).append(str(entry.get("name")))
    found = []
    for path in (state.path / "images").glob("*.json"):
        record = atomic.read_json(path)
        with contextlib.suppress(FileNotFoundError, KeyError, TypeError):
            digest = str(record["digest"])
            found.append(
                Entry(
                    digest,
                    tuple(sorted(names.get(digest, ()))),
                    tuple(str(layer) for layer in record["layers"]),
                    str(record.get("platform", "")),
                    str(record.get("origin", "")),
                    path.stat().st_mtime,
                    path,
                )
            )
    return sorted(found, key=lambda entry: (entry.used, entry.digest))


def size(state: State, layer: str) -> int:
    """Bytes of a layer, as counted when it was unpacked; 0 for one that was made here."""
    found = atomic.read_json(state.path / "sizes" / layer)
    return found if isinstance(found, int) else 0


def prune(state: State, claims: Claims) -> list[str]:
    """Remove images no name stands for, layers no image has, what is left of downloads; one line for each."""
    with state.locked(STORE):
        lines = _remove(state, claims, lambda entry: not entry.names)
    lines += _forget_partial(state)
    return lines


def remove(state: State, claims: Claims, digest: str, name: str = "") -> list[str]:
    """Remove an image, its names and the layers nothing else has; nothing when somebody uses it.

    Args:
        name: remove this name only, where the image has others.
    """
    with state.locked(STORE):
        names = next((entry.names for entry in entries(state) if entry.digest == digest), ())
        if name and len(names) > 1:
            _forget_names(state, familiar(name))
            return [f"local: name {familiar(name)}"]
        if digest in claims.live()[0]:
            return []
        return _remove(state, claims, lambda entry: entry.digest == digest)


def make_room(state: State, claims: Claims, budget: int, spared: str = "") -> list[str]:
    """Remove images that can be had again, the least recently used first, until all layers fit into `budget` bytes."""
    lines: list[str] = []
    with state.locked(STORE):
        for entry in entries(state):
            if _total(state) <= budget:
                break
            if entry.origin and entry.digest != spared:
                chosen = entry.digest
                lines += _remove(state, claims, lambda entry, chosen=chosen: entry.digest == chosen)  # type: ignore[misc]
    return lines


def fits_another(state: State, claims: Claims, budget: int) -> bool:
    """Whether an image like the largest that was pulled fits into `budget` bytes beside all that cannot be removed."""
    with state.locked(STORE):
        used_images, staying = claims.live()
        largest = 0
        for entry in entries(state):
            if not entry.origin or entry.digest in used_images:
                staying.update(entry.layers)
            if entry.origin:
                largest = max(largest, sum(size(state, layer) for layer in entry.layers))
    return 0 < largest <= budget - sum(size(state, layer) for layer in staying)


def _total(state: State) -> int:
    return sum(size(state, layer) for layer in os.listdir(state.path / "layers"))


def _remove(state: State, claims: Claims, unwanted: Callable[[Entry], bool]) -> list[str]:
    used_images, used_layers = claims.live()
    lines = []
    kept = set(used_layers)
    for entry in entries(state):
        if unwanted(entry) and entry.digest not in used_images:
            entry.path.unlink(missing_ok=True)
            (state.path / "configs" / entry.path.name).unlink(missing_ok=True)
            lines.append(f"local: image {', '.join(entry.names) or entry.digest}")
        else:
            kept.update(entry.layers)
    _forget_names(state)
    for layer in sorted(set(os.listdir(state.path / "layers")) - kept):
        state.discard(f"layers/{layer}")
        (state.path / "sizes" / layer).unlink(missing_ok=True)
        lines.append(f"local: image layer {layer[:19]}, which no image uses")
    return lines


def _forget_names(state: State, name: str = "") -> None:
    """Forget names of images that are gone, and this one."""
    there = {path.name for path in (state.path / "images").glob("*.json")}
    for path in (state.path / "names").glob("*.json"):
        entry = atomic.read_json(path)
        digest = str(entry.get("digest")) if isinstance(entry, dict) else ""
        if f"{digest.removeprefix('sha256:')}.json" not in there or (name and entry["name"] == name):
            path.unlink(missing_ok=True)


def _forget_partial(state: State) -> list[str]:
    """What has come of downloads that nobody is at."""
    lines = []
    for path in sorted((state.path / "partial").iterdir()):
        layer = path.name.partition(".")[0]
        with state.unless_locked(f"layer-{layer}") as free:
            if free:
                path.unlink(missing_ok=True)
                lines.append(f"local: part of a download, {path.name[:19]}")
    return lines
