"""The public verb: its arguments packed into one spec, everything checked, the run directory locked. What follows is
`invocation`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cooperbench import settings
from cooperbench.agents import agent_factory
from cooperbench.budget import Budget
from cooperbench.collaboration.outside import connected
from cooperbench.dataset import load_dataset, select
from cooperbench.dataset.model import Pair
from cooperbench.eval.judging import Judging
from cooperbench.eval.plan import Rules
from cooperbench.eval.sources import (
    Chosen,
    judgements_at_once,
    keep_images_within,
    one_at_a_time,
    opened_backend,
    trials_at_once,
)
from cooperbench.events import Progress
from cooperbench.runner.invocation import Invocation, Tools
from cooperbench.runner.models import ModelSpec, open_models
from cooperbench.runner.spec import (
    DEFAULT_AGENT,
    DEFAULT_MODEL,
    REDIS,
    RunSpec,
    configuration,
    refuse_another_experiment,
    refuse_unconfigured,
)
from cooperbench.runs import DEFAULT_LOGS, RunDirectory


def run(
    run_name: str,
    subset: str | None = None,
    repo: str | None = None,
    task_id: int | None = None,
    features: Sequence[int] | None = None,
    model_name: str | None = None,
    agent: str = DEFAULT_AGENT,
    concurrency: int | None = None,
    force: bool = False,
    redis_url: str | None = None,
    setting: str = "coop",
    git_enabled: bool = False,
    messaging_enabled: bool = True,
    auto_eval: bool = True,
    eval_concurrency: int | None = None,
    backend: str | None = None,
    agent_config: Path | str | None = None,
    dataset_dir: Path | str | None = None,
    logs_dir: Path | str | None = None,
    *,
    agent_timeout: float = 3600,
    timeout: float = 600,
    merge_rule: str = "git",
    integrity_rule: str = "report",
    independent: bool = False,
    team_without: Sequence[str] = (),
    max_cost: float | None = None,
    max_trial_cost: float | None = None,
    disk_budget: int | None = None,
    frozen: bool = False,
    max_calls: int | None = None,
    base_url: str | None = None,
    api_key_env: str | None = None,
    prices: Path | str | None = None,
    prompts: Path | str | None = None,
    record: bool = False,
    replay: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run agents on a selection of the dataset and judge what they wrote.

    A run goes on where it was left: finished trials are not repeated, unfinished ones and those that ended in an
    error are.

    Args:
        run_name: the run's directory below `logs_dir`; one name, one experiment.
        subset, repo, task_id, features: which trials; all of the dataset's pairs when nothing is said.
        model_name: the model agents are to use; None for the agent's own, or the documented default.
        agent: a name, or ``"package.module:Class"``.
        concurrency, eval_concurrency: trials and judgements at once; None for the settings', then as many as suit
            the backend: at most 20 trials, and judgements with a processor each on one machine, at most 10.
        force: run finished trials again.
        redis_url: a Redis server by which agents outside this process reach their bus; not needed by any other. The
            bare ``redis://localhost:6379`` that scripts for earlier releases pass asks for none.
        setting: ``coop`` (an agent for each feature), ``team`` (the same with a lead, a task list and a scratchpad)
            or ``solo`` (one agent for all).
        messaging_enabled: whether agents of a trial can talk.
        git_enabled: whether they can push and fetch each other's branches.
        team_without: what `team` is to do without: "task-list", "scratchpad", "mcp", "auto-refresh", "protocol".
        auto_eval: judge trials as they finish.
        backend: where sandboxes come from; None for the settings', then what this machine has.
        agent_config: a file or directory for the agent.
        agent_timeout: seconds of wall time for each agent.
        timeout, merge_rule, integrity_rule, independent: how to judge, see `evaluate`.
        max_cost: US dollars after which no new trial starts; what is done is kept, and a call with more goes on.
        max_trial_cost: US dollars one trial may cost; its agents get no more answers from their model then.
        disk_budget: bytes of images to keep, on a backend that keeps any; None as its settings say.
        frozen: a run that goes on takes the images it began with only: one that has another digest now is an error.
        max_calls: calls to the model each agent may make.
        base_url, api_key_env: a server of one's own in place of the model's provider, and the environment variable
            its key is in (without `base_url`: in place of the provider's usual one).
        prices: a JSON file of what models cost, before litellm's table.
        prompts: a directory of prompt templates in place of the package's.
        record: keep every call to the model in the run's directory.
        replay: a recorded run whose calls answer this one's: no model is asked.
        progress: called with events as they happen (`cooperbench.events`).

    Returns:
        The totals of the whole run, as ``summary.json`` holds them.

    Raises:
        UsageError: something named does not exist or makes no sense. RunConflict: the name stands for another
            experiment, or another process is at work on it. KeyboardInterrupt: Ctrl-C; what is done is kept.
    """
    new_agent = agent_factory(agent)
    specimen = new_agent()
    stored = settings.load()
    logs = logs_dir or stored.text("logs_dir") or DEFAULT_LOGS
    models = ModelSpec(base_url, api_key_env, _path(prices), max_calls, record, replay)
    spec = RunSpec(
        run_name=run_name,
        setting=setting,
        agent=agent,
        model=_model(model_name, specimen, RunDirectory(logs, replay) if replay else None),
        judging=Judging(timeout=timeout, rules=Rules(merge_rule, integrity_rule), independent=independent),
        subset=subset,
        repo=repo,
        task_id=task_id,
        features=tuple(features) if features is not None else None,
        concurrency=concurrency if concurrency is not None else 1,  # known with the backend
        eval_concurrency=eval_concurrency if eval_concurrency is not None else 1,  # likewise
        force=force,
        auto_eval=auto_eval,
        messaging=messaging_enabled,
        git=git_enabled,
        redis=redis_url if redis_url != REDIS else None,
        team_without=tuple(team_without),
        agent_config=_path(agent_config),
        agent_timeout=agent_timeout,
        max_cost=max_cost,
        max_trial_cost=max_trial_cost,
        models=models,
        prompts=_path(prompts),
    )
    Budget(max_cost, max_trial_cost)  # refuses what is no amount
    refuse_unconfigured(agent, specimen, spec)
    directory = RunDirectory(logs, run_name)
    dataset = load_dataset(dataset_dir)
    pairs = select(dataset, subset=subset, repo=repo, task_id=task_id, features=features, setting=setting)
    with (
        open_models(models, spec.model, specimen, agent, logs) as reached,
        opened_backend(backend) as chosen,
        connected(spec.redis) as server,
    ):
        reached.refuse_unpriced(max_cost, max_trial_cost)
        keep_images_within(chosen, disk_budget)
        spec, reckoning = _sized(spec, chosen, concurrency, eval_concurrency, pairs)
        wanted = configuration(spec, chosen.name, dataset.root, pairs)
        refuse_another_experiment(directory, wanted)  # before anything is touched
        with directory.lock():
            refuse_another_experiment(directory, wanted)  # and once more: somebody may just have begun
            tools = Tools(chosen, server, reached, new_agent, specimen, one_at_a_time(progress), frozen)
            return Invocation(spec, directory, dataset, tools).carry_out(pairs, wanted, reckoning)


def _sized(
    spec: RunSpec, chosen: Chosen, trials: int | None, judgements: int | None, pairs: Sequence[Pair]
) -> tuple[RunSpec, str]:
    """With as much at once as was asked for or suits the backend, and the reckoning."""
    agents = 1 if spec.setting == "solo" else max(len(pair.features) for pair in pairs)
    number, reckoning = trials_at_once(trials, chosen.backend, agents)
    at_once = judgements_at_once(judgements, chosen.backend)
    return replace(spec, concurrency=number, eval_concurrency=at_once), reckoning


def _model(asked: str | None, agent: object, replayed: RunDirectory | None) -> str | None:
    """The model of a run: the one asked for; none where the agent uses none; that of a run that is replayed; else the
    documented default."""
    if asked is not None or not getattr(agent, "uses_model", True):
        return asked
    before = (replayed.read_config() or {}).get("model") if replayed is not None else None
    return before if isinstance(before, str) else DEFAULT_MODEL


def _path(given: Path | str | None) -> Path | None:
    return Path(given) if given is not None else None
