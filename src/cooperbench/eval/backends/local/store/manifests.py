"""Manifests and indexes, as registries and layouts hold them: which layers an image has, which platforms there are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.local.store import imageconfig
from cooperbench.eval.backends.local.store.reference import DIGEST

LONGEST = 8 << 20
TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
"""What is asked of a registry, and read here."""
_MOST_LAYERS = 500
"""As many as the kernel's overlay takes."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Names a blob."""

    digest: str
    size: int
    platform: str = ""
    """``linux/amd64``; empty when nothing says."""
    name: str = ""
    """What the image goes by, if its place says."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image for one platform."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """The same image for several platforms, or several images."""

    manifests: tuple[Descriptor, ...]


def parse(content: bytes, what: str) -> Manifest | Index:
    """Read what a registry or layout answers.

    Raises:
        SandboxStartError: it is neither a manifest nor an index of today's formats.
    """
    try:
        value = json.loads(content)
        if "manifests" in value:
            return Index(tuple(_descriptor(each) for each in value["manifests"]))
        if value.get("schemaVersion") == 1:
            raise SandboxStartError(f"image {what}: its manifest is of schema 1, which engines have given up")
        layers = tuple(_descriptor(each) for each in value["layers"])
        manifest = Manifest(_descriptor(value["config"]), layers)
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as problem:
        raise SandboxStartError(f"image {what}: its manifest cannot be read ({problem!r})") from problem
    if len(manifest.layers) > _MOST_LAYERS:
        raise SandboxStartError(f"image {what} has {len(manifest.layers)} layers; {_MOST_LAYERS} is the most")
    return manifest


def _descriptor(value: Any) -> Descriptor:
    digest, size = value["digest"], value.get("size", 0)
    if not isinstance(digest, str) or DIGEST.fullmatch(digest) is None or type(size) is not int:
        raise ValueError(f"not a digest with a size: {digest!r}")
    notes = value.get("annotations") or {}
    name = notes.get("io.containerd.image.name") or notes.get("org.opencontainers.image.ref.name") or ""
    return Descriptor(digest, size, _platform(value.get("platform") or {}), str(name))


def _platform(value: Any) -> str:
    parts = [value.get("os"), value.get("architecture"), value.get("variant")]
    return "/".join(str(part) for part in parts if part)


def choose(index: Index, platform: str | None, what: str) -> Descriptor:
    """The image for a platform.

    Args:
        platform: ``os/architecture[/variant]``; None for this machine's.

    Raises:
        SandboxStartError: there is none; the message says which there are.
    """
    wanted = platform or imageconfig.machine()
    fitting = [each for each in index.manifests if fits(each.platform, wanted)]
    if fitting:
        return fitting[0]
    unnamed = [each for each in index.manifests if not each.platform]
    if len(unnamed) == len(index.manifests) == 1:
        return unnamed[0]
    raise SandboxStartError(not_for(what, [each.platform for each in index.manifests], platform))


def fits(platform: str, wanted: str) -> bool:
    """Whether an image for `platform` is one for `wanted`, which may leave the variant open."""
    return platform == wanted or platform.startswith(f"{wanted}/")


def not_for(what: str, platforms: Sequence[str], asked: str | None) -> str:
    """The complaint that an image is for other platforms only."""
    there = ", ".join(sorted({each for each in platforms if each and "unknown" not in each})) or "none"
    if asked:
        return f"image {what} is not for {asked}; it is for {there}"
    return (
        f"image {what} is not for this machine, {imageconfig.machine()}; it is for {there} "
        "(--platform takes one all the same)"
    )
