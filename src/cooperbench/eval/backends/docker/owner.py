"""Whose a container is, as a label says it: so that what a dead harness left is told from what a live one owns."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from cooperbench.eval.backends.process import machine, started

PREFIX = "io.cooperbench."
PRODUCT = PREFIX + "product"
OWNER = PREFIX + "owner"
EXPIRY = PREFIX + "expiry"

_GRACE = 600
"""Seconds past its expiry after which a container of a harness on another machine is taken for left behind."""


def labels(given: Mapping[str, str], lifetime: float) -> dict[str, str]:
    """The labels of a new container."""
    return {
        **{PREFIX + name: value for name, value in given.items()},
        PRODUCT: "cooperbench",
        OWNER: f"{machine()} {os.getpid()} {started(os.getpid())}",
        EXPIRY: str(int(time.time() + lifetime)),
    }


def left_behind(found: Mapping[str, str]) -> bool:
    """Whether nobody alive owns a container with these labels.

    A process of this machine is looked at. Of another machine's nothing is known but the expiry.
    """
    if found.get(PRODUCT) != "cooperbench":
        return False
    where, _, process = found.get(OWNER, "").partition(" ")
    if where == machine():
        pid, _, since = process.partition(" ")
        return not pid.isdecimal() or not since or started(int(pid)) != since
    expiry = found.get(EXPIRY, "")
    return not expiry.isdecimal() or time.time() > int(expiry) + _GRACE
