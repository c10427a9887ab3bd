"""What `docker VERB` does on a loopback VM: the part of docker's command line that an agent on a VM needs.

Not as on a real engine: the output of a process arrives when it ends; limits on memory and processors are the embedded
backend's, whatever is asked; no volumes, no user but root.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cooperbench.eval.backends.base import Completed
from tests.loopback.gcp.vm import image_verbs
from tests.loopback.gcp.vm.containers import Container
from tests.loopback.gcp.vm.options import CommandFailed, Options, formatted, parse

if TYPE_CHECKING:
    from tests.loopback.gcp.vm.engine import Engine
    from tests.loopback.gcp.vm.streams import Streams

Verb = Callable[["Engine", list[str], "Streams"], int]

_CREATE = (
    "name e|env w|workdir net|network entrypoint m|memory memory-swap cpus pids-limit l|label cap-drop cap-add "
    "security-opt u|user ulimit shm-size h|hostname log-driver log-opt restart stop-timeout pull platform dns"
)
_CREATE_FLAGS = "d|detach i|interactive init rm q|quiet privileged read-only no-healthcheck"


def _create(engine: Engine, given: Options) -> Container:
    if given.last("user", "root") not in ("root", "0", "0:0"):
        raise CommandFailed("loopback engine: containers run as root", 125)
    if not given.rest:
        raise CommandFailed('"docker run" requires at least 1 argument.', 125)
    image, *command = given.rest
    if image not in engine.images:
        if given.last("pull") == "never":
            raise CommandFailed(f"Error response from daemon: No such image: {image}", 125)
        try:
            image_verbs.pull_image(engine, image)
        except CommandFailed as failure:
            raise CommandFailed(str(failure), 125) from failure
    published = engine.shelf.published(image)
    own = given.last("entrypoint")
    entrypoint = published.entrypoint if "entrypoint" not in given.values else [own] if own else []
    network, workdir = given.last("network", "default"), given.last("workdir", "/")
    container = Container(
        name=given.last("name"),
        image=image,
        argv=[*entrypoint, *command] or ["/bin/sh"],
        env={**published.env, **given.pairs("env")},
        workdir=workdir,
        network=network,
        labels=given.pairs("label"),
        sandbox=engine.shelf.sandbox(image, network, workdir),
        removed_at_exit="rm" in given.flags,
    )
    container.name = container.name or f"nameless_{container.id[:8]}"
    engine.add(container)
    engine.watch(container, "privileged" in given.flags)
    return container


def _create_verb(engine: Engine, words: list[str], streams: Streams) -> int:
    container = _create(engine, parse(words, _CREATE, _CREATE_FLAGS))
    streams.out(f"{container.id}\n".encode())
    return 0


def _run(engine: Engine, words: list[str], streams: Streams) -> int:
    given = parse(words, _CREATE, _CREATE_FLAGS)
    container = _create(engine, given)
    container.start(streams.read() if "interactive" in given.flags else b"")
    if "detach" in given.flags:
        streams.out(f"{container.id}\n".encode())
        return 0
    return _attached(engine, container, streams)


def _start(engine: Engine, words: list[str], streams: Streams) -> int:
    given = parse(words, "", "a|attach i|interactive")
    for name in given.rest:
        container = engine.find(name)
        container.start(streams.read() if "interactive" in given.flags else b"")
        if "attach" in given.flags:
            return _attached(engine, container, streams)
        streams.out(f"{name}\n".encode())
    return 0


def _attached(engine: Engine, container: Container, streams: Streams) -> int:
    container.ended.wait()
    _say(container.result, streams)
    if container.removed_at_exit:
        engine.remove(container)
    return container.code


def _exec(engine: Engine, words: list[str], streams: Streams) -> int:
    given = parse(words, "e|env w|workdir u|user", "i|interactive d|detach")
    if given.last("user", "root") not in ("root", "0", "0:0"):
        raise CommandFailed("loopback engine: containers run as root", 125)
    if "detach" in given.flags:
        raise CommandFailed("loopback engine: exec --detach is not served", 125)
    name, *argv = given.rest
    stdin = streams.read() if "interactive" in given.flags else b""
    result = engine.find(name).exec(argv, given.pairs("env"), given.last("workdir") or None, stdin)
    _say(result, streams)
    return result.returncode


def _say(result: Completed | None, streams: Streams) -> None:
    if result:
        streams.out(result.stdout)
        streams.err(result.stderr)


def _cp(engine: Engine, words: list[str], streams: Streams) -> int:
    given = parse(words, "", "a|archive q|quiet L|follow-link")
    source, target = given.rest
    if ":" in source:
        name, _, path = source.partition(":")
        _copy_out(engine.find(name), path, target, streams)
    else:
        name, _, path = target.partition(":")
        _copy_in(engine.find(name), source, path, streams)
    return 0


_TAR = 'cd "$1" && [ -e "$2" ] || exit 1; tar -cf - -- "$2" | head -c "$3"'
_MOST = 128 << 20
"""Bytes of an archive that are copied: more than anybody here reads of one."""


def _copy_out(container: Container, path: str, target: str, streams: Streams) -> None:
    parent, _, base = path.rstrip("/").rpartition("/")
    done = container.inside("/bin/sh", "-c", _TAR, "sh", parent or "/", base or ".", str(_MOST))
    if done.returncode:
        raise CommandFailed(
            f"Error response from daemon: Could not find the file {path} in container {container.name}"
        )
    if target == "-":
        streams.out(done.stdout)
        return
    place = streams.path(target)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        first = archive.next()
        if first and first.isreg():
            content = archive.extractfile(first)
            assert content is not None
            (place / base if place.is_dir() else place).write_bytes(content.read())
            return
        _extract_directory(archive, place, base)


def _extract_directory(archive: tarfile.TarFile, place: Any, base: str) -> None:
    inside = place.is_dir()
    place.mkdir(exist_ok=True)
    for member in archive.getmembers():
        if not inside:
            member.name = member.name.removeprefix(base).lstrip("/") or "."
        archive.extract(member, place, filter="tar")


def _copy_in(container: Container, source: str, path: str, streams: Streams) -> None:
    is_directory = container.inside("test", "-d", path).returncode == 0
    if source == "-":
        if not is_directory:
            raise CommandFailed(f"Error response from daemon: Could not find the file {path} in container")
        container.sandbox.put_archive(path, streams.read())
        return
    place = streams.path(source)
    if not place.exists():
        raise CommandFailed(f"lstat {source}: no such file or directory")
    directory, name = (
        (path, place.name) if is_directory else (path.rpartition("/")[0] or "/", path.rpartition("/")[2])
    )
    if container.inside("test", "-d", directory).returncode:
        raise CommandFailed(f"Error response from daemon: Could not find the file {directory} in container")
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.add(place, name)
    container.sandbox.put_archive(directory, content.getvalue())


def _rm(engine: Engine, words: list[str], streams: Streams) -> int:
    given = parse(words, "", "f|force v|volumes")
    code = 0
    for name in given.rest:
        try:
            container = engine.find(name)
        except CommandFailed as missing:
            if "force" in given.flags:
                continue
            streams.err(f"{missing}\n".encode())
            code = 1
            continue
        if container.status == "running" and "force" not in given.flags:
            raise CommandFailed(
                f"Error response from daemon: cannot remove container {name}: container is running"
            )
        engine.remove(container)
        streams.out(f"{name}\n".encode())
    return code


def _kill(engine: Engine, words: list[str], streams: Streams) -> int:
    for name in parse(words, "s|signal t|time", "").rest:
        container = engine.find(name)
        if container.status != "running":
            raise CommandFailed(f"Error response from daemon: cannot kill container: {name}: is not running")
        container.kill()
        streams.out(f"{name}\n".encode())
    return 0


def _wait(engine: Engine, words: list[str], streams: Streams) -> int:
    for name in words:
        container = engine.find(name)
        container.ended.wait()
        streams.out(f"{container.code}\n".encode())
    return 0


def _logs(engine: Engine, words: list[str], streams: Streams) -> int:
    _say(engine.find(words[-1]).result, streams)
    return 0


def _inspect(engine: Engine, words: list[str], streams: Streams) -> int:
    given = parse(words, "f|format type", "")
    for name in given.rest:
        container = engine.find(name)
        facts = {
            ".Id": container.id,
            ".Name": f"/{container.name}",
            ".State.Status": container.status,
            ".State.Running": str(container.status == "running").lower(),
            ".State.ExitCode": str(container.code),
            ".State.OOMKilled": "false",
        }
        streams.out(f"{formatted(given.last('format', '{{.Id}}'), facts)}\n".encode())
    return 0


def _ps(engine: Engine, words: list[str], streams: Streams) -> int:
    given = parse(words, "f|filter format", "a|all q|quiet no-trunc")
    form = given.last(
        "format", "{{.ID}}" if "quiet" in given.flags else "{{.ID}} {{.Image}} {{.Status}} {{.Names}}"
    )
    for container in engine.all():
        if container.status != "running" and "all" not in given.flags:
            continue
        if not all(_fits(container, condition) for condition in given.values.get("filter", [])):
            continue
        facts = {".ID": container.id[:12], ".Image": container.image, ".Status": container.status}
        streams.out(f"{formatted(form, {**facts, '.Names': container.name})}\n".encode())
    return 0


def _fits(container: Container, condition: str) -> bool:
    kind, _, value = condition.partition("=")
    if kind == "name":
        return re.search(value, container.name) is not None
    if kind == "status":
        return container.status == value
    if kind == "label":
        key, equals, wanted = value.partition("=")
        return key in container.labels and (not equals or container.labels[key] == wanted)
    raise CommandFailed(f"invalid filter '{kind}'")


def _version(_: Engine, words: list[str], streams: Streams) -> int:
    form = parse(words, "f|format", "").last("format", "{{.Server.Version}}")
    facts = {".Server.Version": "loopback", ".ServerVersion": "loopback", ".Client.Version": "loopback"}
    streams.out(f"{formatted(form, facts)}\n".encode())
    return 0


VERBS: dict[str, Verb] = {
    **image_verbs.VERBS,
    "create": _create_verb,
    "run": _run,
    "start": _start,
    "exec": _exec,
    "cp": _cp,
    "rm": _rm,
    "kill": _kill,
    "stop": _kill,
    "wait": _wait,
    "logs": _logs,
    "inspect": _inspect,
    "container inspect": _inspect,
    "ps": _ps,
    "version": _version,
    "info": _version,
}
