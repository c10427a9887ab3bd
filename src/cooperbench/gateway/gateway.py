"""One run's gateway: where its calls go, what they cost, and the door, opened when somebody first asks where it is."""

from __future__ import annotations

import threading

from cooperbench.budget import Purse
from cooperbench.gateway.access import ModelAccess, Source
from cooperbench.gateway.line import Keep, Line, Terms
from cooperbench.gateway.prices import Prices
from cooperbench.gateway.server import Door
from cooperbench.gateway.upstream import open_source


class Gateway:
    """Makes lines, one for each agent of each trial; closing it ends them all."""

    def __init__(
        self, access: ModelAccess, source: Source | None = None, most_calls: int | None = None
    ) -> None:
        """The way to a model.

        Args:
            source: where calls go; None for what `access` says. A replay has one for each line, and no key.
            most_calls: how many calls each agent may make.

        Raises:
            UsageError: the model cannot be reached as it was described, or prices that are none.
        """
        self.access = access
        self.prices = Prices(access.prices, with_table=access.base_url is None)
        self._source = source or open_source(access)
        self._most_calls = most_calls
        self._door: Door | None = None
        self._lock = threading.Lock()

    @property
    def source(self) -> Source:
        """Where calls go."""
        return self._source

    @property
    def priced(self) -> bool:
        """Whether what a call costs will be known before the provider says so."""
        return self.prices.known(self.access.name)

    def line(
        self, agent_id: str, purse: Purse, keep: Keep | None = None, source: Source | None = None
    ) -> Line:
        """A new line for one agent of one trial.

        Args:
            purse: what it pays from.
            keep: takes every call as it is recorded.
            source: of its own, in place of the run's.
        """
        terms = Terms(source or self._source, self.prices, self.access.name, purse, self._most_calls, keep)
        return Line(agent_id, terms, self)

    def dismiss(self, line: Line) -> None:
        """A line is closed."""
        with self._lock:
            if self._door is not None:
                self._door.dismiss(line)

    def close(self) -> None:
        """No more answers for anybody."""
        with self._lock:
            door, self._door = self._door, None
        if door is not None:
            door.close()

    def admit(self, line: Line) -> str:
        """Where frameworks in this process find a line."""
        with self._lock:
            if self._door is None:
                self._door = Door()
            self._door.admit(line)
            return self._door.url
