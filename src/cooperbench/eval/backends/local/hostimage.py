"""The image `host`: the host's own programs, and nothing else of it.

A small layer of our own holds a synthetic /etc with the harmless part of the host's (what any user may read and
programs need: alternatives, certificates, library paths, time zone), empty homes, and directories root inside may
write to. The host's /usr lies under it, read-only, as the lowest layer of an overlay of its own.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FORMAT = 1
_TOP = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
# fmt: off
_FROM_ETC = (
    "alternatives", "ssl/certs", "ssl/openssl.cnf", "ca-certificates", "ca-certificates.conf", "pki",
    "crypto-policies", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "python3", "perl", "pam.d",
    "pam.conf", "security", "login.defs", "shells", "services", "protocols", "rpc", "ethertypes",
    "networks", "mime.types", "magic", "localtime", "timezone", "os-release", "debian_version", "lsb-release",
    "redhat-release", "fedora-release", "alpine-release", "terminfo", "inputrc", "bash.bashrc",
    "profile", "profile.d", "locale.alias", "locale.conf", "fonts", "xml", "sgml", "java-*", "python3.*",
    "perl5", "default", "gai.conf", "host.conf",
)
# fmt: on
_LARGEST = 4 << 20
_TOO_MANY = 20_000
_OWN_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
    "bin:x:2:2:bin:/bin:/usr/sbin/nologin\nwww-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\ndaemon:x:1:\nbin:x:2:\ntty:x:5:\nwww-data:x:33:\nstaff:x:50:\nusers:x:100:\n"
    "nogroup:x:65534:\n",
    "etc/shadow": "root:*:19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\n",
    "etc/hosts": "127.0.0.1\tlocalhost sandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n",
    "etc/hostname": "sandbox\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n"
    "protocols: files\nservices: files\n",
    "etc/resolv.conf": "",
    "etc/machine-id": "",
}
_OWN_DIRECTORIES = {
    "root": 0o700, "home": 0o755, "tmp": 0o1777, "run": 0o755, "var": 0o755, "var/tmp": 0o1777, "var/lib": 0o755,
    "var/log": 0o755, "var/cache": 0o755, "var/mail": 0o775, "opt": 0o755, "srv": 0o755, "mnt": 0o755, "media": 0o755,
    "etc": 0o755, "etc/ssl": 0o755, "proc": 0o555, "sys": 0o555, "dev": 0o755, "usr": 0o755, "usr/local": 0o755,
    "usr/local/bin": 0o755, "usr/local/sbin": 0o755, "usr/local/lib": 0o755, "usr/local/include": 0o755,
    "usr/local/share": 0o755, "usr/local/etc": 0o755, "usr/local/src": 0o755,
}  # fmt: skip
CERTIFICATES = ("etc/ssl/certs/ca-certificates.crt", "etc/pki/tls/certs/ca-bundle.crt")
_CERTIFICATE_VARIABLES = (
    "SSL_CERT_FILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
)


@dataclass(frozen=True, slots=True)
class HostPlace:
    """A directory of the host that a sandbox sees."""

    path: str
    at: str
    """Where, relative to the sandbox's root."""
    overlay: bool
    """Can be written over inside; else it is simply read-only."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One member of our layer."""

    name: str
    mode: int
    link: str | None = None
    source: Path | None = None
    text: str = ""
    stamp: tuple[int, int] = (0, 0)
    """Size and time of the source: tells a changed file without reading it."""


def layer_archive() -> bytes:
    """Our layer as a tar, everything root's."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry in _entries():
            member = tarfile.TarInfo(entry.name)
            member.mode = stat.S_IMODE(entry.mode)
            body = b""
            if entry.link is not None:
                member.type, member.linkname = tarfile.SYMTYPE, entry.link
            elif stat.S_ISDIR(entry.mode):
                member.type = tarfile.DIRTYPE
            else:
                body = entry.source.read_bytes() if entry.source else entry.text.encode()
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    return buffer.getvalue()


def key() -> str:
    """Digest of what this host puts in: our layer, and what the programs under test are run by.

    Not of all of /usr: installing an unrelated program must not make every verdict stale.
    """
    digest = hashlib.sha256(json.dumps([_FORMAT, places_message()]).encode())
    for entry in _entries():
        digest.update(json.dumps([entry.name, entry.mode, entry.link, entry.text, entry.stamp]).encode())
    for program in ("/usr/bin/python3", "/usr/bin/git", "/bin/sh"):
        real = os.path.realpath(program)
        digest.update(json.dumps([program, real, _stamp(real)]).encode())
    return digest.hexdigest()


def environment() -> dict[str, str]:
    """Where programs that bring their own certificates find the host's instead: a company's are among them."""
    for bundle in CERTIFICATES:
        if os.path.isfile(f"/{bundle}"):
            return dict.fromkeys(_CERTIFICATE_VARIABLES, f"/{bundle}")
    return {}


def places_message() -> list[dict[str, Any]]:
    """`places` as the zygote takes them."""
    return [{"path": place.path, "at": place.at, "overlay": place.overlay} for place in places()]


@functools.cache
def places() -> tuple[HostPlace, ...]:
    """Directories of the host to show. An overlay cannot take a tree with mounts in it: such a one is split."""
    mounts = _mount_points()
    found: list[HostPlace] = []
    for name in (
        "usr",
        *(name for name in _TOP if not os.path.islink(f"/{name}") and os.path.isdir(f"/{name}")),
    ):
        found.extend(_split(f"/{name}", mounts))
    return tuple(found)


def _split(path: str, mounts: frozenset[str]) -> Iterator[HostPlace]:
    below = any(mount.startswith(path + "/") for mount in mounts)
    if not below:
        yield HostPlace(path, path[1:], overlay=True)
    elif path.count("/") > 1:
        yield HostPlace(path, path[1:], overlay=False)
    else:
        for name in sorted(os.listdir(path)):
            if os.path.isdir(f"{path}/{name}") and not os.path.islink(f"{path}/{name}"):
                yield from _split(f"{path}/{name}", mounts)


def _mount_points() -> frozenset[str]:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return frozenset(line.split()[4].replace("\\040", " ") for line in file)


def _entries() -> Iterator[_Entry]:
    for name, mode in _own_directories().items():
        yield _Entry(name, stat.S_IFDIR | mode)
    for name in _TOP:
        if os.path.islink(f"/{name}"):
            yield _Entry(name, stat.S_IFLNK | 0o777, link=os.readlink(f"/{name}"))
        elif os.path.isdir(f"/{name}"):
            yield _Entry(name, stat.S_IFDIR | 0o755)
    yield from _below_split_places()
    for name, text in _OWN_FILES.items():
        yield _Entry(name, stat.S_IFREG | (0o640 if name == "etc/shadow" else 0o644), text=text)
    yield from _host_etc()
    yield _Entry("etc/mtab", stat.S_IFLNK | 0o777, link="/proc/self/mounts")


def _own_directories() -> dict[str, int]:
    """Fixed ones, and those Python installs into: inside they belong to root, over the host's of the same name."""
    local = sorted(Path("/usr/local/lib").glob("python3*"))
    python = {f"usr/local/lib/{path.name}": 0o755 for path in local}
    return {**_OWN_DIRECTORIES, **python, **{f"{path}/dist-packages": 0o755 for path in python}}


def _below_split_places() -> Iterator[_Entry]:
    for place in places():
        if place.at.count("/"):
            yield _Entry(place.at, stat.S_IFDIR | 0o755)


def _host_etc() -> Iterator[_Entry]:
    count = 0
    seen = {*_OWN_FILES, *_OWN_DIRECTORIES}
    for pattern in _FROM_ETC:
        for path in sorted(Path("/etc").glob(pattern)):
            for entry in _walk(path):
                count += 1
                if entry.name not in seen and count < _TOO_MANY:
                    seen.add(entry.name)
                    yield entry


def _walk(path: Path) -> Iterator[_Entry]:
    """What of it any user of the host may read."""
    try:
        status = path.lstat()
    except OSError:
        return
    name = str(path)[1:]
    if stat.S_ISLNK(status.st_mode):
        yield _Entry(name, stat.S_IFLNK | 0o777, link=os.readlink(path))
    elif stat.S_ISDIR(status.st_mode) and status.st_mode & 0o005 == 0o005:
        yield _Entry(name, stat.S_IFDIR | 0o755)
        try:
            inner = sorted(path.iterdir())
        except OSError:
            return
        for child in inner:
            yield from _walk(child)
    elif stat.S_ISREG(status.st_mode) and status.st_mode & 0o004 and status.st_size <= _LARGEST:
        yield _Entry(name, status.st_mode & ~0o7000, source=path, stamp=(status.st_size, status.st_mtime_ns))


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0)
    return status.st_size, status.st_mtime_ns
