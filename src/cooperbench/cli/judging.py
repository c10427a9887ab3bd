"""`eval` and `validate`: patches judged, without any agent at work."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from cooperbench.cli import exits, flags, places


def eval_flags(parser: argparse.ArgumentParser) -> None:
    """What may follow `eval`."""
    parser.add_argument("-n", "--name", metavar="RUN", help="the run to judge, see `cooperbench runs`")
    parser.add_argument(
        "--force", action="store_true", help="judge again what has a verdict that still holds"
    )
    flags.selection(parser)
    group = parser.add_argument_group("where, and how much at once")
    flags.backend(group)
    flags.logs(group)
    _concurrency(group)
    flags.frozen(group)
    group.add_argument(
        "--max-cost",
        type=flags.dollars,
        metavar="USD",
        help="once judging this run has cost so much, by estimate, no new judgement starts (modal, gcp)",
    )
    flags.judging(parser)
    flags.output(parser, progress=True)
    parser.set_defaults(action=_eval)


def validate_flags(parser: argparse.ArgumentParser) -> None:
    """What may follow `validate`."""
    parser.add_argument("--merges-only", action="store_true", help="only whether gold patches merge; quick")
    parser.add_argument("--force", action="store_true", help="find out everything anew")
    parser.add_argument("--output-dir", metavar="DIR", help="journal and report (default: ./validation)")
    flags.selection(parser)
    group = parser.add_argument_group("where, and how much at once")
    flags.backend(group)
    _concurrency(group)
    parser.add_argument(
        "--timeout",
        type=flags.seconds,
        metavar="SECONDS",
        help="time for the tests of one feature (default: 600)",
    )
    flags.output(parser, progress=True)
    parser.set_defaults(action=_validate)


def _concurrency(group: argparse._ArgumentGroup) -> None:
    flags.disk_budget(group)
    text = "judgements at once (default: as many as suit the backend)"
    group.add_argument("-c", "--concurrency", type=flags.count, metavar="N", help=text)


def _eval(args: argparse.Namespace) -> int:
    from cooperbench.cli.reporting import existing, report
    from cooperbench.errors import UsageError
    from cooperbench.report.terminal import choose, display

    logs_dir = places.logs_dir(args)
    if not args.name:
        raise UsageError("which run? -n RUN; `cooperbench runs` lists them")
    existing(logs_dir, args.name)
    from cooperbench import evaluate

    mode = choose(sys.stderr, quiet=args.quiet, plain=args.plain)
    started = time.monotonic()
    with display(mode, sys.stderr) as progress:
        evaluate(
            run_name=args.name,
            subset=args.subset,
            repo=args.repo,
            task_id=args.task,
            features=args.features,
            concurrency=args.concurrency,
            force=args.force,
            backend=args.backend,
            disk_budget=args.disk_budget,
            frozen=args.frozen,
            dataset_dir=places.dataset_dir(args, settled=False),
            logs_dir=logs_dir,
            max_cost=args.max_cost,
            progress=progress,
            **flags.rules(args),
        )
    return report(args, logs_dir, args.name, time.monotonic() - started)


def _validate(args: argparse.Namespace) -> int:
    from cooperbench import validate
    from cooperbench.report.terminal import choose, display

    mode = choose(sys.stderr, quiet=args.quiet, plain=args.plain)
    with display(mode, sys.stderr) as progress:
        found = validate(
            subset=args.subset,
            repo=args.repo,
            task_id=args.task,
            features=args.features,
            concurrency=args.concurrency,
            backend=args.backend,
            disk_budget=args.disk_budget,
            dataset_dir=places.dataset_dir(args),
            output_dir=args.output_dir,
            merges_only=args.merges_only,
            force=args.force,
            progress=progress,
            **({"timeout": args.timeout} if args.timeout else {}),
        )
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        _print(found, plain=args.plain)
    return exits.DONE if found["healthy"] else exits.INCOMPLETE


def _print(found: dict[str, Any], *, plain: bool) -> None:
    from cooperbench.report.console import console
    from cooperbench.report.health import health
    from cooperbench.report.tables import show

    show(console(sys.stdout, plain=plain), *health(found))
