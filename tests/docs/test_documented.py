"""The calls that CooperBench's published documentation shows, as its readers write them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cooperbench import evaluate, run, run_patch_test
from cooperbench.agents import get_agent
from cooperbench.errors import UsageError
from cooperbench.eval import backends
from cooperbench.eval.backends.base import EvalBackend, ExecResult, Sandbox, SpecBackend
from cooperbench.eval.backends.gcp import GCPBatchBackend
from tests.loopback.modal import Cloud
from tests.modal import cloud as modal_cloud


def one_line(error: pytest.ExceptionInfo[BaseException]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_the_default_agent_is_the_documented_one() -> None:
    agent = inspect.signature(run).parameters["agent"].default
    assert agent == "mini_swe_agent_v2"
    assert type(get_agent(agent)) is type(get_agent("mini_swe_agent"))


def test_configuring_gcp() -> None:
    backend = GCPBatchBackend(
        project_id="your-project",
        region="us-central1",
        machine_type="n1-standard-4",
    )
    assert isinstance(backend, SpecBackend)


@pytest.mark.usefixtures("project")
def test_creating_and_using_a_sandbox() -> None:
    backend = backends.get_backend("local")
    sandbox = backend.create_sandbox(
        image="cooperbench-demo/llama-index:task1",
        timeout=600,
        workdir="/workspace",
    )
    try:
        result = sandbox.exec("sh", "-c", "git --version")
        assert result.returncode == 0
        assert result.stdout_read().startswith("git version")
        assert result.stderr_read() == ""
        assert sandbox.exec("git", "apply", "agent.patch").returncode != 0, "there is no such patch"
        assert sandbox.exec("pwd").stdout_read() == "/workspace\n"
    finally:
        sandbox.terminate()


@pytest.mark.usefixtures("agents")
def test_running_then_judging() -> None:
    ran = run(run_name="local_run", subset="lite", backend="local", concurrency=2)
    judged = evaluate(run_name="local_run", backend="local", concurrency=2)
    assert (ran["total_tasks"], ran["pass_rate"]) == (1, 1.0)
    assert (judged["total_runs"], judged["passed"]) == (1, 1)
    assert json.loads(next(Path("logs/local_run").rglob("eval.json")).read_text())["both_passed"] is True


@pytest.mark.usefixtures("project")
def test_testing_a_patch_named_by_its_path() -> None:
    result = run_patch_test(
        repo_name="llama_index_task",
        task_id=1,
        feature_id=1,
        agent_patch="path/to/patch",
        timeout=1200,
        backend="local",
    )
    assert (result["passed"], result["error"]) == (True, None)
    assert result["tests_passed"] == result["tests_total"] > 0


# -------------------------------------------------------------------------------------------- modal


@pytest.fixture(name="account")
def _account(agents: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Modal, on loopback, as the environment and the settings have it."""
    (agents / "cooperbench.toml").write_text(
        f'[backends.modal]\nhost_image = "{modal_cloud.IMAGE}"\ncreates_per_second = 0\n'
    )
    with modal_cloud.cloud() as cloud:
        for name, value in cloud.environment.items():
            monkeypatch.setenv(name, value)
        yield cloud


@pytest.mark.usefixtures("project")
def test_modal_without_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODAL_CONFIG_PATH", "/nonexistent/modal.toml")
    monkeypatch.delenv("MODAL_TOKEN_ID", raising=False)
    with pytest.raises(UsageError) as caught:
        backends.get_backend("modal")
    assert one_line(caught) == (
        "backend 'modal' needs an account's credentials: "
        "run `modal token new`, or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET"
    )


@pytest.mark.usefixtures("account")
def test_modal_is_the_default_where_there_is_an_account() -> None:
    assert backends.default_backend() == ("modal", "MODAL_TOKEN_ID is set")


def test_modal_runs_judges_and_tests_patches(account: Cloud) -> None:
    ran = run(run_name="modal_run", subset="lite", backend="modal")
    assert (ran["total_tasks"], ran["pass_rate"]) == (1, 1.0)
    judged = evaluate(run_name="modal_run", backend="modal")
    assert (judged["total_runs"], judged["passed"]) == (1, 1)
    result = run_patch_test(
        repo_name="llama_index_task",
        task_id=1,
        feature_id=1,
        agent_patch="path/to/patch",
        timeout=1200,  # 20 minutes
        backend="modal",
    )
    assert (result["passed"], result["error"]) == (True, None)
    assert account.alive == [], "nothing is left running"


def test_a_sandbox_of_modals(account: Cloud) -> None:
    backend = backends.get_backend("modal")
    sandbox = backend.create_sandbox(image=modal_cloud.IMAGE, timeout=600, workdir="/workspace")
    try:
        result = sandbox.exec("sh", "-c", "python3 --version")
        assert (result.returncode, result.stderr_read()) == (0, "")
        assert result.stdout_read().startswith("Python 3")
        assert sandbox.exec("git", "apply", "agent.patch").returncode != 0, "there is no such patch"
    finally:
        sandbox.terminate()
    assert account.alive == []


# -------------------------------------------------------------------------------------------- one's own


@dataclass
class MyExecResult:
    """As the documentation writes it."""

    returncode: int
    _stdout: str
    _stderr: str

    def stdout_read(self) -> str:
        return self._stdout

    def stderr_read(self) -> str:
        return self._stderr


class PretendedSandbox:
    """As the documentation writes it: says yes to everything, does nothing."""

    def __init__(self, image: str, timeout: int, workdir: str) -> None:
        self.image, self.timeout, self.workdir = image, timeout, workdir

    def exec(self, *args: str) -> ExecResult:
        del args
        return MyExecResult(returncode=0, _stdout="Command output", _stderr="")

    def terminate(self) -> None:
        pass


class PretendedBackend:
    """Makes them."""

    def create_sandbox(self, image: str, timeout: int = 600, workdir: str = "/workspace") -> Sandbox:
        return PretendedSandbox(image, timeout, workdir)


class CountingBackend:
    """A real one behind the same three methods."""

    def __init__(self) -> None:
        self.inner = backends.get_backend("local")
        self.created = 0

    def create_sandbox(self, image: str, timeout: int = 600, workdir: str = "/workspace") -> Sandbox:
        self.created += 1
        return Plain(self.inner.create_sandbox(image, timeout, workdir))


class Plain:
    """Its sandbox: `exec` and `terminate`."""

    def __init__(self, inner: Sandbox) -> None:
        self.inner = inner

    def exec(self, *args: str) -> ExecResult:
        done = self.inner.exec(*args)
        return MyExecResult(done.returncode, done.stdout_read(), done.stderr_read())

    def terminate(self) -> None:
        self.inner.terminate()


def replace(mine: EvalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """The documented recipe: assign one's own function over `backends.get_backend`."""
    original_get_backend = backends.get_backend

    def custom_get_backend(name: str) -> Any:
        return mine if name == "my_backend" else original_get_backend(name)

    monkeypatch.setattr(backends, "get_backend", custom_get_backend)


@pytest.mark.usefixtures("agents")
def test_replaced_getter_is_used_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = CountingBackend()
    replace(mine, monkeypatch)
    assert run(run_name="custom", subset="lite", backend="my_backend")["pass_rate"] == 1.0
    verdict = json.loads(next(Path("logs/custom").rglob("eval.json")).read_text())
    assert (verdict["both_passed"], verdict["backend"]) == (True, "my_backend")
    assert mine.created == 3, "two agents and one judge"
    evaluate(run_name="custom", backend="my_backend", force=True)
    assert mine.created == 4
    assert run_patch_test("llama_index_task", 1, 1, "path/to/patch", backend="my_backend")["passed"]
    assert mine.created == 5


@pytest.mark.usefixtures("agents")
def test_registered_backend_is_used_everywhere() -> None:
    mine = CountingBackend()
    backends.register_backend("my_backend", lambda: mine)
    run(run_name="custom", subset="lite", backend="my_backend")
    assert mine.created == 3
    assert run_patch_test("llama_index_task", 1, 1, "path/to/patch", backend="my_backend")["passed"]


@pytest.mark.usefixtures("agents")
def test_pretended_backend_is_an_error_and_never_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    replace(PretendedBackend(), monkeypatch)
    totals = run(run_name="pretended", subset="lite", backend="my_backend")
    assert (totals["failed"], totals["eval"]["failed"], totals["eval"]["errors"]) == (1, 0, 1)
    assert list(Path("logs/pretended").rglob("eval.json")) == []
    answer = run_patch_test("llama_index_task", 1, 1, "path/to/patch", backend="my_backend")
    assert answer["passed"] is False
    assert "Command output" in answer["error"]
    assert answer["verdict"] is None
