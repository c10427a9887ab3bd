"""`dataset.lock.json`: what a prepared dataset consisted of, file by file, so that damage can be told from intent.

`dataset.toml` is left out: it is the user's to edit (another registry, another network).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cooperbench import atomic
from cooperbench.dataset.layout import SETTINGS_FILE, load_dataset
from cooperbench.dataset.model import Dataset
from cooperbench.dataset.selection import load_subset, subset_names
from cooperbench.errors import DatasetError

MANIFEST = "dataset.lock.json"
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Counts:
    """How much a dataset holds."""

    tasks: int
    features: int
    pairs: int

    def __str__(self) -> str:
        return f"{self.tasks} tasks, {self.features} features, {self.pairs} pairs"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a prepared dataset consisted of."""

    source: str
    counts: Counts
    files: Mapping[str, str]
    """Path relative to the root → sha256 in hexadecimal."""

    @property
    def digest(self) -> str:
        """One sha256 over all files and their names."""
        total = hashlib.sha256()
        for name, digest in sorted(self.files.items()):
            total.update(f"{name}\0{digest}\n".encode())
        return total.hexdigest()


def count(dataset: Dataset) -> Counts:
    """Count, and read every subset, so that one that names what is not there is found now."""
    for name in subset_names(dataset):
        load_subset(name, dataset)
    sizes = [len(task.features) for task in dataset.tasks.values()]
    return Counts(len(sizes), sum(sizes), sum(size * (size - 1) // 2 for size in sizes))


def take(root: Path, source: str) -> Manifest:
    """The manifest of what is in `root` now.

    Raises:
        DatasetError: it is not a well-formed dataset.
    """
    return Manifest(source, count(load_dataset(root)), {name: _sha256(root / name) for name in _files(root)})


def write(root: Path, manifest: Manifest) -> None:
    """Keep `manifest` in `root`."""
    content = {
        "schema": SCHEMA,
        "source": manifest.source,
        "counts": asdict(manifest.counts),
        "digest": manifest.digest,
        "files": dict(sorted(manifest.files.items())),
    }
    atomic.write_json(root / MANIFEST, content)


def read(root: Path) -> Manifest | None:
    """The manifest in `root`; None when it has none, or none that can be read."""
    content = atomic.read_json(root / MANIFEST)
    try:
        return _parse(content)
    except (TypeError, KeyError, ValueError, AttributeError):
        return None


def _parse(content: Any) -> Manifest:
    if content["schema"] != SCHEMA:
        raise ValueError("another schema")
    counts = Counts(**{key: int(value) for key, value in content["counts"].items()})
    files = {str(name): str(digest) for name, digest in content["files"].items()}
    manifest = Manifest(str(content["source"]), counts, files)
    if manifest.digest != content["digest"]:
        raise ValueError("damaged")
    return manifest


def verify(root: Path | str) -> list[str]:
    """Compare a prepared dataset with its manifest: one line for each difference, none when it is intact.

    Raises:
        DatasetError: there is no manifest to compare with.
    """
    directory = Path(root)
    manifest = read(directory)
    if manifest is None:
        raise DatasetError(
            f"{directory} has no readable {MANIFEST}: it was not made by `cooperbench prepare`"
        )
    here = set(_files(directory))
    missing = [f"{name} is missing" for name in sorted(manifest.files.keys() - here)]
    added = [f"{name} was added" for name in sorted(here - manifest.files.keys())]
    both = sorted(here & manifest.files.keys())
    changed = [f"{name} was changed" for name in both if _sha256(directory / name) != manifest.files[name]]
    return missing + changed + added


def _files(root: Path) -> Iterator[str]:
    """Every file but our own and hidden ones at the root, relative to it."""
    for path in root.rglob("*"):
        name = path.relative_to(root)
        if (
            path.is_file()
            and not name.parts[0].startswith(".")
            and str(name) not in (MANIFEST, SETTINGS_FILE)
        ):
            yield name.as_posix()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
