"""What a terminal is sent: colours and bold where they are wanted, and nowhere else."""

from __future__ import annotations

import io

import pytest

from cooperbench.report.console import console


class Terminal(io.StringIO):
    """Somebody sits there."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variable", "plain", "styled"),
    [(None, False, True), ("", False, True), ("1", False, False), (None, True, False), ("1", True, False)],
)
def test_no_style_is_sent_where_none_is_wanted(
    variable: str | None, plain: bool, styled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if variable is not None:
        monkeypatch.setenv("NO_COLOR", variable)
    stream = Terminal()
    console(stream, plain=plain).print("words", style="bold red")
    assert "words" in stream.getvalue()
    assert ("\x1b" in stream.getvalue()) is styled
