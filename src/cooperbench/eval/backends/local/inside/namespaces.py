"""User namespaces and their id maps: the outer one of the zygote, and two for each sandbox.

Why three. The outer one takes the harness's privileges away once, and lets everything below it be made without
asking anybody. The middle one exists to count: the kernel charges a user namespace's processes to its creator's
account in the parent, so a limit set there holds for the sandbox as a whole, whatever user ids it uses. The inner
one, made together with all other namespaces, is the sandbox's own.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

from . import kernel

Extents = list[list[int]]
"""``[inside, outside, count]`` each, as in ``/proc/PID/uid_map``."""


def enter_outer(ids: dict[str, Any]) -> None:
    """Move this process into a user namespace with these maps, as its root; no host identity is left afterwards."""
    ready, go = os.pipe(), os.pipe()
    me = os.getpid()
    helper = os.fork()
    if helper == 0:  # stays behind, where maps may be written from
        os.close(ready[1])
        os.close(go[0])
        _leave(lambda: _map_from_outside(me, ids, ready[0], go[1]))
    os.close(ready[0])
    os.close(go[1])
    try:
        kernel.unshare(kernel.CLONE_NEWUSER)
        os.write(ready[1], b".")
        answer = os.read(go[0], 500)
    finally:
        os.close(ready[1])
        os.close(go[0])
        os.waitpid(helper, 0)
    if answer != b"mapped":
        raise OSError(0, answer.decode("utf-8", "replace") or "id map helper died")
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    if ids["writer"] != "self":
        os.setgroups([])
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # or our children's maps could not be written


def _leave(work: Callable[[], None]) -> None:
    try:
        work()
    finally:
        os._exit(0)


def _map_from_outside(pid: int, ids: dict[str, Any], ready: int, go: int) -> None:
    if not os.read(ready, 1):
        return
    try:
        _WRITERS[ids["writer"]](pid, ids)
        os.write(go, b"mapped")
    except (OSError, subprocess.SubprocessError) as error:
        os.write(go, f"id map: {error}".encode()[:500])


def _by_privilege(pid: int, ids: dict[str, Any]) -> None:
    write_maps(pid, ids["uids"], ids["gids"])


def _by_newuidmap(pid: int, ids: dict[str, Any]) -> None:
    for program, extents in (("newuidmap", ids["uids"]), ("newgidmap", ids["gids"])):
        numbers = [str(number) for extent in extents for number in extent]
        done = subprocess.run([program, str(pid), *numbers], capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(0, f"{program} said: {done.stderr.strip()}")


def _by_self(pid: int, ids: dict[str, Any]) -> None:
    kernel.write_file(f"/proc/{pid}/setgroups", "deny")
    write_maps(pid, ids["uids"], ids["gids"])


_WRITERS = {"privilege": _by_privilege, "newuidmap": _by_newuidmap, "self": _by_self}


def write_maps(pid: int, uids: Extents, gids: Extents) -> None:
    """Give the user namespace of `pid` its maps."""
    kernel.write_file(f"/proc/{pid}/uid_map", "\n".join(" ".join(map(str, extent)) for extent in uids))
    kernel.write_file(f"/proc/{pid}/gid_map", "\n".join(" ".join(map(str, extent)) for extent in gids))


def unchanged(extents: Extents) -> Extents:
    """The map that shows a nested namespace the same ids; a line may not span two of its parent's."""
    return [[inside, inside, count] for inside, _, count in extents]


def forked_into(
    namespaces: int, ids: dict[str, Any], child: Callable[[], None], handles: Sequence[str] = ()
) -> list[int]:
    """Run `child` in new namespaces, its ids mapped to themselves; it never returns there.

    Returns:
        its pidfd, and descriptors of those of its namespaces that `handles` names, opened before it runs: it may
        close the door behind itself.
    """
    go = os.pipe()
    pid = kernel.clone(namespaces)
    if pid == 0:
        os.close(go[1])
        try:
            if os.read(go[0], 1) == b".":
                os.close(go[0])
                child()
        finally:
            os._exit(1)
    os.close(go[0])
    try:
        write_maps(pid, unchanged(ids["uids"]), unchanged(ids["gids"]))
        opened = [os.pidfd_open(pid), *(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY) for name in handles)]
        os.write(go[1], b".")
    finally:
        os.close(go[1])
    return opened


def limit_processes(count: int) -> None:
    """Bound the processes of the namespace made next, all its users together."""
    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    allowed = count if hard == resource.RLIM_INFINITY else min(count, hard)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NPROC, (allowed, allowed))
