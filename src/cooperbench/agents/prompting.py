"""What an agent is told, from the templates in ``prompts/``; a directory of the user's own may replace any of them.

``task.md`` is the whole; in it ``$team`` stands for ``solo.md``, ``coop.md`` or ``team.md`` and, after that, one part
for everything the agents have to work together with. Templates are `string.Template`: ``$$`` is a dollar.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from string import Template

from cooperbench.agents.base import Assignment, Message
from cooperbench.errors import UsageError

PARTS = ("messages", "ask", "git", "tasks", "notes")
"""Templates by the means they tell of, in the order they are told."""
NAMES = ("task", "solo", "coop", "team", *PARTS)
FIELDS = (
    "agent_id",
    "finish",
    "first_teammate",
    "instructions",
    "role",
    "team",
    "teammates",
    "work_on",
    "workdir",
)
"""What may stand behind a ``$`` in them."""


def prompt(assignment: Assignment, finish: str = "") -> str:
    """The task as its agent is given it.

    Args:
        finish: how this framework wants to be told that the work is done.
    """
    own = assignment.prompts
    values = {
        "agent_id": assignment.agent_id,
        "workdir": assignment.workdir,
        "teammates": _listed(assignment.teammates),
        "first_teammate": assignment.teammates[0] if assignment.teammates else "",
        "work_on": "works on" if len(assignment.teammates) == 1 else "work on",
        "role": assignment.role or "member",
    }
    team = "".join(_filled(name, own, values) for name in _told(assignment))
    # What fills a field is never looked at again: a specification may hold dollars.
    whole = {**values, "team": team, "instructions": assignment.instructions.strip(), "finish": finish}
    return _filled("task", own, whole).strip() + "\n"


def check(own: Path | None) -> None:
    """Look at a user's templates before anything runs.

    Raises:
        UsageError: not a directory, a file that is no template's, or a field there is not.
    """
    if own is None:
        return
    if not own.is_dir():
        raise UsageError(f"--prompts {own} is not a directory; it holds templates like {NAMES[0]}.md")
    for path in sorted(own.glob("*.md")):
        if path.stem not in NAMES:
            raise UsageError(f"{path} is no template; there are {', '.join(f'{name}.md' for name in NAMES)}")
        _filled(path.stem, own, dict.fromkeys(FIELDS, ""))


def template(name: str, own: Path | None = None) -> str:
    """The text of one template, the user's where there is one."""
    if own is not None and (own / f"{name}.md").is_file():
        try:
            return (own / f"{name}.md").read_text("utf-8")
        except (OSError, ValueError) as problem:
            raise UsageError(f"{own / name}.md cannot be read: {problem}") from problem
    return _ours(name)


def mail(messages: list[Message]) -> str:
    """Messages as they are shown to an agent whose conversation we lead; no text can pass for another's head."""
    shown = [
        f"{message.sender} says:\n" + "\n".join(f"  {line}" for line in _lines(message))
        for message in messages
    ]
    return "New messages from your teammates:\n\n" + "\n\n".join(shown)


def _lines(message: Message) -> list[str]:
    return message.text.splitlines() or [""]


def _told(assignment: Assignment) -> Iterator[str]:
    """Which templates make up what is said about teammates."""
    yield assignment.setting if assignment.teammates else "solo"
    for part in PARTS:
        if assignment.teammates and getattr(assignment.means, part):
            yield part


def _filled(name: str, own: Path | None, values: dict[str, str]) -> str:
    try:
        return Template(template(name, own)).substitute(values)
    except KeyError as problem:
        raise UsageError(
            f"template {name}.md: there is no field ${problem.args[0]}; there are {', '.join(FIELDS)}"
        ) from problem
    except ValueError as problem:
        raise UsageError(f"template {name}.md: {problem}; a dollar is written $$") from problem


@cache
def _ours(name: str) -> str:
    return (resources.files("cooperbench.agents") / "prompts" / f"{name}.md").read_text("utf-8")


def _listed(names: tuple[str, ...]) -> str:
    """ "agent2", "agent2 and agent3", "agent2, agent3 and agent4"."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
