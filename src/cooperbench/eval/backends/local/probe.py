"""Which rung works here: found out by doing, never by reading settings; and what to do when none does."""

from __future__ import annotations

import logging
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.base import SandboxSpec
from cooperbench.eval.backends.local import identity, network
from cooperbench.eval.backends.local.config import GIB, Settings
from cooperbench.eval.backends.local.engine import Engine, Extras
from cooperbench.eval.backends.local.inside import kernel

log = logging.getLogger(__name__)

_MEANING = {
    "root-range": "root here; sandboxes use 65536 ids of this host that nobody has",
    "user-range": "an ordinary user with a range of ids in /etc/subuid",
    "user-single": "an ordinary user with one id: nobody but root inside, changes of owner are pretended",
}
_OLDEST_KERNEL = (5, 11)
_CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv")
# A sysctl, the value that closes the door, the one that opens it.
_DOORS = (
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
    ("kernel/unprivileged_userns_clone", "0", "1"),
    ("user/max_user_namespaces", "0", "10000"),
)


def start(settings: Settings) -> Engine:
    """The best rung that makes a working sandbox.

    Raises:
        SandboxStartError: none does; the message says why and what to do.
    """
    engine, tried = _climb(settings)
    if engine is None:
        raise SandboxStartError(
            f"local backend: no sandbox can be made here ({'; '.join(tried)}): {remedy()}"
        )
    log.info("local backend: %s", _standing(engine))
    for line in tried:
        log.info("local backend: passed over %s", line)
    return engine


def diagnose(settings: Settings) -> list[tuple[bool, str]]:
    """What `cooperbench doctor` prints."""
    engine, tried = _climb(settings)
    if engine is None:
        return [(False, f"no sandbox can be made here ({'; '.join(tried)}): {remedy()}")]
    try:
        lines = [(True, f"sandboxes work: {_standing(engine)}")]
        lines += [(True, f"passed over {line}") for line in tried]
        lines.append(_disk(engine))
        lines.append(_network())
        return lines
    finally:
        engine.close()


def _standing(engine: Engine) -> str:
    where = "memory" if engine.in_memory else str(engine.state.path)
    return f"{engine.ids.rung} ({_MEANING[engine.ids.rung]}); what they write goes to {where}"


def _disk(engine: Engine) -> tuple[bool, str]:
    free, reserve = shutil.disk_usage(engine.state.path).free, engine.settings.disk_reserve
    if free < reserve:
        return (
            False,
            f"{engine.state.path}: {free / GIB:.1f} GiB free: make room, or set COOPERBENCH_STATE_DIR elsewhere",
        )
    return True, f"images and sandboxes live in {engine.state.path} ({free / GIB:.0f} GiB free)"


def _network() -> tuple[bool, str]:
    try:
        network.plan("open")
    except SandboxStartError as error:
        return False, str(error).removeprefix("local backend: ")
    return True, "network 'open' can be given"


# ---------------------------------------------------------------------------------------------- the ladder


def _climb(settings: Settings) -> tuple[Engine | None, list[str]]:
    """The engine of the best rung, and why better ones were passed over."""
    if sys.platform != "linux":
        return None, [f"this is {platform.system()}, not Linux"]
    if not kernel.SUPPORTED:
        return None, [f"processor {kernel.MACHINE} is not supported: x86_64 and aarch64 are"]
    tried: list[str] = []
    for candidate in identity.candidates():
        if candidate.ids is None:
            tried.append(f"{candidate.rung}: {candidate.reason}")
        elif settings.rung in (None, candidate.rung):
            for disk in (True, False):  # files of an overlay (in a container) cannot be written to by another
                try:
                    return _try(settings, candidate.ids, disk), tried
                except SandboxStartError as error:
                    where = "disk" if disk else "memory"
                    tried.append(f"{candidate.rung} on {where}: {str(error).removeprefix('local backend: ')}")
    return None, tried or [f"rung {settings.rung} is not for this user"]


def _try(settings: Settings, ids: identity.Ids, disk: bool) -> Engine:
    """An engine that has made one sandbox and run one command in it."""
    engine = Engine(settings, ids, disk=disk)
    try:
        for line in engine.state.collect():
            log.info("collected: %s", line)
        probing = SandboxSpec("host", 60, "/", "none")
        sandbox = engine.create(probing, engine.images.host(), Extras(build=disk, probe=True))
        try:
            done = sandbox.run(["/bin/sh", "-c", ":"])
        finally:
            sandbox.terminate()
            engine.bury(engine.state.upper(sandbox.number))
        if done.returncode:
            raise SandboxStartError(f"a command in a sandbox failed: {done.stderr_read().strip()}")
    except BaseException:
        engine.close()
        raise
    return engine


# ---------------------------------------------------------------------------------------------- remedies


def remedy() -> str:
    """What can be done on a host where nothing works, in one line."""
    return "; or ".join([*_remedies(), "use another backend (--backend docker)"])


def _remedies() -> Iterator[str]:
    if sys.platform != "linux":
        yield "run it on Linux (a virtual machine, WSL 2)"
        return
    if _kernel_version() < _OLDEST_KERNEL:
        yield f"use Linux {'.'.join(map(str, _OLDEST_KERNEL))} or later, not {platform.release()}"
    for name, closed, opened in _DOORS:
        if _read(Path("/proc/sys", name)) == closed:
            yield f"open user namespaces: `sudo sysctl {name.replace('/', '.')}={opened}`"
    if any(map(os.path.exists, _CONTAINER_MARKS)):
        yield (
            "start this container with `--security-opt seccomp=unconfined --security-opt systempaths=unconfined "
            "--security-opt apparmor=unconfined` or `--privileged`"
        )
    if os.geteuid() != 0:
        yield "run it as root (sudo)"


def _kernel_version() -> tuple[int, ...]:
    found = re.match(r"(\d+)\.(\d+)", platform.release())
    return tuple(map(int, found.groups())) if found else (0, 0)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
