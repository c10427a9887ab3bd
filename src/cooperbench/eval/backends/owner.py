"""Whose a sandbox is, as its labels say it: so that what a dead harness left is told from what a live one owns.

Names and values are of letters, digits, ``-`` and ``_``, and short: every vendor takes such.
"""

from __future__ import annotations

import functools
import hashlib
import os
import time
from collections.abc import Mapping

from cooperbench.eval.backends.process import machine, started

PRODUCT, OWNER, EXPIRY = "product", "owner", "expiry"
US = "cooperbench"
"""The value of `PRODUCT`."""

_GRACE = 600
"""Seconds past its expiry after which a sandbox of a harness on another machine is taken for left behind."""


def labels(lifetime: float) -> dict[str, str]:
    """What a new sandbox of this process's is labelled with."""
    return {
        PRODUCT: US,
        OWNER: f"{_machine()}_{os.getpid()}_{started(os.getpid())}",
        EXPIRY: str(int(time.time() + lifetime)),
    }


def left_behind(found: Mapping[str, str]) -> bool:
    """Whether nobody alive owns a sandbox with these labels.

    A process of this machine is looked at. Of another machine's nothing is known but the expiry.
    """
    if found.get(PRODUCT) != US:
        return False
    where, _, process = found.get(OWNER, "").partition("_")
    if where == _machine():
        pid, _, since = process.partition("_")
        return not pid.isdecimal() or not since or started(int(pid)) != since
    expiry = found.get(EXPIRY, "")
    return not expiry.isdecimal() or time.time() > int(expiry) + _GRACE


@functools.cache
def _machine() -> str:
    return hashlib.sha256(machine().encode()).hexdigest()[:16]
