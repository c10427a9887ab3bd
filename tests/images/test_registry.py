"""What a registry may want, refuse or break off; and what is left when a pull is killed. The server: tests/docker."""

from __future__ import annotations

import base64
import json
import logging
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from cooperbench.errors import SandboxStartError, UsageError
from cooperbench.eval.backends.local import LocalBackend
from cooperbench.eval.backends.local.store import credentials, gc, pulling, reference
from cooperbench.eval.backends.local.store import registry as registries
from tests.docker.registry import PASSWORD, USER, Registry
from tests.docker.registry import credentials as encoded


@pytest.fixture
def registry() -> Iterator[Registry]:
    yield from _served("")


def _served(auth: str) -> Iterator[Registry]:
    server = Registry(auth)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[LocalBackend]:
    backend = LocalBackend(state_dir=tmp_path / "state")
    yield backend
    backend.close()


def content(backend: LocalBackend, image: str) -> dict[str, bytes]:
    """The files of an image whose layers are on this machine."""
    engine = backend.engine()
    found = engine.images.find(image)
    return {
        path.name: path.read_bytes()
        for layer in found.layers
        for path in (engine.state.path / layer).iterdir()
    }


def docker_config(monkeypatch: pytest.MonkeyPatch, directory: Path, config: dict[str, object]) -> None:
    (directory / "config.json").write_text(json.dumps(config))
    monkeypatch.setenv("DOCKER_CONFIG", str(directory))


# ---------------------------------------------------------------------------------------------- who may


@pytest.mark.parametrize("auth", ["basic", "token"])
def test_credentials_of_the_docker_configuration(
    auth: str, fresh: LocalBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for server in _served(auth):
        image = f"{server.address}/private:1"
        docker_config(monkeypatch, tmp_path, {})
        with pytest.raises(SandboxStartError, match="docker login"):
            fresh.prepare_image(image, None)
        docker_config(monkeypatch, tmp_path, {"auths": {server.address: {"auth": encoded()}}})
        assert fresh.prepare_image(image, None) == server.plain
        assert content(fresh, image) == {"pulled0": b"here\n"}


def test_a_credential_helper(fresh: LocalBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = tmp_path / "docker-credential-mine"
    answer = json.dumps({"ServerURL": "x", "Username": USER, "Secret": PASSWORD})
    helper.write_text(f"#!/bin/sh\nread server; echo \"$server\" >{tmp_path}/asked; echo '{answer}'\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for server in _served("token"):
        docker_config(monkeypatch, tmp_path, {"credHelpers": {server.address: "mine"}})
        assert fresh.prepare_image(f"{server.address}/private:1", None) == server.plain
        assert (tmp_path / "asked").read_text().strip() == server.address


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, None),
        ({"auths": []}, None),
        ({"auths": {"r.example": {"auth": "!"}}}, None),
        ({"auths": {"r.example": {"auth": base64.b64encode(b"a:b:c").decode()}}}, ("a", "b:c", "")),
        ({"auths": {"https://r.example": {"username": "u", "password": "p"}}}, ("u", "p", "")),
        ({"auths": {"r.example": {"identitytoken": "t"}}}, ("", "", "t")),
        ({"auths": {"other.example": {"auth": "YTpi"}}}, None),
    ],
)
def test_where_credentials_are_kept(
    config: dict[str, object],
    expected: tuple[str, str, str] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    docker_config(monkeypatch, tmp_path, config)
    found = credentials.find("r.example")
    assert (found and (found.user, found.password, found.identity_token)) == expected
    assert found is None or "p" not in repr(found).removeprefix("<Credentials>")


def test_the_hubs_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker_config(monkeypatch, tmp_path, {"auths": {"https://index.docker.io/v1/": {"auth": "YTpi"}}})
    found = credentials.find(reference.HUB)
    assert found is not None
    assert found.user == "a"


@pytest.mark.parametrize("helper", ["no-such-helper", "../evil", "; rm"])
def test_a_helper_that_does_not_work_is_told(
    helper: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker_config(monkeypatch, tmp_path, {"credsStore": helper})
    with pytest.raises(SandboxStartError, match=r"not installed|no program's name"):
        credentials.find("r.example")


def test_tokens_are_not_asked_for_in_the_clear(fresh: LocalBackend) -> None:
    patience = registries.Patience(0, lambda _: None, time.sleep)
    remote = registries.Registry("registry.example", "a/b", patience)
    with pytest.raises(SandboxStartError, match="not safe"):
        remote._authorize('Bearer realm="http://evil.example/token",service="x"', "")
    assert fresh.name == "local"


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
    assert backend.create_sandbox.__name__ == "create_sandbox"
    assert backend.engine().images.digest("docker.io/somebody/something:3") == registry.plain
    assert any("mirror 127.0.0.1:1 does not have it" in record.getMessage() for record in caplog.records)
    backend.close()


def test_where_is_looked() -> None:
    hub, other = reference.parse("python:3.11-slim"), reference.parse("ghcr.io/a/b:1")
    mirrors = ("m.example", "http://n.example:5000/p")
    assert [(place.registry, place.repository, place.plain) for place in pulling.places(hub, mirrors)] == [
        ("m.example", "library/python", None),
        ("n.example:5000", "p/library/python", True),
        ("docker.io", "library/python", None),
    ]
    assert [place.repository for place in pulling.places(other, mirrors)] == [
        "ghcr.io/a/b",
        "p/ghcr.io/a/b",
        "a/b",
    ]


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
    _await(
        lambda: len([path for path in (state / "partial").iterdir() if path.stat().st_size > 100_000]) == 3
    )
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    registry.gate.set()
    backend = LocalBackend(state_dir=tmp_path)
    assert backend.engine().images.digest(image) is None
    backend.prepare_image(image, None)
    halves = [len(blob) // 2 for blob in registry.blobs.values() if len(blob) > 1000]
    halves = [len(blob) // 2 for blob in registry.blobs.values() if len(blob) > 1000]
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
    backend.sweep()
    assert os.listdir(state / "trash") == []
    backend.close()


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


# ---------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "familiar"),
    [
        ("python", "python:latest"),
        ("docker.io/library/python:3", "python:3"),
        ("index.docker.io/a/b", "a/b:latest"),
        ("localhost/a:1", "localhost/a:1"),
        ("127.0.0.1:5000/a/b__c-d:1", "127.0.0.1:5000/a/b__c-d:1"),
        ("ghcr.io/a/b@sha256:" + "0" * 64, "ghcr.io/a/b@sha256:" + "0" * 64),
        ("a/b:1@sha256:" + "0" * 64, "a/b@sha256:" + "0" * 64),
    ],
)
def test_names(name: str, familiar: str) -> None:
    assert reference.parse(name).familiar == familiar
    assert reference.parse(familiar).familiar == familiar


@pytest.mark.parametrize(
    "name", ["", "A/b", "a b", "a:b:c", "a@sha256:00", "../a", "a//b", "a/../b", "-x", "a:" + "t" * 129]
)
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(UsageError):
        reference.parse(name)
    assert reference.familiar(name) == name


def test_modes_of_the_state_directory(fresh: LocalBackend) -> None:
    assert stat.S_IMODE(fresh.engine().state.path.stat().st_mode) == 0o700
