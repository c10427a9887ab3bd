"""The names and signatures that scripts and the documentation rely on. Changing one here is changing it for users."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import pytest

import cooperbench
from cooperbench.eval.backends import base

SURFACE = {
    "cooperbench": {
        "run": "run_name subset repo task_id features model_name agent concurrency force redis_url setting "
        "git_enabled messaging_enabled auto_eval eval_concurrency backend agent_config dataset_dir logs_dir",
        "evaluate": "run_name subset repo task_id features concurrency force backend",
        "run_patch_test": "repo_name task_id feature_id agent_patch timeout backend dataset_dir",
        "test_merged": "repo_name task_id feature1_id feature2_id patch1 patch2 timeout backend dataset_dir",
        "test_solo": "repo_name task_id feature1_id feature2_id patch timeout backend dataset_dir",
        "evaluate_merge": "repo_name task_id feature1_id feature2_id patch1 patch2",
        "discover_tasks": "subset repo_filter task_filter features_filter dataset_dir",
        "discover_runs": "run_name subset repo_filter task_filter features_filter logs_dir dataset_dir",
        "register_agent": "name factory",
        "register_backend": "name factory",
    },
    "cooperbench.eval.backends": {
        "get_backend": "name",
        "list_backends": "",
        "default_backend": "",
        "register_backend": "name factory",
        "get_batch_evaluator": "name",
    },
    "cooperbench.eval.backends.checks": {"run_checks": "backend image"},
    "cooperbench.eval.backends.shell": {
        "create": "backend spec",
        "run": "sandbox argv timeout env cwd stdin",
        "put_files": "sandbox files",
        "get_files": "sandbox directory limit",
        "run_job": "backend job",
        "prepare_image": "backend image recipe",
    },
    "cooperbench.agents": {"get_agent": "name", "register_agent": "name factory", "list_agents": ""},
}
CASES = [(module, name, wanted) for module, names in SURFACE.items() for name, wanted in names.items()]


@pytest.mark.parametrize(("module", "name", "wanted"), CASES, ids=[f"{m}.{n}" for m, n, _ in CASES])
def test_function_takes_these_arguments_in_this_order(module: str, name: str, wanted: str) -> None:
    function = getattr(import_module(module), name)
    assert [*inspect.signature(function).parameters][: len(wanted.split())] == wanted.split()
    assert function.__doc__, f"{module}.{name} says nothing of itself"


@pytest.mark.parametrize(("module", "name", "wanted"), CASES, ids=[f"{m}.{n}" for m, n, _ in CASES])
def test_what_was_added_is_optional(module: str, name: str, wanted: str) -> None:
    parameters = [*inspect.signature(getattr(import_module(module), name)).parameters.values()]
    for parameter in parameters[len(wanted.split()) :]:
        optional = parameter.default is not parameter.empty or parameter.kind is parameter.VAR_KEYWORD
        assert optional, f"{module}.{name}: {parameter}"


def test_package_exports() -> None:
    wanted = {"__version__", "validate", *SURFACE["cooperbench"]}
    assert set(cooperbench.__all__) == wanted
    assert set(dir(cooperbench)) >= wanted
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        cooperbench.runn  # noqa: B018


def test_verbs_are_functions_not_modules() -> None:
    for name in SURFACE["cooperbench"]:
        assert inspect.isfunction(getattr(cooperbench, name))


@pytest.mark.parametrize("name", ["evaluate", "run_patch_test", "test_merged", "test_solo", "evaluate_merge"])
def test_judging_is_in_its_package_too(name: str) -> None:
    assert getattr(import_module("cooperbench.eval"), name) is getattr(cooperbench, name)


PROTOCOLS: dict[str, dict[str, str]] = {
    "EvalBackend": {
        "create_sandbox": "(self, image: 'str', timeout: 'int' = 600, workdir: 'str' = '/workspace') -> 'Sandbox'"
    },
    "Sandbox": {"exec": "(self, *args: 'str') -> 'ExecResult'", "terminate": "(self) -> 'None'"},
    "ExecResult": {"stdout_read": "(self) -> 'str'", "stderr_read": "(self) -> 'str'"},
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_seam(protocol: str) -> None:
    found: Any = getattr(base, protocol)
    methods = {
        name: str(inspect.signature(member))
        for name, member in vars(found).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }
    assert methods == PROTOCOLS[protocol]


def test_exit_code_is_a_property() -> None:
    assert isinstance(vars(base.ExecResult)["returncode"], property)


def test_agents_of_a_protocol() -> None:
    run = inspect.signature(import_module("cooperbench.agents.base").Agent.run)
    assert [*run.parameters] == ["self", "assignment", "sandbox", "mailbox"]
