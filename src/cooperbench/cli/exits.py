"""Exit codes: the one place that says what they mean."""

from __future__ import annotations

DONE = 0
"""Everything asked for was done. Trials that failed their tests are results, not troubles."""
INCOMPLETE = 1
"""Done as far as possible: some trials have no verdict (errors, pending), or a check found something."""
USAGE = 2
"""The request cannot be met as it stands: unknown name, impossible selection, a file or place that cannot be used."""
INFRASTRUCTURE = 3
"""A backend or an agent framework could not work, or the disk is full."""
FAULT = 4
"""A fault in cooperbench itself."""
INTERRUPTED = 130
"""Ctrl-C, or one of the signals that do the same: SIGTERM, SIGHUP."""
BROKEN_PIPE = 141
"""Whoever read the output stopped reading."""

EPILOG = """\
exit codes:
  0    done; trials that failed their tests are results, not troubles
  1    done as far as possible: trials without a verdict remain, or a check found something
  2    the request cannot be met: unknown name, impossible selection, a file or place that cannot be used
  3    a backend or an agent framework could not work, or the disk is full
  4    a fault in cooperbench itself
  130  interrupted by Ctrl-C, SIGTERM or SIGHUP
  141  whoever read the output stopped reading
"""
