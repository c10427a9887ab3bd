"""One trial in full, for a person who asks why: agents, messages, merge, tests, findings, where logs are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from cooperbench.report.escape import block, line
from cooperbench.report.pace import dollars, duration
from cooperbench.report.rows import TrialRow, listing, mapping, number, text, texts, whole
from cooperbench.report.tables import STYLES, grid

MESSAGES_SHOWN = 40
DIFF_SHOWN = 4000
"""Characters of the merged diff."""


def trial(
    row: TrialRow,
    directory: Path,
    result: Any,
    verdict: Any,
    conversation: Any = None,
    files: Sequence[str] = (),
) -> Iterator[RenderableType]:
    """Everything known of one trial, part by part.

    Args:
        row: the trial in short.
        result: what ``result.json`` holds; None when absent. `verdict`, `conversation` likewise.
        files: names of the files in `directory`.
    """
    result, verdict = mapping(result), mapping(verdict)
    heading = Text(line(row.name), style="bold")
    heading.append(f"  {row.outcome}", STYLES[row.outcome])
    yield heading
    yield from _circumstances(result, verdict)
    if row.reason:
        yield Text(f"why: {line(row.reason)}")
    if row.error:
        yield Text(f"error: {line(row.error)}", style="yellow")
    yield from _agents(result)
    yield from _merge(verdict)
    yield from _tests(verdict)
    yield from _findings(verdict)
    yield from _messages(conversation)
    yield Text(f"\nfiles in {line(directory)}:\n  {line('  '.join(sorted(files)) or 'none')}")


def _circumstances(result: Mapping[str, Any], verdict: Mapping[str, Any]) -> Iterator[Text]:
    image = mapping(verdict.get("image"))
    team = mapping(result.get("metrics"))
    known = {
        "setting": text(result.get("setting")) or text(verdict.get("setting")),
        "agent": text(result.get("agent_framework")),
        "model": text(result.get("model")),
        "lead": text(result.get("lead_agent")),
        "tasks": f"{whole(team.get('tasks_done'))} of {whole(team.get('tasks_total'))} done"
        if team
        else None,
        "took": duration(number(result.get("duration_seconds"))) if result else None,
        "cost": dollars(number(result.get("total_cost"))) if result.get("total_cost") is not None else None,
        "judged on": text(verdict.get("backend")),
        "image": " ".join(filter(None, (text(image.get("reference")), text(image.get("digest"))))) or None,
        "rules": ", ".join(f"{k} {v}" for k, v in mapping(verdict.get("rules")).items()) or None,
    }
    yield Text(" · ".join(f"{label} {line(value)}" for label, value in known.items() if value))


def _agents(result: Mapping[str, Any]) -> Iterator[RenderableType]:
    agents = {**mapping(result.get("agents")), **({"agent": result["agent"]} if result.get("agent") else {})}
    if not agents:
        return
    rows = []
    for name, value in agents.items():
        agent = mapping(value)
        rows.append(
            (
                name,
                _feature(agent.get("feature_id")),
                _or_dash(text(agent.get("status"))),
                _or_dash(whole(agent.get("steps"))),
                _or_dash(whole(agent.get("patch_lines"))),
                dollars(number(agent.get("cost"))),
                text(agent.get("error")) or "",
            )
        )
    yield Text("\nagents", style="bold")
    yield grid(
        ("agent", "feature", "status", "steps", "patch lines", "cost", "error"), rows, right=(1, 3, 4, 5)
    )


def _merge(verdict: Mapping[str, Any]) -> Iterator[RenderableType]:
    for agent, word in mapping(verdict.get("apply_status")).items():
        if word != "applied":
            yield Text(f"patch of {line(agent)}: {line(word)}")
    merge = mapping(verdict.get("merge"))
    if not merge:
        return
    yield Text("\nmerge", style="bold")
    strategy = f" (strategy {line(merge['strategy'])})" if merge.get("strategy") else ""
    yield Text(f"{line(merge.get('status', 'unknown'))}{strategy}")
    for name in texts(merge.get("files")):
        yield Text(f"  conflict in {line(name)}", style="red")
    diff = text(merge.get("diff"))
    if diff:
        cut = "" if len(diff) <= DIFF_SHOWN else "\n… cut here; the whole of it is on disk"
        yield Text(block(diff[:DIFF_SHOWN].rstrip("\n")) + cut, style="dim")


def _tests(verdict: Mapping[str, Any]) -> Iterator[RenderableType]:
    merged = [mapping(verdict[key]) for key in sorted(verdict) if re.fullmatch(r"feature\d+", key)]
    alone = [mapping(item) for item in listing(verdict.get("independent"))]
    for title, results in (("hidden tests", merged), ("each patch alone", alone)):
        if results:
            yield Text(f"\n{title}", style="bold")
            yield _table_of_tests(results)


def _table_of_tests(results: Sequence[Mapping[str, Any]]) -> RenderableType:
    return grid(
        ("feature", "verdict", "exit", "passed", "failed", "reason", "log"),
        (
            (
                _or_dash(item.get("feature_id")),
                _passed(item.get("passed")),
                _or_dash(item.get("exit_code")),
                _or_dash(whole(item.get("tests_passed"))),
                _or_dash(whole(item.get("tests_failed"))),
                text(item.get("reason")) or "",
                text(item.get("log")) or "-",
            )
            for item in results
        ),
        right=(0, 2, 3, 4),
    )


def _passed(value: Any) -> Text:
    if value is True:
        return Text("passed", style=STYLES["passed"])
    return Text("FAILED", style=STYLES["failed"]) if value is False else Text("-")


def _findings(verdict: Mapping[str, Any]) -> Iterator[RenderableType]:
    dropped = {agent: texts(files) for agent, files in mapping(verdict.get("dropped")).items()}
    if any(dropped.values()):
        yield Text("\nleft out of the agents' patches (the tests are the benchmark's)", style="bold")
        for agent, files in dropped.items():
            yield from (Text(f"  {line(agent)}: {line(name)}") for name in files)
    findings = listing(verdict.get("integrity"))
    if findings:
        yield Text("\nintegrity findings", style="bold magenta")
        yield from (Text(f"  {_finding(item)}") for item in findings)


def _finding(item: Any) -> str:
    if not isinstance(item, dict):
        return line(item, 300)
    number = item.get("line")
    place = f"{item.get('path') or ''}{f':{number}' if number else ''}"
    return line(" ".join(str(part) for part in (item.get("kind"), item.get("agent"), place) if part), 300) + (
        f": {line(item['detail'], 300)}" if item.get("detail") else ""
    )


def _messages(conversation: Any) -> Iterator[RenderableType]:
    messages = [mapping(item) for item in listing(conversation)]
    if not messages:
        return
    yield Text(f"\nmessages ({len(messages)})", style="bold")
    for message in messages[:MESSAGES_SHOWN]:
        sender, recipient = line(message.get("from", "?")), line(message.get("to", "?"))
        body = block(message.get("message", "")).replace("\n", "\n      ")
        told = Text(f"  {sender} → {recipient}: ", style="cyan")
        told.append(body, "default")
        yield told
    if len(messages) > MESSAGES_SHOWN:
        yield Text(f"  … {len(messages) - MESSAGES_SHOWN} more in conversation.json", style="dim")


def _feature(value: Any) -> str:
    """A feature's number; of an agent that builds several, all of them."""
    return ",".join(map(str, value)) if isinstance(value, list) else _or_dash(value)


def _or_dash(value: Any) -> str:
    return "-" if value is None else str(value)
