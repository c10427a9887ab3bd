"""One trial: every agent in a sandbox of its own, all of them at once, their patches and words kept.

What is written is complete or not there: the result goes to disk last.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from cooperbench.agents.base import ERROR, Agent, Assignment
from cooperbench.budget import Budget
from cooperbench.collaboration import Bus, Posting
from cooperbench.collaboration.door import Door
from cooperbench.collaboration.outside import Outpost, RedisServer
from cooperbench.crew import Crew
from cooperbench.dataset.model import Task
from cooperbench.errors import BackendError
from cooperbench.eval.backends.base import EvalBackend, SandboxSpec
from cooperbench.eval.expense import Till
from cooperbench.events import AgentFinished, Progress, TrialFinished, TrialStarted
from cooperbench.pool import describe, desk
from cooperbench.runner.agent_images import AgentImages
from cooperbench.runner.assignments import assignments
from cooperbench.runner.models import Models
from cooperbench.runner.records import agent_record, conversation, trajectory
from cooperbench.runner.seat import GRACE, MARGIN, Seat, Work
from cooperbench.runner.spec import RunSpec
from cooperbench.runner.team import InterruptedTrialError, Team
from cooperbench.runner.teamwork import metrics, task_log, task_records
from cooperbench.runner.timeline import moments_of, timeline
from cooperbench.runs import SOLO, TrialDirectory


@dataclass(frozen=True, slots=True)
class Bench:
    """What all trials of an invocation share."""

    spec: RunSpec
    backend: EvalBackend
    backend_name: str
    new_agent: Callable[[], Agent]
    crew: Crew
    budget: Budget
    till: Till
    """Where judgements are paid for."""
    server: RedisServer | None
    """Where agents outside the harness's process reach their bus."""
    models: Models
    agent_images: AgentImages
    tell: Progress


class Trial:
    """One trial of a run, under way."""

    def __init__(self, bench: Bench, task: Task, directory: TrialDirectory) -> None:
        self._bench = bench
        self._task = task
        self._directory = directory
        self._pair = directory.pair
        self._started_at = datetime.now(UTC)
        self._begun = time.monotonic()
        self._run_id = f"{random.getrandbits(32):08x}"
        self._purse = bench.budget.purse(directory.append_spent)
        self._spent_before = directory.spent(directory.read_result())
        assigned = assignments(bench.spec, task, directory)
        self._bus, self._door = self._new_bus([one.agent_id for one in assigned])
        seats = [Seat(bench.new_agent(), self._connected(one), self._bus) for one in assigned]
        self._team = Team(seats, bench.crew, self._agent_finished)
        self._halted = False

    def run(self) -> TrialFinished:
        """Carry it out and keep what came of it; an infrastructure failure is kept too, to be tried again.

        Raises:
            InterruptedTrialError: the run is being stopped; the trial is not on disk.
        """
        self._directory.clear()
        self._bench.tell(TrialStarted(self._pair, self._bench.spec.setting))
        try:
            if self._door is not None:
                self._door.open()
            limit = self._bench.spec.agent_timeout + GRACE
            done = self._team.work(self._bench.backend, self._sandbox, limit)
            self._close_bus()
            with desk:
                return self._finish(done, None)
        except BackendError as error:
            if self._halted:
                raise InterruptedTrialError(str(error)) from error
            return self.fail(error)
        finally:
            self._team.close()
            self._team.settle()  # the process may end with the trial, and would leave them behind
            self._purse.spend(max(0.0, self._spent() - self._purse.spent))
            with suppress(BackendError):
                self._close_bus()

    def fail(self, error: Exception) -> TrialFinished:
        """Keep that the trial came to nothing, for a reason that is not the agents'; it will be tried again."""
        self._team.close()
        for seat in self._team.seats:
            seat.hang_up()  # some may be in the middle of a call
        with desk:
            return self._finish({}, describe(error))

    def halt(self) -> None:
        """End every sandbox of the trial and `run` with it; called from another thread."""
        self._halted = True
        self._team.halt()
        self._team.close()

    # ------------------------------------------------------------------------------------------ the agents

    def _new_bus(self, names: list[str]) -> tuple[Bus | None, Door | None]:
        """What the agents share, if they share anything, and its door to the outside, if it has one."""
        means, server = self._bench.spec.means, self._bench.server
        turns = self._bench.models.turns(self._directory)
        if len(names) < 2 or not means.any:
            return None, None
        if server is None:
            return Bus(names, means=means, turns=turns), None
        outpost = Outpost(server, self._run_id, names)
        bus = Bus(names, means=means, inboxes=outpost, show=outpost.show, turns=turns)
        return bus, Door(outpost, bus)

    def _connected(self, assignment: Assignment) -> Assignment:
        """An assignment with its ways to the model and, for processes elsewhere, to the bus."""
        return replace(
            assignment,
            bus_url=self._door.url if self._door is not None else None,
            line=self._bench.models.line(assignment.agent_id, self._directory, self._purse),
            image=self._task.image,
            prompts=self._bench.spec.prompts,
        )

    def _close_bus(self) -> None:
        if self._door is not None:
            self._door.close()
        if self._bus is not None:
            self._bus.close()

    def _agent_finished(self, seat: Seat, work: Work) -> None:
        result = work.result
        if seat.line is None:  # a line has paid for every call
            self._purse.spend(result.cost or 0.0)
        self._bench.tell(AgentFinished(self._pair, seat.agent_id, result.status, result.cost))

    def _sandbox(self, seat: Seat) -> SandboxSpec:
        spec, task = self._bench.spec, self._task
        labels = {"run": spec.run_name, "trial": f"{spec.setting}/{self._pair.name}", "agent": seat.agent_id}
        image = self._bench.agent_images.ready(task.image)
        seconds = spec.agent_timeout + MARGIN
        return SandboxSpec(image, seconds, network=task.network, labels=labels, user="root")

    # ------------------------------------------------------------------------------------------ what is kept

    def _finish(self, done: dict[Seat, Work], error: str | None) -> TrialFinished:
        solo = self._bench.spec.setting == "solo"
        postings = self._bus.journal() if self._bus is not None else ()
        self._keep(done, postings)
        records = {seat.agent_id: agent_record(seat.assignment, work) for seat, work in done.items()}
        costs = [seat.cost() for seat in self._team.seats]  # also of those whose work is lost
        cost = None if None in costs else sum(cost for cost in costs if cost is not None)
        error = error or next(
            (f"{k}: {r['error']}" for k, r in records.items() if r["status"] == ERROR), None
        )
        seconds = time.monotonic() - self._begun
        self._directory.write_result(
            {
                **self._head(),
                "ended_at": datetime.now(UTC).isoformat(),
                "duration_seconds": round(seconds, 3),
                **({"agent": records.get("agent1")} if solo else {"agents": records}),
                "total_cost": cost,
                **self._expenses(),
                "spent": round(self._spent_before + self._spent(), 6),
                "total_steps": sum(work.result.steps for work in done.values()),
                **({} if solo else {"messages_sent": len(postings)}),
                **self._teamwork(),
                "log_dir": str(self._directory.path),
                "error": error,
            }
        )
        status: Literal["done", "error"] = "error" if error else "done"
        setting = self._bench.spec.setting
        return TrialFinished(self._pair, setting, status, seconds, cost, len(postings), error)

    def _keep(self, done: dict[Seat, Work], postings: Sequence[Posting]) -> None:
        """Everything that is on disk before the result."""
        solo = self._bench.spec.setting == "solo"
        for seat, work in done.items():
            number = SOLO if solo else seat.assignment.features[0]
            self._directory.write_patch(number, work.taken.patch)
            self._directory.write_trajectory(
                number, trajectory(seat.assignment, work, self._bench.spec.model)
            )
        if not solo:
            owner = {seat.agent_id: seat.assignment.features[0] for seat in self._team.seats}
            self._directory.write_conversation(conversation(postings, owner))
        entries = self._bus.timeline() if self._bus is not None else ()
        transcripts = {seat.agent_id: work.result.messages for seat, work in done.items()}
        recording = self._bench.models.recording(self._directory)
        moments = moments_of(recording.read_events()) if recording is not None else None
        self._directory.write_events(timeline(entries, transcripts, moments))

    def _spent(self) -> float:
        """US dollars this attempt is known to have cost so far."""
        return sum(seat.spent() for seat in self._team.seats)

    def _expenses(self) -> dict[str, Any]:
        """What the agents' sandboxes cost, where they cost anything."""
        known = {seat.agent_id: seat.expense for seat in self._team.seats if seat.expense.known}
        if not known:
            return {}
        counted = sum(each.counted for each in known.values())
        return {
            "sandbox_cost": round(counted, 6),
            "sandbox_costs": {agent_id: each.record() for agent_id, each in known.items()},
        }

    def _teamwork(self) -> dict[str, Any]:
        """What a team's result has beside a pair's; its task list goes to disk."""
        if self._bench.spec.setting != "team" or self._bus is None:
            return {}
        entries, tasks = self._bus.timeline(), self._bus.tasks.all()
        self._directory.write_tasks(task_records(tasks), task_log(entries))
        return {
            "lead_agent": self._team.seats[0].assignment.lead,
            "metrics": metrics(tasks, entries, self._bus.agents),
        }

    def _head(self) -> dict[str, Any]:
        spec = self._bench.spec
        return {
            "repo": self._pair.repo,
            "task_id": self._pair.task_id,
            "features": list(self._pair.features),
            "setting": spec.setting,
            "run_id": self._run_id,
            "run_name": spec.run_name,
            "agent_framework": spec.agent,
            "model": spec.model,
            "backend": self._bench.backend_name,
            "image": self._task.image,
            "started_at": self._started_at.isoformat(),
        }
