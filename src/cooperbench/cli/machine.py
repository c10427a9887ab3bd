"""`backends`, `agents`, `doctor`, `clean`: what there is here, whether it works, what was left behind."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from cooperbench.cli import exits, flags


def backends_flags(parser: argparse.ArgumentParser) -> None:
    """What may follow `backends`."""
    parser.add_argument("--json", action="store_true", help="as one JSON value")
    parser.set_defaults(action=_backends)


def agents_flags(parser: argparse.ArgumentParser) -> None:
    """What may follow `agents`."""
    parser.add_argument("--json", action="store_true", help="as one JSON value")
    parser.set_defaults(action=_agents)


def doctor_flags(parser: argparse.ArgumentParser) -> None:
    """What may follow `doctor`."""
    parser.add_argument("backend", nargs="?", metavar="BACKEND", help="default: the one a run would take")
    parser.add_argument(
        "--image", metavar="REF", help="also put the sandbox contract to the test in this image"
    )
    parser.add_argument("--json", action="store_true", help="as one JSON value")
    parser.set_defaults(action=_doctor)


def clean_flags(parser: argparse.ArgumentParser) -> None:
    """What may follow `clean`."""
    flags.backend(parser)
    parser.add_argument("--json", action="store_true", help="as one JSON value")
    parser.set_defaults(action=_clean)


def _backends(args: argparse.Namespace) -> int:
    from cooperbench.eval import backends
    from cooperbench.settings import backend_choice

    chosen, reason = backend_choice(None)
    names = list(backends.list_backends())
    if args.json:
        print(json.dumps({"backends": names, "default": chosen, "reason": reason}))
        return exits.DONE
    _print([f"{name}  (default: {reason})" if name == chosen else name for name in names])
    return exits.DONE


def _agents(args: argparse.Namespace) -> int:
    from cooperbench.agents import list_agents

    names = list(list_agents())
    if args.json:
        print(json.dumps({"agents": names}))
    else:
        _print(names)
    return exits.DONE


def _doctor(args: argparse.Namespace) -> int:
    from cooperbench.eval import backends
    from cooperbench.eval.backends.base import Diagnosable
    from cooperbench.settings import backend_choice

    name, reason = backend_choice(args.backend)
    backend = backends.get_backend(name)
    found = backend.diagnose() if isinstance(backend, Diagnosable) else []
    fine = all(good for good, _ in found)
    if args.json:
        told = [{"fine": good, "text": text} for good, text in found]
        print(json.dumps({"backend": name, "reason": reason, "fine": fine, "found": told}))
    else:
        _print(
            [f"backend {name} ({reason})", *(f"{'ok  ' if good else 'BAD '} {text}" for good, text in found)]
        )
    return exits.DONE if fine else exits.INCOMPLETE


def _clean(args: argparse.Namespace) -> int:
    from cooperbench.eval import backends
    from cooperbench.eval.backends.base import Sweeper
    from cooperbench.settings import backend_choice

    name, _ = backend_choice(args.backend)
    backend = backends.get_backend(name)
    removed = backend.sweep() if isinstance(backend, Sweeper) else []
    if args.json:
        print(json.dumps({"backend": name, "removed": removed}))
        return exits.DONE
    if not isinstance(backend, Sweeper):
        _print([f"backend {name} keeps nothing that could be left behind"])
    else:
        _print(removed or [f"nothing left behind on {name}"])
    return exits.DONE


def _print(lines: Sequence[Any]) -> None:
    from cooperbench.report.escape import line

    sys.stdout.writelines(f"{line(told)}\n" for told in lines)
