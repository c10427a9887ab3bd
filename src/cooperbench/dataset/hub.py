"""The published dataset, from the Hugging Face Hub; needs the extra ``hub``.

The client library fetches the files and continues where an earlier download was cut off. What it left is compared,
file by file, with the list that the Hub gives for the commit: with a partial directory and no connection the library
is content to return what it finds.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from cooperbench.errors import DatasetError, MissingExtra

REPOSITORY = "CodeConflict/cooperbench-dataset"
_OWN = ".cache"
"""Where the library keeps its notes on a download inside the directory that it fills."""


def fill(tree: Path, progress: Callable[[str], None]) -> str:
    """Fill `tree` with the published dataset, or complete it; returns what to call the source from now on.

    Raises:
        MissingExtra: the client library is not installed. DatasetError: the Hub cannot be reached, or what came
        is not what it promised; a second call goes on from where this one ended.
    """
    try:
        from huggingface_hub.errors import HfHubHTTPError
        from huggingface_hub.hf_api import HfApi, RepoFile
    except ImportError as error:
        raise MissingExtra("downloading the dataset", "hub") from error
    with _explained(HfHubHTTPError):
        import_module("huggingface_hub.utils").disable_progress_bars()
        api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)
        commit = str(api.repo_info(REPOSITORY, repo_type="dataset").sha)
        listing = api.list_repo_tree(REPOSITORY, repo_type="dataset", revision=commit, recursive=True)
        files = {entry.path: entry for entry in listing if isinstance(entry, RepoFile)}
        progress(f"fetching {len(files)} files of {REPOSITORY} at {commit[:12]}")
        api.snapshot_download(
            REPOSITORY, repo_type="dataset", revision=commit, local_dir=tree, cache_dir=tree / _OWN / "hub"
        )
    for name, entry in sorted(files.items()):
        _check(tree / name, entry)
    _remove_others(tree, set(files))
    return f"hub {REPOSITORY}@{commit}"


@contextmanager
def _explained(library_error: type[Exception]) -> Iterator[None]:
    """Turn the library's errors, and those of the HTTP client below it, into one of ours.

    Releases of the library differ in that client, so its errors have no name here: its base error is among the
    ancestors of the library's.
    """
    ancestors = [
        each for each in library_error.__mro__ if issubclass(each, Exception) and each is not Exception
    ]
    failures: tuple[type[Exception], ...] = (OSError, ValueError, *ancestors)
    try:
        yield
    except failures as error:
        words = " ".join(str(error).split()) or type(error).__name__
        raise DatasetError(
            f"cannot download {REPOSITORY}: {words[:300]}; run it again to go on from here (HF_TOKEN and "
            "HF_ENDPOINT are honoured), or give a copy with --from"
        ) from error


def _check(path: Path, entry: Any) -> None:
    """The file is what the Hub says: by sha256 where it is stored as a large file, by git's own hash elsewhere."""
    content = path.read_bytes() if path.is_file() else None
    if content is not None and _digest(content, entry) in (entry.blob_id, entry.lfs and entry.lfs.sha256):
        return
    # The library trusts its notes: without the file it fetches anew.
    path.unlink(missing_ok=True)
    state = "is missing" if content is None else "arrived damaged"
    raise DatasetError(f"download incomplete: {entry.path} {state}; run it again to fetch what is missing")


def _digest(content: bytes, entry: Any) -> str:
    if entry.lfs:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _remove_others(tree: Path, names: set[str]) -> None:
    """Files of an earlier, interrupted download that the commit no longer holds."""
    for path in tree.rglob("*"):
        name = path.relative_to(tree)
        if path.is_file() and name.parts[0] != _OWN and name.as_posix() not in names:
            path.unlink()
