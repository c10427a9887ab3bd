"""`main`: find the verb, run it, turn whatever it raises into one line and an exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from cooperbench import __version__
from cooperbench.cli import exits
from cooperbench.cli.flags import Parser
from cooperbench.errors import CooperBenchError, UsageError

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """\
CooperBench measures whether coding agents can work together: two agents build two features of one
repository, each in a sandbox of its own; their patches are merged; both hidden test suites judge the result.
"""

VERBS = {
    "demo": (
        "running",
        "the whole job on a small bundled dataset, with scripted agents: no account, no model",
    ),
    "run": ("running", "let agents work on pairs of features, and judge what they made"),
    "eval": ("judging", "judge (again) the patches of a run"),
    "show": ("results", "a run's results, or one trial in full"),
    "runs": ("results", "the runs there are"),
    "prepare": ("datasets", "download the dataset, or take it from a directory, an archive or git"),
    "images": ("images", "pull, import, build and look after the images sandboxes are made from"),
    "tasks": ("datasets", "what the dataset, or a selection of it, holds"),
    "validate": ("judging", "the dataset's own health: gold patches merge or not, pass; empty patches fail"),
    "backends": ("machine", "where sandboxes can run"),
    "agents": ("machine", "the agents there are"),
    "prompt": ("prompting", "what agents are told"),
    "doctor": ("machine", "whether a backend works here, and what to do if not"),
    "clean": ("machine", "remove what killed runs left behind"),
    "config": ("configuring", "show or change settings"),
}
"""Verb → (module in this package, one line of help); the module's ``VERB_flags`` adds its flags."""


_MISPLACED = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EEXIST,
        errno.ENAMETOOLONG,
    }
)
"""A path the user named cannot be used: the request is at fault."""
_EXHAUSTED = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""The machine is at fault."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments without the program's name; None for the process's own.

    Returns:
        The exit code; what each means is in `exits`.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    _have_streams()
    _print_anything()
    try:
        code = _perform(argv)
        sys.stdout.flush()
        return code
    except CooperBenchError as error:
        return _told(error, argv)
    except KeyboardInterrupt:
        return _say("interrupted", exits.INTERRUPTED)
    except BrokenPipeError:
        _forget_output()
        return exits.BROKEN_PIPE
    except OSError as error:
        return _refused(error, argv)
    except Exception as error:  # the last resort of a program: one line for people, the rest in a file
        return _fault(error, argv)


def _perform(argv: list[str]) -> int:
    verb = next((word for word in argv if not word.startswith("-")), None)
    if verb is not None and verb not in VERBS and argv[0] == verb:
        from cooperbench.settings import did_you_mean

        raise UsageError(f"there is no verb {verb!r}{did_you_mean(verb, list(VERBS))}")
    parser = _parser(verb)
    try:
        args = parser.parse_args(argv)
    except SystemExit as leaving:  # --help, --version
        return int(leaving.code or 0)
    if not hasattr(args, "action"):
        parser.print_help()
        return exits.USAGE
    from cooperbench.cli.dotenv import load_dotenv
    from cooperbench.cli.logged import warnings_told
    from cooperbench.interrupts import all_as_ctrl_c

    load_dotenv()

    with warnings_told(), all_as_ctrl_c():
        return int(args.action(args))


def _parser(wanted: str | None) -> argparse.ArgumentParser:
    """The parser, with the flags of the verb in question only: the others are not asked for."""
    parser = Parser(prog="cooperbench", description=DESCRIPTION, epilog=exits.EPILOG)
    parser.add_argument("--version", action="version", version=f"cooperbench {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of a fault")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", parser_class=Parser)
    for name, (module, told) in VERBS.items():
        sub = verbs.add_parser(name, help=told, description=f"{told[0].upper()}{told[1:]}.")
        sub.add_argument("--debug", action="store_true", help="show the traceback of a fault")
        if name == wanted:
            getattr(import_module(f"cooperbench.cli.{module}"), f"{name}_flags")(sub)
    return parser


# ---------------------------------------------------------------------------- when it goes wrong


def _told(error: CooperBenchError, argv: list[str]) -> int:
    if _debugging(argv):
        _traceback(sys.stderr.write, error)
    code = exits.USAGE if isinstance(error, UsageError) else exits.INFRASTRUCTURE
    return _say(str(error), code)


def _refused(error: OSError, argv: list[str]) -> int:
    """What the operating system would not do: most often a place that cannot be written, or a full disk."""
    misplaced = error.errno in _MISPLACED and error.filename is not None
    if not misplaced and error.errno not in _EXHAUSTED:
        return _fault(error, argv)
    if _debugging(argv):
        _traceback(sys.stderr.write, error)
    if misplaced:
        return _say(
            f"cannot use {os.fsdecode(error.filename)}: {error.strerror}; name another place", exits.USAGE
        )
    where = f" ({os.fsdecode(error.filename)})" if error.filename else ""
    return _say(f"{error.strerror}{where}; make room, then call the same again", exits.INFRASTRUCTURE)


def _fault(error: Exception, argv: list[str]) -> int:
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if _debugging(argv):
        _traceback(sys.stderr.write, error)
        return _say(f"a fault in cooperbench: {what}", exits.FAULT)
    import tempfile

    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="cooperbench-", suffix=".traceback", delete=False, encoding="utf-8", errors="replace"
        ) as file:
            _traceback(file.write, error)
    except OSError:  # no place for it
        return _say(f"a fault in cooperbench: {what} (--debug shows the traceback)", exits.FAULT)
    return _say(f"a fault in cooperbench: {what} (traceback in {file.name}; --debug shows it)", exits.FAULT)


def _traceback(write: object, error: BaseException) -> None:
    import traceback

    assert callable(write)
    for part in traceback.format_exception(error):
        write(part)


def _debugging(argv: list[str]) -> bool:
    return "--debug" in argv or os.environ.get("COOPERBENCH_DEBUG", "") not in ("", "0")


def _say(text: str, code: int) -> int:
    """One line on standard error, whatever the text holds."""
    from cooperbench.report.escape import line

    with contextlib.suppress(OSError):  # nobody is listening
        print(f"cooperbench: {line(' '.join(text.splitlines()))}", file=sys.stderr, flush=True)
    return code


def _have_streams() -> None:
    """Open what the caller has closed (``>&-``): descriptors 0 to 2 must not become files of a run."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def _print_anything() -> None:
    """A character the terminal cannot show must not end the program."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _forget_output() -> None:
    """Keep the interpreter from complaining once more when it flushes at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
