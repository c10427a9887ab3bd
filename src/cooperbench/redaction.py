"""Secrets taken out of what is written down: keys must not be in transcripts, results, errors or logs.

What a secret is, the environment says: the value of every variable that is named like one. Patches are never touched:
they are bytes under judgement, and no key of the harness's is in the sandbox they come from.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

SHOWN = "[redacted]"

_NAMED = re.compile(r"(^|_)(API)?(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_|$)", re.IGNORECASE)
SHORTEST = 8
"""Characters: what is shorter could be any word."""


_remembered: set[str] = set()


def remember(secret: str) -> None:
    """Take this value for a secret from now on, whatever the variable it came from is called."""
    _remembered.add(secret)


def secrets(environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The secrets in an environment (None: this process's), longest first so that none is left in half."""
    environ = _suspects() if environ is None else environ
    # A path is where a secret is, not the secret: it may be in every line of a transcript.
    values = {value.strip() for name, value in environ.items() if _NAMED.search(name)} | _remembered
    kept = {value for value in values if len(value) >= SHORTEST and not value.startswith(("/", "~"))}
    return tuple(sorted(kept, key=lambda value: (-len(value), value)))


def _suspects() -> dict[str, str]:
    """This process's variables that are named like a secret; asked for with every file, so nothing else is decoded."""
    names = [os.fsdecode(name) for name in os.environb if _is_named_like_one(name)]
    return {name: os.environ.get(name, "") for name in names}


@lru_cache(maxsize=1024)
def _is_named_like_one(variable: bytes) -> bool:
    return _NAMED.search(os.fsdecode(variable)) is not None


def redacted_json(value: Any, encode: Callable[[Any], str]) -> str:
    """`encode(redacted(value))`, quickly where there is nothing to take out, which is nearly always.

    Args:
        encode: writes a value as JSON, one or several, in which characters beyond ASCII stand for themselves.
    """
    text, hidden = encode(value), secrets()
    # A text that holds a secret is JSON that holds its escaped form; the other way round need not be.
    return encode(redacted(value, hidden)) if any(_escaped(secret) in text for secret in hidden) else text


@lru_cache(maxsize=64)
def _escaped(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def redacted(value: Any, hidden: Iterable[str]) -> Any:
    """A JSON value with every secret in its texts replaced; keys of objects are texts too."""
    if isinstance(value, str):
        for secret in hidden:
            value = value.replace(secret, SHOWN)
        return value
    if isinstance(value, dict):
        return {redacted(key, hidden): redacted(item, hidden) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(item, hidden) for item in value]
    return value
