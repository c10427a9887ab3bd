"""The program that runs on a machine of the vendor's, outside the containers it makes: POSIX shell, in parts."""

from __future__ import annotations

from functools import cache
from importlib import resources

_PARTS = ("storage.sh", "box.sh", "sandbox.sh", "batch.sh", "main.sh")


@cache
def program() -> str:
    """The parts joined; comments are for readers, and a job's definition is not to be longer than it must."""
    folder = resources.files(__package__)
    lines = [line for part in _PARTS for line in (folder / part).read_text("utf-8").splitlines()]
    return "\n".join(["#!/bin/sh", *(line for line in lines if not line.lstrip().startswith("#")), ""])
