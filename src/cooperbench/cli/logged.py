"""What the package logs, as lines on standard error: it logs what a user should know and nobody asked for."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator

from cooperbench.report.escape import line


class _Lines(logging.Handler):
    """One harmless line for each record, on whatever standard error is at that moment: a live display takes it over."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record."""
        try:
            print(f"cooperbench: {record.levelname.lower()}: {line(record.getMessage())}", file=sys.stderr)
        except Exception:  # as every handler: logging must not end what it tells of
            self.handleError(record)


@contextlib.contextmanager
def warnings_told() -> Iterator[None]:
    """Let the package's warnings be seen while the block lasts."""
    logger, handler = logging.getLogger("cooperbench"), _Lines(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
