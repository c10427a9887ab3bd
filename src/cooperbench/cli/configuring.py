"""`config`: show settings and where each comes from; change the user's file."""

from __future__ import annotations

import argparse
import json
from typing import Any

from cooperbench import settings
from cooperbench.cli import exits
from cooperbench.errors import UsageError

EXPLAINED = """\
Settings are read from, strongest first: flags; the environment (COOPERBENCH_BACKEND and so on);
./cooperbench.toml; the user's own file (`cooperbench config path`).

keys: backend, concurrency, eval_concurrency, dataset_dir, logs_dir, and one table for each backend's own
options, as in backends.local.network

examples:
  cooperbench config set backend local
  cooperbench config set concurrency 4
  cooperbench config gcp --project my-project --region europe-west4 --create-bucket
"""


def config_flags(parser: argparse.ArgumentParser) -> None:
    """The verb's words."""
    parser.epilog = EXPLAINED
    parser.add_argument("--json", action="store_true", help="as one JSON value")
    actions = parser.add_subparsers(title="actions", metavar="ACTION")
    parser.set_defaults(action=_show)
    show = actions.add_parser("show", help="every setting and where it comes from (the default)")
    path = actions.add_parser("path", help="the user's settings file")
    path.set_defaults(action=_path)
    change = actions.add_parser("set", help="change the user's settings file")
    for action in (show, path, change):  # what stands before the action holds as well
        action.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="as one JSON value"
        )
    change.add_argument("key", metavar="KEY")
    change.add_argument("value", metavar="VALUE")
    change.set_defaults(action=_set)
    from cooperbench.cli.configuring_gcp import gcp_flags

    told = "settle what the gcp backend needs, and see whether it would work"
    gcp_flags(actions.add_parser("gcp", help=told, description=f"{told[0].upper()}{told[1:]}."))


def _show(args: argparse.Namespace) -> int:
    from cooperbench.report.escape import line

    found = settings.load()
    if args.json:
        print(
            json.dumps(
                {"values": found.values, "origins": found.origins, "backends": found.backends}, default=str
            )
        )
        return exits.DONE
    for key in settings.KEYS:
        value = found.values.get(key)
        told = "not set" if value is None else f"{value}  ({found.origins[key]})"
        print(line(f"{key} = {told}"))
    for name, table in found.backends.items():
        for key, value in table.items():
            print(line(f"backends.{name}.{key} = {value}"))
    return exits.DONE


def _path(args: argparse.Namespace) -> int:
    file = settings.user_file()
    print(json.dumps({"path": str(file)}) if args.json else file)
    return exits.DONE


def _set(args: argparse.Namespace) -> int:
    from cooperbench.cli.toml_edit import change_file

    path = tuple(args.key.split("."))
    value = _value(path, args.key, args.value)
    file = settings.user_file()
    change_file(file, {path: value})
    told = {"key": args.key, "value": value, "path": str(file)}
    print(json.dumps(told) if args.json else f"{args.key} = {value}  ({file})")
    return exits.DONE


def _value(path: tuple[str, ...], key: str, text: str) -> Any:
    """The text as a value of the key; an option of a backend is a number or truth value if it reads so."""
    if len(path) == 1 and path[0] != settings.TABLE:
        return settings.parse(key, text, "config set")
    if len(path) != 3 or path[0] != settings.TABLE or not all(path):
        raise UsageError(
            f"no setting {key!r}; an option of a backend is written {settings.TABLE}.NAME.OPTION"
        )
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float) else text
