"""`backends`, `agents`, `doctor`, `clean`: what there is here, whether it works, what was left behind."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from cooperbench.cli import exits, flags

if TYPE_CHECKING:
    from collections.abc import Callable

    from cooperbench.eval.backends.base import EvalBackend
    from cooperbench.eval.backends.checks import CheckResult

IMAGES = {"local": "host"}
"""Images that are there wherever the backend is."""


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
    parser.add_argument("--image", metavar="REF", help="the image to put the sandbox contract to the test in")
    parser.add_argument("--quick", action="store_true", help="look at the machine only, not at the contract")
    parser.add_argument("--json", action="store_true", help="as one JSON value")
    parser.set_defaults(action=_doctor)


def clean_flags(parser: argparse.ArgumentParser) -> None:
    """What may follow `clean`."""
    flags.backend(parser)
    parser.add_argument("--json", action="store_true", help="as one JSON value")
    parser.set_defaults(action=_clean)


def _backends(args: argparse.Namespace) -> int:
    from cooperbench.eval import backends
    from cooperbench.eval.backends import choose_backend

    chosen, reason = choose_backend(None)
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
    from cooperbench.eval.backends import choose_backend
    from cooperbench.eval.backends.base import Diagnosable

    name, reason = choose_backend(args.backend)
    backend = backends.get_backend(name)
    tell = _silent if args.json else _print
    tell([f"backend {name} ({reason})"])
    found = backend.diagnose() if isinstance(backend, Diagnosable) else []
    tell([f"{'ok ' if good else 'BAD'}  {text}" for good, text in found])
    fine = all(good for good, _ in found)
    image = args.image or IMAGES.get(name)
    clauses: list[CheckResult] = []
    if fine and not args.quick and image:
        tell([f"the sandbox contract, in image {image}:"])
        clauses = _contract(backend, image, tell)
    elif fine and not args.quick:
        tell(
            [
                "with --image REF, an image this backend can run, the sandbox contract is put to the test as well"
            ]
        )
    fine = fine and all(clause.fine for clause in clauses)
    if args.json:
        told = [{"fine": good, "text": text} for good, text in found]
        contract = [asdict(clause) for clause in clauses]
        print(
            json.dumps({"backend": name, "reason": reason, "fine": fine, "found": told, "contract": contract})
        )
    tell(["all is well" if fine else "not all is well"])
    return exits.DONE if fine else exits.INCOMPLETE


def _contract(backend: EvalBackend, image: str, tell: Callable[[list[str]], None]) -> list[CheckResult]:
    from cooperbench.eval.backends.checks import CHECKS, Subject, examine

    results = []
    for check in CHECKS:
        result = examine(check, Subject(backend, image))
        message = f": {result.message}" if result.message else ""
        tell(
            [f"{'ok ' if result.fine else 'BAD'}  {result.outcome:9}  {result.meaning.rstrip('.')}{message}"]
        )
        results.append(result)
    return results


def _silent(_lines: list[str]) -> None:
    """Say nothing; the JSON value says it all."""


def _clean(args: argparse.Namespace) -> int:
    from cooperbench.eval import backends
    from cooperbench.eval.backends import choose_backend
    from cooperbench.eval.backends.base import Sweeper

    name, _ = choose_backend(args.backend)
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


def _print(lines: list[str]) -> None:
    from cooperbench.report.escape import line

    sys.stdout.writelines(f"{line(told)}\n" for told in lines)
    sys.stdout.flush()
