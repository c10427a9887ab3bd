"""CooperBench measures whether coding agents can work together.

The public verbs live here and are loaded when first used, so that ``import cooperbench`` costs nothing and imports
no backend's or agent's SDK.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_WHERE = {
    "run": "cooperbench.runner",
    "discover_tasks": "cooperbench.dataset",
    "evaluate": "cooperbench.eval",
    "run_patch_test": "cooperbench.eval",
    "test_merged": "cooperbench.eval",
    "test_solo": "cooperbench.eval",
    "evaluate_merge": "cooperbench.eval",
    "validate": "cooperbench.eval",
    "discover_runs": "cooperbench.runs",
    "register_agent": "cooperbench.agents",
    "register_backend": "cooperbench.eval.backends",
}

__all__ = ["__version__", *sorted(_WHERE)]

if TYPE_CHECKING:
    from cooperbench.agents import register_agent as register_agent
    from cooperbench.dataset import discover_tasks as discover_tasks
    from cooperbench.eval import evaluate as evaluate
    from cooperbench.eval import evaluate_merge as evaluate_merge
    from cooperbench.eval import run_patch_test as run_patch_test
    from cooperbench.eval import test_merged as test_merged
    from cooperbench.eval import test_solo as test_solo
    from cooperbench.eval import validate as validate
    from cooperbench.eval.backends import register_backend as register_backend
    from cooperbench.runner import run as run
    from cooperbench.runs import discover_runs as discover_runs


def __getattr__(name: str) -> Any:
    try:
        module = _WHERE[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return __all__
