"""The command line: argv → one public verb → exit code.

Every verb lives in a module of its own (or with its nearest kin) and imports what it needs when it runs, so
that ``cooperbench --help`` loads argparse and nothing else.
"""

from __future__ import annotations

from cooperbench.cli.program import main

__all__ = ["main"]
