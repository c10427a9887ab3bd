"""An image's own configuration, the JSON its maker wrote: what of it matters to a sandbox."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.local.inside import kernel
from cooperbench.eval.backends.local.store.reference import DIGEST

LONGEST = 8 << 20
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What a sandbox needs to know; ENTRYPOINT and CMD are not run, and not here."""

    digest: str
    """Of the configuration itself: what engines call the image's id."""
    platform: str
    """``linux/amd64``, ``linux/arm/v7``."""
    env: Mapping[str, str]
    workdir: str
    user: str
    diff_ids: tuple[str, ...]
    """Digests of the layers' uncompressed archives, the lowest first."""


def machine() -> str:
    """This machine's platform."""
    return f"linux/{_ARCHITECTURES.get(kernel.MACHINE, kernel.MACHINE)}"


def goes_by(index: str, chosen: str, platform: str | None) -> str:
    """The digest of an image out of an index: the index's, as engines do, unless it is for another `platform`.

    The images of an index for several platforms are not the same one here.
    """
    return index if platform in (None, machine()) else chosen


def parse(content: bytes, what: str) -> ImageConfig:
    """Read a configuration.

    Args:
        what: names the image in complaints.

    Raises:
        SandboxStartError: it is none.
    """
    try:
        value = json.loads(content)
        config = value.get("config") or {}
        diff_ids = tuple(value["rootfs"]["diff_ids"])
        env = dict(entry.partition("=")[::2] for entry in config.get("Env") or [])
        texts = [config.get("WorkingDir") or "", config.get("User") or ""]
        parts = [value.get("os") or "linux", value.get("architecture") or "", value.get("variant") or ""]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as problem:
        raise SandboxStartError(f"image {what}: its configuration cannot be read: {problem!r}") from problem
    if not all(isinstance(text, str) and "\0" not in text for text in (*texts, *parts, *env, *env.values())):
        raise SandboxStartError(f"image {what}: its configuration holds what is no text")
    if not all(isinstance(each, str) and DIGEST.fullmatch(each) for each in diff_ids):
        raise SandboxStartError(f"image {what}: its configuration names layers by other digests than sha256")
    env.pop("", None)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return ImageConfig(digest, "/".join(filter(None, parts)), env, texts[0], texts[1], diff_ids)


def make(diff_ids: list[str], created_by: str, config: Mapping[str, Any]) -> bytes:
    """A configuration for an image made here: the same layers and settings give the same bytes."""
    system, architecture = machine().split("/")
    value = {
        "architecture": architecture,
        "os": system,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created_by": created_by} for _ in diff_ids],
    }
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
