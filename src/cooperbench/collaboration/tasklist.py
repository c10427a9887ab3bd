"""The team's task list: claims are atomic, and everything done to it is in the journal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cooperbench.agents.base import Todo
from cooperbench.collaboration.journal import Journal
from cooperbench.errors import UsageError

MOST = 2000
"""Tasks on one list."""
TITLE_LIMIT = 1000
"""Characters of a title."""
REMARKS = 50
"""Remarks kept on one task; the journal has them all."""


class TaskList:
    """The tasks of one trial."""

    def __init__(
        self, journal: Journal, finished: Callable[[str], bool], show: Callable[[Todo], None]
    ) -> None:
        """A list whose claims lapse with those who `finished` without doing the task; `show` is told of changes."""
        self._show = show
        self._journal = journal
        self._finished = finished
        self._tasks: list[Todo] = []

    def all(self) -> tuple[Todo, ...]:
        """Every task, for the record."""
        return tuple(self._tasks)

    def read(self, agent: str) -> tuple[Todo, ...]:
        """Every task, in the order they were added."""
        with self._journal.turn(agent, "tasks"):
            return tuple(self._tasks)

    def add(self, agent: str, title: str) -> Todo:
        """An open task at the end of the list."""
        title = " ".join(title.split())
        with self._journal.turn(agent, "task"):
            if not title or len(title) > TITLE_LIMIT:
                raise UsageError(
                    f"a task's title has 1 to {TITLE_LIMIT} characters; say more with task update"
                )
            if len(self._tasks) >= MOST:
                raise UsageError(f"the list is full: {MOST} tasks")
            self._journal.admit(agent, title)
            number = len(self._tasks) + 1
            at = self._journal.add(agent, "task", action="add", task_id=number, title=title).at
            self._tasks.append(Todo(number, title, "open", agent, at))
            return self._put(self._tasks[-1])

    def claim(self, agent: str, number: int | None) -> Todo:
        """The task is this agent's from now on; claiming one's own again changes nothing."""
        with self._journal.turn(agent, "task"):
            task = self._next() if number is None else self._find(number)
            if task.status == "claimed" and task.owner == agent:
                return task
            if not self._free(task):
                raise UsageError(f"task {task.number} is {_whose(task)}")
            at = self._journal.add(agent, "task", action="claim", task_id=task.number, before=task.owner).at
            return self._put(replace(task, status="claimed", owner=agent, claimed_at=at))

    def finish(self, agent: str, number: int, remark: str) -> Todo:
        """The task is done, by its owner or by whoever did an open one."""
        with self._journal.turn(agent, "task"):
            task = self._find(number)
            if task.status == "done" or not (task.owner == agent or self._free(task)):
                raise UsageError(f"task {number} is {_whose(task)}")
            self._journal.admit(agent, remark)
            at = self._journal.add(agent, "task", action="done", task_id=number, remark=remark).at
            claimed_at = task.claimed_at if task.owner == agent else at
            done = replace(task, status="done", owner=agent, claimed_at=claimed_at, done_at=at)
            return self._put(_remarked(done, agent, remark))

    def update(self, agent: str, number: int, remark: str) -> Todo:
        """A remark on a task, whoever's it is."""
        with self._journal.turn(agent, "task"):
            task = self._find(number)
            self._journal.admit(agent, remark)
            self._journal.add(agent, "task", action="update", task_id=number, remark=remark)
            return self._put(_remarked(task, agent, remark))

    def _next(self) -> Todo:
        free = next((task for task in self._tasks if self._free(task)), None)
        if free is None:
            raise UsageError("no open task on the list")
        return free

    def _find(self, number: int) -> Todo:
        if not 1 <= number <= len(self._tasks):
            raise UsageError(f"no task {number}; the list has {len(self._tasks)}")
        return self._tasks[number - 1]

    def _free(self, task: Todo) -> bool:
        if task.status != "claimed" or task.owner is None:
            return task.status == "open"
        return self._finished(task.owner)

    def _put(self, task: Todo) -> Todo:
        self._tasks[task.number - 1] = task
        self._show(task)
        return task


def _whose(task: Todo) -> str:
    return f"done, by {task.owner}" if task.status == "done" else f"{task.owner}'s"


def _remarked(task: Todo, agent: str, remark: str) -> Todo:
    if not remark.strip():
        return task
    return replace(task, remarks=(*task.remarks, f"{agent}: {remark.strip()}")[-REMARKS:])
