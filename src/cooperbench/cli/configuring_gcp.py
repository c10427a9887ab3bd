"""`config gcp`: what the gcp backend needs, asked for or given by flags, written to a settings file, and looked at.

What is looked at, and the commands that put it right, are `cooperbench.eval.backends.gcp.probe`'s.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cooperbench import settings
from cooperbench.cli import exits
from cooperbench.errors import UsageError

if TYPE_CHECKING:
    from cooperbench.eval.backends.gcp.config import Settings

_ASKED: Mapping[str, tuple[str, str]] = {
    "project_id": ("project", "project"),
    "region": ("region", "region"),
    "machine_type": ("machine_type", "machine type"),
    "bucket_name": ("bucket", "bucket"),
}
"""Setting → its flag's name in the parsed arguments, and what it is called when it is asked for."""

_EXPLAINED = """\
Without --check: settles project, region, machine type and bucket, from flags, else by asking on a terminal, else as
they are, and writes them to a settings file; then looks whether everything is there. Needs application-default
credentials (GOOGLE_APPLICATION_CREDENTIALS, or `gcloud auth application-default login`), not the gcloud program.

exit code 0: everything needed is there; 1: something is missing, and the line says what to run.
"""


def gcp_flags(parser: argparse.ArgumentParser) -> None:
    """What may follow `config gcp`."""
    parser.epilog = _EXPLAINED
    parser.add_argument("--check", action="store_true", help="look only; write nothing, ask nothing")
    parser.add_argument("--project", metavar="ID", help="the Google Cloud project")
    parser.add_argument("--region", metavar="NAME", help="where machines and bucket are (us-central1)")
    parser.add_argument("--machine-type", metavar="NAME", help="what sandboxes run on (n1-standard-4)")
    parser.add_argument("--bucket", metavar="NAME", help="what work travels through (cooperbench-PROJECT)")
    parser.add_argument(
        "--create-bucket", action="store_true", help="make the bucket, and its rule that removes leftovers"
    )
    parser.add_argument(
        "--here", action="store_true", help="write ./cooperbench.toml, not the user's own file"
    )
    parser.add_argument("-y", "--yes", action="store_true", help="ask nothing, also on a terminal")
    parser.add_argument("--json", action="store_true", help="what was found as one JSON value")
    parser.set_defaults(action=_gcp)


def _gcp(args: argparse.Namespace) -> int:
    from cooperbench.eval.backends.gcp import GCPBatchBackend
    from cooperbench.eval.backends.gcp.config import beneath
    from cooperbench.eval.backends.gcp.config import settings as read

    given = {name: getattr(args, flag) for name, (flag, _) in _ASKED.items()}
    wanted = {name: text for name, text in given.items() if text is not None}
    table = beneath(settings.backend_options("gcp"))
    if args.check and wanted:
        raise UsageError("--check looks at what is settled; leave the other flags out, or leave --check out")
    chosen = read({**table, **wanted})
    written: Path | None = None
    if not args.check:
        if sys.stdin.isatty() and not (args.yes or args.json):
            wanted |= _answers(chosen, wanted)
            chosen = read({**table, **wanted})
        written = _write(wanted, Path(settings.PROJECT_FILE) if args.here else settings.user_file())
    backend = GCPBatchBackend(**{**table, **wanted})
    if args.create_bucket:
        backend.make_bucket()
        backend.close()
    return _tell(backend.diagnose(), written, as_json=args.json)


def _answers(
    chosen: Settings, wanted: Mapping[str, str], ask: Callable[[str], str] = input
) -> dict[str, str]:
    """What a person says to each question that no flag has answered; nothing leaves it as it is."""
    answers = {}
    for name, (_, told) in _ASKED.items():
        if name in wanted:
            continue
        current = getattr(chosen, name) or (
            "as the credentials say" if name == "project_id" else "cooperbench-PROJECT"
        )
        try:
            answer = ask(f"{told} [{current}]: ").strip()
        except EOFError:
            break
        if answer:
            answers[name] = answer
    return answers


def _write(wanted: Mapping[str, str], file: Path) -> Path | None:
    from cooperbench.cli.toml_edit import change_file

    if not wanted:
        return None
    change_file(file, {(settings.TABLE, "gcp", name): text for name, text in wanted.items()})
    return file


def _tell(found: list[tuple[bool, str]], written: Path | None, *, as_json: bool) -> int:
    from cooperbench.report.escape import line

    fine = all(good for good, _ in found)
    if as_json:
        told = [{"fine": good, "text": text} for good, text in found]
        print(json.dumps({"fine": fine, "found": told, "written": str(written) if written else None}))
        return exits.DONE if fine else exits.INCOMPLETE
    if written is not None:
        print(line(f"written: {written}"))
    for good, text in found:
        print(line(f"{'ok ' if good else 'BAD'}  {text}"))
    print("all is well" if fine else "not all is well")
    return exits.DONE if fine else exits.INCOMPLETE
