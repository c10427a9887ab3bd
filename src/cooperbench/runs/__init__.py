"""The run directory: the only code that knows file names under ``logs/``.

`directory` is a whole run, `trial` one trial's files, `discovery` finds trials of other releases' runs too,
`totals` counts a run, `settings` tells whether two invocations belong to the same experiment.
"""

from cooperbench.runs.directory import SETTINGS, RunDirectory
from cooperbench.runs.discovery import DEFAULT_LOGS, discover_runs, known_runs
from cooperbench.runs.settings import differences
from cooperbench.runs.totals import eval_summary, standings, summary
from cooperbench.runs.trial import SOLO, TrialDirectory, finished

__all__ = [
    "DEFAULT_LOGS",
    "SETTINGS",
    "SOLO",
    "RunDirectory",
    "TrialDirectory",
    "differences",
    "discover_runs",
    "eval_summary",
    "finished",
    "known_runs",
    "standings",
    "summary",
]
