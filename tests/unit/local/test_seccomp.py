"""The seccomp filter, run by a small machine of our own, on both processors' tables."""

from __future__ import annotations

import errno
import itertools
import struct

import pytest

from cooperbench.eval.backends.local.inside import seccomp

ALLOW, KILL, ERROR = 0x7FFF0000, 0x80000000, 0x00050000
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
SECRET = 0x1234_5678_9ABC_DEF0
EVERY_CALL = range(500)
machines = pytest.mark.parametrize("machine", ["x86_64", "aarch64"])


def decide(program: bytes, number: int, *arguments: int, arch: int) -> int:
    """What the kernel would answer."""
    call = struct.pack("<IIQ6Q", number, arch, 0, *arguments, *[0] * (6 - len(arguments)))
    code = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    at, loaded = 0, 0
    while True:
        operation, then, otherwise, operand = code[at]
        at += 1
        match operation:
            case 0x20:
                loaded = struct.unpack_from("<I", call, operand)[0]
            case 0x06:
                return operand
            case 0x15:
                at += then if loaded == operand else otherwise
            case 0x35:
                at += then if loaded >= operand else otherwise
            case 0x45:
                at += then if loaded & operand else otherwise
            case _:
                raise AssertionError(f"unknown instruction {operation:#x}")


@machines
@pytest.mark.parametrize("pretend", [False, True])
def test_every_call_gets_an_answer(machine: str, pretend: bool) -> None:
    program = seccomp.program(machine=machine, pretend_root=pretend, secret=SECRET)
    denied = set(seccomp.DENIED[machine].values())
    pretended = set(seccomp.PRETENDED[machine].values()) if pretend else set()
    for number in EVERY_CALL:
        answer = decide(program, number, arch=AUDIT[machine])
        if number in denied:
            assert answer == ERROR | errno.EPERM, number
        elif number in pretended:
            assert answer == ERROR, number
        elif number == 435:
            assert answer == ERROR | errno.ENOSYS
        else:
            assert answer in (ALLOW, ERROR | errno.EAFNOSUPPORT), number


@machines
def test_no_call_is_listed_twice(machine: str) -> None:
    lists = (seccomp.DENIED[machine], seccomp.PRETENDED[machine])
    numbers = list(itertools.chain.from_iterable(calls.values() for calls in lists))
    assert len(numbers) == len(set(numbers))


def test_both_processors_deny_the_same() -> None:
    only_old = {"iopl", "ioperm", "uselib", "ustat", "sysfs", "modify_ldt"}
    assert set(seccomp.DENIED["x86_64"]) - only_old == set(seccomp.DENIED["aarch64"])


@machines
def test_a_foreign_calling_convention_kills(machine: str) -> None:
    program = seccomp.program(machine=machine)
    for arch in (0x40000003, 0x40000028, AUDIT["aarch64" if machine == "x86_64" else "x86_64"]):
        assert decide(program, 1, arch=arch) == KILL
    if machine == "x86_64":
        assert decide(program, 0x40000000 | 1, arch=AUDIT[machine]) == ERROR | errno.ENOSYS


@machines
def test_clone_makes_threads_but_no_namespaces(machine: str) -> None:
    program, clone = seccomp.program(machine=machine), {"x86_64": 56, "aarch64": 220}[machine]
    assert decide(program, clone, 0x3D0F00, arch=AUDIT[machine]) == ALLOW
    for flag in (0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert decide(program, clone, flag | 17, arch=AUDIT[machine]) == ERROR | errno.EPERM


@machines
def test_sockets_of_four_families(machine: str) -> None:
    program, socket = seccomp.program(machine=machine), {"x86_64": 41, "aarch64": 198}[machine]
    allowed = {
        family for family in range(50) if decide(program, socket, family, arch=AUDIT[machine]) == ALLOW
    }
    assert allowed == {1, 2, 10, 16}


@machines
def test_terminal_injection(machine: str) -> None:
    program, ioctl = seccomp.program(machine=machine), {"x86_64": 16, "aarch64": 29}[machine]
    assert decide(program, ioctl, 0, 0x5401, arch=AUDIT[machine]) == ALLOW
    for request in (0x5412, 0x541C):
        assert decide(program, ioctl, 0, request, arch=AUDIT[machine]) == ERROR | errno.EPERM


@machines
def test_only_the_secret_sets_the_tag(machine: str) -> None:
    program = seccomp.program(machine=machine, secret=SECRET)
    numbers = {"x86_64": (160, 302), "aarch64": (164, 261)}[machine]
    setrlimit, prlimit = numbers
    arch, address = AUDIT[machine], 0x7FFF_0000_0000
    assert decide(program, setrlimit, 10, address, arch=arch) == ERROR | errno.EPERM
    assert decide(program, setrlimit, 7, address, arch=arch) == ALLOW
    assert decide(program, prlimit, 0, 10, 0, address, arch=arch) == ALLOW  # reading
    assert decide(program, prlimit, 0, 7, address, 0, arch=arch) == ALLOW
    assert decide(program, prlimit, 0, 10, address, 0, 0, SECRET, arch=arch) == ALLOW
    for guess in (0, 1, SECRET ^ 1, SECRET ^ (1 << 63), SECRET & 0xFFFFFFFF, SECRET >> 32):
        for pointer in (address, 0x1000, 1 << 32):
            assert decide(program, prlimit, 0, 10, pointer, 0, 0, guess, arch=arch) == ERROR | errno.EPERM
