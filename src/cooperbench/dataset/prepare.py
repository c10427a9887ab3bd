"""Puts a dataset in place: fetched beside the destination, checked, and swapped in whole.

<parent>/<name>             the dataset; always the old one or the new one
<parent>/.<name>.staging/   what is being fetched; survives an interruption, and the next call goes on with it
<parent>/.<name>.lock       held while somebody prepares
"""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cooperbench import atomic
from cooperbench.dataset import hub, manifest, sources
from cooperbench.dataset.layout import SETTINGS_FILE, load_dataset
from cooperbench.dataset.manifest import Counts, Manifest, verify
from cooperbench.errors import DatasetError

__all__ = ["PUBLISHED", "PreparedDataset", "prepare", "verify"]

PUBLISHED = Counts(tasks=30, features=199, pairs=652)
PUBLISHED_TASKS = {
    "dottxt_ai_outlines_task": {1371, 1655, 1706},
    "dspy_task": {8394, 8563, 8587, 8635},
    "go_chi_task": {26, 27, 56},
    "huggingface_datasets_task": {3997, 6252, 7309},
    "llama_index_task": {17070, 17244, 18813},
    "openai_tiktoken_task": {0},
    "pallets_click_task": {2068, 2800, 2956},
    "pallets_jinja_task": {1465, 1559, 1621},
    "pillow_task": {25, 68, 290},
    "react_hook_form_task": {85, 153},
    "samuelcolvin_dirty_equals_task": {43},
    "typst_task": {6554},
}
PUBLISHED_SETTINGS = """\
# The published images; the runners of most tasks install packages while they judge.
image = "akhatua/cooperbench-{slug}:task{task_id}"
network = "open"
"""


@dataclass(frozen=True, slots=True)
class PreparedDataset:
    """A dataset in place."""

    root: Path
    source: str
    counts: Counts
    files: int
    digest: str
    """sha256 over all files and their names."""
    fresh: bool
    """False: it was there already, intact, and nothing was done."""


def prepare(
    destination: Path | str,
    source: str | None = None,
    force: bool = False,
    progress: Callable[[str], None] | None = None,
) -> PreparedDataset:
    """Put a dataset at `destination`.

    Args:
        source: a directory, a tar archive or a git URL; None for the published dataset on the Hugging Face Hub.
        force: replace a dataset that is there, whatever its state.
        progress: called with a line of text at each step.

    Raises:
        DatasetError: nothing at the source, or not what it should be; or something else is at the destination.
        MissingExtra: the Hub's client is not installed. RunConflict: somebody else prepares there right now.
    """
    place = Path(os.path.realpath(destination))
    busy = f"another prepare is at work on {place}; let it finish"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with atomic.locked(place.with_name(f".{place.name}.lock"), busy):
            _recover(place)
            if force:
                _refuse_strangers(place)
            elif there := _intact(place, source):
                return there
            return _replace(place, source, progress or _silent)
    except OSError as error:
        raise DatasetError(f"cannot prepare {place}: {error.strerror or error} ({error.filename})") from error


def _silent(line: str) -> None:
    """Say nothing."""


def _refuse_strangers(place: Path) -> None:
    """What --force may replace looks like a dataset: a mistyped destination must not cost a home directory."""
    if place.exists() and not place.is_dir():
        raise DatasetError(f"{place} is a file; name a directory")
    ours = manifest.read(place) is not None or any(place.glob("*_task/task*"))
    if place.is_dir() and any(place.iterdir()) and not ours:
        raise DatasetError(
            f"{place} holds something that is not a dataset, so it is left alone; name another directory"
        )


def _intact(place: Path, source: str | None) -> PreparedDataset | None:
    """What is at `place` if it is what is asked for; None when the place is free."""
    if not place.exists() or (place.is_dir() and not any(place.iterdir())):
        return None
    known = manifest.read(place) if place.is_dir() else None
    if known is None:
        raise DatasetError(
            f"{place} exists and was not made by prepare; use --force to replace it, or use it as it is"
        )
    differences = verify(place)
    if differences:
        more = f" and {len(differences) - 1} more" if len(differences) > 1 else ""
        raise DatasetError(f"{place} was altered: {differences[0]}{more}; use --force to replace it")
    if not _same_source(known.source, source):
        raise DatasetError(f"{place} was made from {known.source}; use --force to replace it")
    return _prepared(place, known, fresh=False)


def _same_source(known: str, source: str | None) -> bool:
    if source is None:
        return known.startswith(f"hub {hub.REPOSITORY}@")
    path = os.path.realpath(os.path.expanduser(source))
    return known in (f"directory {path}", f"archive {path}") or known.startswith(f"git {source}@")


def _prepared(place: Path, known: Manifest, fresh: bool) -> PreparedDataset:
    return PreparedDataset(place, known.source, known.counts, len(known.files), known.digest, fresh)


def _replace(place: Path, source: str | None, say: Callable[[str], None]) -> PreparedDataset:
    staging = _staging(place)
    root, name = _fetch(staging / "tree", source, say)
    say("checking")
    _complete_settings(root, name)
    known = manifest.take(root, name)
    if source is None and known.counts != PUBLISHED:
        raise DatasetError(f"{name} holds {known.counts}; the published dataset has {PUBLISHED}; report this")
    manifest.write(root, known)
    _swap(root, place)
    shutil.rmtree(staging)
    say(f"{known.counts} in {place}")
    return _prepared(place, known, fresh=True)


def _fetch(tree: Path, source: str | None, say: Callable[[str], None]) -> tuple[Path, str]:
    """Fill `tree`; only a download from the Hub goes on with what an interrupted one left there."""
    notes = tree.with_name("source.json")
    if source is not None or atomic.read_json(notes) != hub.REPOSITORY:
        shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True, exist_ok=True)
    atomic.write_json(notes, source or hub.REPOSITORY)
    if source is None:
        return _without_hidden(tree, hub.fill(tree, say))
    say(f"taking {source}")
    return _without_hidden(tree, sources.fill(source, tree))


def _without_hidden(tree: Path, name: str) -> tuple[Path, str]:
    """The dataset's root below `tree`, freed of what clients and repositories keep for themselves."""
    root = sources.dataset_root(tree)
    for path in root.glob(".*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (root / manifest.MANIFEST).unlink(missing_ok=True)
    return root, name


def _complete_settings(root: Path, name: str) -> None:
    """Give the published tasks the settings that their publisher did not write down."""
    try:
        dataset = load_dataset(root)
    except DatasetError as problem:
        # Nobody knows the staging directory, and the remedies of the message are for a dataset in place.
        told = str(problem).partition("; ")[0].replace(f"{root}/", "").replace(f" in {root}", "")
        raise DatasetError(f"{name}: {told}; correct it, or take it from elsewhere") from problem
    published = all(task_id in PUBLISHED_TASKS.get(repo, ()) for repo, task_id in dataset.tasks)
    if published and not (root / SETTINGS_FILE).exists():
        atomic.write_bytes(root / SETTINGS_FILE, PUBLISHED_SETTINGS.encode())


# ---------------------------------------------------------------------------------------------- swapping


def _staging(place: Path) -> Path:
    return place.with_name(f".{place.name}.staging")


def _old(place: Path) -> Path:
    return place.with_name(f".{place.name}.old")


def _swap(root: Path, place: Path) -> None:
    """Put `root` at `place` in one step where the file system can; else in two, which `_recover` completes."""
    if not place.exists():
        root.rename(place)
    elif not _exchange(root, place):
        place.rename(_old(place))
        root.rename(place)
        shutil.rmtree(_old(place))


def _recover(place: Path) -> None:
    """After a death between the two renames of `_swap`: back to the old dataset, or off with it."""
    if not _old(place).exists():
        return
    if place.exists():
        shutil.rmtree(_old(place))
    else:
        _old(place).rename(place)


def _exchange(first: Path, second: Path) -> bool:
    """Let two directories change names at once; False where kernel, file system or C library cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    status: int = renameat2(here, os.fsencode(first), here, os.fsencode(second), swap)
    return status == 0
