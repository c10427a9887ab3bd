"""What a sandbox costs on each backend, beside the raw calls of the engine it stands on.

    python bench/backends.py [--rounds 15] [--image REF] [--podman unix:///run/podman/podman.sock] [--json FILE]

Rounds are interleaved, so that what else the machine does falls on all alike. `raw` is the engine's own API without
any of our code: `create`, `start`, `rm -f`, and one `exec` for each command. The aims: create and terminate together
at most 1.3 times the raw calls, `true` in a warm sandbox at most 10 ms.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cooperbench.errors import CooperBenchError
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import EvalBackend, Recipe, SandboxSpec
from cooperbench.eval.backends.docker import DockerBackend
from cooperbench.eval.backends.local import LocalBackend

IMAGE = "cooperbench-bench/plain:host"
EXECS = 8
FILES = {f"/srv/bench/{number}": b"x" * 100_000 for number in range(10)}

Times = dict[str, list[float]]


def main() -> None:
    """The command line of this file."""
    parser = argparse.ArgumentParser(description="What a sandbox costs on each backend.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--image", default="", help="default: one made of this machine's programs")
    parser.add_argument("--podman", default="", help="address of Podman's service")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        candidates = _candidates(stack, given.image, given.podman)
        figures: dict[str, Times] = {name: {} for name in candidates}
        for number in range(given.rounds + 1):
            for name, measure in candidates.items():
                measure(figures[name] if number else {})  # the first round warms up
    medians = {name: _medians(times) for name, times in figures.items()}
    _print(medians)
    if given.json:
        given.json.write_text(json.dumps(medians, indent=2))


def _candidates(stack: contextlib.ExitStack, image: str, podman: str) -> dict[str, Callable[[Times], None]]:
    local = stack.enter_context(contextlib.closing(LocalBackend()))
    found: dict[str, Callable[[Times], None]] = {"local": lambda times: _sandbox(local, "host", times)}
    for name, host in (("docker", ""), ("podman", podman)):
        if name == "podman" and not podman:
            continue
        backend = stack.enter_context(contextlib.closing(DockerBackend(host=host, network="none")))
        try:
            used = image or _made(backend)
        except CooperBenchError as problem:
            print(f"{name}: {problem}")
            continue
        api = backend.client()
        found[f"{name} raw"] = lambda times, api=api, used=used: _raw(api, used, times)  # type: ignore[misc]
        found[name] = lambda times, backend=backend, used=used: _sandbox(backend, used, times)  # type: ignore[misc]
    return found


def _made(backend: DockerBackend) -> str:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "build.sh").write_text("true\n")
        backend.prepare_image(IMAGE, Recipe("host", Path(directory), "build.sh"))
    return IMAGE


def _sandbox(backend: EvalBackend, image: str, times: Times) -> None:
    with _timed(times, "create"):
        sandbox = shell.create(backend, SandboxSpec(image, network="none"))
    with _timed(times, "first exec"):
        shell.run(sandbox, ["true"])
    for _ in range(EXECS):
        with _timed(times, "exec true"):
            shell.run(sandbox, ["true"])
    with _timed(times, "put 1 MB"):
        shell.put_files(sandbox, FILES)
    with _timed(times, "get 1 MB"):
        shell.get_files(sandbox, "/srv/bench")
    with _timed(times, "terminate"):
        sandbox.terminate()


def _raw(api: Any, image: str, times: Times) -> None:
    with _timed(times, "create"):
        host = {"NetworkMode": "none"}
        config = {"Image": image, "Entrypoint": ["sleep"], "Cmd": ["600"], "HostConfig": host}
        container = api.create_container_from_config(config)["Id"]
        api.start(container)
    for number in range(EXECS + 1):
        with _timed(times, "exec true" if number else "first exec"):
            command = api.exec_create(container, ["true"])["Id"]
            api.exec_start(command)
            api.exec_inspect(command)
    with _timed(times, "terminate"):
        api.remove_container(container, force=True, v=True)


@contextlib.contextmanager
def _timed(times: Times, what: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    times.setdefault(what, []).append(1000 * (time.perf_counter() - start))


def _medians(times: Times) -> dict[str, float]:
    medians = {what: statistics.median(each) for what, each in times.items()}
    if times:
        both = [a + b for a, b in zip(times["create"], times["terminate"], strict=True)]
        medians["create + terminate"] = statistics.median(both)
    return medians


def _print(medians: dict[str, dict[str, float]]) -> None:
    columns = ["create", "first exec", "exec true", "put 1 MB", "get 1 MB", "terminate", "create + terminate"]
    print(f"{'median ms':12}" + "".join(f"{column:>20}" for column in columns))
    for name, row in medians.items():
        cells = (f"{row[column]:20.1f}" if column in row else f"{'-':>20}" for column in columns)
        print(f"{name:12}" + "".join(cells))
    for name in ("docker", "podman"):
        if name in medians:
            ratio = medians[name]["create + terminate"] / medians[f"{name} raw"]["create + terminate"]
            print(f"{name}: create + terminate {ratio:.2f} times the raw calls (aim: at most 1.3)")


if __name__ == "__main__":
    main()
