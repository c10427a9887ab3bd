"""Which rung works here: found out by doing, never by reading settings; and what to do when none does."""

from __future__ import annotations

import logging
import platform
import sys

from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.base import SandboxSpec
from cooperbench.eval.backends.local import identity
from cooperbench.eval.backends.local.config import Settings
from cooperbench.eval.backends.local.engine import Engine
from cooperbench.eval.backends.local.inside import kernel

log = logging.getLogger(__name__)

_MEANING = {
    "root-range": "root, sandboxes use host ids nobody else has",
    "user-range": "ordinary user with a range of ids from /etc/subuid",
    "user-single": "ordinary user with one id: no other users inside, changes of owner are pretended",
}


def start(settings: Settings) -> Engine:
    """The best rung that makes a working sandbox.

    Raises:
        SandboxStartError: none does; the message says why and what to do.
    """
    engine, tried = _climb(settings)
    if engine is None:
        raise SandboxStartError(f"local backend: no sandbox can be made here: {'; '.join(tried)}. {remedy()}")
    log.info("local backend: rung %s (%s)", engine.ids.rung, _MEANING[engine.ids.rung])
    for line in tried:
        log.info("local backend: not %s", line)
    return engine


def diagnose(settings: Settings) -> list[tuple[bool, str]]:
    """What `cooperbench doctor` prints."""
    engine, tried = _climb(settings)
    lines = [(False, f"{line}. {remedy()}" if engine is None else line) for line in tried]
    if engine is not None:
        where = "memory" if engine.in_memory else f"{engine.state.path}"
        lines.append(
            (True, f"sandboxes work: {engine.ids.rung} ({_MEANING[engine.ids.rung]}), writes go to {where}")
        )
        engine.close()
    return lines


def _climb(settings: Settings) -> tuple[Engine | None, list[str]]:
    tried: list[str] = []
    if sys.platform != "linux":
        return None, [f"this is {platform.system()}, not Linux"]
    if not kernel.SUPPORTED:
        return None, [f"processor {kernel.MACHINE} is not supported (x86_64 and aarch64 are)"]
    for candidate in identity.candidates():
        if settings.rung not in (None, candidate.rung):
            continue
        if candidate.ids is None:
            tried.append(f"{candidate.rung}: {candidate.reason}")
            continue
        for in_memory in (settings.in_memory, True):
            try:
                return _try(settings, candidate.ids, in_memory), tried
            except SandboxStartError as error:
                tried.append(f"{candidate.rung}: {str(error).removeprefix('local backend: ')}")
            if in_memory:
                break
    return None, tried


def _try(settings: Settings, ids: identity.Ids, in_memory: bool) -> Engine:
    """An engine that has made one sandbox and run one command in it."""
    engine = Engine(settings, ids, in_memory)
    try:
        for line in engine.state.collect():
            log.info("collected: %s", line)
        engine.launcher.sweep()
        sandbox = engine.create(SandboxSpec("host", 60, "/", "none"), engine.images.host())
        try:
            done = sandbox.run(["/bin/sh", "-c", ":"])
        finally:
            sandbox.terminate()
        if done.returncode:
            raise SandboxStartError(f"a command in a sandbox failed: {done.stderr_read().strip()}")
    except BaseException:
        engine.close()
        raise
    return engine


def remedy() -> str:
    """What can be done on a host where nothing works."""
    return "use another backend (--backend docker)"
