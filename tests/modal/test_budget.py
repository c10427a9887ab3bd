"""How many calls things are, on the server's own record."""

from __future__ import annotations

from cooperbench.eval.backends import shell
from cooperbench.eval.backends.base import SandboxSpec
from cooperbench.eval.backends.modal import ModalBackend, ModalSandbox
from cooperbench.eval.job import Job
from tests.loopback.modal import Cloud
from tests.modal import cloud as clouds
from tests.modal.conftest import Make

COMMAND = {"TaskExecStart": 1, "TaskExecStdioRead": 2, "TaskExecWait": 1}
"""A command: begun, listened to, waited for."""


def test_a_warm_creation_is_one_call(backend: ModalBackend, cloud: Cloud) -> None:
    sandbox = backend.create_sandbox(clouds.IMAGE)
    assert cloud.desk.counted() == {"SandboxCreateV2": 1}
    sandbox.terminate()
    assert cloud.desk.counted() == {"SandboxCreateV2": 1, "SandboxTerminateV2": 1}


def test_a_command_asks_nothing_of_the_control_plane(sandbox: ModalSandbox, cloud: Cloud) -> None:
    assert sandbox.exec("sh", "-c", "exit 3").returncode == 3
    assert cloud.desk.counted() == COMMAND


def test_a_code_that_may_be_the_sandboxs_end_is_one_call_more(sandbox: ModalSandbox, cloud: Cloud) -> None:
    assert sandbox.exec("sh", "-c", "kill -KILL $$").returncode == 137
    assert cloud.desk.counted() == {**COMMAND, "SandboxWaitV2": 1}


def test_files_are_one_command_each_way(sandbox: ModalSandbox, cloud: Cloud) -> None:
    shell.put_files(sandbox, {"/srv/f/a": b"1" * 300_000, "/srv/f/b": b"2"})
    assert cloud.desk.counted() == {**COMMAND, "TaskExecStdinWrite": 2}
    cloud.desk.clear()
    assert shell.get_files(sandbox, "/srv/f") == {"a": b"1" * 300_000, "b": b"2"}
    assert cloud.desk.counted() == COMMAND


def test_judging_is_a_creation_three_commands_and_an_end(backend: ModalBackend, cloud: Cloud) -> None:
    script = b"mkdir /facts; cat /given/patch >/facts/patch; exit 0"
    files = {"/job/go.sh": script, "/given/patch": b"p" * 200_000}
    output = shell.run_job(backend, Job(clouds.IMAGE, files, ("sh", "/job/go.sh"), "/facts", 60, {}))
    assert output.facts == {"patch": b"p" * 200_000}
    counted = cloud.desk.counted()
    assert (counted["SandboxCreateV2"], counted["TaskExecStart"], counted["SandboxTerminateV2"]) == (1, 3, 1)
    control = {name: count for name, count in counted.items() if not name.startswith("TaskExec")}
    assert control == {"SandboxCreateV2": 1, "SandboxTerminateV2": 1}


def test_an_image_is_built_once_however_many_ask(make: Make, cloud: Cloud) -> None:
    before = cloud.images.built
    with clouds.backend(cloud, network="none") as another:
        sandboxes = [make(by=another) for _ in range(3)]
        assert len({sandbox.id for sandbox in sandboxes}) == 3
        assert cloud.images.built == before, "Modal knows its layers"
        counted = cloud.desk.counted()
        assert counted["ImageGetOrCreate"] == 2, "one layer for FROM, one for ENTRYPOINT"
        assert counted["AppGetOrCreate"] == counted["AuthTokenGet"] == 1


def test_what_is_asked_for_is_what_is_made(backend: ModalBackend, cloud: Cloud) -> None:
    labels = {"run": "a run/with blanks", "trial": "t"}
    sandbox = backend.create(SandboxSpec(clouds.IMAGE, 33.5, network="none", labels=labels))
    box = cloud.boxes[sandbox.id]
    sandbox.terminate()
    asked = box.definition
    assert (asked.timeout_secs, asked.idle_timeout_secs) == (34, 1800)
    resources = asked.resources
    assert (resources.milli_cpu, resources.milli_cpu_max) == (1000, 4000)
    assert (resources.memory_mb, resources.memory_mb_max) == (2048, 8192)
    assert asked.network_access.network_access_type == 2, "BLOCKED"
    assert {name: box.tags[name] for name in ("product", "run", "trial")} == {
        "product": "cooperbench",
        "run": "a-run-with-blanks",
        "trial": "t",
    }
    assert box.tags["owner"].count("_") == 2
    assert int(box.tags["expiry"]) > box.created
