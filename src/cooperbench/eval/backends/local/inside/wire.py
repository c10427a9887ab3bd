"""Messages between the harness, the zygote and a sandbox: one JSON object per SEQPACKET datagram, with descriptors.

A message too large for a datagram travels in a memfd. Only the harness's own words may: what comes out of a sandbox is
hostile, so the reader says how much it is ready to take, and no descriptor is accepted that was not asked for.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any

DATAGRAM = 48 * 1024
"""Longest message sent as it is; the kernel's default socket buffer takes several of these."""
LONGEST = 64 << 20
"""Longest message accepted from a memfd: far above the kernel's own limit for argv and environment together."""
_MOST_DESCRIPTORS = 16

Message = dict[str, Any]


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(to: socket.socket, message: Message, descriptors: Sequence[int] = ()) -> None:
    """Send one message; the descriptors stay open here."""
    body = json.dumps(message).encode()
    if len(body) <= DATAGRAM:
        _send(to, body, descriptors)
        return
    spill = os.memfd_create("message")
    try:
        with os.fdopen(os.dup(spill), "wb") as file:
            file.write(body)
        _send(to, b'{"spilled":true}', (spill, *descriptors))
    finally:
        os.close(spill)


def _send(to: socket.socket, body: bytes, descriptors: Sequence[int]) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    to.sendmsg([body], rights)


def receive(source: socket.socket, *, spilled: bool = False) -> tuple[Message | None, list[int]]:
    """The next message and the descriptors that came with it, now the caller's; ``(None, [])`` at the end.

    Raises:
        ValueError: not a message of ours; nothing is left open.
    """
    body, ancillary, flags, _ = source.recvmsg(
        DATAGRAM + 1, socket.CMSG_SPACE(_MOST_DESCRIPTORS * 4), socket.MSG_CMSG_CLOEXEC
    )
    descriptors = _descriptors(ancillary)
    if not body and not descriptors:
        return None, []
    try:
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise ValueError("message cut short")
        message = json.loads(body)
        if not isinstance(message, dict):
            raise ValueError("message is not an object")
        if message == {"spilled": True}:
            if not (spilled and descriptors):
                raise ValueError("unexpected long message")
            message = _unspill(descriptors)
    except (ValueError, RecursionError) as error:
        close_all(descriptors)
        raise ValueError(f"not a message: {error}") from None
    return message, descriptors


def _descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, rights in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(rights[: len(rights) - len(rights) % found.itemsize])
    return list(found)


def _unspill(descriptors: list[int]) -> Message:
    with os.fdopen(descriptors.pop(0), "rb") as file:
        file.seek(0)
        body = file.read(LONGEST + 1)
    if len(body) > LONGEST:
        raise ValueError("message too long")
    message = json.loads(body)
    if not isinstance(message, dict):
        raise ValueError("message is not an object")
    return message


def close_all(descriptors: Sequence[int]) -> None:
    """Close every one of these, whatever state they are in."""
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)


@contextlib.contextmanager
def closing(descriptors: Sequence[int]) -> Iterator[None]:
    """Close every one of these at the end."""
    try:
        yield
    finally:
        close_all(descriptors)
