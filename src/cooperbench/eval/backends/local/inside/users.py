"""Who commands run as when an image says somebody else than root: looked up inside, as engines do.

Another user is a fork and an exec, which takes a millisecond more than root's spawn.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

RESTORED = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
"""A command starts with every signal as it should be, whatever we or the harness (nohup) ignore."""
_LONGEST = 4 << 20
_HIGHEST = (1 << 32) - 2


@dataclass(frozen=True, slots=True)
class User:
    """An account of the image, or two numbers without one."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str

    @property
    def is_root(self) -> bool:
        """Nothing has to be given up."""
        return self.uid == self.gid == 0


ROOT = User(0, 0, (0,), "/root")


def find(text: str) -> User:
    """The user that ``NAME``, ``UID``, ``NAME:GROUP`` … means inside this root directory.

    Raises:
        ValueError: the image has no such user or group.
    """
    name, _, group = text.partition(":")
    if name in ("", "root", "0") and not group:
        return ROOT
    account = next((line for line in _lines("/etc/passwd", 7) if name in (line[0], line[2])), None)
    uid, gid, home = _numbers(name, account)
    if group:
        gid = _group(group)
    named = account[0] if account else ""
    others = [
        _sane(line[2])
        for line in _lines("/etc/group", 4)
        if named in line[3].split(",") and line[2].isdigit()
    ]
    return User(uid, gid, tuple(sorted({gid, *(others if named and not group else ())})), home)


def _numbers(name: str, account: list[str] | None) -> tuple[int, int, str]:
    if account is not None and account[2].isdigit() and account[3].isdigit():
        return _sane(account[2]), _sane(account[3]), account[5] or "/"
    if name.isdigit():
        return _sane(name), 0, "/"
    raise ValueError(f"the image has no user {name!r}")


def _group(name: str) -> int:
    for line in _lines("/etc/group", 4):
        if name in (line[0], line[2]) and line[2].isdigit():
            return _sane(line[2])
    if name.isdigit():
        return _sane(name)
    raise ValueError(f"the image has no group {name!r}")


def _sane(digits: str) -> int:
    if not digits.isascii() or len(digits) > 10 or int(digits) > _HIGHEST:
        raise ValueError(f"no user id: {digits[:20]}")
    return int(digits)


def _lines(path: str, fields: int) -> Iterator[list[str]]:
    """The well-formed lines of an account file, which is as hostile as the rest of an image."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        text = os.read(file, _LONGEST).decode("utf-8", "replace")
    except OSError:  # it is a directory
        return
    finally:
        os.close(file)
    for line in text.splitlines():
        parts = line.split(":")
        if len(parts) == fields:
            yield parts


def spawn_as(
    user: User, program: str, argv: list[str], env: dict[str, str], streams: tuple[int, int, int]
) -> int:
    """Start a program as somebody else; returns its process id.

    Raises:
        OSError: it could not be started.
    """
    trouble, report = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            _become(user, program, argv, env, streams)
        except OSError as error:
            os.write(report, str(error.errno).encode())
        finally:
            os._exit(127)
    os.close(report)
    try:
        failed = os.read(trouble, 16)
    finally:
        os.close(trouble)
    if failed:
        os.waitpid(pid, 0)
        raise OSError(int(failed), os.strerror(int(failed)), program)
    return pid


def _become(
    user: User, program: str, argv: list[str], env: dict[str, str], streams: tuple[int, int, int]
) -> None:
    os.setsid()
    for number, source in enumerate(streams):
        os.dup2(source, number, inheritable=True)
    signal.set_wakeup_fd(-1)
    for each in RESTORED:
        signal.signal(each, signal.SIG_DFL)
    os.setgroups(user.groups)
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)
    os.execve(program, argv, env)
