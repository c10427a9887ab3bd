"""The repository in an agent's sandbox: cleaned of the future before the agent, its work taken as a patch after.

The work itself is `repository.sh`'s, which travels as an argument; here it is run, and what it leaves is checked.
After an agent has run, everything in its sandbox is its word: what must be known of before was kept here.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

from cooperbench.errors import BackendError
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import Completed, Sandbox

PATCH_LIMIT = 16 * 1024 * 1024
"""Bytes a patch may have; the largest of the dataset's own has 23 KB."""
_TIMEOUT = 600
_NAMES_SHOWN = 20
_IN_ARGV = 24 * 1024
"""Bytes that travel as an argument; more than that as a file."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The repository as the agent finds it."""

    commit: str
    objects: str
    """The object database's directory, as git names it from the work tree."""
    untracked: bytes
    """What was there beside the commit, neither tracked nor ignored: not the agent's work."""


@dataclass(frozen=True, slots=True)
class Taken:
    """An agent's work."""

    patch: bytes
    left_out: tuple[str, ...] = ()
    """Repositories inside the repository: they are nobody's feature."""
    problem: str | None = None
    """Why there is no patch, where that is the agent's doing."""


@cache
def _program() -> str:
    return (resources.files("cooperbench.runner") / "repository.sh").read_text("utf-8")


def prepare(sandbox: Sandbox, workdir: str) -> Baseline:
    """Remove all history after the checked-out commit and make sure of it.

    Raises:
        BackendError: it could not be done; the sandbox must not be given to an agent.
    """
    done = shell.run(sandbox, ["sh", "-c", _program(), "repository.sh", "prepare", workdir], timeout=_TIMEOUT)
    if done.timed_out or done.returncode != 0:
        raise BackendError(f"the repository at {workdir} cannot be given to an agent: {_reason(done)}")
    commit, _, rest = done.stdout.partition(b"\n")
    objects, _, untracked = rest.partition(b"\n")
    if re.fullmatch(rb"[0-9a-f]{40}|[0-9a-f]{64}", commit) is None or not objects:
        raise BackendError(f"preparing the repository at {workdir} printed no commit but {commit[:80]!r}")
    return Baseline(commit.decode("ascii"), objects.decode("utf-8", "surrogateescape"), untracked)


def take(sandbox: Sandbox, workdir: str, baseline: Baseline, limit: int = PATCH_LIMIT) -> Taken:
    """The agent's work as a patch against the commit it started from, byte for byte.

    That no patch can be made is the agent's doing, whatever the reason: the same could be done before it came.

    Raises:
        BackendError: the sandbox could not be asked.
    """
    place = f"/tmp/.cooperbench-{random.getrandbits(64):016x}"  # not there yet, whatever the agent made
    command = ["sh", "-c", _program(), "repository.sh", "take", workdir]
    command += [baseline.objects, baseline.commit, str(limit), place]
    if len(baseline.untracked) > _IN_ARGV:
        shell.put_files(sandbox, {f"{place}/untracked": baseline.untracked})
    elif baseline.untracked:
        command.append(baseline.untracked.decode("ascii", "replace"))  # git quotes what is not ASCII
    done = shell.run(sandbox, command, timeout=_TIMEOUT)
    if done.timed_out:
        return Taken(b"", problem=f"taking the patch took more than {_TIMEOUT} s")
    if done.returncode != 0:
        return Taken(b"", problem=_reason(done))
    files = shell.get_files(sandbox, place, limit + 4 * 1024 * 1024)
    if "patch" not in files:
        return Taken(b"", problem="the patch has vanished from the sandbox")
    nested = files.get("nested", b"").decode("utf-8", "replace").splitlines()
    return Taken(files["patch"], tuple(sorted(set(nested))[:_NAMES_SHOWN]))


def _reason(done: Completed) -> str:
    if done.timed_out:
        return f"no end after {_TIMEOUT} s"
    lines = done.stderr_read().strip().splitlines()
    return lines[-1][:300] if lines else f"exit code {done.returncode}"
