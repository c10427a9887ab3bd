"""A base image made of this machine's own programs, for an engine that has no image and no registry to pull from.

It holds what a recipe for base `host` may count on: a shell with the usual small programs, git and python3, with the
libraries they need. Nothing of the machine's configuration or of anybody's files goes in.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
import shutil
import subprocess
import sysconfig
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO

from cooperbench.errors import BackendError
from cooperbench.eval.backends.docker.engine import Engine, complaints
from cooperbench.eval.backends.docker.images import Images

log = logging.getLogger(__name__)

REPOSITORY = "cooperbench/host"

_CHUNK = 1 << 20
_PROGRAMS = """
    sh dash bash git python3 env cat cp mv rm mkdir rmdir ls ln chmod chown touch head tail wc cut sort
    uniq tr tee basename dirname date sleep true false test [ printf echo expr seq id whoami uname pwd
    realpath readlink stat mktemp mkfifo cksum sha256sum sha1sum md5sum base64 od dd df du nproc sync
    timeout kill nohup setsid printenv comm paste split tac install sed grep egrep fgrep awk mawk gawk
    find xargs tar gzip gunzip zcat diff cmp patch ps which make perl file less hostname chgrp yes nl
    fold join truncate getopt flock
"""
_RUNTIME = """
    libc.so.6 libdl.so.2 libgcc_s.so.1 libm.so.6 libpthread.so.0 libresolv.so.2 librt.so.1 libstdc++.so.6 libutil.so.1
"""
"""Libraries that any program may expect, though none here names them all: agents' programs, and the C library itself,
which loads one when a thread ends."""
_ETC = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
_DIRECTORIES = {
    **dict.fromkeys(
        ("etc", "opt", "srv", "home", "mnt", "var", "var/lib", "var/log", "var/cache", "run", "dev"), 0o755
    ),
    **dict.fromkeys(
        (f"usr/local{each}" for each in ("", "/bin", "/sbin", "/lib", "/share", "/include")), 0o755
    ),
    "tmp": 0o1777,
    "var/tmp": 0o1777,
    "root": 0o700,
    "proc": 0o555,
    "sys": 0o555,
}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LEFT_OUT = frozenset(
    {"__pycache__", "test", "tests", "dist-packages", "site-packages", "idlelib", "ensurepip"}
)
_lock = threading.Lock()


def ready(engine: Engine, images: Images) -> str:
    """The name of the image, made now unless the engine has it.

    Raises:
        BackendError: this machine has not what it takes.
    """
    files = _files()
    image = f"{REPOSITORY}:{_key(files)}"
    with _lock:
        if images.find(image) is None:
            _import(engine, image, files)
    return image


def _import(engine: Engine, image: str, files: list[str]) -> None:
    log.info("making image %s from %d files of this machine", image, len(files))
    with tempfile.TemporaryFile() as archive:
        _pack(archive, files)
        archive.seek(0)
        with complaints(engine, f"making image {image}"):
            said = engine.api.import_image_from_stream(
                iter(partial(archive.read, _CHUNK), b""), changes=[f"ENV PATH={_PATH}", "ENV LANG=C.UTF-8"]
            )
            made = json.loads(said.strip().splitlines()[-1])["status"]
            # Named afterwards: Podman's service does not heed a tag given with the import.
            name, _, tag = image.partition(":")
            engine.api.tag(made, name, tag)


def _files() -> list[str]:
    """Everything that goes in, by absolute path; links are followed, and what they lead to goes in too."""
    if not Path("/proc/self").exists():
        raise BackendError("its programs are not Linux programs")
    programs = [path for name in _PROGRAMS.split() if (path := shutil.which(name, path=_PATH))]
    for needed in ("sh", "git", "python3"):
        if not any(Path(path).name == needed for path in programs):
            raise BackendError(f"it has no {needed} in {_PATH}")
    trees = [_git_programs(), *_python_library()]
    inside = [path for tree in trees for path in _below(tree)]
    binaries = [*programs, *(path for path in inside if ".so" in Path(path).name or "git-core" in path)]
    libraries = _libraries(binaries)
    runtime = [path for each in {*map(os.path.dirname, libraries)} for path in _runtime(each)]
    wanted = {*programs, *inside, *libraries, *runtime, *_libraries(runtime)}
    return sorted({each for path in wanted for each in _with_links(path)})


def _git_programs() -> str:
    done = subprocess.run(["git", "--exec-path"], env={"PATH": _PATH}, capture_output=True, check=False)
    return done.stdout.decode().strip() or "/usr/lib/git-core"


def _python_library() -> Iterator[str]:
    """Of the system's Python, not of the one that runs the harness."""
    ask = "import sysconfig; print(sysconfig.get_path('stdlib')); print(sysconfig.get_path('platstdlib'))"
    done = subprocess.run(
        ["python3", "-I", "-S", "-c", ask], env={"PATH": _PATH}, capture_output=True, check=False
    )
    yield from sorted({*done.stdout.decode().split()} or {sysconfig.get_path("stdlib")})


def _below(tree: str) -> Iterator[str]:
    for root, directories, files in os.walk(tree):
        directories[:] = [name for name in directories if name not in _LEFT_OUT]
        yield from (os.path.join(root, name) for name in files)


def _libraries(binaries: list[str]) -> set[str]:
    """What the dynamic linker says they need, itself included."""
    found: set[str] = set()
    for start in range(0, len(binaries), 200):
        done = subprocess.run(
            ["ldd", *binaries[start : start + 200]],
            env={"PATH": _PATH, "LC_ALL": "C"},
            capture_output=True,
            check=False,
        )
        found.update(
            re.findall(r"(?:=> |^\s+)(/\S+) \(0x", done.stdout.decode("utf-8", "replace"), re.MULTILINE)
        )
    return found


def _runtime(directory: str) -> Iterator[str]:
    paths = (os.path.join(directory, name) for name in _RUNTIME.split())
    yield from filter(os.path.exists, paths)


def _with_links(path: str) -> Iterator[str]:
    """A path with its parents resolved; of a link, also where it leads."""
    for _ in range(20):
        parent, name = os.path.split(path)
        path = os.path.join(os.path.realpath(parent), name)
        yield path
        if not os.path.islink(path):
            return
        path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))


def _key(files: list[str]) -> str:
    digest = hashlib.sha256(repr((_ETC, _DIRECTORIES)).encode())
    for path in files:
        status = os.lstat(path)
        digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _pack(target: IO[bytes], files: list[str]) -> None:
    with tarfile.open(fileobj=target, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
            if os.path.islink(f"/{name}"):
                archive.addfile(archive.gettarinfo(f"/{name}", name))
        for name, mode in _DIRECTORIES.items():
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, mode
            archive.addfile(member)
        for name, text in _ETC.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
        for path in files:
            member = archive.gettarinfo(path, path[1:])
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mode &= 0o755
            if member.isreg():
                with open(path, "rb") as content:
                    archive.addfile(member, content)
            else:
                archive.addfile(member)
