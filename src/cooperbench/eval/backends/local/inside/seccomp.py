"""The seccomp filter, assembled by hand: what code in a sandbox may not ask of the kernel.

A deny list in the manner of container engines: kernel modules, keys, BPF, performance counters, mounts, namespaces,
clocks and other doors into the shared kernel answer EPERM; foreign calling conventions kill. With `pretend_root` (one
user id only) changes of owner and identity answer "done" without doing anything, so that tar and package installers
work. Setting the tag limit (see `processes`) needs the sandbox's secret.
"""

from __future__ import annotations

import errno
import struct

from . import kernel

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCHITECTURE = 0, 4
_X32 = 0x40000000
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_SOCKET_FAMILIES = (1, 2, 10, 16)  # UNIX, INET, INET6, NETLINK
TAG_RESOURCE = 10  # RLIMIT_LOCKS

_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# fmt: off
DENIED = {
    "x86_64": {
        "kexec_load": 246, "kexec_file_load": 320, "init_module": 175, "finit_module": 313, "delete_module": 176,
        "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "io_uring_setup": 425, "io_uring_enter": 426,
        "io_uring_register": 427, "keyctl": 250, "add_key": 248, "request_key": 249, "open_by_handle_at": 304,
        "name_to_handle_at": 303, "mount": 165, "umount2": 166, "pivot_root": 155, "setns": 308, "unshare": 272,
        "move_mount": 429, "open_tree": 428, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
        "mount_setattr": 442, "swapon": 167, "swapoff": 168, "reboot": 169, "acct": 163, "settimeofday": 164,
        "clock_settime": 227, "clock_adjtime": 305, "adjtimex": 159, "quotactl": 179, "quotactl_fd": 443,
        "syslog": 103, "vhangup": 153, "iopl": 172, "ioperm": 173, "lookup_dcookie": 212, "nfsservctl": 180,
        "vmsplice": 278, "kcmp": 312, "process_madvise": 440, "fanotify_init": 300, "uselib": 134, "ustat": 136,
        "sysfs": 139, "modify_ldt": 154, "open_tree_attr": 467,
    },
    "aarch64": {
        "kexec_load": 104, "kexec_file_load": 294, "init_module": 105, "finit_module": 273, "delete_module": 106,
        "bpf": 280, "perf_event_open": 241, "userfaultfd": 282, "io_uring_setup": 425, "io_uring_enter": 426,
        "io_uring_register": 427, "keyctl": 219, "add_key": 217, "request_key": 218, "open_by_handle_at": 265,
        "name_to_handle_at": 264, "mount": 40, "umount2": 39, "pivot_root": 41, "setns": 268, "unshare": 97,
        "move_mount": 429, "open_tree": 428, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
        "mount_setattr": 442, "swapon": 224, "swapoff": 225, "reboot": 142, "acct": 89, "settimeofday": 170,
        "clock_settime": 112, "clock_adjtime": 266, "adjtimex": 171, "quotactl": 60, "quotactl_fd": 443,
        "syslog": 116, "vhangup": 58, "lookup_dcookie": 18, "nfsservctl": 42, "vmsplice": 75, "kcmp": 272,
        "process_madvise": 440, "fanotify_init": 262, "open_tree_attr": 467,
    },
}
PRETENDED = {  # answered with success when only one user id exists
    "x86_64": {
        "chown": 92, "fchown": 93, "lchown": 94, "fchownat": 260, "setuid": 105, "setgid": 106, "setreuid": 113,
        "setregid": 114, "setgroups": 116, "setresuid": 117, "setresgid": 119, "setfsuid": 122, "setfsgid": 123,
        "capset": 126,
    },
    "aarch64": {
        "fchown": 55, "fchownat": 54, "setuid": 146, "setgid": 144, "setreuid": 145, "setregid": 143,
        "setgroups": 159, "setresuid": 147, "setresgid": 149, "setfsuid": 151, "setfsgid": 152, "capset": 91,
    },
}
_INSPECTED = {  # looked at by argument
    "x86_64": {"clone": 56, "clone3": 435, "socket": 41, "ioctl": 16, "setrlimit": 160, "prlimit64": 302},
    "aarch64": {"clone": 220, "clone3": 435, "socket": 198, "ioctl": 29, "setrlimit": 164, "prlimit64": 261},
}
# fmt: on


def program(*, pretend_root: bool = False, secret: int = 0, machine: str = kernel.MACHINE) -> bytes:
    """The filter as the kernel takes it: eight bytes an instruction.

    Args:
        pretend_root: answer success to changes of owner and identity.
        secret: 64 bits; whoever passes them as sixth argument may set the tag limit.
    """
    inspected = _INSPECTED[machine]
    code = _Assembler()
    code.add(_LOAD, _ARCHITECTURE)
    code.add(_EQUAL, _AUDIT[machine], otherwise=0, then=1)
    code.add(_RETURN, _KILL)
    code.add(_LOAD, _NUMBER)
    if machine == "x86_64":
        code.add(_AT_LEAST, _X32, otherwise=1)
        code.add(_RETURN, _ERROR | errno.ENOSYS)
    for number in DENIED[machine].values():
        code.answer(number, errno.EPERM)
    for number in PRETENDED[machine].values() if pretend_root else ():
        code.answer(number, 0)
    code.answer(
        inspected["clone3"], errno.ENOSYS
    )  # its flags are out of sight; the C library falls back to clone
    _clone(code, inspected["clone"])
    _socket(code, inspected["socket"])
    _ioctl(code, inspected["ioctl"])
    _tag_limit(code, inspected, secret)
    code.add(_RETURN, _ALLOW)
    return code.assembled()


class _Assembler:
    """Instructions in order; jumps are counted in instructions to skip."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int]] = []

    def add(self, operation: int, operand: int, *, then: int = 0, otherwise: int = 0) -> None:
        self._code.append((operation, then, otherwise, operand))

    def answer(self, number: int, error: int) -> None:
        self.add(_EQUAL, number, otherwise=1)
        self.add(_RETURN, _ERROR | error)

    def block(self, number: int, body: _Assembler) -> None:
        """`body` decides about one call; it must not fall off its end."""
        self.add(_EQUAL, number, otherwise=len(body._code))
        self._code.extend(body._code)

    def assembled(self) -> bytes:
        return b"".join(struct.pack("<HBBI", *instruction) for instruction in self._code)


def _low(argument: int) -> int:
    return 16 + 8 * argument


def _clone(code: _Assembler, number: int) -> None:
    body = _Assembler()
    body.add(_LOAD, _low(0))
    body.add(_ANY_BIT, kernel.ALL_NAMESPACES, otherwise=1)
    body.add(_RETURN, _ERROR | errno.EPERM)
    body.add(_RETURN, _ALLOW)
    code.block(number, body)


def _socket(code: _Assembler, number: int) -> None:
    body = _Assembler()
    body.add(_LOAD, _low(0))
    for left, family in zip(range(len(_SOCKET_FAMILIES), 0, -1), _SOCKET_FAMILIES, strict=True):
        body.add(_EQUAL, family, then=left)
    body.add(_RETURN, _ERROR | errno.EAFNOSUPPORT)
    body.add(_RETURN, _ALLOW)
    code.block(number, body)


def _ioctl(code: _Assembler, number: int) -> None:
    body = _Assembler()
    body.add(_LOAD, _low(1))
    body.add(_EQUAL, _TIOCSTI, then=1)
    body.add(_EQUAL, _TIOCLINUX, otherwise=1)
    body.add(_RETURN, _ERROR | errno.EPERM)
    body.add(_RETURN, _ALLOW)
    code.block(number, body)


def _tag_limit(code: _Assembler, inspected: dict[str, int], secret: int) -> None:
    """Nobody without the secret sets RLIMIT_LOCKS, of itself or of others: it is how a time-out finds its tree."""
    plain = _Assembler()
    plain.add(_LOAD, _low(0))
    plain.add(_EQUAL, TAG_RESOURCE, otherwise=1)
    plain.add(_RETURN, _ERROR | errno.EPERM)
    plain.add(_RETURN, _ALLOW)
    code.block(inspected["setrlimit"], plain)
    body = _Assembler()
    body.add(_LOAD, _low(1))
    body.add(_EQUAL, TAG_RESOURCE, otherwise=9)
    body.add(_LOAD, _low(2))  # reading alone passes no new limit
    body.add(_EQUAL, 0, otherwise=2)
    body.add(_LOAD, _low(2) + 4)
    body.add(_EQUAL, 0, then=5)
    body.add(_LOAD, _low(5))
    body.add(_EQUAL, secret & 0xFFFFFFFF, otherwise=2)
    body.add(_LOAD, _low(5) + 4)
    body.add(_EQUAL, secret >> 32, then=1)
    body.add(_RETURN, _ERROR | errno.EPERM)
    body.add(_RETURN, _ALLOW)
    code.block(inspected["prlimit64"], body)
