"""How often a batch is looked at: the number of questions does not grow with the time it takes."""

from __future__ import annotations

import pytest

from cooperbench.eval.backends.gcp.batch.pace import Pace

BOOT = 30.0


def follow(results: list[float], over: float | None = None) -> tuple[list[float], list[float]]:
    """A batch whose results come at these seconds, and whose job is over then: when was asked, when was listed."""
    now, seen = 0.0, 0
    pace, asked, listed = Pace(now), [], []
    while seen < len(results):
        if pace.wants_to_ask(now):
            asked.append(now)
            if over is not None and now >= over:
                break
            pace.asked(now, runs=now >= BOOT)
        if pace.has_begun:
            listed.append(now)
            there = sum(1 for each in results if each <= now)
            if there > seen:
                pace.heard(now)
            seen = there
        now += pace.pause(now, seen, len(results) - seen)
    return asked, listed


@pytest.mark.parametrize("slowness", [1, 3, 10, 30, 100, 1000])
@pytest.mark.parametrize("bursts", [1, 4])
def test_questions_do_not_grow_with_time(slowness: float, bursts: int) -> None:
    """Twenty results of a batch that takes three minutes, or a hundred times that; evenly, or some at a time."""
    results = sorted(BOOT + slowness * 9.0 * (each // bursts + 1) * bursts for each in range(20))
    asked, _ = follow(results)
    assert len([each for each in asked if each > BOOT]) <= (8 if slowness <= 100 else 11)
    assert len([each for each in asked if each <= BOOT]) <= 6


@pytest.mark.parametrize("slowness", [1, 10, 100])
def test_a_result_is_found_within_a_minute_and_the_last_one_in_time(slowness: float) -> None:
    results = [BOOT + slowness * 9.0 * (each + 1) for each in range(20)]
    _, listed = follow(results)
    late = [min(each for each in listed if each >= there) - there for there in results]
    assert max(late) <= 60
    assert late[-1] <= max(2, 9.0 * slowness / 2)


@pytest.mark.parametrize("over", [BOOT + 5, BOOT + 100, BOOT + 3000])
def test_a_job_that_is_over_is_noticed(over: float) -> None:
    """Its results stop coming; one in ten seconds was usual."""
    results = [BOOT + 10.0 * (each + 1) for each in range(1000)]
    kept = [each for each in results if each <= over]
    asked, _ = follow([*kept, 1e9], over)
    assert asked[-1] - over <= 400


def test_waiting_for_machines_is_a_look_a_minute() -> None:
    pace, now, looks = Pace(0.0), 0.0, 0
    while now < 3600:
        assert pace.wants_to_ask(now)
        pace.asked(now, runs=False)
        looks += 1
        now += pace.pause(now, 0, 10)
    assert looks <= 70
