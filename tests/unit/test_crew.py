"""Threads that are used again, and never keep the process."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from cooperbench import crew as crew_module
from cooperbench.crew import Crew


def test_results_and_exceptions_of_any_kind() -> None:
    crew = Crew()
    assert crew.submit(lambda: 3).result(10) == 3

    def fails() -> None:
        raise SystemExit("even this")

    with pytest.raises(SystemExit):
        crew.submit(fails).result(10)
    assert crew.submit(lambda: 4).result(10) == 4  # the thread has survived it


def test_as_many_at_once_as_are_asked_for() -> None:
    crew = Crew()
    together = threading.Barrier(30)
    futures = [crew.submit(lambda: together.wait(30)) for _ in range(30)]
    assert sorted(future.result(30) for future in futures) == list(range(30))


def test_a_thread_is_used_again() -> None:
    crew = Crew()
    seen = set()
    for _ in range(20):
        seen.add(crew.submit(threading.get_ident).result(10))
        time.sleep(0.01)  # it is idle once it has said so
    assert len(seen) < 20


def test_idle_threads_end_and_nothing_is_lost_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew_module, "_IDLE", 0.01)
    crew = Crew()
    for pause in (0, 0.009, 0.01, 0.011, 0.05) * 20:
        time.sleep(pause)
        assert crew.submit(lambda: 1).result(10) == 1


def test_a_hanging_work_does_not_keep_the_process() -> None:
    work = "Crew().submit(lambda: time.sleep(600)); print('leaving')"
    program = f"import time; from cooperbench.crew import Crew; {work}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "leaving\n"
    assert done.returncode == 0
