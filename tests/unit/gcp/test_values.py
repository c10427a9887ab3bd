"""What may be set, what a machine holds and costs, whose a job is."""

from __future__ import annotations

import os
import re

import pytest

from cooperbench.errors import UsageError
from cooperbench.eval.backends.gcp import GCPBatchBackend, config, owner
from cooperbench.eval.backends.gcp.machines import machine


def test_the_environment_fills_what_arguments_leave_open() -> None:
    environ = {"GOOGLE_CLOUD_PROJECT": "from-environment", "GCP_REGION": "europe-west4", "GCP_BUCKET": " "}
    given = {"region": "us-east1", "machine_type": None}
    chosen = config.settings(given, environ)
    assert (chosen.project_id, chosen.region, chosen.machine_type) == (
        "from-environment",
        "us-east1",
        "n1-standard-4",
    )
    assert chosen.bucket == "cooperbench-from-environment"
    assert chosen.parent == "projects/from-environment/locations/us-east1"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"proyect": "x"}, "unknown setting 'proyect'"),
        ({"project_id": "No Project"}, "project_id is a project's id"),
        ({"region": "us central1"}, "region is a region"),
        ({"bucket_name": "gs://mine"}, "bucket's name without gs://"),
        ({"network": "host"}, "network 'host': one of none, open"),
        ({"machines": 0}, "machines must be positive"),
        ({"idle": -1}, "idle must not be negative"),
        ({"slots": "2"}, "slots cannot be '2'"),
        ({"slots": True}, "slots cannot be True"),
        ({"pool": 1}, "pool cannot be 1"),
    ],
)
def test_settings_that_are_none(table: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        config.settings(table, {})


def test_a_machine_of_the_table() -> None:
    known = machine("n1-standard-4")
    assert (known.processors, known.memory_mib) == (4, 15 * 1024)
    assert known.slots(0) == 2
    assert known.share(2, 0) == (2000, (15 * 1024 - 1024) // 2)
    assert known.share(4, 3000) == (1000, 3000)
    spot, list_price = known.price(spot=True, disk_gib=100), known.price(spot=False, disk_gib=100)
    assert spot is not None
    assert list_price is not None
    assert 0.19 < list_price < 0.22
    assert spot < list_price / 2


@pytest.mark.parametrize("name", ["a3-highgpu-8g", "n1-standard", "custom-4-8192", "e2-micro"])
def test_a_machine_nobody_knows_has_no_price(name: str) -> None:
    unknown = machine(name)
    assert unknown.price(spot=True, disk_gib=10) is None
    assert (unknown.slots(0), unknown.slots(3), unknown.share(1, 0)) == (1, 3, (0, 0))


def test_labels_are_what_the_service_takes() -> None:
    given = {"run": "My Run, né 2!", "trial": "x" * 100}
    for name, value in owner.labels("sandboxes", 60, given).items():
        assert re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", name)
        assert re.fullmatch(r"[a-z0-9_-]{0,63}", value)


def test_what_a_live_process_owns_is_not_left_behind() -> None:
    assert not owner.left_behind(owner.labels("sandboxes", 600))
    assert not owner.left_behind(owner.labels("sandboxes", -10_000)), "it is here, and sees to it itself"


def test_a_process_id_used_again_is_another_process() -> None:
    labels = owner.labels("sandboxes", 600)
    where, pid, since = labels["owner"].split("-")
    assert pid == str(os.getpid())
    assert owner.left_behind({**labels, "owner": f"{where}-{pid}-{int(since) + 1}"})


@pytest.mark.parametrize(("seconds", "left"), [(600, False), (-300, False), (-10_000, True)])
def test_of_another_machine_only_the_expiry_is_known(seconds: float, left: bool) -> None:
    labels = owner.labels("sandboxes", seconds)
    assert owner.left_behind({**labels, "owner": "0123456789abcdef-1-1"}) is left


@pytest.mark.parametrize(("seconds", "left"), [(600, False), (-10_000, True)])
def test_a_batch_outlives_its_harness(seconds: float, left: bool) -> None:
    labels = owner.labels("batch", seconds)
    where, pid, since = labels["owner"].split("-")
    assert owner.left_behind({**labels, "owner": f"{where}-{pid}-{int(since) + 1}"}) is left


def test_the_environment_is_stronger_than_a_file_and_weaker_than_an_argument(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environ = {"GCP_REGION": "europe-west4"}
    table = {"region": "us-east1", "machine_type": "e2-standard-4"}
    assert config.beneath(table, environ) == {"machine_type": "e2-standard-4"}
    assert config.settings(config.beneath(table, environ), environ).region == "europe-west4"
    assert config.settings({"region": "asia-east1"}, environ).region == "asia-east1"
    monkeypatch.setenv("GCP_REGION", "nowhere at all")
    with pytest.raises(UsageError, match="region is a region"):
        GCPBatchBackend.configured(region="us-east1")
    GCPBatchBackend(region="us-east1")


def test_a_sandbox_costs_its_share_of_a_machine() -> None:
    whole, half = GCPBatchBackend(pool=False).price(), GCPBatchBackend().price()
    assert whole is not None
    assert half is not None
    assert half.hourly == pytest.approx(whole.hourly / 2)
    assert "n1-standard-4, 2 to a machine" in half.source
    assert GCPBatchBackend(machine_type="a3-highgpu-8g").price() is None


def test_room_is_what_the_machines_have() -> None:
    assert GCPBatchBackend(machines=3, slots=4).room() == (12, "3 machines with 4 sandboxes each")
