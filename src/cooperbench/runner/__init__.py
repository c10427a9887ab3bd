"""`run`: agents at work on every trial of a selection, their patches taken and judged.

`spec` is what was asked, `schedule` all trials, `trial` one of them, `seat` one agent of it, `repository` the code it
works on.
"""

from cooperbench.runner.running import run

__all__ = ["run"]
