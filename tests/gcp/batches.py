"""Batches of Jobs on the gcp backend, for tests."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from cooperbench.budget import Budget
from cooperbench.eval.backends.batch import Outcome, Wishes, Work
from cooperbench.eval.backends.gcp import GCPBatchBackend
from cooperbench.eval.job import Job
from tests.gcp import clouds
from tests.loopback.gcp.cloud import Cloud
from tests.loopback.gcp.vm.options import CommandFailed


@dataclass
class Notebook:
    """A ledger in memory."""

    record: dict[str, Any] | None = None
    accounts: list[Mapping[str, Any]] = field(default_factory=list)

    def read(self) -> dict[str, Any] | None:
        return self.record

    def write(self, record: Mapping[str, Any]) -> None:
        self.record = dict(record)

    def clear(self, account: Mapping[str, Any]) -> None:
        self.record = None
        self.accounts.append(account)


def wishes(
    concurrency: int = 2,
    *,
    max_cost: float | None = None,
    tell: Callable[[str], None] = lambda _: None,
    stop: Event | None = None,
    cancel: bool = False,
) -> Wishes:
    return Wishes(
        concurrency, Budget(max_cost), {"run": "tested"}, tell, (stop or Event()).is_set, lambda: cancel
    )


WAITS = "mkdir $2; until [ -e /go ]; do sleep 0.05; done; echo $1 >$2/number"
"""A work that is not done before `released`."""


@contextlib.contextmanager
def released(cloud: Cloud) -> Iterator[None]:
    """Whatever waits, or comes to wait meanwhile, goes on."""
    over = threading.Event()

    def release() -> None:
        while not over.wait(0.05):
            for container in (each for vm in list(cloud.zone.made) for each in vm.engine.all()):
                with contextlib.suppress(CommandFailed):  # it is gone
                    container.inside("touch", "/go")

    thread = threading.Thread(target=release)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def work(number: int, script: str = "mkdir $2; echo $1 >$2/number", image: str = clouds.IMAGE) -> Work:
    """A Job that notes its number."""
    job = Job(
        image=image,
        files={"/job/go.sh": script.encode()},
        command=("sh", "/job/go.sh", str(number), "/job/facts"),
        results="/job/facts",
        timeout=60,
    )
    return Work(f"work-{number:05d}", image, lambda: job)


def done(
    backend: GCPBatchBackend, works: Sequence[Work], asked: Wishes, ledger: Notebook | None = None
) -> dict[str, Outcome]:
    """Every outcome by key; each comes once."""
    found: dict[str, Outcome] = {}
    for key, outcome in backend.run_jobs(works, ledger or Notebook(), asked):
        assert key not in found
        found[key] = outcome
    return found
