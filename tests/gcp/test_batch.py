"""Many Jobs as one: what comes of it, what it asks of the services, and what goes wrong meanwhile."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

import pytest

from cooperbench.errors import BackendError, SandboxStartError, UsageError
from cooperbench.eval.backends.batch import Outcome
from cooperbench.eval.backends.gcp import GCPBatchBackend
from cooperbench.eval.backends.gcp.batch import cost
from cooperbench.eval.job import JobOutput
from tests.gcp import clouds
from tests.gcp.batches import WAITS, Notebook, done, released, wishes, work
from tests.loopback.gcp.cloud import BUCKET, Cloud
from tests.loopback.gcp.test_batch import until

FOR_EVER = "sleep 600"
OTHER = "registry.example/cooperbench/other:1"


Outcomes = dict[str, Outcome]


def all_fine(found: Outcomes, count: int) -> None:
    """Every work's own facts, and nothing else's."""
    assert {key: _number(outcome) for key, outcome in found.items()} == {
        f"work-{n:05d}": f"{n}\n".encode() for n in range(count)
    }


def _number(outcome: Outcome) -> bytes:
    assert isinstance(outcome, JobOutput), outcome
    assert outcome.returncode == 0, outcome
    return outcome.facts["number"]


def runs_of_items(cloud: Cloud) -> Counter[str]:
    """How often each item of the last batches was begun."""
    return Counter(name.rpartition("-")[2] for vm in cloud.zone.made for name in vm.engine.made)


@pytest.fixture(autouse=True)
def _new_machines(cloud: Cloud) -> None:
    cloud.zone.made.clear()
    cloud.store.writes.clear()


@pytest.mark.parametrize("count", [8, 32])
def test_what_is_asked_of_the_services(count: int, cloud: Cloud, backend: GCPBatchBackend) -> None:
    """At most two calls a look, each part of the results read once, and a few more, whatever the number of works."""
    all_fine(done(backend, [work(n) for n in range(count)], wishes(4)), count)

    def asked(operation: str, subject: str = "*") -> int:
        return cloud.traffic.count(operation, subject=subject, account=cloud.accounts.harness)

    looks, pages, parts = asked("batch.GetJob"), asked("storage.objects.list"), asked("storage.objects.get")
    assert looks < pages  # of which one is to clear up
    assert parts == len([name for _, name in cloud.store.writes if "/results/" in name])
    assert asked("[!o]*") - looks - pages - parts <= 12
    assert cloud.store.names(BUCKET) == []
    assert max(cloud.store.writes.values()) == 1
    assert set(runs_of_items(cloud).values()) == {1}


def test_outcomes_come_as_they_are_there(cloud: Cloud, backend: GCPBatchBackend) -> None:
    stop, ledger = threading.Event(), Notebook()
    works = [work(0), work(1, FOR_EVER)]
    coming = backend.run_jobs(works, ledger, wishes(2, stop=stop, cancel=True))
    key, outcome = next(coming)
    assert (key, _number(outcome)) == ("work-00000", b"0\n")
    (record,) = cloud.batch.records()
    assert not record.ended.is_set()
    assert ledger.record is not None
    stop.set()
    assert list(coming) == []
    assert ledger.record is None
    assert cloud.batch.records() == []


def test_a_batch_that_is_left_is_taken_up(cloud: Cloud, backend: GCPBatchBackend) -> None:
    stop, ledger = threading.Event(), Notebook()
    works = [work(0), *(work(n, WAITS) for n in range(1, 6))]
    coming = backend.run_jobs(works, ledger, wishes(2, stop=stop))
    first = next(coming)
    stop.set()
    assert list(coming) == []
    with released(cloud):
        second = done(backend, works[1:], wishes(2), ledger)
    all_fine({**dict([first]), **second}, 6)
    assert cloud.traffic.count("batch.CreateJob") == 1
    assert set(runs_of_items(cloud).values()) == {1}


def while_running(
    happens: Callable[[str], None], cloud: Cloud, backend: GCPBatchBackend, count: int
) -> Outcomes:
    """Works of which none is done before something has happened to their job."""
    found: list[Outcomes] = []

    def judge() -> None:
        found.append(done(backend, [work(n, WAITS) for n in range(count)], wishes(2)))

    caller = threading.Thread(target=judge)
    caller.start()
    until(lambda: any(vm.engine.made for vm in cloud.zone.made))
    (record,) = cloud.batch.records()
    happens(record.name)
    with released(cloud):
        caller.join()
    return found[0]


@pytest.mark.parametrize("end", [Cloud.preempt, Cloud.lose_vm])
def test_a_machine_that_is_taken_away(
    end: Callable[[Cloud, str], None], cloud: Cloud, backend: GCPBatchBackend
) -> None:
    all_fine(while_running(lambda job: end(cloud, job), cloud, backend, 4), 4)
    assert cloud.traffic.count("batch.CreateJob") == 1
    assert len(cloud.zone.made) == 2
    assert sum(runs_of_items(cloud).values()) in (5, 6)  # what was under way, once more


def test_a_job_that_somebody_deletes(cloud: Cloud, backend: GCPBatchBackend) -> None:
    found = while_running(cloud.delete_job, cloud, backend, 2)
    assert [type(outcome) for outcome in found.values()] == [BackendError] * 2  # errors, and no verdicts
    all_fine(done(backend, [work(n) for n in range(2)], wishes(2)), 2)


def test_tokens_that_end_are_renewed(cloud: Cloud, backend: GCPBatchBackend) -> None:
    all_fine(while_running(lambda _: cloud.accounts.expire(), cloud, backend, 4), 4)
    assert set(runs_of_items(cloud).values()) == {1}


@pytest.mark.parametrize(
    "happens",
    [{"lost": True}, {"status": 503}, {"status": 429}],
    ids=["lost answers", "refusals", "too many"],
)
def test_each_is_judged_once(happens: dict[str, int], cloud: Cloud, backend: GCPBatchBackend) -> None:
    faults = [
        cloud.fault(operation, subject=subject, **happens)
        for operation, subject in (
            ("batch.CreateJob", "*"),
            ("batch.GetJob", "*"),
            ("storage.objects.create", "*/manifest"),
            ("storage.objects.create", "*/claims/*"),
            ("storage.objects.create", "*/results/*"),
            ("storage.objects.get", "*/manifest"),
            ("storage.objects.get", "*/work"),
            ("storage.objects.list", "*"),
            ("batch.ListTasks", "*"),
            ("batch.DeleteJob", "*"),
            ("storage.batch", "*"),
        )
    ]
    ledger = Notebook()
    all_fine(done(backend, [work(n) for n in range(4)], wishes(2), ledger), 4)
    assert [account["judgements"] for account in ledger.accounts if account["machine_seconds"] > 0] == [4]
    assert [fault.operation for fault in faults if not fault.reached.is_set()] == []
    assert runs_of_items(cloud) == {str(n): 1 for n in range(4)}
    assert max(cloud.store.writes.values()) == 1


def test_without_quota_the_wait_is_explained(cloud: Cloud, backend: GCPBatchBackend) -> None:
    cloud.zone.no_quota = (
        "Quota checking process decided to delay scheduling: quota CPUS exceeded in us-central1."
    )
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        if "CPUS exceeded" in line:
            cloud.zone.give_quota()

    all_fine(done(backend, [work(0)], wishes(1, tell=tell)), 1)
    assert any("CPUS exceeded" in line and "ask for more quota" in line for line in told)


def test_who_may_not_submit_leaves_nothing(cloud: Cloud, backend: GCPBatchBackend) -> None:
    cloud.accounts.denied.add("batch.jobs.create")
    ledger = Notebook()
    with pytest.raises(BackendError, match="cooperbench config gcp --check"):
        done(backend, [work(0)], wishes(1), ledger)
    assert ledger.record is None
    assert cloud.store.names(BUCKET) == []


def test_what_would_cost_too_much_is_not_begun(cloud: Cloud, backend: GCPBatchBackend) -> None:
    with pytest.raises(UsageError, match=r"more than the \$0\.01"):
        done(backend, [work(n) for n in range(100)], wishes(2, max_cost=0.01))
    assert cloud.traffic.count("batch.CreateJob") == 0
    assert cloud.store.names(BUCKET) == []


def test_what_turns_out_to_cost_too_much_is_ended(
    cloud: Cloud, backend: GCPBatchBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the service's own account of its tasks, asked for a few times; what was paid for is kept."""
    for name in ("TYPICAL", "_BOOT", "_PULL", "_BETWEEN"):
        monkeypatch.setattr(cost, name, 0.0)
    asked, ledger = wishes(2, max_cost=0.0002), Notebook()
    found = done(backend, [work(0), work(1, FOR_EVER)], asked, ledger)
    assert _number(found.pop("work-00000")) == b"0\n"
    [problem] = found.values()
    assert isinstance(problem, BackendError)
    assert "--max-cost of $0.0002 is spent" in str(problem)
    (account,) = ledger.accounts
    assert asked.budget.spent == pytest.approx(account["dollars_estimated"], abs=1e-4)
    assert asked.budget.spent >= 0.0002
    assert cloud.traffic.count("batch.ListTasks") <= 12


@pytest.mark.parametrize(
    "image", ["registry.example/no/such:image", clouds.OBEYED], ids=["missing", "obeyed"]
)
def test_an_image_that_is_none_spoils_its_own_works(image: str, backend: GCPBatchBackend) -> None:
    found = done(backend, [work(0), work(9, image=image), work(1)], wishes(2))
    refused = found.pop("work-00009")
    assert isinstance(refused, SandboxStartError)
    assert "cannot be pulled" in str(refused)
    all_fine(found, 2)
    assert not clouds.WITNESS.exists()


def test_machines_pull_few_images(cloud: Cloud, backend: GCPBatchBackend) -> None:
    cloud.zone.shelf.also(OTHER, "host")
    works = [work(n, image=(clouds.IMAGE, OTHER)[n % 2]) for n in range(8)]
    all_fine(done(backend, works, wishes(2)), 8)
    (vm,) = cloud.zone.made
    assert sorted(vm.engine.pulls) == sorted([clouds.IMAGE, OTHER])


def test_what_a_batch_has_cost_is_kept(backend: GCPBatchBackend) -> None:
    ledger = Notebook()
    done(backend, [work(0)], wishes(1), ledger)
    (account,) = ledger.accounts
    assert account["judgements"] == 1
    assert account["machine_type"] == "n1-standard-4"
    assert account["dollars_estimated"] >= 0
