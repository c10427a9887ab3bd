"""Flags that several verbs share, spelt once."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from cooperbench.errors import UsageError


class Parser(argparse.ArgumentParser):
    """An argument parser that raises instead of printing usage and leaving."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Report bad arguments.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"{message} (see `{self.prog} --help`)")


def number_list(text: str) -> list[int]:
    """``1,2`` as numbers; whether such features exist is the dataset's to say."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"numbers joined by commas, as in 1,2: not {text!r}") from None


def count(text: str) -> int:
    """A whole number above 0."""
    if not text.isascii() or not text.isdigit() or int(text[:9]) < 1:
        raise argparse.ArgumentTypeError(f"a whole number above 0, not {text!r}")
    return int(text[:9])


def seconds(text: str) -> float:
    """A number of seconds above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"a number of seconds above 0, not {text!r}")
    return value


def dollars(text: str) -> float:
    """An amount of US dollars above 0."""
    try:
        value = float(text.removeprefix("$"))
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"an amount of US dollars above 0, not {text!r}")
    return value


def size(text: str) -> int:
    """A number of bytes, as in ``60g``."""
    from cooperbench import settings

    found = settings.size(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"a size such as 500m or 60g, not {text!r}")
    return found


def selection(parser: argparse.ArgumentParser) -> None:
    """Which pairs: ``-s -r -t -f``, and which dataset."""
    group = parser.add_argument_group("which pairs", "Without any of these: every pair of the dataset.")
    group.add_argument("-s", "--subset", metavar="NAME", help="a named list of pairs: lite, flash, full …")
    group.add_argument("-r", "--repo", metavar="REPO", help="only this repository, as in llama_index_task")
    group.add_argument("-t", "--task", type=int, metavar="ID", help="only this task number (0 is a number)")
    group.add_argument(
        "-f", "--features", type=number_list, metavar="N,N", help="only this pair of features, as in 1,2"
    )
    dataset(group)


def dataset(parser: argparse._ActionsContainer) -> None:
    """Where the dataset is."""
    parser.add_argument("--dataset-dir", metavar="DIR", help="the dataset's directory (default: ./dataset)")
    parser.add_argument(
        "--demo", action="store_true", help="use the small dataset that comes with the package"
    )


def logs(parser: argparse._ActionsContainer) -> None:
    """Where runs are kept."""
    parser.add_argument(
        "--log-dir",
        "--logs-dir",
        dest="logs_dir",
        metavar="DIR",
        help="the directory runs are kept in (default: ./logs)",
    )


def backend(parser: argparse._ActionsContainer) -> None:
    """Where sandboxes run."""
    parser.add_argument(
        "--backend",
        metavar="NAME",
        help="where sandboxes run: a name `cooperbench backends` lists, or package.module:Class "
        "(default: settings, then what this machine has)",
    )


def disk_budget(parser: argparse._ActionsContainer) -> None:
    """How much images may take."""
    parser.add_argument(
        "--disk-budget",
        type=size,
        metavar="SIZE",
        help="of images fetched for this, keep at most so much, as in 60g: those of finished tasks go first "
        "(default: the backend's settings; 0: keep all)",
    )


def frozen(parser: argparse._ActionsContainer) -> None:
    """Whether images may have changed."""
    parser.add_argument(
        "--frozen",
        action="store_true",
        help="use no image whose digest is another than the one the run recorded",
    )


def judging(parser: argparse._ActionsContainer) -> None:
    """How verdicts are reached."""
    parser.add_argument(
        "--timeout", type=seconds, metavar="SECONDS", help="time for the tests of one feature (default: 600)"
    )
    parser.add_argument(
        "--independent",
        action="store_true",
        help="also test each agent's patch alone, to tell coding from coordination failures",
    )
    parser.add_argument(
        "--merge-rule",
        choices=("git", "union"),
        help="git: a conflict fails the trial; union: lines of both sides are kept then (default: git)",
    )
    parser.add_argument(
        "--integrity-rule",
        choices=("report", "drop"),
        help="files that can steer a test run from outside are kept and reported, or dropped and reported "
        "(default: report)",
    )


def rules(args: argparse.Namespace) -> dict[str, Any]:
    """What was said about judging, as arguments of the public verbs; what was not said is left to them."""
    given = {
        "timeout": args.timeout,
        "merge_rule": args.merge_rule,
        "integrity_rule": args.integrity_rule,
        "independent": args.independent or None,
    }
    return {name: value for name, value in given.items() if value is not None}


def output(parser: argparse.ArgumentParser, *, progress: bool = False) -> None:
    """How results are told."""
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="the result as one JSON value on standard output")
    group.add_argument("--plain", action="store_true", help="no colours, no live display")
    if progress:
        group.add_argument("-q", "--quiet", action="store_true", help="no progress; only the closing report")
