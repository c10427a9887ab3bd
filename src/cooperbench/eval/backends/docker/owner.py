"""Whose a container is: the labels of `backends.owner` under this product's prefix."""

from __future__ import annotations

from collections.abc import Mapping

from cooperbench.eval.backends import owner

PREFIX = "io.cooperbench."
PRODUCT = PREFIX + owner.PRODUCT
OWNER = PREFIX + owner.OWNER
EXPIRY = PREFIX + owner.EXPIRY


def labels(given: Mapping[str, str], lifetime: float) -> dict[str, str]:
    """The labels of a new container."""
    return {PREFIX + name: value for name, value in {**given, **owner.labels(lifetime)}.items()}


def left_behind(found: Mapping[str, str]) -> bool:
    """Whether nobody alive owns a container with these labels."""
    ours = {name.removeprefix(PREFIX): value for name, value in found.items() if name.startswith(PREFIX)}
    return owner.left_behind(ours)
