"""The rich consoles everything is printed through: one way to decide on width and colour."""

from __future__ import annotations

import os
from typing import IO

from rich.console import Console

UNKNOWN_WIDTH = 120
"""Columns where output does not go to a terminal: nothing must be cut for a width nobody has."""


class _Console(Console):
    """Leaves it to the program to decide what a reader that went away means."""

    def on_broken_pipe(self) -> None:
        """Called while the error is being handled."""
        raise


def console(stream: IO[str], *, plain: bool = False) -> Console:
    """A console on `stream` that interprets nothing it is given: no markup, no emoji.

    Args:
        plain: no colour and no cursor movement, also on a terminal. Without it, NO_COLOR in the environment takes
            colours away and what goes with them, as bold does.
    """
    terminal = stream.isatty()
    return _Console(
        file=stream,
        width=None if terminal else UNKNOWN_WIDTH,
        color_system=None if plain or os.environ.get("NO_COLOR") else "auto",
        force_terminal=False if plain else None,
        markup=False,
        emoji=False,
        highlight=False,
        soft_wrap=False,
    )
