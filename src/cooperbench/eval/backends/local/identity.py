"""Which user ids a sandbox consists of: the rungs of the ladder, best first.

`root-range`   the harness is root: 65536 ids of the host that nobody uses; no process of a sandbox is the host's root
`user-range`   an ordinary user with a range in /etc/subuid: root inside is that user outside, the others are his range
`user-single`  an ordinary user without one: root inside is that user, and there is nobody else
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BASE = 524288
"""First of the host ids that root's sandboxes use; beyond what distributions hand out to users by default."""
COUNT = 65536

Extents = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Ids:
    """One way of mapping ids."""

    rung: str
    uids: Extents
    """``(inside, outside, count)`` each."""
    gids: Extents
    writer: str
    """Who writes the map: `privilege`, `newuidmap` or `self`."""

    @property
    def many(self) -> bool:
        """More than one user exists inside."""
        return sum(count for _, _, count in self.uids) > 1

    @property
    def root(self) -> tuple[int, int]:
        """User and group on the host that are root inside."""
        return self.uids[0][1], self.gids[0][1]

    @property
    def directory(self) -> str:
        """Name of the state directory's part for this map: files made under another would have other owners."""
        return "-".join([self.rung, *(str(outside) for _, outside, _ in self.uids)])

    def message(self) -> dict[str, Any]:
        """As the zygote takes it."""
        return {"uids": self.uids, "gids": self.gids, "writer": self.writer}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A rung, and its ids or the reason it is out of the question."""

    rung: str
    ids: Ids | None
    reason: str = ""


def candidates(uid: int | None = None) -> Iterator[Candidate]:
    """The rungs for this user, best first."""
    uid, gid = (os.geteuid() if uid is None else uid), os.getegid()
    if uid == 0:
        yield _root_range()
        return
    yield _user_range(uid, gid)
    yield Candidate("user-single", Ids("user-single", ((0, uid, 1),), ((0, gid, 1),), "self"))


def _root_range() -> Candidate:
    uids = _free_range(Path("/proc/self/uid_map"))
    gids = _free_range(Path("/proc/self/gid_map"))
    if uids is None or gids is None:
        return Candidate("root-range", None, "this container has too few user ids of its own")
    count = min(uids[1], gids[1])
    ids = Ids("root-range", ((0, uids[0], count),), ((0, gids[0], count),), "privilege")
    return Candidate("root-range", ids)


def _free_range(path: Path) -> tuple[int, int] | None:
    """Ids that are not the host's root: the usual ones, or the most there are (in a container)."""
    extents = [(int(line.split()[0]), int(line.split()[2])) for line in path.read_text().splitlines()]
    if any(first <= BASE and first + count >= BASE + COUNT for first, count in extents):
        return BASE, COUNT
    usable = [(max(first, 1), min(COUNT, first + count - max(first, 1))) for first, count in extents]
    first, count = max(usable, key=lambda extent: extent[1], default=(0, 0))
    return (first, count) if count >= 1000 else None


def _user_range(uid: int, gid: int) -> Candidate:
    if not (shutil.which("newuidmap") and shutil.which("newgidmap")):
        return Candidate("user-range", None, "newuidmap is not installed (package uidmap)")
    uids, gids = _subordinate(Path("/etc/subuid"), uid), _subordinate(Path("/etc/subgid"), uid)
    if uids is None or gids is None:
        return Candidate("user-range", None, "no range for this user in /etc/subuid and /etc/subgid")
    ids = Ids(
        "user-range",
        ((0, uid, 1), (1, uids[0], min(uids[1], COUNT - 1))),
        ((0, gid, 1), (1, gids[0], min(gids[1], COUNT - 1))),
        "newuidmap",
    )
    return Candidate("user-range", ids)


def _subordinate(path: Path, uid: int) -> tuple[int, int] | None:
    """The largest range `path` gives the user, by name or number."""
    names = {str(uid)}
    with contextlib.suppress(KeyError):
        names.add(pwd.getpwuid(uid).pw_name)
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return None
    fields = [line.split(":") for line in lines]
    ranges = [
        (int(first), int(count))
        for name, first, count in (entry for entry in fields if len(entry) == 3)
        if name in names and first.isdigit() and count.strip().isdigit() and int(count) > 0
    ]
    return max(ranges, key=lambda found: found[1], default=None)
