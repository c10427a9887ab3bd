"""What code in an embedded sandbox can and cannot do, one case each; a program, so that any user can run it.

``main(RUNG, STATE_DIRECTORY)`` prints ``{case: null | what went wrong}``. It needs nothing but the package and the
standard library: `test_local` runs it as root and, from a readable copy, as an ordinary user.
"""

from . import commands, ends, files, limits, network  # noqa: F401  # each enters its cases
from .frame import SKIPPED, main, names

__all__ = ["SKIPPED", "main", "names"]
