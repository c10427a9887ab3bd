"""Image names as people write them: ``python:3.11-slim``, ``ghcr.io/a/b@sha256:…``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cooperbench.errors import UsageError

HUB = "docker.io"
_HUB_PREFIXES = ("docker.io/", "index.docker.io/", "registry-1.docker.io/")
_HOST = re.compile(r"(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::\d{1,5})?")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(f"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Reference:
    """Where an image is: registry, repository, and a tag or a digest."""

    registry: str
    """Host, with a port perhaps; `HUB` for names without one."""
    repository: str
    tag: str | None
    digest: str | None

    @property
    def familiar(self) -> str:
        """The shortest name for it, always with its tag or digest."""
        at_hub = self.registry == HUB
        repository = (
            self.repository.removeprefix("library/") if at_hub else f"{self.registry}/{self.repository}"
        )
        return f"{repository}@{self.digest}" if self.digest else f"{repository}:{self.tag}"

    @property
    def wanted(self) -> str:
        """What to ask the registry for: the digest where there is one, else the tag."""
        return self.digest or str(self.tag)


def parse(text: str) -> Reference:
    """Read an image name.

    Raises:
        UsageError: it is none.
    """
    name, at, digest = text.partition("@")
    if at and DIGEST.fullmatch(digest) is None:
        raise UsageError(f"image {text!r}: a digest is sha256: and 64 hexadecimal digits")
    for prefix in _HUB_PREFIXES:
        name = name.removeprefix(prefix)
    registry, slash, rest = name.partition("/")
    if not slash or not (set(".:[") & set(registry) or registry == "localhost"):
        registry, rest = HUB, name
    repository, colon, tag = rest.partition(":")
    if registry == HUB and "/" not in repository:
        repository = f"library/{repository}"
    if (
        _HOST.fullmatch(registry) is None
        or _REPOSITORY.fullmatch(repository) is None
        or (colon and _TAG.fullmatch(tag) is None)
    ):
        raise UsageError(f"{text!r} is no image name: [registry/]repository[:tag][@sha256:…], in lower case")
    return Reference(registry, repository, tag or (None if digest else "latest"), digest or None)


def familiar(text: str) -> str:
    """The one spelling of a name under which an image is kept; what is no image name stays as it is."""
    try:
        return parse(text).familiar
    except UsageError:
        return text
