"""What a registry may want, refuse or break off; and what is left when a pull is killed. The server: tests/docker."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from cooperbench.errors import SandboxStartError, UsageError
from cooperbench.eval.backends.local import LocalBackend
from cooperbench.eval.backends.local.config import Settings
from cooperbench.eval.backends.local.store import gc, pulling
from tests.docker.registry import Registry


def content(backend: LocalBackend, image: str) -> dict[str, bytes]:
    """The files of an image whose layers are on this machine."""
    engine = backend.engine()
    found = engine.images.find(image)
    return {
        path.name: path.read_bytes()
        for layer in found.layers
        for path in (engine.state.path / layer).iterdir()
    }


# ---------------------------------------------------------------------------------------------- patience, mirrors


def test_too_many_requests_are_waited_out(
    registry: Registry, fresh: LocalBackend, caplog: pytest.LogCaptureFixture
) -> None:
    registry.refusals, registry.retry_after = 2, "1"
    told: list[tuple[str, str | None]] = []
    fresh.tell_by(lambda what, how_far: told.append((what, how_far)))
    with caplog.at_level(logging.WARNING):
        fresh.prepare_image(f"{registry.address}/busy:1", None)
    assert (
        sum("too many requests; asking again in 1 s" in record.getMessage() for record in caplog.records) == 2
    )
    assert any(how_far and "too many requests" in how_far for _, how_far in told)
    assert told[-1][1] is None


def test_patience_has_an_end(registry: Registry, tmp_path: Path) -> None:
    registry.refusals = 1
    backend = LocalBackend(state_dir=tmp_path, pull_patience=5)
    with pytest.raises(SandboxStartError, match=r"429.*slow down.*name a mirror"):
        backend.prepare_image(f"{registry.address}/busy:1", None)
    backend.close()


def test_mirrors_come_first(registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    backend = LocalBackend(state_dir=tmp_path, mirror=["127.0.0.1:1", f"http://{registry.address}/proxy"])
    assert backend.prepare_image("somebody/something:3", None) == registry.plain
    assert backend.engine().images.digest("docker.io/somebody/something:3") == registry.plain
    assert any("mirror 127.0.0.1:1 does not have it" in record.getMessage() for record in caplog.records)
    backend.close()


def test_a_registry_whose_mirror_has_it_is_not_asked(registry: Registry, tmp_path: Path) -> None:
    image = f"{registry.address}/mirrored:1"
    with contextlib.closing(Registry()) as mirror:
        backend = LocalBackend(state_dir=tmp_path, mirror=[mirror.address])
        assert backend.prepare_image(image, None) == registry.plain
        backend.close()
        assert mirror.given(image.removesuffix(":1"))
    assert registry.log == []


def test_always_asks_once_and_pulls_what_is_new(registry: Registry, tmp_path: Path) -> None:
    image = f"{registry.address}/moving:1"
    backend = LocalBackend(state_dir=tmp_path, pull="always")
    first = backend.prepare_image(image, None)
    asked = registry.asked["manifests"]
    assert backend.prepare_image(image, None) == first
    assert registry.asked["manifests"] == asked
    backend.close()
    second = registry.add("moving", b"newer\n")
    backend = LocalBackend(state_dir=tmp_path, pull="always")
    assert backend.prepare_image(image, None) == second != first
    backend.close()


def test_what_a_name_stands_for_is_asked_everywhere(registry: Registry) -> None:
    settings = Settings(mirror=("127.0.0.1:1", registry.address))
    assert pulling.current_digest(settings, "somebody/something:3") == registry.plain
    assert pulling.current_digest(Settings(), "127.0.0.1:1/something:3") is None


def test_platforms_of_an_index_are_different_images(registry: Registry, fresh: LocalBackend) -> None:
    index = registry.add("many", b"there\n", architecture="s390x", listed=True)
    (described,) = json.loads(registry.manifests["many"][1])["manifests"]
    image = fresh.provision.pull(fresh.engine(), f"{registry.address}/many:1", "linux/s390x")
    assert image.digest == described["digest"] != index


@pytest.mark.parametrize(
    "settings",
    [{"pull": "sometimes"}, {"mirror": "a b"}, {"disk_budget": "much"}, {"pull_patience": -1}],
    ids=str,
)
def test_settings_are_checked(settings: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="local backend"):
        LocalBackend(**settings)


# ---------------------------------------------------------------------------------------------- broken off


def _big(registry: Registry, name: str = "big", count: int = 3) -> None:
    registry.add(name, *(os.urandom(400_000) for _ in range(count)))


def test_connections_that_break_are_taken_up_again(registry: Registry, fresh: LocalBackend) -> None:
    _big(registry)
    registry.cuts = 4
    fresh.prepare_image(f"{registry.address}/big:1", None)
    assert len(registry.ranges) == 4
    assert not list((fresh.engine().state.path / "partial").iterdir())


def test_a_blob_that_is_not_what_it_is_called(registry: Registry, fresh: LocalBackend) -> None:
    _big(registry)
    good = dict(registry.blobs)
    for digest, blob in good.items():
        if len(blob) > 100_000:
            registry.blobs[digest] = blob[:-1] + bytes([blob[-1] ^ 1])
    with pytest.raises(SandboxStartError):
        fresh.prepare_image(f"{registry.address}/big:1", None)
    assert not list((fresh.engine().state.path / "layers").glob("[0-9a-f]" * 64))
    registry.blobs.update(good)
    fresh.prepare_image(f"{registry.address}/big:1", None)


def test_once_however_many_ask(registry: Registry, fresh: LocalBackend) -> None:
    _big(registry)
    image = f"{registry.address}/big:1"
    threads = [threading.Thread(target=fresh.prepare_image, args=(image, None)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert registry.asked["blobs"] == 4


_PULL = """
import sys
from cooperbench.eval.backends.local import LocalBackend
backend = LocalBackend(state_dir=sys.argv[1])
print(backend.prepare_image(sys.argv[2], None), flush=True)
backend.close()
"""


def _pulling(state: Path, image: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", _PULL, state, image], stdout=subprocess.PIPE, text=True)


def _ended(processes: Sequence[subprocess.Popen[str]]) -> list[str]:
    said = [process.communicate(timeout=120)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return said


def test_two_processes_at_once(registry: Registry, tmp_path: Path) -> None:
    _big(registry)
    image = f"{registry.address}/big:1"
    registry.gate = threading.Event()
    processes = [_pulling(tmp_path, image) for _ in range(2)]
    _await(lambda: registry.asked["blobs"] >= 3)
    registry.gate.set()
    assert len(set(_ended(processes))) == 1
    assert registry.asked["blobs"] == 4


def test_a_pull_that_is_killed_goes_on_where_it_was(registry: Registry, tmp_path: Path) -> None:
    """Killed while layers are downloaded and, as that is one thing, unpacked."""
    _big(registry)
    image = f"{registry.address}/big:1"
    registry.gate = threading.Event()
    process = _pulling(tmp_path, image)
    state = tmp_path / _part(tmp_path)
    halves = sorted(len(blob) // 2 for blob in registry.blobs.values() if len(blob) > 1000)

    def sizes() -> list[int]:
        found = [path.stat().st_size for path in (state / "partial").iterdir()]
        return sorted(size for size in found if size > 100_000)

    _await(lambda: sizes() == halves)  # all that the registry gives before its gate opens
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    registry.gate.set()
    backend = LocalBackend(state_dir=tmp_path)
    assert backend.engine().images.digest(image) is None
    backend.prepare_image(image, None)
    assert sorted(registry.ranges) == sorted(f"bytes={half}-" for half in halves)
    assert {name: len(body) for name, body in content(backend, image).items()} == {
        f"pulled{number}": 400_000 for number in range(3)
    }
    assert not [name for name in os.listdir(state / "run") if name != backend.engine().state.owner]
    backend.close()


def _part(state: Path) -> str:
    _await(lambda: any(path.is_dir() for path in state.iterdir()))
    return next(path.name for path in state.iterdir() if path.is_dir())


def _await(true: object) -> None:
    until = time.monotonic() + 120
    while True:
        try:
            if true():  # type: ignore[operator]
                return
        except FileNotFoundError:
            pass
        assert time.monotonic() < until
        time.sleep(0.01)


_PRUNE = """
import sys
from cooperbench.eval.backends.local import LocalBackend
from cooperbench.eval.backends.local.store import gc
backend = LocalBackend(state_dir=sys.argv[1])
engine = backend.engine()
for path in (engine.state.path / "names").iterdir():
    path.unlink()
print("ready", flush=True)
gc.prune(engine.state, engine.claims)
engine.launcher.ask("empty")
"""


@pytest.mark.parametrize("moment", ["at once", "first gone", "record gone"])
def test_a_prune_that_is_killed_leaves_nothing_by_halves(
    registry: Registry, tmp_path: Path, moment: str
) -> None:
    _big(registry, count=20)
    image = f"{registry.address}/big:1"
    backend = LocalBackend(state_dir=tmp_path)
    backend.prepare_image(image, None)
    state = backend.engine().state.path
    backend.close()
    process = subprocess.Popen([sys.executable, "-c", _PRUNE, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    if moment == "first gone":
        _await(lambda: len(os.listdir(state / "layers")) < 21)
    elif moment == "record gone":
        _await(lambda: len(os.listdir(state / "images")) < 2)
    process.kill()
    process.communicate(timeout=60)
    backend = LocalBackend(state_dir=tmp_path)
    backend.prepare_image(image, None)
    assert len(content(backend, image)) == 20
    _await(lambda: _swept(backend, state))  # what outlives the killed one for a moment empties the trash too
    backend.close()


def _swept(backend: LocalBackend, state: Path) -> bool:
    backend.sweep()
    return not os.listdir(state / "trash")


def test_a_full_disk(registry: Registry, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a small disk")
    registry.add("huge", *(os.urandom(9_000_000) for _ in range(4)))
    program = f"""
import os
from pathlib import Path
from cooperbench.errors import SandboxStartError
from cooperbench.eval.backends.local import LocalBackend
backend = LocalBackend(state_dir={str(tmp_path)!r}, disk_reserve=0)
try:
    backend.prepare_image("{registry.address}/huge:1", None)
except SandboxStartError as problem:
    print(problem)
state = backend.engine().state.path
print(backend.engine().images.digest("{registry.address}/huge:1"))
backend.prepare_image("{registry.address}/small:1", None)
backend.close()
"""
    script = f'mount -t tmpfs -o size=24m small {tmp_path} && exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert "o space left" in lines[0]
    assert lines[1] == "None"


def test_a_second_image_pays_only_for_its_own_layers(registry: Registry, fresh: LocalBackend) -> None:
    shared = [os.urandom(5000) for _ in range(8)]
    for name in ("one", "two"):
        registry.add(name, *shared, *(os.urandom(5000) for _ in range(4)))
    fresh.prepare_image(f"{registry.address}/one:1", None)
    layers = fresh.engine().state.path / "layers"
    before = set(os.listdir(layers))
    fresh.prepare_image(f"{registry.address}/two:1", None)
    manifest = json.loads(registry.manifests["two"][1])
    own = [manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"][8:])]
    assert sorted(registry.given("two")) == sorted(own)
    assert registry.asks("two") == ["GET manifests", *["GET blobs"] * len(own)]
    assert len(set(os.listdir(layers)) - before) == 4


# ---------------------------------------------------------------------------------------------- budgets


def test_the_budget(registry: Registry, tmp_path: Path) -> None:
    names = [f"{registry.address}/b{number}:1" for number in range(4)]
    for number in range(4):
        registry.add(f"b{number}", os.urandom(1_000_000))
    backend = LocalBackend(state_dir=tmp_path, disk_budget="2500k")
    assert backend.keep_within(None) == 2500 << 10
    images = backend.engine().images
    for name in names[:2]:
        backend.prepare_image(name, None)
        backend.release_image(name)
    sandboxless = images.find(names[0])
    images.begin_use(sandboxless)
    backend.prepare_image(names[2], None)
    assert [images.digest(name) is not None for name in names[:3]] == [True, False, True]
    images.end_use(sandboxless)
    backend.prepare_image(names[3], None)
    assert [images.digest(name) is not None for name in names] == [False, False, True, True]
    backend.keep_within(1)
    backend.prepare_image(f"{registry.address}/b0:1", None)
    assert all(images.digest(name) for name in (names[2], names[3]))
    backend.close()


def test_what_another_process_uses_stays(registry: Registry, tmp_path: Path) -> None:
    image = f"{registry.address}/used:1"
    one, other = LocalBackend(state_dir=tmp_path), LocalBackend(state_dir=tmp_path)
    digest = one.prepare_image(image, None)
    assert digest is not None
    engine = other.engine()
    assert gc.remove(engine.state, engine.claims, digest) == []
    assert engine.images.digest(image) == digest
    one.close()
    assert gc.remove(engine.state, engine.claims, digest) != []
    assert engine.images.digest(image) is None
    other.close()


def test_modes_of_the_state_directory(fresh: LocalBackend) -> None:
    assert stat.S_IMODE(fresh.engine().state.path.stat().st_mode) == 0o700
