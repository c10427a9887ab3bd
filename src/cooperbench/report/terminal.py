"""Progress as it happens: a live display on a terminal, plain lines elsewhere, nothing when told to be quiet.

A display is a context manager that yields the listener to pass as ``progress=``. It writes to standard
error, so that standard output holds the results alone.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import IO, Literal

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cooperbench.events import Event, Judged, Note, Progress, RunFinished, RunStarted, TrialFinished, Waiting
from cooperbench.report.console import console as make_console
from cooperbench.report.escape import line
from cooperbench.report.pace import Pace, dollars, duration, frequency

Mode = Literal["live", "plain", "quiet"]

CHATTY = 200
"""Up to so many trials each verdict has its line; beyond, only failures of infrastructure, some of them."""
ERRORS_SHOWN = 20
STATUS_EVERY = 5.0
"""Seconds between two status lines where there is no live display."""
RUNNING_SHOWN = 8


def choose(stream: IO[str], *, quiet: bool, plain: bool) -> Mode:
    """The kind of display that suits a stream and the user's flags."""
    if quiet:
        return "quiet"
    return "live" if stream.isatty() and not plain else "plain"


@contextlib.contextmanager
def display(
    mode: Mode, stream: IO[str], *, judging: bool = True, clock: Callable[[], float] = time.monotonic
) -> Iterator[Progress]:
    """Show a run's events while the block lasts.

    Args:
        judging: whether verdicts are awaited (see `Pace`).
    """
    if mode == "quiet":
        yield _ignore
        return
    printer = _Printer(make_console(stream, plain=mode == "plain"), Pace(judging), clock)
    if mode == "plain":
        yield printer.plainly
        return
    live = Live(get_renderable=printer.picture, console=printer.console, refresh_per_second=4, transient=True)
    with live:
        yield printer.show


def _ignore(event: Event) -> None:
    """The quiet display."""


class _Printer:
    """Prints what is worth a line, keeps the rest for the status."""

    def __init__(self, console: Console, pace: Pace, clock: Callable[[], float]) -> None:
        self.console = console
        self.pace = pace
        self._clock = clock
        self._errors = 0
        self._told = float("-inf")
        self._waits_told: dict[str, float] = {}

    def show(self, event: Event) -> None:
        """Take an event in; print its line if it has one."""
        self.pace.observe(event, self._clock())
        text = self._line(event)
        if text is not None:
            self.console.print(text, soft_wrap=True)

    def plainly(self, event: Event) -> None:
        """The same, with a status line from time to time."""
        self.show(event)
        now = self._clock()
        if isinstance(event, Waiting):
            self._tell_waiting(event, now)
        elif isinstance(event, RunStarted):
            self._told = now
        elif self.pace.total and now - self._told >= STATUS_EVERY and not isinstance(event, RunFinished):
            self._told = now
            self.console.print(Text(status(self.pace, now)), soft_wrap=True)

    def _tell_waiting(self, event: Waiting, now: float) -> None:
        """That it has begun, then how far it is from time to time."""
        if event.how_far is None:
            self._waits_told.pop(event.what, None)
        elif now - self._waits_told.get(event.what, float("-inf")) >= STATUS_EVERY:
            self._waits_told[event.what] = now
            self.console.print(Text(waiting_line(event.what, event.how_far)), soft_wrap=True)

    def picture(self) -> RenderableType:
        """The live display at this moment."""
        now = self._clock()
        running = list(self.pace.running.items())
        shown = [
            Text(f"  … {line(name, 90)}  {duration(now - since)}", style="dim")
            for name, since in running[:RUNNING_SHOWN]
        ]
        if len(running) > RUNNING_SHOWN:
            shown.append(Text(f"  … and {len(running) - RUNNING_SHOWN} more", style="dim"))
        shown += [Text(waiting_line(*each), style="dim") for each in list(self.pace.waiting.items())]
        if not self.pace.total:  # no run: `validate` tells what it does in notes
            return Group(*shown)
        grid = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=max(1, self.pace.total), completed=self.pace.settled, width=30)
        grid.add_row(bar, Text(status(self.pace, now)))
        return Group(*shown, grid)

    def _line(self, event: Event) -> Text | None:
        match event:
            case RunStarted():
                return Text(opening(event), style="bold")
            case Judged() if event.passed is None:
                return self._trouble(event.pair.name, event.error)
            case Judged() if self.pace.total <= CHATTY:
                return verdict_line(event)
            case TrialFinished(status="error"):
                return self._trouble(event.pair.name, event.error)
            case TrialFinished(status="done") if not self.pace.judging and self.pace.total <= CHATTY:
                return Text(f"  done  {line(event.pair.name)}  {duration(event.seconds)}")
            case Note():
                return Text(f"  {line(event.text)}")
        return None

    def _trouble(self, name: str, error: str | None) -> Text | None:
        self._errors += 1
        if self._errors > ERRORS_SHOWN:
            return None
        told = f"  ERROR {line(name)}  {line(error or 'no reason given', 400)}"
        if self._errors == ERRORS_SHOWN:
            told += "\n  further errors are counted below and kept in the run's summary"
        return Text(told, style="yellow")


def opening(event: RunStarted) -> str:
    """The first line: what is about to happen, where and why there."""
    done = event.total - event.pending
    reckoning = f" ({line(event.reckoning)})" if event.reckoning else ""
    already = f", {done} already done" if done else ""
    return (
        f"{line(event.run_name)}: {event.total} {'trial' if event.total == 1 else 'trials'}{already}"
        f" · backend {line(event.backend)} ({line(event.reason)})"
        f" · {event.concurrency} at a time{reckoning} · {line(event.directory)}"
    )


def waiting_line(what: str, how_far: str) -> str:
    """One thing that is waited for."""
    return f"  … {line(what, 90)}  {line(how_far, 120)}"


def verdict_line(event: Judged) -> Text:
    """One verdict as a line."""
    text = Text("  ")
    text.append(*(("pass ", "green") if event.passed else ("FAIL ", "red")))
    text.append(f" {line(event.pair.name)}  ")
    if event.merge:
        text.append(f"merge {line(event.merge)}")
    if event.conflicts:
        text.append(f" in {line(', '.join(event.conflicts), 120)}")
    if event.integrity:
        text.append(
            f"  {event.integrity} integrity {'finding' if event.integrity == 1 else 'findings'}", "magenta"
        )
    text.append(f"  {duration(event.seconds)}", "dim")
    return text


def status(pace: Pace, now: float) -> str:
    """How it stands, in one line; the counts add up to the total."""
    parts = [f"{pace.passed} passed, {pace.failed} failed"] if pace.judging else [f"{pace.ran} done"]
    parts.append(f"{pace.errors} errors, {pace.pending} pending")
    pacing = f"{frequency(pace.rate(now))}, ETA {duration(pace.eta(now))}"
    cost = f"; {dollars(pace.cost)}" if pace.cost is not None else ""
    return f"[{pace.settled}/{pace.total}] {', '.join(parts)}; {pacing}{cost}"
