"""The same Jobs on the embedded sandbox and on Docker: the same Verdicts, field by field but for time and place."""

from __future__ import annotations

import dataclasses

import pytest

from cooperbench.dataset import Pair
from cooperbench.errors import JudgeError
from cooperbench.eval.backends.docker import DockerBackend
from cooperbench.eval.judging import Judging, judge
from cooperbench.eval.sources import ready_image
from tests.docker import engines
from tests.judging import parity


@pytest.mark.parametrize("name", parity.NAMES)
def test_the_same_verdict(name: str, backend: DockerBackend, parity_cases: parity.Cases) -> None:
    parity_cases.compare(backend, name)


def test_the_images_that_cannot_be_judged(backend: DockerBackend, parity_cases: parity.Cases) -> None:
    """Without git, without runner.sh: the image's fault, and no verdict."""
    task = parity_cases.datasets["todosh_task"].task(*parity.TODO)
    ready_image(backend, task)
    for name, script, said in (
        ("nogit", "rm -f $(command -v git)", "the image has no git"),
        ("norunner", "rm -f /usr/local/bin/runner.sh", "runner.sh"),
    ):
        image = f"cooperbench-test/{name}:1"
        engines.make_image(
            backend, image, {"build.sh": "exit 1\n", "Dockerfile": f"FROM {task.image}\nRUN {script}\n"}
        )
        broken = dataclasses.replace(task, image=image, recipe=None)
        with pytest.raises(JudgeError, match=said):
            judge(backend, broken, Pair(*parity.TODO, (3, 4)), {3: b"", 4: b""}, "coop", Judging(timeout=20))
