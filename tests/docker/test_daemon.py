"""The engine itself goes away: an engine of the test's own is stopped and started."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cooperbench import register_backend, run
from cooperbench.cli import main
from cooperbench.dataset import demo_dataset, load_dataset
from cooperbench.errors import BackendError, SandboxLost, SandboxStartError
from cooperbench.eval import backends
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import Completed
from cooperbench.eval.backends.docker import DockerBackend, DockerSandbox
from cooperbench.events import Judged, TrialFinished, TrialStarted
from tests.docker import daemon as daemons
from tests.docker import engines
from tests.docker.daemon import Daemon


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with daemons.running() as daemon:
        yield daemon


@pytest.fixture
def second(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a backend on that engine, as `run` takes it."""
    monkeypatch.setattr(backends, "_registered", {})
    register_backend("second", lambda: DockerBackend(host=daemon.address, pull="never", network="none"))
    return "second"


def test_the_engine_is_stopped_and_started_again(daemon: Daemon) -> None:
    with contextlib.closing(DockerBackend(host=daemon.address, pull="never", network="none")) as backend:
        engines.make_image(backend, engines.IMAGE, {"build.sh": "true\n"})
        sandbox = backend.create_sandbox(engines.IMAGE)
        seen = engines.under_a_command(sandbox, daemon.stop)
        assert isinstance(seen, SandboxLost), seen
        with pytest.raises(SandboxLost):
            sandbox.exec("true")
        with pytest.raises(SandboxStartError, match="does not answer"):
            backend.create_sandbox(engines.IMAGE)
        daemon.start()
        sandbox.terminate()
        again = backend.create_sandbox(engines.IMAGE)
        assert again.exec("echo", "back").stdout == b"back\n"
        again.terminate()
        assert engines.containers_of(backend) == []


DEMO = demo_dataset()
TASK = "almanac_task"
EXPECTED = {
    name: outcome
    for name, outcome in json.loads((DEMO / "expected.json").read_text()).items()
    if name.startswith(TASK)
}


def _carry_out(logs: Path, backend: str, name: str = "run", **options: Any) -> dict[str, Any]:
    return run(
        name,
        subset="demo",
        repo=TASK,
        agent="script",
        agent_config=DEMO / "scripts",
        dataset_dir=DEMO,
        backend=backend,
        logs_dir=logs,
        **options,
    )


def _outcomes(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Of the trials that have a verdict."""
    return {
        line["task"]: {"passed": line["eval"]["both_passed"], "merge": line["eval"]["merge"]}
        for line in summary["results"]
        if line["eval"]
    }


def test_a_run_goes_through_a_stop_of_the_engine(daemon: Daemon, second: str, tmp_path: Path) -> None:
    """It is stopped with trials under way, and started once they have failed. Nothing is lost, nothing made up."""
    events: list[Any] = []
    stopped = threading.Event()

    def watch(event: Any) -> None:
        events.append(event)
        if isinstance(event, TrialStarted) and sum(isinstance(e, TrialStarted) for e in events) == 2:
            daemon.stop()
            stopped.set()
        if stopped.is_set() and isinstance(event, TrialFinished) and event.status == "error":
            stopped.clear()
            daemon.start()

    first = _carry_out(tmp_path, second, concurrency=1, eval_concurrency=1, progress=watch)
    troubles = [e for e in events if isinstance(e, TrialFinished | Judged) and e.error]
    assert troubles
    judged = _outcomes(first)
    assert judged.items() <= EXPECTED.items()
    assert len(judged) < len(EXPECTED)

    again = _carry_out(tmp_path, second, concurrency=1, eval_concurrency=1, progress=events.append)
    assert _outcomes(again) == EXPECTED
    with contextlib.closing(DockerBackend(host=daemon.address)) as backend:
        backend.sweep()
        assert engines.containers_of(backend) == []


def test_images_of_finished_tasks_go_when_there_is_a_budget(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With room for next to nothing each image is made when its task begins, once, and gone for the next one's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCKER_HOST", daemon.address)
    (tmp_path / "cooperbench.toml").write_text('[backends.docker]\npull = "never"\nnetwork = "none"\n')
    images = sorted(task.image for task in load_dataset(DEMO).tasks.values())
    with contextlib.closing(DockerBackend(host=daemon.address)) as backend:
        for image in images:
            if engines.engine_of(backend).images(image):
                engines.engine_of(backend).remove_image(image)
        command = (
            "run --demo -a gold --setting solo --backend docker --disk-budget 1k -c 1 -n kept --features 1,2"
        )
        assert main(command.split()) == 0
        told = capsys.readouterr().err
        built = re.findall(r"… image (\S+)  building", told)
        assert sorted(set(built)) == images
        assert [image for image in images if engines.engine_of(backend).images(image)] == []
        # Once more: the verdicts hold, and no image is made to find that out.
        assert main(command.split()) == 0
        assert "building" not in capsys.readouterr().err
        assert main(["eval", "--backend", "docker", "--disk-budget", "1k", "-n", "kept"]) == 0
        assert "building" not in capsys.readouterr().err


def test_an_engine_that_wants_to_know_who_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``DOCKER_HOST`` and ``DOCKER_TLS_VERIFY`` with certificates of the test's own, as documented for the client."""
    _certificates(tmp_path)
    options = ["--tlsverify", *(f"--tls{kind}={tmp_path / file}" for kind, file in _TLS)]
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        daemons.running(options, listener=listener),
    ):
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
        monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
        with contextlib.closing(DockerBackend(pull="never", network="none")) as backend:
            assert all(fine for fine, _ in backend.diagnose()), backend.diagnose()
            engines.make_image(backend, engines.IMAGE, {"build.sh": "true\n"})
            sandbox = backend.create_sandbox(engines.IMAGE)
            assert sandbox.exec("echo", "safely").stdout == b"safely\n"
            assert sandbox.run(["cat"], stdin=b"x" * 200_000).stdout == b"x" * 200_000
            late = _out_of_time(sandbox, "echo begun; sleep 600")
            assert (late.timed_out, late.stdout) == (True, b"begun\n")
            shell.put_files(sandbox, {"/srv/x": bytes(range(256)) * 4000})
            assert shell.get_files(sandbox, "/srv") == {"x": bytes(range(256)) * 4000}
            sandbox.terminate()
        monkeypatch.delenv("DOCKER_TLS_VERIFY")
        monkeypatch.delenv("DOCKER_CERT_PATH")
        with contextlib.closing(DockerBackend()) as stranger:
            ((fine, said),) = stranger.diagnose()
            assert not fine
            assert "DOCKER_HOST" in said


def _out_of_time(sandbox: DockerSandbox, script: str) -> Completed:
    """A script that says something and does not end."""
    for limit in (2, 60):  # the machine may be slow
        done = sandbox.run(["sh", "-c", script], timeout=limit)
        if done.stdout:
            break
    return done


_TLS = (("cacert", "ca.pem"), ("cert", "server-cert.pem"), ("key", "server-key.pem"))


def _certificates(directory: Path) -> None:
    """An authority, and what it signs for a server and for a client, named as the client library looks for them."""
    openssl = shutil.which("openssl")
    if openssl is None:
        engines.missing("needs openssl: apt-get install openssl")

    def make(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=directory, check=True, capture_output=True)

    key = ("-newkey", "rsa:2048", "-nodes")
    make("req", "-x509", *key, "-keyout", "ca-key.pem", "-out", "ca.pem", "-subj", "/CN=tests", "-days", "2")
    for prefix, purpose in (("server-", "serverAuth"), ("", "clientAuth")):
        request, signed = f"{prefix}request.pem", f"{prefix}cert.pem"
        make("req", *key, "-keyout", f"{prefix}key.pem", "-out", request, "-subj", f"/CN={purpose}")
        (directory / "purpose").write_text(f"subjectAltName=IP:127.0.0.1\nextendedKeyUsage={purpose}\n")
        authority = ("-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-extfile", "purpose")
        make("x509", "-req", "-in", request, "-out", signed, "-days", "2", *authority)


def test_the_disk_of_the_engine_is_full() -> None:
    """The command sees it, the harness is told as what it is, and what was there before goes on."""
    with (
        daemons.running(disk="500m") as daemon,
        contextlib.closing(DockerBackend(host=daemon.address, pull="never", network="none")) as backend,
    ):
        engines.make_image(backend, engines.IMAGE, {"build.sh": "true\n"})
        sandbox = backend.create_sandbox(engines.IMAGE)
        shell.put_files(sandbox, {"/srv/before": b"kept"})
        filled = sandbox.exec("sh", "-c", "cat /dev/zero >/big")
        assert filled.returncode == 1
        assert "No space left on device" in filled.stderr_read()
        with pytest.raises(BackendError, match="no space left on device"):
            shell.put_files(sandbox, {"/srv/more": b"x" * 1_000_000})
        with pytest.raises(SandboxStartError, match="no space left on device"):
            backend.create_sandbox(engines.IMAGE)
        assert sandbox.exec("cat", "/srv/before").stdout == b"kept"
        assert sandbox.exec("rm", "/big").returncode == 0
        shell.put_files(sandbox, {"/srv/more": b"x" * 1_000_000})
        sandbox.terminate()
        assert engines.containers_of(backend) == []


_SLEEPERS = """
for process in /proc/[0-9]*; do
    case $(cat "$process/comm"):$(grep State: "$process/status") in
    sleep:*Z*) ;; # dead, and nobody has asked after it
    sleep:?*) echo "$process" ;;
    esac
done 2>/dev/null
"""


def test_an_engine_without_root() -> None:
    with (
        daemons.rootless() as address,
        contextlib.closing(DockerBackend(host=address, pull="never", network="none")) as backend,
    ):
        assert backend.diagnose()[0][0]
        engines.make_image(backend, engines.IMAGE, {"build.sh": "true\n"})
        sandbox = backend.create_sandbox(engines.IMAGE)
        assert sandbox.exec("id", "-u").stdout == b"0\n"
        host_id = Path(f"/proc/{sandbox.engine.api.inspect_container(sandbox.container)['State']['Pid']}")
        assert host_id.stat().st_uid != 0  # root in there is nobody's root out here
        daemons_of_tests = "setsid sleep 600 & setsid sleep 600 & echo begun; wait"
        late = _out_of_time(sandbox, daemons_of_tests)
        assert (late.timed_out, late.stdout) == (True, b"begun\n")
        assert sandbox.exec("sh", "-c", f"sleep 600 & {_SLEEPERS} kill $!").stdout
        until = time.monotonic() + 60
        while sandbox.exec("sh", "-c", _SLEEPERS).stdout and time.monotonic() < until:
            pass  # they were killed, and are dead as soon as the machine comes to it
        assert sandbox.exec("sh", "-c", _SLEEPERS).stdout == b""
        shell.put_files(sandbox, {"/srv/x": bytes(range(256))})
        assert shell.get_files(sandbox, "/srv") == {"x": bytes(range(256))}
        sandbox.terminate()
        assert engines.containers_of(backend) == []


def test_an_engine_that_lost_sight_of_a_containers_files(daemon: Daemon) -> None:
    """Its mount of them is gone, as busy machines have done to it: nothing is put beside them, nothing overlooked."""
    with contextlib.closing(DockerBackend(host=daemon.address, pull="never", network="none")) as backend:
        engines.make_image(backend, engines.IMAGE, {"build.sh": "true\n"})
        for begin in ("put", "get"):
            sandbox = backend.create_sandbox(engines.IMAGE)
            shell.put_files(sandbox, {"/srv/before": b"seen"})
            place = sandbox.engine.api.inspect_container(sandbox.container)["GraphDriver"]["Data"]
            subprocess.run(["umount", "-l", place["MergedDir"]], check=True)
            if begin == "put":
                shell.put_files(sandbox, {"/srv/more": bytes(range(256)) * 1000, "/srv/before": b"changed"})
                assert sandbox.exec("cat", "/srv/before").stdout == b"changed"
                assert sandbox.run(["cat"], stdin=b"x" * 100_000).stdout == b"x" * 100_000
            sandbox.exec("sh", "-c", "echo made >/srv/made")
            found = shell.get_files(sandbox, "/srv")
            assert found["made"] == b"made\n"
            assert found.get("more") == (bytes(range(256)) * 1000 if begin == "put" else None)
            assert [name for name in found if name.startswith(".")] == []
            with pytest.raises(BackendError):
                shell.get_files(sandbox, "/srv/none")
            sandbox.terminate()
