"""The sandbox contract, clause by clause: plain functions that use a backend and raise `CheckFailed`.

They use the seam and `shell.py` only, so they hold for anybody's backend, and they need no more of the image than
a POSIX shell with coreutils or busybox. How they are run and reported is in `checks.py`.
"""

from __future__ import annotations

from cooperbench.eval.backends.contract import commands, ends, places  # importing them enters their clauses
from cooperbench.eval.backends.contract.frame import (
    CLAUSES,
    CheckFailed,
    CheckSkipped,
    Clause,
    ConfiguredImage,
    Subject,
)

__all__ = ["CLAUSES", "CheckFailed", "CheckSkipped", "Clause", "ConfiguredImage", "Subject"]
__all__ += ["commands", "ends", "places"]
