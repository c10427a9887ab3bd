"""Secrets taken out of what is written down: keys must not be in transcripts, results, errors or logs.

What a secret is, the environment says: the value of every variable that is named like one. Patches are never touched:
they are bytes under judgement, and no key of the harness's is in the sandbox they come from.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
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
    environ = os.environ if environ is None else environ
    # A path is where a secret is, not the secret: it may be in every line of a transcript.
    values = {value.strip() for name, value in environ.items() if _NAMED.search(name)} | _remembered
    kept = {value for value in values if len(value) >= SHORTEST and not value.startswith(("/", "~"))}
    return tuple(sorted(kept, key=lambda value: (-len(value), value)))


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
