"""What is left behind is removed, and nothing else: the owner's process is looked at, or the expiry."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from cooperbench.eval.backends.base import SandboxSpec
from cooperbench.eval.backends.modal import ModalBackend
from tests.loopback.modal import Cloud
from tests.modal import cloud as clouds

LEAVE = """
import os, sys
from cooperbench.eval.backends.base import SandboxSpec
from cooperbench.eval.backends.modal import ModalBackend
backend = ModalBackend(creates_per_second=0, network="none", app_name=sys.argv[2])
backend.create(SandboxSpec(sys.argv[1], labels={"run": "r", "trial": "t"}))
print("made", flush=True)
os._exit(9)
"""


def leave_one(cloud: Cloud, app: str = "cooperbench") -> None:
    """A harness makes a sandbox and dies."""
    done = subprocess.run(
        [sys.executable, "-c", LEAVE, clouds.IMAGE, app],
        env={**os.environ, **cloud.environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (9, "made\n"), done.stderr


def test_a_dead_harness_leaves_and_a_live_one_keeps(backend: ModalBackend, cloud: Cloud) -> None:
    kept = backend.create(SandboxSpec(clouds.IMAGE))
    leave_one(cloud)
    left = next(box for box in cloud.alive if box.id != kept.id)
    with clouds.backend(cloud) as cleaner:
        assert cleaner.sweep() == [f"modal: sandbox {left.id} (r t)"]
        assert cleaner.sweep() == []
    assert [box.id for box in cloud.alive] == [kept.id]
    kept.terminate()


def test_another_app_is_none_of_our_business(cloud: Cloud) -> None:
    leave_one(cloud, "somebody-elses")
    with clouds.backend(cloud) as cleaner:
        assert cleaner.sweep() == []
    with clouds.backend(cloud, app_name="somebody-elses") as cleaner:
        assert len(cleaner.sweep()) == 1
    assert cloud.alive == []


def test_of_another_machines_only_what_has_expired(backend: ModalBackend, cloud: Cloud) -> None:
    sandboxes = [backend.create(SandboxSpec(clouds.IMAGE)) for _ in range(2)]
    for sandbox, expiry in zip(sandboxes, ("9999999999", "1000000000"), strict=True):
        cloud.boxes[sandbox.id].tags |= {"owner": "elsewhere_1_1", "expiry": expiry}
    with clouds.backend(cloud) as cleaner:
        assert cleaner.sweep() == [f"modal: sandbox {sandboxes[1].id}"]
    assert [box.id for box in cloud.alive] == [sandboxes[0].id]
    for sandbox in sandboxes:
        sandbox.terminate()


def test_more_than_one_page_of_them(backend: ModalBackend, cloud: Cloud) -> None:
    sandboxes = [backend.create(SandboxSpec(clouds.IMAGE)) for _ in range(30)]
    for sandbox in sandboxes:
        cloud.boxes[sandbox.id].tags["expiry"] = "1"
        cloud.boxes[sandbox.id].tags["owner"] = "elsewhere_1_1"
    with clouds.backend(cloud) as cleaner:
        assert len(cleaner.sweep()) == 30
    assert cloud.alive == []
    backend.close()


def test_the_command_line_cleans(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    from cooperbench.cli import main

    leave_one(cloud)
    with clouds.led_to(cloud):
        assert main(["clean", "--backend", "modal"]) == 0
        assert "modal: sandbox sb-" in capsys.readouterr().out
        assert main(["clean", "--backend", "modal"]) == 0
        assert capsys.readouterr().out == "nothing left behind on modal\n"
        assert main(["doctor", "modal", "--quick"]) == 0
        said = capsys.readouterr().out
    assert "Modal answers" in said
    assert "a sandbox costs about $0.190 an hour, by Modal's list prices of June 2026" in said
