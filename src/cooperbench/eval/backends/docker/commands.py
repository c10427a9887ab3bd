"""One command in a sandbox: told to a lane, listened to, and ended with all its processes when it is out of time."""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING

from cooperbench.errors import BackendError, SandboxLost, UsageError
from cooperbench.eval.backends.base import Completed
from cooperbench.eval.backends.command import Command
from cooperbench.eval.backends.docker import archives, containers
from cooperbench.eval.backends.docker.engine import EngineGone, Refused, complaints
from cooperbench.eval.backends.docker.lane import Lane, LaneLost, new_word
from cooperbench.eval.backends.docker.listening import Listening

if TYPE_CHECKING:
    from cooperbench.eval.backends.docker.sandbox import DockerSandbox

log = logging.getLogger(__name__)

TIMED_OUT = 124
_KILLED = 137

_LONGEST_REQUEST = 64 * 1024
"""Bytes; a shell reads its input byte by byte, so more than that goes by an archive."""

_LONG = 2.0
"""Seconds after which a command with a time limit is one that may have to be killed."""

_LAST_WORDS = 10.0
"""Seconds a lane may take to say that a command is over once its processes were killed."""

_AFTERMATH = 0.2
"""Seconds to go on listening to what a finished command left running with its streams."""

_KILLING = 60.0
"""Seconds the killing of one command's processes may take."""

_MORE_PROCESSES = 512


def run(sandbox: DockerSandbox, command: Command) -> Completed:
    """Run it; see `base.CommandSandbox.run`."""
    word, tag = new_word(), new_word()
    request = _request(sandbox, command, word, tag)
    listening = Listening(word, sandbox.settings.output)
    with sandbox.lane() as lane:
        try:
            lane.tell(request)
            if _over_in_time(sandbox, lane, listening, command.timeout):
                return _completed(sandbox, lane, listening)
            return _out_of_time(sandbox, lane, listening, tag)
        except LaneLost as lost:
            return _without_lane(sandbox, lane, listening, lost)


def _over_in_time(sandbox: DockerSandbox, lane: Lane, listening: Listening, timeout: float | None) -> bool:
    if timeout is None:
        return lane.listen(listening, None)
    until = time.monotonic() + max(0.0, timeout)
    if timeout > _LONG:
        if lane.listen(listening, until - timeout + _LONG):
            return True
        # It may come to killing, and later there may be no room for one more process.
        sandbox.keep_killer()
    return lane.listen(listening, until)


def _completed(sandbox: DockerSandbox, lane: Lane, listening: Listening) -> Completed:
    status = listening.status
    if status is None:
        raise sandbox.lose("something in it wrote over the harness's connection")
    if listening.free:
        sandbox.spare(lane)
    else:
        rest = Listening(new_word(), 0)
        lane.listen(rest, time.monotonic() + _AFTERMATH)
        sandbox.abandon(lane)
    return _result(listening, status)


def _result(listening: Listening, status: int, *, timed_out: bool = False) -> Completed:
    return Completed(
        status,
        listening.output.content(),
        listening.error.content(),
        timed_out,
        listening.output.truncated or listening.error.truncated,
    )


# -------------------------------------------------------------------------------------------- out of time


def _out_of_time(sandbox: DockerSandbox, lane: Lane, listening: Listening, tag: str) -> Completed:
    with sandbox.killing() as (alone, lanes):
        # Only process ids, whatever a sandbox says they are: they become words of a shell's.
        older = re.sub(r"[^/0-9a-z ]", "", listening.older)
        if not any(_kill(sandbox, f"{tag} {'yes' if alone else 'no'} '{older}'", lanes) for _ in range(3)):
            log.warning("a command out of time was ended with its whole sandbox")
            sandbox.lose("a command out of time could be ended only with the whole sandbox")
            return _result(listening, TIMED_OUT, timed_out=True)
    if lane.listen(listening, time.monotonic() + _LAST_WORDS) and listening.free:
        sandbox.spare(lane)
    else:
        sandbox.abandon(lane)
    return _result(listening, TIMED_OUT, timed_out=True)


def _kill(sandbox: DockerSandbox, whose: str, lanes: str) -> bool:
    """Kill a command's processes; False if it may not have worked."""
    try:
        killer = _killer(sandbox)
    except SandboxLost:
        raise
    except BackendError as problem:
        sandbox.raise_if_lost()
        log.debug("no lane to kill by: %s", problem)
        return False
    end = Listening(new_word(), 0)
    try:
        killer.tell(f"finish {end.output.word} {whose} '{lanes} {killer.pid}'".encode())
        done = killer.listen(end, time.monotonic() + _KILLING)
    except LaneLost:  # what is to be killed killed it
        done = False
    if done:
        sandbox.keep_killer(killer)
    else:
        sandbox.abandon(killer)
    return done


def _killer(sandbox: DockerSandbox) -> Lane:
    """A lane to kill by: the one that is kept, else a new one. Where there is no room for it, room is made."""
    kept = sandbox.take_killer()
    if kept is not None:
        return kept
    try:
        return sandbox.open_lane()
    except SandboxLost:
        raise
    except BackendError as problem:
        log.debug("making room for a lane after: %s", problem)
    limit = sandbox.settings.processes
    containers.allow_processes(sandbox.engine, sandbox.container, limit + _MORE_PROCESSES)
    try:
        return sandbox.open_lane()
    finally:
        containers.allow_processes(sandbox.engine, sandbox.container, limit)


# -------------------------------------------------------------------------------------------- lost lanes


def _without_lane(sandbox: DockerSandbox, lane: Lane, listening: Listening, lost: LaneLost) -> Completed:
    """The lane went away under the command: with its sandbox, or killed by something inside."""
    first = sandbox.is_first(lane)
    sandbox.raise_if_lost(patience=3.0 if first else 0.5)
    if first or not _has_ended(sandbox, lane):
        raise sandbox.lose(f"the connection to {sandbox.engine.name} broke") from lost
    sandbox.abandon(lane)
    return _result(listening, _KILLED)


def _has_ended(sandbox: DockerSandbox, lane: Lane) -> bool:
    try:
        with complaints(sandbox.engine, "looking at a command"):
            return not sandbox.engine.api.exec_inspect(lane.exec_id).get("Running")
    except (EngineGone, Refused):
        return False


# -------------------------------------------------------------------------------------------- requests


def _request(sandbox: DockerSandbox, command: Command, word: str, tag: str) -> bytes:
    argv = list(_with_environment(command))
    if command.stdin is not None:
        path = f"/.cooperbench-{word[:16]}.input"
        archives.put_files(sandbox, {path: command.stdin})
        argv = ["/bin/sh", "-c", 'exec <"$1" && rm -f "$1" && shift && exec "$@"', "sh", path, *argv]
    words = ["run", word, tag, command.cwd or sandbox.spec.workdir, *argv]
    request = b" ".join(quoted(each) for each in words)
    if len(request) <= _LONGEST_REQUEST:
        return request
    path = f"/.cooperbench-{word[:16]}.command"
    archives.put_files(sandbox, {path: b"newline='\n'\n" + request + b"\n"})
    return f". {path}; rm -f {path}".encode()


def _with_environment(command: Command) -> list[str]:
    if not command.argv:
        raise UsageError("a command needs at least the name of a program")
    for name in command.env:
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is None:
            raise UsageError(f"{name!r} cannot be the name of an environment variable")
    argv = list(command.argv)
    if not command.env:
        return argv
    if "=" in argv[0]:  # env(1) would take it for an assignment
        argv = ["/bin/sh", "-c", 'exec "$@"', "sh", *argv]
    return ["env", *(f"{name}={value}" for name, value in command.env.items()), *argv]


def quoted(word: str) -> bytes:
    """One word of a shell's command line, itself on one line.

    Raises:
        UsageError: it holds a NUL, which no program can be given.
    """
    plain = word.encode("utf-8", "surrogateescape")
    if b"\0" in plain:
        raise UsageError(f"an argument cannot hold a NUL: {word[:80]!r}")
    return b"'" + plain.replace(b"'", b"'\\''").replace(b"\n", b"'\"$newline\"'") + b"'"
