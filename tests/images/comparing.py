"""What an engine says an image's files are, against what a sandbox of it shows: path by path, hash by hash."""

from __future__ import annotations

import hashlib
import json
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from cooperbench.eval.backends.base import SandboxSpec
from cooperbench.eval.backends.local import LocalBackend

_WALK = Path(__file__).with_name("walk.py").read_text()
NOT_THE_IMAGES = {
    "/proc", "/sys", "/dev", "/.dockerenv", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/mtab",
    "/workspace", "/tmp", "/run",
}  # fmt: skip
"""What the engine, or the sandbox, puts there itself."""
_KINDS = {
    tarfile.REGTYPE: stat.S_IFREG,
    tarfile.LNKTYPE: stat.S_IFREG,
    tarfile.DIRTYPE: stat.S_IFDIR,
    tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.FIFOTYPE: stat.S_IFIFO,
}
Files = dict[str, list[Any]]


def docker(*words: str, **options: Any) -> str:
    """The engine's client."""
    return subprocess.run(
        ["docker", *words], check=True, capture_output=True, text=True, **options
    ).stdout.strip()


def by_engine(image: str) -> Files:
    """What `docker export` gives: path → kind, mode, owner, group, time, content, twin, attributes."""
    container = docker("create", image, "/never")
    try:
        with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                found = dict(_entry(archive, member) for member in archive)
            process.stdout.read()
        assert process.returncode == 0
    finally:
        docker("rm", container)
    for entry in found.values():
        if entry[6]:  # a hard link's content is its twin's
            entry[1:6] = found[entry[6]][1:6]
            entry[7] = found[entry[6]][7]
    return {path: _timeless(path, entry) for path, entry in found.items() if not _skipped(path)}


def _entry(archive: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[str, list[Any]]:
    told = member.linkname if member.issym() else ""
    if member.isreg():
        content = archive.extractfile(member)
        assert content is not None
        told = hashlib.sha256(content.read()).hexdigest()
    twin = f"/{member.linkname}" if member.islnk() else ""
    attributes = sorted(key[13:] for key in member.pax_headers if key.startswith("SCHILY.xattr.security."))
    kind = _KINDS.get(member.type, 0)
    return f"/{member.name.rstrip('/')}", [
        kind, member.mode & 0o7777, member.uid, member.gid, int(member.mtime), told, twin, attributes,
    ]  # fmt: skip


def by_sandbox(backend: LocalBackend, image: str) -> Files:
    """The same, as a sandbox of the embedded backend sees it."""
    sandbox = backend.create(SandboxSpec(image, 120, "/", user="root"))
    try:
        done = sandbox.exec("python3", "-BIc", _WALK, *sorted(NOT_THE_IMAGES))
        assert done.returncode == 0, done
        found: Files = json.loads(done.stdout)
    finally:
        sandbox.terminate()
    return {path: _timeless(path, entry) for path, entry in found.items()}


def _timeless(path: str, entry: list[Any]) -> list[Any]:
    """Directories that no layer has a member for, or that engine or sandbox put something into: times of no meaning."""
    return entry if entry[0] != stat.S_IFDIR or path.startswith("/data") else [*entry[:4], 0, *entry[5:]]


def _skipped(path: str) -> bool:
    return path in ("", "/", "/.") or any(
        path == each or path.startswith(f"{each}/") for each in NOT_THE_IMAGES
    )


def differences(one: Files, other: Files) -> list[str]:
    """One line for each path that is not the same, the links between twins aside (either may be the first)."""
    lines = [f"{path}: in one only" for path in sorted(one.keys() ^ other.keys())]
    for path in sorted(one.keys() & other.keys()):
        if [*one[path][:6], one[path][7]] != [*other[path][:6], other[path][7]]:
            lines.append(f"{path}: {one[path]} {other[path]}")
    if _twins(one) != _twins(other):
        lines.append(f"hard links: {_twins(one) ^ _twins(other)}")
    return lines


def _twins(files: Files) -> set[frozenset[str]]:
    groups: dict[str, set[str]] = {}
    for path, entry in files.items():
        if entry[6]:
            groups.setdefault(entry[6], {entry[6]}).add(path)
    return {frozenset(group) for group in groups.values()}
