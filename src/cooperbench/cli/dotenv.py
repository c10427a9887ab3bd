"""A file ``.env`` in the working directory: variables for this process, as many programs have it.

Only the command line reads it, never the package. What the environment has already stays as it is.
"""

from __future__ import annotations

import os
import re
from collections.abc import MutableMapping
from pathlib import Path

from cooperbench.errors import UsageError

FILE = ".env"
_LINE = re.compile(r"""(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s#"']*))\s*(?:#.*)?""")


def load_dotenv(path: Path | None = None, environ: MutableMapping[str, str] | None = None) -> None:
    """Take over the variables of a file, if it is there.

    Args:
        path: None for ``./.env``.
        environ: None for this process's.

    Raises:
        UsageError: a line is no assignment; the message has its number, never what it holds.
    """
    path = Path(FILE) if path is None else path
    environ = os.environ if environ is None else environ
    try:
        text = path.read_text("utf-8")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return
    except (OSError, ValueError) as problem:
        raise UsageError(
            f"{path} cannot be read: {getattr(problem, 'strerror', None) or 'not UTF-8'}"
        ) from None
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if line and not line.startswith("#"):
            found = _LINE.fullmatch(line)
            if found is None:
                raise UsageError(f"{path} line {number} is not of the form NAME=value")
            environ.setdefault(found[1], found[2] or found[3] or found[4] or "")
