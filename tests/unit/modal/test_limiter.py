"""Turns are taken one after another, by everybody who shares the file."""

from __future__ import annotations

import math
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from cooperbench.eval.backends.modal.limiter import Limiter


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def limiter(path: Path, clock: Clock, rate: float = 4) -> Limiter:
    return Limiter(path, rate, clock=clock, wait=clock.wait)


def test_a_second_is_saved_up_then_turns_are_a_rate_apart(tmp_path: Path) -> None:
    clock = Clock()
    turns = [limiter(tmp_path / "deep" / "f", clock).reserve() for _ in range(8)]
    assert turns == pytest.approx([0, 0, 0, 0, 0, 0.25, 0.5, 0.75])


def test_waiting_is_told_and_done(tmp_path: Path) -> None:
    clock = Clock()
    told: list[float] = []
    for _ in range(9):
        limiter(tmp_path / "f", clock).take(told.append)
    assert clock.now == pytest.approx(1_000_001.0)
    assert told == pytest.approx([0.25] * 4)


def test_idle_time_is_not_saved_up_for_ever(tmp_path: Path) -> None:
    clock = Clock()
    for _ in range(8):
        limiter(tmp_path / "f", clock).reserve()
    clock.now += 3600
    turns = [limiter(tmp_path / "f", clock).reserve() for _ in range(6)]
    assert turns == pytest.approx([0, 0, 0, 0, 0, 0.25])


def test_no_limit_touches_nothing(tmp_path: Path) -> None:
    assert limiter(tmp_path / "f", Clock(), rate=0).reserve() == 0
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"torn", struct.pack("<d", math.nan), struct.pack("<d", math.inf), struct.pack("<d", 1e15)],
)
def test_a_file_that_makes_no_sense_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    assert limiter(tmp_path / "f", Clock()).reserve() == 0
    assert limiter(tmp_path / "f", Clock()).reserve() <= 0.25


def test_processes_share_it(tmp_path: Path) -> None:
    """Four processes take fifty turns each at the same moment of the same clock: none is lost."""
    ask = (
        "import sys; from pathlib import Path; from cooperbench.eval.backends.modal.limiter import Limiter;"
        "limiter = Limiter(Path(sys.argv[1]), 1000, clock=lambda: 1e6);"
        "print(*(round(limiter.reserve() * 1000) for _ in range(50)))"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", ask, str(tmp_path / "f")], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    turns = sorted(int(word) for each in processes for word in each.communicate()[0].split())
    assert turns == [0] * 200, "the second that was saved up holds a thousand"
    spent = struct.unpack("<d", (tmp_path / "f").read_bytes())[0]
    assert spent == pytest.approx(1e6 - 1 + 200 / 1000)
