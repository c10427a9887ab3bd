"""What goes wrong on a real engine, each reported as what it is."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest

from cooperbench.cli import main
from cooperbench.errors import BackendError, SandboxLost, SandboxStartError
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import SandboxSpec
from cooperbench.eval.backends.docker import DockerBackend, DockerSandbox
from tests.docker import engines
from tests.docker.conftest import Make


def test_killed_under_a_command(make: Make, either: DockerBackend) -> None:
    sandbox = make(by=either)
    seen = engines.under_a_command(sandbox, lambda: engines.kill(sandbox))
    assert isinstance(seen, SandboxLost)
    assert "killed from outside" in str(seen)
    with pytest.raises(SandboxLost, match="killed from outside"):
        sandbox.exec("true")
    with pytest.raises(SandboxLost, match="killed from outside"):
        shell.put_files(sandbox, {"/x": b""})


def test_removed_under_a_command(make: Make, either: DockerBackend) -> None:
    sandbox = make(by=either)
    api = sandbox.engine.api
    seen = engines.under_a_command(sandbox, lambda: api.remove_container(sandbox.container, force=True))
    assert isinstance(seen, SandboxLost)
    assert "removed" in str(seen) or "killed from outside" in str(seen)


def test_killed_between_commands(sandbox: DockerSandbox) -> None:
    engines.kill(sandbox)
    with pytest.raises(SandboxLost, match="killed from outside"):
        sandbox.exec("true")


def test_out_of_memory_is_the_commands_own_end(make: Make) -> None:
    with engines.docker(network="none", memory="64m") as small:
        sandbox = make(by=small)
        assert sandbox.exec("python3", "-c", "bytearray(500_000_000)").returncode == 137
        assert sandbox.exec("echo", "alive").stdout == b"alive\n"


def test_image_missing(backend: DockerBackend) -> None:
    with pytest.raises(
        SandboxStartError, match=r"image no-such/image:1 is not on .*docker pull no-such/image:1"
    ):
        backend.create_sandbox("no-such/image:1")


def test_image_without_a_shell(either: DockerBackend) -> None:
    image = _bare_image(either, "noshell", {"file": b"x"})
    with pytest.raises(SandboxStartError, match="the image has no POSIX shell at /bin/sh"):
        either.create_sandbox(image)


def test_image_for_another_architecture(either: DockerBackend) -> None:
    # The head of a program for a processor that no machine of ours is.
    foreign = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + (2).to_bytes(2, "little")
        + (22).to_bytes(2, "little")
        + bytes(200)
    )
    image = _bare_image(either, "foreign", {"bin/sh": foreign})
    with pytest.raises(SandboxStartError, match=r"the image is for .* which this machine cannot run"):
        either.create_sandbox(image)


def _bare_image(backend: DockerBackend, name: str, files: dict[str, bytes]) -> str:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
    api = engines.engine_of(backend)
    made = json.loads(api.import_image_from_data(buffer.getvalue()).strip().splitlines()[-1])["status"]
    api.tag(
        made, f"cooperbench-test/{name}", "1"
    )  # Podman's service does not heed a name given with the import
    return f"cooperbench-test/{name}:1"


def test_disk_full(sandbox: DockerSandbox) -> None:
    """On a small disk of the sandbox's own: the command sees it, the harness does not suffer."""
    fill = "cd /dev/shm && head -c 600000000 /dev/zero >big"
    done = sandbox.exec("sh", "-c", fill)
    assert done.returncode != 0
    assert "No space left" in done.stderr_read()
    assert sandbox.exec("sh", "-c", "echo still").stdout == b"still\n"


def test_a_hundred_megabytes_of_output(make: Make, either: DockerBackend) -> None:
    """On either stream: the tail is kept, the harness keeps no more, and the next command is as if nothing was."""
    sandbox = make(by=either)
    million = "yes 0123456789abcdef | head -c 50000000"
    done = sandbox.exec("sh", "-c", f"({million} >&2) & {million}; wait; echo last; echo worst >&2")
    assert (done.returncode, done.truncated) == (0, True)
    for stream, end in ((done.stdout, b"last\n"), (done.stderr, b"worst\n")):
        assert stream.startswith(b"[cooperbench: ")
        assert stream.endswith(end)
        assert len(stream) <= sandbox.settings.output + 100
    assert sandbox.exec("echo", "next").stdout == b"next\n"


def test_never_ending_tests_that_fork_daemons(make: Make, either: DockerBackend) -> None:
    sandbox = make(by=either)
    daemon = "setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' &"
    script = f"i=0; while [ $i -lt 30 ]; do {daemon} i=$((i+1)); done; echo up; while :; do :; done"
    for limit in (3, 30):  # the machine may be slow
        done = sandbox.run(["sh", "-c", script], timeout=limit)
        if done.stdout:
            break
    assert (done.timed_out, done.stdout) == (True, b"up\n")
    count = sandbox.exec("sh", "-c", "cat /proc/[0-9]*/stat | grep -vc ') Z '")
    assert int(count.stdout_read()) <= 5


def test_terminate_does_not_wait(backend: DockerBackend) -> None:
    took = []
    for _ in range(2):  # the better of two: the machine may be busy
        sandbox = backend.create_sandbox(engines.IMAGE)
        sandbox.exec("sh", "-c", "(trap '' TERM INT HUP; while :; do sleep 1; done) >/dev/null 2>&1 &")
        start = time.monotonic()
        sandbox.terminate()
        took.append(time.monotonic() - start)
        sandbox.terminate()
    assert min(took) < 9  # the engine's own grace is 10 s
    assert sandbox.container not in [each["Id"] for each in engines.containers_of(backend)]


HARNESS = """
import sys, time
from cooperbench.eval.backends.base import SandboxSpec
from cooperbench.eval.backends.docker import DockerBackend
backend = DockerBackend(pull="never", network="none")
boxes = [backend.create(SandboxSpec(sys.argv[1], labels={"run": "killed"})) for _ in range(10)]
import threading
for box in boxes[:5]:
    threading.Thread(target=box.exec, args=("sh", "-c", "trap '' TERM HUP; while :; do sleep 1; done")).start()
time.sleep(0.5)
print("up", flush=True)
time.sleep(600)
"""


def test_harness_killed(
    either: DockerBackend, make: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What ten containers of a killed harness leave is swept; a live harness's sandbox is not."""
    mine = make(by=either)
    monkeypatch.setenv("DOCKER_HOST", either._open()[0].place.address)
    with engines.swept_by_nobody_else():
        _killed_and_swept(either, capsys)
    assert mine.exec("echo", "mine").stdout == b"mine\n"


def _killed_and_swept(backend: DockerBackend, capsys: pytest.CaptureFixture[str]) -> None:
    harness = subprocess.Popen([sys.executable, "-c", HARNESS, engines.IMAGE], stdout=subprocess.PIPE)
    assert harness.stdout is not None
    with harness.stdout:
        assert harness.stdout.readline() == b"up\n"
        ours = [each for each in engines.containers_of(backend) if _run(each) == "killed"]
        assert len(ours) == 10
        swept = backend.sweep()
        assert not [line for line in swept if "killed" in line]  # it is alive
        os.kill(harness.pid, signal.SIGKILL)
        harness.wait()
    assert main(["clean", "--backend", "docker"]) == 0
    removed = capsys.readouterr().out.splitlines()
    assert len([line for line in removed if "(killed)" in line]) == 10
    assert not [each for each in engines.containers_of(backend) if _run(each) == "killed"]
    assert backend.sweep() == []


def _run(container: object) -> str | None:
    return container["Labels"].get("io.cooperbench.run")  # type: ignore[index]


def test_fifty_at_once(backend: DockerBackend) -> None:
    said: list[bytes] = []
    problems: list[BaseException] = []

    def work(number: int) -> None:
        try:
            sandbox = backend.create(SandboxSpec(engines.IMAGE, 600))
            try:
                said.append(sandbox.exec("echo", str(number)).stdout)
            finally:
                sandbox.terminate()
        except BackendError as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert sorted(said) == sorted(f"{number}\n".encode() for number in range(50))


def test_hygiene(sandbox: DockerSandbox, backend: DockerBackend) -> None:
    facts = engines.engine_of(backend).inspect_container(sandbox.container)
    host = facts["HostConfig"]
    assert host["Memory"] == 4 << 30
    assert host["PidsLimit"] == 1024
    assert "no-new-privileges" in host["SecurityOpt"]
    assert not host["Binds"]
    assert not host["Privileged"]
    assert facts["Mounts"] == []
    labels = facts["Config"]["Labels"]
    assert labels["io.cooperbench.product"] == "cooperbench"
    assert str(os.getpid()) in labels["io.cooperbench.owner"].split("_")
    assert int(labels["io.cooperbench.expiry"]) > time.time()
    assert sandbox.exec("sh", "-c", "ls /sys/class/net").stdout == b"lo\n"
    assert (
        not Path("/var/run/docker.sock").is_socket()
        or sandbox.exec("test", "-e", "/var/run/docker.sock").returncode
    )
