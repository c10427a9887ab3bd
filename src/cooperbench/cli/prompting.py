"""`prompt`: what an agent is told."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cooperbench.cli import exits

if TYPE_CHECKING:
    from cooperbench.agents.base import Assignment

_TASK = "(the specification of the feature)"


def prompt_flags(parser: argparse.ArgumentParser) -> None:
    """What may follow `prompt`."""
    parser.description = "The prompt of an agent in a setting, or the templates it is made from."
    parser.add_argument(
        "--setting",
        choices=("solo", "coop", "team"),
        default="coop",
        help="for which setting (default: coop)",
    )
    parser.add_argument("--git", action="store_true", help="with branches shared between agents")
    parser.add_argument("--prompts", metavar="DIR", help="with templates of your own from there")
    parser.add_argument("--write", metavar="DIR", help="write the templates there, to be changed")
    parser.set_defaults(action=_prompt)


def _prompt(args: argparse.Namespace) -> int:
    from cooperbench.agents import prompting

    own = Path(args.prompts) if args.prompts else None
    prompting.check(own)
    if args.write:
        folder = Path(args.write)
        folder.mkdir(parents=True, exist_ok=True)
        for name in prompting.NAMES:
            (folder / f"{name}.md").write_text(prompting.template(name, own), "utf-8")
        print(f"{len(prompting.NAMES)} templates in {folder}; give it to run --prompts")
        return exits.DONE
    print(prompting.prompt(_specimen(args.setting, args.git, own)), end="")
    return exits.DONE


def _specimen(setting: str, git: bool, own: Path | None) -> Assignment:
    """An agent of a pair, as a run would have it."""
    from cooperbench.agents.base import Assignment
    from cooperbench.runner.means import means_of

    alone = setting == "solo"
    return Assignment(
        agent_id="agent1",
        teammates=() if alone else ("agent2",),
        repo="some_task",
        task_id=1,
        features=(1,),
        pair=(1, 2),
        setting=setting,
        instructions=_TASK,
        task_path=Path(),
        means=means_of(setting, not alone, git and not alone, ()),
        role="lead" if setting == "team" else "",
        prompts=own,
    )
