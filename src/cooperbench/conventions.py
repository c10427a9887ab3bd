"""Which paths are tests by their language's convention. Names only: contents and configuration are not asked.

Two mistakes are weighed. A test file of an agent that is kept can collide with the benchmark's; a source file that
is dropped fails an agent unjustly. What the benchmark's own tests touch is dropped anyway
(`patches.keep_for_judging`), so in doubt a path is source.
"""

from __future__ import annotations

import re
from functools import lru_cache

_FOLDERS = frozenset(("tests", "__tests__", "__mocks__", "__snapshots__", "testdata"))
_WORKSPACES = frozenset(("packages", "crates", "apps", "libs", "modules"))
_NAME = re.compile(
    r"conftest\.py|test_.*\.py|.*_test\.go"
    r"|.*[.](?:test|spec)(?:-d)?\.[cm]?[jt]sx?(?:\.snap)?"
    r"|.+_(?:test|spec)\.(?:rb|dart|exs|c|cc|cpp|cxx)"
    r"|.+(?:Test|Tests|Spec)\.(?:java|kt|scala|groovy|cs|php|swift)",
    re.DOTALL,
)
_SUBJECT = re.compile(r"(.+)_test\.py", re.DOTALL)
_NO_SUBJECT = re.compile(
    "latest|newest|oldest|last|next|previous|current|should|is|can|run"
    "|ab|a_b|t|z|f|chi2|ks|rank|permutation|hypothesis|significance|statistical"
)
"""What stands before ``_test.py`` where that does not mean "tests of this": a latest test, a t test."""


@lru_cache(maxsize=512)  # the patches of a task touch the same files over and over
def is_test_file(path: str) -> bool:
    """Whether a path is a test, or part of a test suite."""
    *folders, name = path.split("/")
    if _NAME.fullmatch(name) or _in_test_folder(folders, name):
        return True
    subject = _SUBJECT.fullmatch(name)
    return subject is not None and not _NO_SUBJECT.fullmatch(subject.group(1))


def _in_test_folder(folders: list[str], name: str) -> bool:
    # In Rust a `tests` below `src` is a module of the crate: without its file the crate does not compile.
    if name.endswith(".rs") and "src" in folders:
        folders = folders[: folders.index("src")]
    if any(folder.lower() in _FOLDERS for folder in folders):
        return True
    return any(folder == "test" and _is_test_root(folders[:depth]) for depth, folder in enumerate(folders))


def _is_test_root(above: list[str]) -> bool:
    """Whether a ``test`` here holds tests: deeper in a package it may be source (a test client, say)."""
    return not above or above[-1] == "src" or (len(above) == 2 and above[0] in _WORKSPACES)
