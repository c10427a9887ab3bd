"""Who does what in a trial: one agent for each feature, or one for all of them."""

from __future__ import annotations

from cooperbench.agents.base import Assignment
from cooperbench.dataset.model import Task
from cooperbench.runner.spec import RunSpec
from cooperbench.runs import TrialDirectory

LEAD, MEMBER = "lead", "member"


def assignments(spec: RunSpec, task: Task, directory: TrialDirectory) -> list[Assignment]:
    """The trial's agents, by ascending feature number; in `team` the first one leads."""
    pair = directory.pair
    shares = [pair.features] if spec.setting == "solo" else [(number,) for number in pair.features]
    names = [f"agent{number}" for number in range(1, len(shares) + 1)]
    lead = names[0] if spec.setting == "team" else None
    return [
        Assignment(
            agent_id=name,
            teammates=tuple(other for other in names if other != name),
            repo=pair.repo,
            task_id=pair.task_id,
            features=share,
            pair=pair.features,
            setting=spec.setting,
            instructions=_team_instructions(task, share[0], dict(zip(names, pair.features, strict=True)))
            if lead is not None
            else _instructions(task, share),
            task_path=task.path,
            model=spec.model,
            config=spec.agent_config,
            timeout=spec.agent_timeout,
            output_dir=directory.path / name,
            means=spec.means,
            role="" if lead is None else LEAD if name == lead else MEMBER,
            lead=lead,
        )
        for name, share in zip(names, shares, strict=True)
    ]


def _instructions(task: Task, features: tuple[int, ...]) -> str:
    """One specification as it is; several under a heading each."""
    texts = {number: task.features[number].specification for number in features}
    if len(texts) == 1:
        return next(iter(texts.values()))
    return "\n\n".join(f"## Feature {number}\n\n{text.strip()}\n" for number, text in texts.items())


def _team_instructions(task: Task, own: int, owners: dict[str, int]) -> str:
    """A team knows all of its features; an agent's own comes first."""
    ordered = sorted(owners.items(), key=lambda item: item[1] != own)
    return "\n\n".join(
        f"## Feature {number} ({'yours' if number == own else name})\n\n"
        f"{task.features[number].specification.strip()}\n"
        for name, number in ordered
    )
