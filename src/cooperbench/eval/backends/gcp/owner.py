"""Whose a job is, in labels of the vendor's (small letters, digits, dashes): leftovers are told from work by them."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Mapping

from cooperbench.eval.backends.process import machine, started

_GRACE = 600
"""Seconds past its expiry after which a job of a harness on another machine is taken for left behind."""


def labels(kind: str, seconds: float, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """The labels of a new job; `kind` is `sandboxes` or `batch`, `seconds` how long it may last."""
    told = {name: _worded(value) for name, value in (given or {}).items()}
    return {
        **told,
        "kind": kind,
        "owner": f"{_machine()}-{os.getpid()}-{started(os.getpid())}",
        "expiry": str(int(time.time() + seconds)),
    }


def left_behind(found: Mapping[str, str]) -> bool:
    """Whether nobody alive needs a job with these labels.

    A batch outlives its harness, which takes it up again: it is left behind only when it is past its expiry.
    """
    expiry = found.get("expiry", "")
    expired = not expiry.isdecimal() or time.time() > int(expiry) + _GRACE
    where, _, process = found.get("owner", "").partition("-")
    if found.get("kind") == "batch" or where != _machine():
        return expired
    pid, _, since = process.partition("-")
    return not pid.isdecimal() or not since or started(int(pid)) != since


def _machine() -> str:
    return hashlib.sha256(machine().encode()).hexdigest()[:16]


def _worded(text: str) -> str:
    return re.sub(r"[^a-z0-9_-]+", "-", text.lower())[:63]
