"""What `docker` does with images on a loopback VM, and with the registries they come from."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.loopback.gcp.vm.options import CommandFailed, formatted, parse

if TYPE_CHECKING:
    from tests.loopback.gcp.vm.engine import Engine
    from tests.loopback.gcp.vm.streams import Streams


def _pull(engine: Engine, words: list[str], streams: Streams) -> int:
    (image,) = parse(words, "platform", "q|quiet").rest
    pull_image(engine, image)
    streams.out(
        f"Digest: {engine.images[image]}\nStatus: Downloaded newer image for {image}\n{image}\n".encode()
    )
    return 0


def pull_image(engine: Engine, image: str) -> None:
    """Have an image on the VM."""
    engine.images[image] = engine.shelf.digest(image)
    engine.pulls.append(image)


def _image_inspect(engine: Engine, words: list[str], streams: Streams) -> int:
    given = parse(words, "f|format", "")
    for image in given.rest:
        if image not in engine.images:
            raise CommandFailed(f"Error response from daemon: No such image: {image}")
        digest = engine.images[image]
        repository = re.sub(r"(:[^/]*|@.*)$", "", image)
        facts = {".Id": digest, "index .RepoDigests 0": f"{repository}@{digest}"}
        streams.out(f"{formatted(given.last('format', '{{.Id}}'), facts)}\n".encode())
    return 0


def _images(engine: Engine, words: list[str], streams: Streams) -> int:
    parse(words, "format", "q|quiet")
    streams.out("".join(f"{digest}\n" for digest in engine.images.values()).encode())
    return 0


def _rmi(engine: Engine, words: list[str], streams: Streams) -> int:
    for image in parse(words, "", "f|force").rest:
        if engine.images.pop(image, None) is None:
            raise CommandFailed(f"Error response from daemon: No such image: {image}")
        streams.out(f"Untagged: {image}\n".encode())
    return 0


def _prune(engine: Engine, words: list[str], streams: Streams) -> int:
    parse(words, "filter", "a|all f|force")
    used = {container.image for container in engine.all()}
    for image in set(engine.images) - used:
        del engine.images[image]
    streams.out(b"Total reclaimed space: 0B\n")
    return 0


def _login(engine: Engine, words: list[str], streams: Streams) -> int:
    given = parse(words, "u|username p|password", "password-stdin")
    if "password-stdin" not in given.flags or not streams.read().strip():
        raise CommandFailed("loopback engine: login takes a password on standard input")
    engine.logins.append(given.rest[0] if given.rest else "docker.io")
    streams.out(b"Login Succeeded\n")
    return 0


VERBS: dict[str, Callable[[Engine, list[str], Streams], int]] = {
    "pull": _pull,
    "image pull": _pull,
    "image inspect": _image_inspect,
    "images": _images,
    "rmi": _rmi,
    "image rm": _rmi,
    "image prune": _prune,
    "login": _login,
}
