"""Which model, how it is reached, what it may cost: the flags of `run` that are about models."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cooperbench.cli import flags

_NAMES = ("base_url", "api_key_env", "max_cost", "max_trial_cost", "max_calls", "record", "replay")
_PATHS = ("prices", "prompts")


def model_flags(parser: argparse.ArgumentParser) -> None:
    """What may be said about models."""
    group = parser.add_argument_group(
        "models", "Keys are read from the environment, or from a file .env here."
    )
    group.add_argument("-m", "--model", metavar="MODEL", help="as in anthropic/claude-sonnet-4-5")
    group.add_argument("--base-url", metavar="URL", help="a server of your own that answers for the model")
    group.add_argument(
        "--api-key-env",
        metavar="NAME",
        help="the variable that holds the key (default: the provider's usual one)",
    )
    group.add_argument("--prices", metavar="FILE", help="what models cost, before litellm's table (JSON)")
    group.add_argument(
        "--max-cost", type=flags.dollars, metavar="USD", help="start no new trial once the run has cost this"
    )
    group.add_argument(
        "--max-trial-cost",
        type=flags.dollars,
        metavar="USD",
        help="end the agents of a trial that has cost this",
    )
    group.add_argument(
        "--max-calls", type=flags.count, metavar="N", help="calls each agent may make to its model"
    )
    group.add_argument(
        "--prompts", metavar="DIR", help="prompt templates of your own: see `cooperbench prompt`"
    )
    group.add_argument("--record", action="store_true", help="keep every call to the model with the run")
    group.add_argument(
        "--replay", metavar="RUN", help="repeat a recorded run: its calls answer, no model is asked"
    )


def arguments(args: argparse.Namespace) -> dict[str, Any]:
    """The same as arguments of the public verb."""
    paths = {name: Path(value) for name in _PATHS if (value := getattr(args, name)) is not None}
    return {"model_name": args.model, **{name: getattr(args, name) for name in _NAMES}, **paths}
