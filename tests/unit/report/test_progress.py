"""Progress: counts that add up at every instant, estimates, throttling, and what goes where."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooperbench.dataset.model import Pair
from cooperbench.events import AgentFinished, Judged, Note, RunStarted, TrialFinished, TrialStarted
from cooperbench.report import terminal
from cooperbench.report.pace import Pace, dollars, duration, frequency
from tests.unit.report.rows import HOSTILE

PAIRS = [Pair("r_task", 1, (1, n)) for n in range(2, 8)]


def start(total: int = 6, pending: int = 6) -> RunStarted:
    return RunStarted("demo", total, pending, "local", "asked for", 2, Path("logs/demo"))


def judged(pair: Pair, passed: bool | None = True, **more) -> Judged:
    known = {"merge": "clean", "integrity": 0, "seconds": 1.0, "error": None, "conflicts": ()}
    return Judged(pair=pair, setting="coop", passed=passed, **{**known, **more})


def ran(pair: Pair, status: str = "done", error: str | None = None) -> TrialFinished:
    return TrialFinished(pair, "coop", status, 2.0, None, 0, error)


pairs = st.sampled_from(PAIRS)
events = st.one_of(
    pairs.map(lambda p: TrialStarted(p, "coop")),
    st.builds(AgentFinished, pairs, st.just("agent1"), st.just("Submitted"), st.none() | st.floats(0, 5)),
    st.builds(ran, pairs, st.sampled_from(["done", "error", "skip"])),
    st.builds(judged, pairs, st.sampled_from([True, False, None])),
    st.just(Note("x")),
)


@given(st.lists(events, max_size=30), st.booleans())
def test_the_counts_add_up_whatever_happens_in_whatever_order(happenings: list, judging: bool) -> None:
    pace = Pace(judging=judging)
    pace.observe(start(), 0)
    for second, event in enumerate(happenings, 1):
        pace.observe(event, second)
        assert pace.passed + pace.failed + pace.errors + pace.ran + pace.pending == pace.total
        assert pace.eta(second) is None or pace.eta(second) >= 0
        assert len(pace.running) <= len(PAIRS)
        assert f"[{pace.settled}/{pace.total}]" in terminal.status(pace, second)


def test_the_estimate_comes_from_this_invocations_own_work() -> None:
    pace = Pace()
    pace.observe(start(), 100)
    for pair in PAIRS[:3]:  # finished by an earlier invocation
        pace.observe(ran(pair, "skip"), 100)
        pace.observe(judged(pair), 100)
    assert pace.eta(101) is None
    pace.observe(judged(PAIRS[3]), 110)
    assert pace.rate(110) == pytest.approx(0.1)
    assert pace.eta(110) == pytest.approx(20)


def told(events: list, *, mode: str = "plain", clock=lambda: 0.0, judging: bool = True) -> str:
    stream = io.StringIO()
    with terminal.display(mode, stream, judging=judging, clock=clock) as listen:
        for event in events:
            listen(event)
    return stream.getvalue()


def test_plain_lines_say_what_happened() -> None:
    text = told(
        [
            start(),
            judged(PAIRS[0]),
            judged(PAIRS[1], False, merge="conflicts", conflicts=("src/a.py",), integrity=2),
            judged(PAIRS[2], None, error="the engine went away"),
            ran(PAIRS[3], "error", "the agent crashed"),
            Note("built an image"),
        ]
    )
    assert "demo: 6 trials · backend local (asked for) · 2 at a time · logs/demo" in text
    assert "pass  r_task/1/1,2  merge clean" in text
    assert "FAIL  r_task/1/1,3  merge conflicts in src/a.py  2 integrity findings" in text
    assert "ERROR r_task/1/1,4  the engine went away" in text
    assert "ERROR r_task/1/1,5  the agent crashed" in text
    assert "built an image" in text
    assert "\x1b" not in text


def test_quiet_is_quiet() -> None:
    assert told([start(), judged(PAIRS[0]), Note("x")], mode="quiet") == ""


def test_status_lines_come_at_their_own_pace() -> None:
    times = iter(float(second) for second in range(1000))
    text = told([start(), *[Note("n")] * 100], clock=lambda: next(times))
    assert 100 / terminal.STATUS_EVERY * 0.3 < text.count("[0/6]") <= 1 + 300 / terminal.STATUS_EVERY


def test_without_a_run_there_is_no_status() -> None:
    times = iter(float(second) for second in range(1000))
    assert "0 pending" not in told([Note("n")] * 100, clock=lambda: next(times))
    console = terminal.make_console(io.StringIO(), plain=True)
    with console.capture() as captured:
        console.print(terminal._Printer(console, Pace(), lambda: 7.0).picture())
    assert "0 pending" not in captured.get()


def test_of_many_trials_only_the_first_errors_have_a_line() -> None:
    many = [Pair("r_task", 1, (1, n)) for n in range(2, 302)]
    text = told([start(300, 300), *(judged(p, None, error="down") for p in many), judged(PAIRS[0])])
    assert text.count("ERROR") == terminal.ERRORS_SHOWN
    assert "further errors" in text
    assert "pass " not in text


def test_nothing_in_an_event_steers_the_terminal() -> None:
    pair = Pair(HOSTILE, 1, (1, 2))
    happenings = [
        RunStarted(HOSTILE, 1, 1, HOSTILE, HOSTILE, 1, Path(f"x{HOSTILE}")),
        TrialStarted(pair, "coop"),
        judged(pair, False, merge=HOSTILE, conflicts=(HOSTILE,)),
        ran(pair, "error", HOSTILE),
        Note(HOSTILE),
    ]
    text = told(happenings)
    assert not set(text) & {"\x1b", "\r", "\u202e"}
    assert "[red]x[/red]" in text


def test_the_live_display_shows_who_is_at_work() -> None:
    console = terminal.make_console(io.StringIO(), plain=True)
    printer = terminal._Printer(console, Pace(), lambda: 7.0)
    printer.show(start())
    for pair in PAIRS:
        printer.show(TrialStarted(pair, "coop"))
    printer.show(judged(PAIRS[0]))
    with console.capture() as captured:
        console.print(printer.picture())
    picture = captured.get()
    assert "r_task/1/1,3" in picture
    assert "r_task/1/1,2" not in picture
    assert "[1/6] 1 passed, 0 failed, 0 errors, 5 pending" in picture


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "quiet", "plain", "mode"),
    [
        (_Terminal(), False, False, "live"),
        (_Terminal(), False, True, "plain"),
        (_Terminal(), True, False, "quiet"),
        (io.StringIO(), False, False, "plain"),
    ],
)
def test_the_display_suits_the_stream(stream, quiet: bool, plain: bool, mode: str) -> None:
    assert terminal.choose(stream, quiet=quiet, plain=plain) == mode


def test_the_live_display_runs_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = _Terminal()
    with terminal.display("live", stream) as listen:
        listen(start())
        listen(judged(PAIRS[0]))
    assert "r_task/1/1,2" in stream.getvalue()


@pytest.mark.parametrize(
    ("value", "told"),
    [(None, "-"), (0.04, "0.0s"), (9.96, "10s"), (59.6, "1m00s"), (185, "3m05s"), (7620, "2h07m")],
)
def test_durations(value: float | None, told: str) -> None:
    assert duration(value) == told


def test_rates_and_costs() -> None:
    assert [frequency(v) for v in (None, 2.5, 0.1)] == ["-", "2.5/s", "6.0/min"]
    assert [dollars(v) for v in (None, 0.0, 0.1234, 1234.5)] == ["-", "$0", "$0.1234", "$1,234.50"]
