"""What a sandbox costs: create, exec, files, terminate, fifty at once; beside Docker where an engine answers.

``python bench/sandbox.py [--rounds N]`` prints medians in milliseconds. All candidates take turns in every round, so
that a busy machine is unfair to all of them alike.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from cooperbench.eval.backends.local import LocalBackend, LocalSandbox

MIB = 1 << 20
COLUMNS = ("create", "first exec", "exec true", "put 1 MiB", "get 1 MiB", "terminate", "create+exec+end")
DOCKER_IMAGE = "cooperbench-bench:empty"
Timings = dict[str, float]


def archive(size: int) -> bytes:
    """A tar of one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("blob")
        member.size = size
        tar.addfile(member, io.BytesIO(os.urandom(size)))
    return buffer.getvalue()


BLOB = archive(MIB)


def timed(timings: Timings, column: str, work: Callable[[], object]) -> None:
    """Milliseconds this takes."""
    start = time.perf_counter()
    work()
    timings[column] = (time.perf_counter() - start) * 1000


def local_round(backend: LocalBackend) -> Timings:
    """One sandbox's life."""
    timings: Timings = {}
    made: list[LocalSandbox] = []
    timed(timings, "create", lambda: made.append(backend.create_sandbox("host")))
    sandbox = made[0]
    timed(timings, "first exec", lambda: sandbox.exec("true"))
    timed(timings, "exec true", lambda: [sandbox.exec("true") for _ in range(8)])
    timings["exec true"] /= 8
    timed(timings, "put 1 MiB", lambda: sandbox.put_archive("/srv/bench", BLOB))
    timed(timings, "get 1 MiB", lambda: sandbox.get_archive("/srv/bench", 2 * MIB))
    timed(timings, "terminate", sandbox.terminate)
    timings["create+exec+end"] = timings["create"] + timings["first exec"] + timings["terminate"]
    return timings


def docker(*arguments: str, stdin: bytes | None = None) -> bytes:
    """One call of the client."""
    done = subprocess.run(["docker", *arguments], input=stdin, capture_output=True, check=True, timeout=120)
    return done.stdout


def docker_round() -> Timings:
    """One container's life."""
    timings: Timings = {}
    name: list[str] = []
    run = ("run", "-d", "--network", "none", DOCKER_IMAGE, "sh", "-c", "read x <> /fifo")
    timed(timings, "create", lambda: name.append(docker(*run).decode().strip()))
    timed(timings, "first exec", lambda: docker("exec", name[0], "true"))
    timed(timings, "exec true", lambda: docker("exec", name[0], "true"))
    timed(timings, "put 1 MiB", lambda: docker("cp", "-", f"{name[0]}:/", stdin=BLOB))
    timed(timings, "get 1 MiB", lambda: docker("cp", f"{name[0]}:/blob", "-"))
    timed(timings, "terminate", lambda: docker("rm", "-f", name[0]))
    timings["create+exec+end"] = timings["create"] + timings["first exec"] + timings["terminate"]
    return timings


def docker_image() -> bool:
    """Make an image of a shell and `true`, from this host; False where no engine answers."""
    if (
        not shutil.which("docker")
        or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode
    ):
        return False
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        os.mkfifo(root / "fifo")
        for program in ("sh", "true"):
            for path in _with_libraries(program):
                target = root / path[1:]
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(os.path.realpath(path), target)
        if not (root / "bin").exists():
            (root / "bin").symlink_to("usr/bin")
        tar = subprocess.run(["tar", "-C", place, "-c", "."], capture_output=True, check=True).stdout
    docker("import", "-c", "ENV PATH=/usr/bin:/bin", "-", DOCKER_IMAGE, stdin=tar)
    return True


def _with_libraries(program: str) -> Iterator[str]:
    path = shutil.which(program) or f"/bin/{program}"
    yield path
    for line in subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout.splitlines():
        yield from (word for word in line.split() if word.startswith("/"))


def fifty(backend: LocalBackend) -> str:
    """Fifty at once: time to make them, and memory each."""
    with ThreadPoolExecutor(50) as pool:
        start = time.perf_counter()
        sandboxes = list(pool.map(lambda _: backend.create_sandbox("host"), range(50)))
        created = time.perf_counter() - start
        memory = sum(_memory(pid) for pid in _sandbox_processes()) / 50 / MIB
        start = time.perf_counter()
        list(pool.map(lambda sandbox: sandbox.exec("true"), sandboxes))
        first = time.perf_counter() - start
        start = time.perf_counter()
        list(pool.map(lambda sandbox: sandbox.terminate(), sandboxes))
        ended = time.perf_counter() - start
    return (
        f"50 at once: created in {created * 1000:.0f} ms, {memory:.1f} MiB each (proportional set size), "
        f"one exec each {first * 1000:.0f} ms, terminated in {ended * 1000:.0f} ms"
    )


HARNESS = """
import sys, time
from cooperbench.eval.backends.local import LocalBackend
backend = LocalBackend(state_dir=sys.argv[1])
kept = [backend.create_sandbox("host") for _ in range(10)]
print(flush=True)
time.sleep(600)
"""


def killed(place: str) -> str:
    """Ten sandboxes whose harness gets a kill -9: how long their last process lives on."""
    before = set(_sandbox_processes())
    with subprocess.Popen([sys.executable, "-c", HARNESS, place], stdout=subprocess.PIPE) as harness:
        assert harness.stdout
        harness.stdout.readline()
        alive = len(set(_sandbox_processes()) - before)
        harness.kill()
        start = time.perf_counter()
        while set(_sandbox_processes()) - before:
            time.sleep(0.001)
        gone = time.perf_counter() - start
    return f"kill -9 of a harness with 10 sandboxes: their {alive} processes gone after {gone * 1000:.0f} ms"


def _sandbox_processes() -> Iterator[str]:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if Path("/proc", pid, "comm").read_text() == "cb-sandbox\n":
                yield pid
        except OSError:
            continue


def _memory(pid: str) -> int:
    try:
        text = Path("/proc", pid, "smaps_rollup").read_text()
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))


def table(rows: dict[str, list[Timings]]) -> str:
    """Medians, a row a candidate."""
    lines = ["".join(f"{title:>17}" for title in ("ms, median", *COLUMNS))]
    for name, rounds in rows.items():
        medians = (statistics.median(timings[column] for timings in rounds) for column in COLUMNS)
        lines.append(f"{name:>17}" + "".join(f"{median:17.2f}" for median in medians))
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args(arguments).rounds
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        os.chmod(place, 0o711)
        backends = {
            "disk": LocalBackend(state_dir=place),
            "tmpfs": LocalBackend(state_dir=place, upper="tmpfs:1g"),
        }
        for backend in backends.values():
            stack.callback(backend.close)
            backend.create_sandbox("host").terminate()
        candidates: dict[str, Callable[[], Timings]] = {
            "local, disk": lambda: local_round(backends["disk"]),
            "local, tmpfs": lambda: local_round(backends["tmpfs"]),
        }
        if docker_image():
            candidates["docker"] = docker_round
        rows: dict[str, list[Timings]] = {name: [] for name in candidates}
        for _ in range(rounds):
            for name, once in candidates.items():
                rows[name].append(once())
        print(table(rows))
        print(fifty(backends["tmpfs"]))
        print(killed(place))
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
