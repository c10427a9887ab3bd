"""What goes wrong at Modal and on the way there, each with its effect: done once, or said to be lost, never both."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from cooperbench.errors import BackendError, SandboxLost, SandboxStartError, SandboxTimeout
from cooperbench.eval.backends import shell
from cooperbench.eval.backends.modal import ModalBackend, ModalSandbox
from tests.loopback.modal import Cloud, Fault
from tests.loopback.modal.boxes import Result
from tests.loopback.modal.faults import ENDLESS
from tests.modal import cloud as clouds
from tests.modal.conftest import Make

ONCE = ("sh", "-c", "echo ran >>/ran; echo out; echo err >&2")


def times_run(sandbox: ModalSandbox) -> int:
    return len(sandbox.exec("cat", "/ran").stdout.splitlines())


# -------------------------------------------------------------------------------------------- commands


@pytest.mark.parametrize(
    "fault",
    [
        Fault("TaskExecStart", "unavailable", 2),
        Fault("TaskExecStart", "lost"),
        Fault("TaskExecStart", "throttle"),
        Fault("TaskExecWait", "unavailable"),
        Fault("TaskExecWait", "lost"),
        Fault("TaskExecStdioRead", "unavailable", 2),
        Fault("TaskExecStdioRead", "cut", 2),
    ],
    ids=lambda fault: f"{fault.call}-{fault.kind}",
)
def test_a_command_runs_once_and_is_heard_whole(sandbox: ModalSandbox, cloud: Cloud, fault: Fault) -> None:
    cloud.go_wrong(fault)
    done = sandbox.exec(*ONCE)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"out\n", b"err\n")
    assert fault.times == 0, "it did go wrong"
    assert times_run(sandbox) == 1


def test_a_long_output_cut_again_and_again(sandbox: ModalSandbox, cloud: Cloud) -> None:
    cloud.go_wrong(*(Fault("TaskExecStdioRead", "cut", 1, after=after) for after in (1, 70_000, 5, 400_001)))
    done = sandbox.exec("sh", "-c", "seq 1 200000; seq 1 100000 >&2")
    assert done.stdout == b"".join(b"%d\n" % n for n in range(1, 200_001))
    assert done.stderr == b"".join(b"%d\n" % n for n in range(1, 100_001))


@pytest.mark.parametrize("kind", ["unavailable", "lost"])
def test_standard_input_arrives_once(sandbox: ModalSandbox, cloud: Cloud, kind: Any) -> None:
    content = bytes(range(256)) * 10_000
    cloud.go_wrong(Fault("TaskExecStdinWrite", kind, 2))
    done = sandbox.run(["cat"], stdin=content)
    assert done.stdout == content


def test_standard_input_that_cannot_be_sent_ends_the_command(sandbox: ModalSandbox, cloud: Cloud) -> None:
    cloud.go_wrong(Fault("TaskExecStdinWrite", "denied"))
    with pytest.raises(BackendError, match="sending standard input"):
        sandbox.run(["sh", "-c", "cat; touch /it-went-on"], stdin=b"x")
    assert sandbox.exec("sh", "-c", "ls /it-went-on; grep -l . /proc/[0-9]*/cmdline | wc -l").returncode == 0
    assert sandbox.exec("ls", "/it-went-on").returncode != 0


def test_a_token_that_expires_is_fetched_anew() -> None:
    with clouds.cloud(router_seconds=1) as other, clouds.backend(other, network="none") as backend:
        sandbox = backend.create_sandbox(clouds.IMAGE)
        assert sandbox.exec("sh", "-c", "echo one >>/ran; sleep 2; echo two").stdout == b"two\n"
        assert sandbox.exec("cat", "/ran").stdout == b"one\n"
        counted = other.desk.counted()
        assert counted["SandboxGetCommandRouterAccess"] >= 1
        assert set(other.desk.unauthenticated) <= {"TaskExecStart", "TaskExecStdioRead", "TaskExecWait"}
        assert other.desk.unauthenticated, "the old token was refused"


def test_what_is_denied_is_an_error_at_once(sandbox: ModalSandbox, cloud: Cloud) -> None:
    cloud.go_wrong(Fault("TaskExecStart", "denied"))
    with pytest.raises(BackendError, match="PermissionDeniedError"):
        sandbox.exec("true")
    assert cloud.desk.counted()["TaskExecStart"] == 1
    assert sandbox.exec("echo", "alive").stdout == b"alive\n"


def test_output_that_never_comes_is_an_error_and_no_short_output(sandbox: ModalSandbox, cloud: Cloud) -> None:
    cloud.go_wrong(Fault("TaskExecStdioRead", "denied"))
    with pytest.raises(BackendError, match="reading the output of a command"):
        sandbox.exec("echo", "lost")


def test_throttled_commands_wait(sandbox: ModalSandbox, cloud: Cloud) -> None:
    cloud.go_wrong(Fault("TaskExecStart", "throttle", 3))
    assert sandbox.exec("echo", "late").stdout == b"late\n"
    assert cloud.desk.counted()["TaskExecStart"] == 4


# -------------------------------------------------------------------------------------------- creations


@pytest.mark.parametrize("kind", ["unavailable", "lost"])
def test_a_creation_whose_answer_is_lost_makes_one(backend: ModalBackend, cloud: Cloud, kind: Any) -> None:
    cloud.go_wrong(Fault("SandboxCreateV2", kind))
    sandbox = backend.create_sandbox(clouds.IMAGE)
    assert [box.id for box in cloud.alive] == [sandbox.id]
    assert sandbox.exec("true").returncode == 0
    sandbox.terminate()


def test_a_creation_the_library_gives_up_on_is_found_by_its_name(backend: ModalBackend, cloud: Cloud) -> None:
    # The library asks four times under one idempotency key, then gives up; we ask again, under the same name.
    cloud.go_wrong(Fault("SandboxCreateV2", "lost", 4))
    sandbox = backend.create_sandbox(clouds.IMAGE)
    assert [box.id for box in cloud.alive] == [sandbox.id]
    counted = cloud.desk.counted()
    assert (counted["SandboxCreateV2"], counted["SandboxGetFromNameV2"]) == (5, 1)
    assert sandbox.exec("echo", "found").stdout == b"found\n"
    sandbox.terminate()
    assert cloud.alive == []


@pytest.mark.parametrize("kind", ["throttle", "throttle-bare"])
def test_a_throttled_creation_is_waited_out(backend: ModalBackend, cloud: Cloud, kind: Any) -> None:
    cloud.go_wrong(Fault("SandboxCreateV2", kind, 2))
    backend.create_sandbox(clouds.IMAGE).terminate()
    assert cloud.desk.counted()["SandboxCreateV2"] == 3


def test_the_wait_is_told(cloud: Cloud) -> None:
    told: list[str] = []
    with clouds.backend(cloud, network="none") as another:
        another.tell_by(lambda what, how_far: told.append(f"{what}: {how_far}"))
        cloud.go_wrong(Fault("SandboxCreateV2", "throttle-bare"))
        another.create_sandbox(clouds.IMAGE).terminate()
    assert told[1:] == ["sandboxes on Modal: None"]
    assert told[0].startswith("sandboxes on Modal: creating a sandbox on Modal: Sandbox creation rate limit")
    assert told[0].endswith("trying again in 1 s")


def test_a_creation_is_not_waited_for_for_ever(cloud: Cloud) -> None:
    with clouds.backend(cloud, network="none", start_patience=1.5) as impatient:
        impatient.prepare_image(clouds.IMAGE, None)
        cloud.go_wrong(Fault("SandboxCreateV2", "throttle-bare", ENDLESS))
        with pytest.raises(SandboxStartError, match=r"rate limit|start_patience"):
            impatient.create_sandbox(clouds.IMAGE)
        cloud.desk.clear()
        cloud.go_wrong(Fault("SandboxCreateV2", "throttle", ENDLESS, seconds=60))
        with pytest.raises(SandboxStartError, match=r"not made a sandbox in 1\.5 s \(start_patience"):
            impatient.create_sandbox(clouds.IMAGE)
    assert cloud.alive == []


def test_a_creation_given_up_on_leaves_nothing(cloud: Cloud) -> None:
    """It was made, and we never heard of it."""
    with clouds.backend(cloud, network="none", start_patience=1) as impatient:
        impatient.prepare_image(clouds.IMAGE, None)
        before = len(cloud.boxes)
        cloud.go_wrong(Fault("SandboxCreateV2", "lost", ENDLESS))
        with pytest.raises(SandboxStartError):
            impatient.create_sandbox(clouds.IMAGE)
        assert len(cloud.boxes) == before + 1
        assert cloud.alive == []


def test_a_workspace_with_a_rate_limit_gets_what_it_asked_for() -> None:
    with clouds.cloud(rate=20.0) as strict, clouds.backend(strict, network="none") as backend:
        sandboxes = [backend.create_sandbox(clouds.IMAGE) for _ in range(12)]
        for sandbox in sandboxes:
            sandbox.terminate()
        assert strict.desk.counted()["SandboxCreateV2"] >= 12
        assert len(strict.boxes) == 12


def test_bad_credentials_are_one_line(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    with clouds.led_to(cloud):
        monkeypatch.setenv("MODAL_TOKEN_SECRET", "as-wrong")
        backend = ModalBackend()
        with pytest.raises(
            BackendError, match=r"does not accept the credentials .*`modal token new`"
        ) as caught:
            backend.create_sandbox(clouds.IMAGE)
        assert "\n" not in str(caught.value)
        fine, line = backend.diagnose()[0]
        assert not fine
        assert "modal token new" in line
        backend.close()
    cloud.desk.unauthenticated.clear()


# -------------------------------------------------------------------------------------------- ends


def during(sandbox: ModalSandbox, act: Any) -> object:
    """What becomes of a command during which `act` is called."""
    seen: list[object] = []

    def stay() -> None:
        try:
            seen.append(sandbox.exec("sh", "-c", "touch /begun; sleep 300"))
        except SandboxLost as lost:
            seen.append(lost)

    thread = threading.Thread(target=stay)
    thread.start()
    sandbox.exec("sh", "-c", "n=0; until [ -e /begun ] || [ $n -gt 300 ]; do sleep 0.1; n=$((n + 1)); done")
    act()
    thread.join(60)
    assert not thread.is_alive()
    return seen[0]


def test_a_sandbox_lost_under_a_command(sandbox: ModalSandbox, cloud: Cloud) -> None:
    seen = during(sandbox, lambda: cloud.kill(sandbox.id))
    assert type(seen) is SandboxLost
    for use in (lambda: sandbox.exec("true"), lambda: shell.put_files(sandbox, {"/x": b""})):
        with pytest.raises(SandboxLost):
            use()


def test_a_sandbox_terminated_under_a_command(sandbox: ModalSandbox) -> None:
    begun = time.monotonic()
    seen = during(sandbox, sandbox.terminate)
    assert str(seen) == "the sandbox was terminated"
    assert time.monotonic() - begun < 250, "nobody waited for the command"


def test_a_lifetime_that_modal_ends_is_a_timeout(sandbox: ModalSandbox, cloud: Cloud) -> None:
    seen = during(sandbox, lambda: cloud.kill(sandbox.id, Result.GENERIC_STATUS_TIMEOUT))
    assert type(seen) is SandboxTimeout


def test_an_exit_code_that_is_the_sandboxs_is_not_believed(sandbox: ModalSandbox, cloud: Cloud) -> None:
    """A worker that ends may tell of the commands it killed: 137 is then nobody's exit code."""
    cloud.report_killed = True
    try:
        seen = during(sandbox, lambda: cloud.kill(sandbox.id))
    finally:
        cloud.report_killed = False
    assert type(seen) is SandboxLost


def test_an_end_modal_does_not_hear_of_at_first(make: Make, cloud: Cloud) -> None:
    sandbox = make()
    cloud.go_wrong(Fault("SandboxTerminateV2", "unavailable", 6))
    sandbox.terminate()
    assert cloud.alive == []


def test_an_end_modal_never_hears_of_is_an_error_and_swept(
    backend: ModalBackend, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cooperbench.eval.backends.modal.sandbox._ATTEMPTS", 2)
    sandbox = backend.create_sandbox(clouds.IMAGE)
    cloud.go_wrong(Fault("SandboxTerminateV2", "unavailable", ENDLESS))
    with pytest.raises(BackendError, match=f"terminating sandbox {sandbox.id}: Modal does not answer"):
        sandbox.terminate()
    assert [box.id for box in cloud.alive] == [sandbox.id]
    with pytest.raises(SandboxLost):
        sandbox.exec("true")
    cloud.desk.clear()
    assert backend.sweep() == [f"modal: sandbox {sandbox.id}, which could not be ended before"]
    assert cloud.alive == []
    sandbox.terminate()


def test_closing_ends_what_is_left(cloud: Cloud) -> None:
    with clouds.backend(cloud, network="none") as backend:
        sandboxes = [backend.create_sandbox(clouds.IMAGE) for _ in range(2)]
        backend.close()
        assert cloud.alive == []
        for sandbox in sandboxes:
            sandbox.terminate()
            with pytest.raises(SandboxLost):
                sandbox.exec("true")
        backend.create_sandbox(clouds.IMAGE).terminate()
