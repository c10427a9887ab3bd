"""What the Batch service is asked for, and the program its machines run."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from google.cloud import batch_v1
from hypothesis import given
from hypothesis import strategies as st

from cooperbench.errors import UsageError
from cooperbench.eval.backends.gcp import config
from cooperbench.eval.backends.gcp.agent import program
from cooperbench.eval.backends.gcp.jobs import Order, definition
from cooperbench.eval.backends.gcp.mailbox import fragment

SHELLS = [name for name in ("dash", "bash", "busybox") if shutil.which(name)]


def order(**changed: object) -> Order:
    wanted: dict[str, object] = {
        "job_id": "cb-1",
        "role": "slots",
        "slots": 4,
        "together": 2,
        "seconds": 900.5,
        "spot": False,
        "labels": {"kind": "sandboxes"},
        "variables": {"COOPERBENCH_REUSE": "yes"},
        **changed,
    }
    return Order(**wanted)  # type: ignore[arg-type]


def defined(wanted: Order, **chosen: object) -> batch_v1.Job:
    return definition(config.settings({"project_id": "a-project", **chosen}, {}), wanted)


def test_a_machine_with_slots() -> None:
    job = defined(order())
    [group] = job.task_groups
    assert (group.task_count, group.parallelism, group.task_count_per_node) == (4, 4, 2)
    assert group.task_spec.max_run_duration.total_seconds() == 900
    assert group.task_spec.max_retry_count == 0
    assert (group.task_spec.compute_resource.cpu_milli, group.task_spec.compute_resource.memory_mib) == (
        2000,
        7168,
    )
    variables = group.task_spec.environment.variables
    assert variables["COOPERBENCH_PREFIX"] == "cooperbench/cb-1"
    assert variables["COOPERBENCH_REUSE"] == "yes"
    assert "COOPERBENCH_STORAGE" not in variables, "the agent's own default is the vendor's"
    assert job.labels == {"product": "cooperbench", "kind": "sandboxes"}
    [instance] = job.allocation_policy.instances
    assert instance.policy.machine_type == "n1-standard-4"
    assert instance.policy.provisioning_model == batch_v1.AllocationPolicy.ProvisioningModel.STANDARD
    assert list(job.allocation_policy.location.allowed_locations) == ["regions/us-central1"]


def test_a_batch_is_retried_for_machines_that_were_taken_away_and_for_nothing_else() -> None:
    spec = defined(order(role="batch", retried=True, spot=True)).task_groups[0].task_spec
    assert spec.max_retry_count == 10
    [policy] = spec.lifecycle_policies
    assert policy.action == batch_v1.LifecyclePolicy.Action.RETRY_TASK
    assert list(policy.action_condition.exit_codes) == [50001, 50002, 50003, 50004, 50006]


def test_containers_are_limited() -> None:
    flags = defined(order()).task_groups[0].task_spec.environment.variables["COOPERBENCH_LIMITS"].split()
    assert flags == [
        "--pids-limit=1024",
        "--shm-size=256m",
        "--cpus=2",
        "--memory=7168m",
        "--memory-swap=7168m",
    ]


def test_private_machines() -> None:
    job = defined(
        order(),
        external_address=False,
        subnetwork="regions/r/subnetworks/s",
        service_account="a@b.iam.gserviceaccount.com",
    )
    [face] = job.allocation_policy.network.network_interfaces
    assert (face.no_external_ip_address, face.subnetwork) == (True, "regions/r/subnetworks/s")
    assert job.allocation_policy.service_account.email == "a@b.iam.gserviceaccount.com"


def test_a_definition_is_far_from_the_services_limit() -> None:
    assert len(batch_v1.Job.serialize(defined(order(slots=5000)))) < 100_000, "the limit is 1 MB"


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_can_read_the_program(shell: str) -> None:
    command = ["busybox", "sh"] if shell == "busybox" else [shell]
    done = subprocess.run([*command, "-n"], input=program().encode(), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_program_begins_as_one_and_has_no_comments() -> None:
    first, *rest = program().splitlines()
    assert first == "#!/bin/sh"
    assert not [line for line in rest if line.lstrip().startswith("#")]


WORDS = st.lists(
    st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=20), max_size=5
)


@given(WORDS)
def test_words_arrive_as_they_were_given(words: list[str]) -> None:
    line = fragment("say", *words)
    script = b"say() { for word; do printf '%s\\0' \"$word\"; done; }\n" + line
    said = subprocess.run(["sh", "-c", os.fsdecode(script)], capture_output=True, check=True).stdout
    assert said == b"".join(os.fsencode(word) + b"\0" for word in words)
    assert line.endswith(b"\n")


def test_a_word_with_a_nul_is_refused() -> None:
    with pytest.raises(UsageError, match="NUL"):
        fragment("do_run", "a\0b")
