"""`show` and `runs`: looking at what was done. Reads run directories, changes nothing."""

from __future__ import annotations

import argparse
import json
import re
import sys
from typing import TYPE_CHECKING, Any

from cooperbench.cli import exits, flags, places

if TYPE_CHECKING:
    from cooperbench.runs import TrialDirectory


def show_flags(parser: argparse.ArgumentParser) -> None:
    """What may follow `show`."""
    parser.add_argument("run", metavar="RUN", help="a run's name, see `cooperbench runs`")
    parser.add_argument(
        "pair",
        nargs="?",
        metavar="PAIR",
        help="one trial in full: repo/task/f1,f2, or its end, as in 2956/1,2",
    )
    parser.add_argument("--setting", metavar="NAME", help="only trials of this setting")
    parser.add_argument(
        "--atif", metavar="AGENT", help="what one agent of PAIR did, as an ATIF trajectory: agent1, agent2 …"
    )
    parser.add_argument("--csv", action="store_true", help="the run's trials as CSV")
    flags.logs(parser)
    flags.output(parser)
    parser.set_defaults(action=_show)


def runs_flags(parser: argparse.ArgumentParser) -> None:
    """What may follow `runs`."""
    flags.logs(parser)
    flags.output(parser)
    parser.set_defaults(action=_runs)


def _show(args: argparse.Namespace) -> int:
    logs_dir = places.logs_dir(args)
    if args.pair is not None:
        return _show_trial(args)
    if args.atif is not None:
        from cooperbench.errors import UsageError

        raise UsageError("--atif AGENT needs a trial: cooperbench show RUN PAIR --atif AGENT")
    if args.csv:
        from cooperbench.cli.reporting import read_run
        from cooperbench.report.export import write_csv

        write_csv(read_run(logs_dir, args.run, args.setting).rows, sys.stdout)
        return exits.DONE
    from cooperbench.cli.reporting import report

    report(args, logs_dir, args.run, setting=args.setting)
    return exits.DONE


def _show_trial(args: argparse.Namespace) -> int:
    from cooperbench.cli.reporting import read_row

    trial = _find(args)
    result, verdict = trial.read_result(), trial.read_verdict()
    if args.atif is not None:
        return _show_atif(args.atif, trial, result or {})
    conversation = trial.read_conversation()
    if args.json:
        whole = {"trial": trial.pair.name, "directory": str(trial.path), "result": result, "verdict": verdict}
        print(json.dumps({**whole, "conversation": conversation}, indent=2))
        return exits.DONE
    from cooperbench.report.console import console
    from cooperbench.report.tables import show
    from cooperbench.report.verdict_view import trial as view

    files = sorted(path.name for path in trial.path.iterdir())
    parts = view(read_row(trial), trial.path, result, verdict, conversation, files)
    show(console(sys.stdout, plain=args.plain), *parts)
    return exits.DONE


def _show_atif(agent: str, trial: TrialDirectory, result: dict[str, Any]) -> int:
    from cooperbench.errors import UsageError
    from cooperbench.report.atif import trajectory
    from cooperbench.runs.trial import agents_of

    agents = agents_of(result)
    if agent not in agents:
        raise UsageError(f"{trial.pair.name} has no agent {agent!r}; there is {', '.join(agents) or 'none'}")
    print(json.dumps(trajectory(result, agent, trial.read_events()), indent=2))
    return exits.DONE


def _find(args: argparse.Namespace) -> TrialDirectory:
    """The trial meant; feature numbers in any order, as ``1,2``, ``f1_f2`` or ``1_2``."""
    from cooperbench.cli.reporting import existing
    from cooperbench.errors import UsageError

    wanted = _tidy(args.pair)
    trials = [
        t for t in existing(places.logs_dir(args), args.run).trials() if args.setting in (None, t.setting)
    ]
    found = [trial for trial in trials if f"/{_tidy(trial.pair.name)}".endswith(f"/{wanted}")]
    if len(found) == 1:
        return found[0]
    if not found:
        some = ", ".join(trial.pair.name for trial in trials[:5]) or "none"
        more = " …" if len(trials) > 5 else ""
        raise UsageError(f"run {args.run} has no trial {args.pair!r}; its trials: {some}{more}")
    several = ", ".join(f"{trial.pair.name} ({trial.setting})" for trial in found[:5])
    raise UsageError(f"{args.pair!r} means several trials: {several}; say more, or give --setting")


def _tidy(text: str) -> str:
    head, slash, features = text.strip("/").rpartition("/")
    numbers = [int(part) for part in re.findall(r"\d+", features)]
    if not re.fullmatch(r"f?\d+([,_]f?\d+)*", features):
        return text
    return f"{head}{slash}{','.join(map(str, sorted(numbers)))}"


def _runs(args: argparse.Namespace) -> int:
    from cooperbench.cli.reporting import read_run, run_names
    from cooperbench.report.export import counts_as_json
    from cooperbench.report.rows import count

    logs_dir = places.logs_dir(args)
    found = (read_run(logs_dir, name) for name in run_names(logs_dir))
    runs = [(run.name, run.config, count(run.rows)) for run in found]
    if args.json:
        print(json.dumps([{"run": name, **counts_as_json(counts)} for name, _, counts in runs], indent=2))
        return exits.DONE
    from cooperbench.report.console import console
    from cooperbench.report.tables import runs_table, show

    show(console(sys.stdout, plain=args.plain), runs_table(logs_dir, runs))
    return exits.DONE
