"""One call of `run`, from the locked run directory to the summaries: what is left to do, what is needed for it, what it
came to. The work itself is `schedule`'s."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cooperbench.agents.base import Agent
from cooperbench.budget import Budget
from cooperbench.collaboration.outside import RedisServer
from cooperbench.crew import Crew
from cooperbench.dataset.model import Dataset, Pair, Task
from cooperbench.eval.evaluator import recorded_images
from cooperbench.eval.expense import Till
from cooperbench.eval.sources import Chosen, hear
from cooperbench.eval.supply import Supply
from cooperbench.events import Note, Progress, RunFinished, RunStarted, TrialFinished
from cooperbench.runner.agent_images import AgentImages
from cooperbench.runner.expense import forecast
from cooperbench.runner.models import Models
from cooperbench.runner.schedule import Schedule
from cooperbench.runner.spec import RunSpec, joined
from cooperbench.runner.trial import Bench
from cooperbench.runs import RunDirectory, TrialDirectory, eval_summary, finished, standings, summary


@dataclass(frozen=True, slots=True)
class Tools:
    """What an invocation works with."""

    chosen: Chosen
    server: RedisServer | None
    models: Models
    new_agent: Callable[[], Agent]
    specimen: Agent
    tell: Progress
    frozen: bool
    """No image may be another than the one recorded."""


class Invocation:
    """One call of `run`, its run directory locked."""

    def __init__(
        self,
        spec: RunSpec,
        directory: RunDirectory,
        dataset: Dataset,
        tools: Tools,
    ) -> None:
        self._spec = spec
        self._directory = directory
        self._dataset = dataset
        self._tools = tools
        self._chosen = tools.chosen
        self._tell = tools.tell
        self._recording = threading.Lock()

    def carry_out(self, pairs: list[Pair], wanted: dict[str, Any], reckoning: str) -> dict[str, Any]:
        """Everything between the lock and the summary."""
        recorded = self._directory.read_config() or {}
        self._directory.write_config(joined(recorded or None, wanted))
        tasks = {key: self._dataset.task(*key) for key in {(pair.repo, pair.task_id) for pair in pairs}}
        # In the order of their images, so that one is used while it is there.
        todo, done = self._split(sorted(pairs, key=lambda pair: tasks[pair.repo, pair.task_id].image))
        self._tools.models.check(todo)
        self._announce(len(pairs), todo, reckoning)
        unjudged = done if self._spec.auto_eval else []
        hear(self._chosen.backend, self._tell)
        ended = False
        try:
            with self._supply(tasks, todo, unjudged, recorded) as supply:
                supply.ready_first()
                bench = self._bench(bool(todo))
                for trial in done:
                    self._tell(TrialFinished(trial.pair, trial.setting, "skip", 0.0, None, 0, None))
                ended = Schedule(bench, tasks, supply).carry_out(todo, unjudged)
        finally:
            totals = self._write_summaries()
        if not ended:
            self._tell(Note(f"run {self._spec.run_name} was interrupted; the same command goes on with it"))
        self._tell(RunFinished(totals))
        if not ended:
            raise KeyboardInterrupt
        return totals

    def _split(self, pairs: list[Pair]) -> tuple[list[TrialDirectory], list[TrialDirectory]]:
        """Trials to run, and those that need not."""
        todo: list[TrialDirectory] = []
        done: list[TrialDirectory] = []
        for pair in pairs:
            trial = self._directory.trial(self._spec.setting, pair)
            is_done = not self._spec.force and finished(trial.read_result())
            (done if is_done else todo).append(trial)
        return todo, done

    def _announce(self, total: int, todo: list[TrialDirectory], reckoning: str) -> None:
        spec, chosen, path = self._spec, self._chosen, self._directory.path
        pending = len(todo)
        self._tell(
            RunStarted(
                spec.run_name, total, pending, chosen.name, chosen.reason, spec.concurrency, path, reckoning
            )
        )
        if (line := forecast(chosen.backend, [trial.pair for trial in todo], spec)) is not None:
            self._tell(Note(line))

    def _supply(
        self,
        tasks: dict[tuple[str, int], Task],
        todo: list[TrialDirectory],
        unjudged: list[TrialDirectory],
        config: dict[str, Any],
    ) -> Supply:
        recorded = recorded_images(config)
        work = [tasks[_key(trial)] for trial in [*todo, *unjudged]]
        sure = [*todo, *(trial for trial in unjudged if trial.read_verdict() is None)]

        def record(image: str, digest: str | None) -> None:
            before = recorded.get(image)
            if before and digest and before != digest:
                self._tell(Note(f"image {image} is {digest} now; earlier trials of this run had {before}"))
            with self._recording:
                now = self._directory.read_config() or {}
                self._directory.write_config({**now, "images": {**now["images"], image: digest}})

        frozen = self._tools.frozen
        return Supply(
            self._chosen.backend,
            work,
            self._tell,
            sure=[tasks[_key(trial)] for trial in sure],
            recorded=recorded,
            on_ready=record,
            frozen=frozen,
        )

    def _budget(self) -> Budget:
        """The run's money; what its earlier invocations cost is spent."""
        limit = self._spec.max_cost
        if limit is None:
            return Budget(None, self._spec.max_trial_cost)
        agents = sum(row.spent for row in standings(self._directory))
        return Budget(limit, self._spec.max_trial_cost, agents + self._directory.judging_cost())

    def _bench(self, working: bool) -> Bench:
        """What trials share; `working`: there is one to run."""
        config = self._spec.agent_config
        images = AgentImages(self._chosen.backend, self._tools.specimen, config, self._tell)
        if working:
            images.fetch()
        budget = self._budget()
        return Bench(
            spec=self._spec,
            backend=self._chosen.backend,
            backend_name=self._chosen.name,
            new_agent=self._tools.new_agent,
            crew=Crew(),
            budget=budget,
            till=Till(self._directory, self._chosen.backend, budget),
            server=self._tools.server,
            models=self._tools.models,
            agent_images=images,
            tell=self._tell,
        )

    def _write_summaries(self) -> dict[str, Any]:
        rows = list(standings(self._directory))
        totals = summary(self._directory, rows)
        self._directory.write_summary(totals)
        self._directory.write_eval_summary(eval_summary(self._directory, rows))
        return totals


def _key(trial: TrialDirectory) -> tuple[str, int]:
    return trial.pair.repo, trial.pair.task_id
