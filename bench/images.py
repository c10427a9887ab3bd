"""What images cost on the embedded sandbox, beside the Docker engine, from the same registry on the loopback.

    python bench/images.py [ROUNDS] [MEGABYTES]

Two images of 12 layers are made of this machine's own /usr, 8 layers shared, and pushed to Debian's docker-registry.
Timed, in turns: pulling and unpacking the first, then the second beside it, and a sandbox of a 12-layer image: making
it, and ending it. Needs a Docker engine, docker-registry and root.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from cooperbench.eval.backends.local import LocalBackend

R = TypeVar("R")

_LAYERS, _SHARED = 12, 8
_CONFIG = """version: 0.1
storage: {{filesystem: {{rootdirectory: {root}}}}}
http: {{addr: "127.0.0.1:{port}"}}
log: {{level: error, accesslog: {{disabled: true}}}}
"""


def main(rounds: int = 3, megabytes: int = 400) -> None:
    """Print the table."""
    directory = Path(tempfile.mkdtemp(prefix="cooperbench-bench-", dir="/var/tmp"))
    names: list[str] = []
    try:
        with _registry(directory) as address:
            names += [f"{address}/bench:{number}" for number in (1, 2)]
            count, size = _make_images(directory, names, megabytes)
            print(
                f"{_LAYERS} layers, {count} files, {size / 1e6:.0f} MB unpacked; {rounds} rounds, medians in seconds"
            )
            _compare(directory, names, rounds)
    finally:
        for name in names:
            subprocess.run(["docker", "rmi", "-f", name], capture_output=True, check=False)
        subprocess.run(["rm", "-rf", directory], check=False)


def _compare(directory: Path, names: list[str], rounds: int) -> None:
    local: dict[str, list[float]] = {"first": [], "second": []}
    engine: dict[str, list[float]] = {"first": [], "second": []}
    made: list[float] = []
    ended: list[float] = []
    for number in range(rounds):
        backend = LocalBackend(state_dir=directory / f"state-{number}")
        backend.engine()
        for word, name in zip(("first", "second"), names, strict=True):
            local[word].append(_timed(partial(backend.prepare_image, name, None))[0])
        for _ in range(20):
            seconds, sandbox = _timed(partial(backend.create_sandbox, names[0]))
            made.append(seconds)
            ended.append(_timed(sandbox.terminate)[0])
        backend.close()
        subprocess.run(["rm", "-rf", directory / f"state-{number}"], check=True)
        _docker("rmi", "-f", *names)
        for word, name in zip(("first", "second"), names, strict=True):
            engine[word].append(_timed(partial(_docker, "pull", "-q", name))[0])
    print(f"{'':34}{'local':>8}{'docker':>8}{'ratio':>8}")
    for word, told in (("first", "pull + unpack"), ("second", "another, 8 layers shared")):
        ours, theirs = statistics.median(local[word]), statistics.median(engine[word])
        print(f"{told:34}{ours:8.2f}{theirs:8.2f}{ours / theirs:8.2f}")
    for told, times in (("a sandbox of 12 layers made, in ms", made), ("and ended, in ms", ended)):
        print(f"{told:34}{statistics.median(times) * 1000:8.1f}")


def _timed(work: Callable[[], R]) -> tuple[float, R]:
    begun = time.perf_counter()
    result = work()
    return time.perf_counter() - begun, result


def _docker(*words: str) -> None:
    subprocess.run(["docker", *words], check=True, capture_output=True)


@contextlib.contextmanager
def _registry(directory: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = directory / "registry.yml"
    config.write_text(_CONFIG.format(root=directory / "registry", port=port))
    with open(os.devnull, "wb") as nowhere:
        process = subprocess.Popen(["docker-registry", "serve", config], stdout=nowhere, stderr=nowhere)
    try:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _make_images(directory: Path, names: list[str], megabytes: int) -> tuple[int, int]:
    """Both images, built and pushed; how many files and bytes one has."""
    context = directory / "context"
    context.mkdir()
    count, size = _parts(context, megabytes << 20)
    shutil.copy("/bin/busybox", context)
    for number, name in enumerate(names):
        own = range(_LAYERS - 1) if number == 0 else [*range(_SHARED - 1), *range(_SHARED, _LAYERS)]
        lines = [
            "FROM scratch",
            "ADD busybox /bin/sh",
            *(f"ADD part-{each}.tar /part-{each}/" for each in own),
        ]
        (context / "Dockerfile").write_text("\n".join(lines))
        _docker("build", "-q", "-t", name, str(context))
        _docker("push", "-q", name)
    return count, size


def _parts(context: Path, size: int) -> tuple[int, int]:
    """Archives of this machine's files, all about as large."""
    files = (Path(root, name) for root, _, found in os.walk("/usr") for name in sorted(found))
    counted = done = 0
    with contextlib.ExitStack() as stack:
        archives = [
            stack.enter_context(tarfile.open(context / f"part-{number}.tar", "w"))
            for number in range(_LAYERS)
        ]
        for path in files:
            if path.is_symlink() or not path.is_file() or path.stat().st_size > 20 << 20:
                continue
            archives[counted * 7 % _LAYERS].add(path, str(path)[1:])
            counted, done = counted + 1, done + path.stat().st_size
            if done > size:
                break
    return counted, done


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
