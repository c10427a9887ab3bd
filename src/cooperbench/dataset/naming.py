"""Wording shared by the dataset's error messages: near misses, and lists short enough for one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def suggestion(word: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` when `word` looks like one of `known`, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def listing(words: Sequence[object], limit: int = 40) -> str:
    """Comma-separated, cut after `limit` with a count of the rest."""
    shown = ", ".join(str(word) for word in words[:limit])
    return f"{shown} and {len(words) - limit} more" if len(words) > limit else shown
