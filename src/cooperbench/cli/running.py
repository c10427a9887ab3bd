"""`run` and `demo`: agents at work, then the report."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from cooperbench.cli import flags, models, places

_TEAM_WITHOUT = {
    "task-list": "its task list",
    "scratchpad": "its scratchpad",
    "mcp": "`coop mcp` for frameworks that speak MCP",
    "auto-refresh": "messages and tasks shown between an agent's steps",
    "protocol": "`coop ask`",
}
HERE = "local"
"""Where the demo runs without anybody's settings: it must work on any machine."""


def run_flags(parser: argparse.ArgumentParser) -> None:
    """What may follow `run`."""
    parser.add_argument("-n", "--name", metavar="RUN", help="the run's name (default: made from what is run)")
    parser.add_argument(
        "-a",
        "--agent",
        metavar="NAME",
        help="who does the work: see `cooperbench agents` (default: mini_swe_agent_v2)",
    )
    parser.add_argument("--agent-config", metavar="PATH", help="a file or directory handed to the agent")
    parser.add_argument(
        "--setting",
        default="coop",
        metavar="NAME",
        help="coop: an agent for each feature; team: the same with a lead, a task list and a scratchpad; "
        "solo: one agent for all (default: coop)",
    )
    parser.add_argument("--force", action="store_true", help="run finished trials again")
    parser.add_argument(
        "--no-auto-eval", action="store_true", help="do not judge; `cooperbench eval` does later"
    )
    parser.add_argument(
        "--agent-timeout", type=flags.seconds, metavar="SECONDS", help="wall time for each agent"
    )
    models.model_flags(parser)
    _together_flags(parser)
    flags.selection(parser)
    _place_flags(parser)
    flags.judging(parser)
    flags.output(parser, progress=True)
    parser.set_defaults(action=_run)


def demo_flags(parser: argparse.ArgumentParser) -> None:
    """What may follow `demo`."""
    parser.description = (
        "Two scripted agents a pair build features of the bundled tasks, talk, and are judged: the whole\n"
        "job, in sandboxes of this machine, without an account, a model or a container engine."
    )
    parser.add_argument(
        "-n",
        "--name",
        metavar="RUN",
        help="the run's name (default: demo, or demo-BACKEND elsewhere than here)",
    )
    _place_flags(parser)
    flags.judging(parser)
    flags.output(parser, progress=True)
    parser.set_defaults(action=_demo)


def _together_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how agents work together")
    choice = argparse.BooleanOptionalAction
    group.add_argument("--messaging", action=choice, default=True, help="agents can talk (default: yes)")
    group.add_argument(
        "--git", action=choice, default=False, help="they can fetch each other's branches (default: no)"
    )
    for part, meaning in _TEAM_WITHOUT.items():
        group.add_argument(
            f"--team-no-{part}",
            action="append_const",
            const=part,
            dest="team_without",
            default=[],
            help=f"team without {meaning}",
        )
    group.add_argument(
        "--redis", metavar="URL", help="a Redis server for agents outside this process (no other needs one)"
    )


def _place_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where, and how much at once")
    flags.backend(group)
    flags.logs(group)
    flags.disk_budget(group)
    flags.frozen(group)
    group.add_argument(
        "-c",
        "--concurrency",
        type=flags.count,
        metavar="N",
        help="trials (default: as many as suit the backend, at most 20)",
    )
    group.add_argument(
        "--eval-concurrency",
        type=flags.count,
        metavar="N",
        help="judgements (default: as many as suit the backend)",
    )


def _run(args: argparse.Namespace) -> int:
    from cooperbench.cli.run_names import run_name
    from cooperbench.runner.spec import DEFAULT_AGENT

    agent = args.agent or DEFAULT_AGENT
    name = args.name
    if name is None:
        name = run_name(args.setting, agent, args.model, args.subset, args.repo, args.task, git=args.git)
    return _perform(
        args,
        name,
        setting=args.setting,
        subset=args.subset,
        repo=args.repo,
        task_id=args.task,
        features=args.features,
        agent=agent,
        agent_config=args.agent_config and Path(args.agent_config),
        force=args.force,
        auto_eval=not args.no_auto_eval,
        messaging_enabled=args.messaging,
        redis_url=args.redis,
        git_enabled=args.git,
        team_without=args.team_without,
        dataset_dir=places.dataset_dir(args),
        **models.arguments(args),
        **({"agent_timeout": args.agent_timeout} if args.agent_timeout else {}),
    )


def _demo(args: argparse.Namespace) -> int:
    from cooperbench.cli.run_names import tidy
    from cooperbench.dataset import demo_dataset

    dataset = demo_dataset()
    args.backend = HERE if args.backend is None else args.backend
    name = "demo" if args.backend == HERE else f"demo-{tidy(args.backend)}"
    return _perform(
        args,
        name if args.name is None else args.name,
        setting="coop",
        subset="demo",
        agent="script",
        agent_config=dataset / "scripts",
        dataset_dir=dataset,
        git_enabled=True,
        force=True,
    )


def _perform(args: argparse.Namespace, name: str, **what: Any) -> int:
    """Run, showing progress, then print the report on the whole run."""
    import sys

    from cooperbench import run
    from cooperbench.cli.reporting import report
    from cooperbench.report.terminal import choose, display

    logs_dir = places.logs_dir(args)
    mode = choose(sys.stderr, quiet=args.quiet, plain=args.plain)
    started = time.monotonic()
    with display(mode, sys.stderr, judging=what.get("auto_eval", True)) as progress:
        run(
            run_name=name,
            backend=args.backend,
            logs_dir=logs_dir,
            concurrency=args.concurrency,
            eval_concurrency=args.eval_concurrency,
            disk_budget=args.disk_budget,
            frozen=args.frozen,
            progress=progress,
            **flags.rules(args),
            **what,
        )
    return report(args, logs_dir, name, time.monotonic() - started)
