"""The network as seen from PID 1: loopback up, and the addresses nobody inside may reach.

The forbidding routes are set while PID 1 still may; afterwards nobody in the sandbox has the capability to lift them.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct

_SIOCSIFFLAGS = 0x8914
_IFF_UP_RUNNING = 0x1 | 0x40
_RTM_NEWROUTE = 24
_REQUEST_ACK_CREATE = 0x1 | 0x4 | 0x400
_RTN_PROHIBIT = 8
_RT_TABLE_MAIN = 254
_RTPROT_STATIC = 4
_RTA_DST = 1
_NLMSG_ERROR = 2


def loopback_up() -> None:
    """Bring ``lo`` up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", _IFF_UP_RUNNING)
        fcntl.ioctl(any_socket.fileno(), _SIOCSIFFLAGS, request)


def forbid(prefixes: list[str]) -> None:
    """Make the kernel refuse to send to these networks (``10.0.0.0/8``, ``fc00::/7``…)."""
    if not prefixes:
        return
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.bind((0, 0))
        for serial, prefix in enumerate(prefixes, start=1):
            netlink.send(_new_route(prefix, serial))
            _acknowledged(netlink.recv(4096), prefix)


def _new_route(prefix: str, serial: int) -> bytes:
    text, _, bits = prefix.partition("/")
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    address = socket.inet_pton(family, text)
    body = struct.pack("<8BI", family, int(bits), 0, 0, _RT_TABLE_MAIN, _RTPROT_STATIC, 0, _RTN_PROHIBIT, 0)
    body += struct.pack("<HH", 4 + len(address), _RTA_DST) + address
    return struct.pack("<IHHII", 16 + len(body), _RTM_NEWROUTE, _REQUEST_ACK_CREATE, serial, 0) + body


def _acknowledged(answer: bytes, prefix: str) -> None:
    kind = struct.unpack_from("<H", answer, 4)[0]
    error = -struct.unpack_from("<i", answer, 16)[0] if kind == _NLMSG_ERROR else 0
    if error and error != 17:  # EEXIST: a network named twice
        raise OSError(error, f"forbidding {prefix}: {os.strerror(error)}")
