"""`prepare` and `tasks`: getting a dataset, and looking into it."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from cooperbench.cli import exits, flags, places

if TYPE_CHECKING:
    from cooperbench.dataset.model import Dataset, Pair


def prepare_flags(parser: argparse.ArgumentParser) -> None:
    """What may follow `prepare`."""
    parser.description = (
        "Put a dataset in place: the published one from the Hugging Face Hub (pip install 'cooperbench[hub]';\n"
        "HF_ENDPOINT and HF_TOKEN are honoured), or one from elsewhere. An interrupted download goes on where it\n"
        "stopped; what is there already is replaced in one step, and only if it was checked."
    )
    parser.add_argument(
        "--from", dest="source", metavar="SOURCE", help="a directory, a tar archive or a git URL"
    )
    parser.add_argument("--force", action="store_true", help="replace a dataset that is there")
    parser.add_argument("--dataset-dir", metavar="DIR", help="where it goes (default: ./dataset)")
    parser.add_argument("--json", action="store_true", help="the result as one JSON value on standard output")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress; only the result")
    parser.set_defaults(action=_prepare, demo=False)


def _prepare(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from cooperbench.dataset.prepare import prepare
    from cooperbench.report.escape import line

    def tell(text: str) -> None:
        print(line(text), file=sys.stderr, flush=True)

    made = prepare(
        places.dataset_dir(args) or places.DATASET,
        source=args.source,
        force=args.force,
        progress=None if args.quiet else tell,
    )
    if args.json:
        print(json.dumps(asdict(made), indent=2, default=str))
    else:
        what = "in place" if made.fresh else "already in place, intact"
        print(line(f"{made.counts}, {made.files} files {what}: {made.root} (from {made.source})"))
    return exits.DONE


def tasks_flags(parser: argparse.ArgumentParser) -> None:
    """What may follow `tasks`."""
    flags.selection(parser)
    parser.add_argument(
        "--setting",
        default="coop",
        metavar="NAME",
        help="coop or solo: what a trial may hold (default: coop)",
    )
    parser.add_argument("--pairs", action="store_true", help="list every pair, one a line")
    flags.output(parser)
    parser.set_defaults(action=_tasks)


def _tasks(args: argparse.Namespace) -> int:
    from cooperbench.dataset import load_dataset, select

    dataset = load_dataset(places.dataset_dir(args))
    pairs = select(
        dataset,
        subset=args.subset,
        repo=args.repo,
        task_id=args.task,
        features=args.features,
        setting=args.setting,
    )
    if args.json:
        print(json.dumps(_as_json(dataset, pairs), indent=2))
    elif args.pairs:
        sys.stdout.writelines(f"{pair.name}\n" for pair in pairs)
    else:
        _table(dataset, pairs, plain=args.plain)
    return exits.DONE


def _by_task(pairs: list[Pair]) -> dict[tuple[str, int], list[Pair]]:
    grouped: dict[tuple[str, int], list[Pair]] = {}
    for pair in pairs:
        grouped.setdefault((pair.repo, pair.task_id), []).append(pair)
    return grouped


def _as_json(dataset: Dataset, pairs: list[Pair]) -> dict[str, Any]:
    grouped = _by_task(pairs)
    return {
        "dataset": str(dataset.root),
        "repositories": len({repo for repo, _ in grouped}),
        "tasks": [
            {
                "repo": repo,
                "task_id": task_id,
                "features": list(dataset.task(repo, task_id).features),
                "image": dataset.task(repo, task_id).image,
                "pairs": [list(pair.features) for pair in held],
            }
            for (repo, task_id), held in grouped.items()
        ],
        "features": sum(len(dataset.task(*key).features) for key in grouped),
        "pairs": len(pairs),
    }


def _table(dataset: Dataset, pairs: list[Pair], *, plain: bool) -> None:
    from rich.text import Text

    from cooperbench.report.console import console
    from cooperbench.report.escape import line
    from cooperbench.report.tables import grid, show

    grouped = _by_task(pairs)
    rows = [
        (
            repo,
            task_id,
            len(dataset.task(repo, task_id).features),
            len(held),
            dataset.task(repo, task_id).image,
        )
        for (repo, task_id), held in grouped.items()
    ]
    features = sum(row[2] for row in rows)
    repositories = len({repo for repo, _ in grouped})
    closing = f"{repositories} repositories, {len(rows)} tasks, {features} features, {len(pairs)} pairs"
    show(
        console(sys.stdout, plain=plain),
        grid(("repository", "task", "features", "pairs", "image"), rows, right=(1, 2, 3)),
        Text(f"\n{closing}  ({line(dataset.root)})"),
    )
