"""A judgement the infrastructure spoils is repeated once, unless it was ended on purpose."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from cooperbench.dataset import Pair, demo_dataset, load_dataset
from cooperbench.errors import SandboxLost
from cooperbench.eval.judging import Judging, judge


class Loses:
    """Every sandbox of it is lost at once."""

    def __init__(self, ended: bool) -> None:
        self.ended = ended
        self.asked = 0

    def create_sandbox(self, image: str, timeout: int = 600, workdir: str = "/workspace") -> Any:
        del image, timeout, workdir
        self.asked += 1
        raise SandboxLost("it is gone")


@pytest.mark.parametrize(("ended", "times"), [(False, 2), (True, 1)])
def test_what_is_lost_by_accident_is_tried_again(
    ended: bool, times: int, caplog: pytest.LogCaptureFixture
) -> None:
    task, backend = load_dataset(demo_dataset()).task("almanac_task", 12), Loses(ended)
    with caplog.at_level(logging.WARNING), pytest.raises(SandboxLost):
        judge(backend, task, Pair("almanac_task", 12, (1, 2)), {1: b"", 2: b""}, "coop", Judging())
    assert backend.asked == times
    assert ("judging once more" in caplog.text) is not ended
