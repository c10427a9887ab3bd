"""Judging patches. The public functions load when first used, so that a backend author's imports stay light."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cooperbench.eval.evaluator import evaluate as evaluate
    from cooperbench.eval.patch_tests import evaluate_merge as evaluate_merge
    from cooperbench.eval.patch_tests import run_patch_test as run_patch_test
    from cooperbench.eval.patch_tests import test_merged as test_merged
    from cooperbench.eval.patch_tests import test_solo as test_solo
    from cooperbench.eval.validation import validate as validate

_WHERE = {
    "evaluate": "evaluator",
    "run_patch_test": "patch_tests",
    "test_merged": "patch_tests",
    "test_solo": "patch_tests",
    "evaluate_merge": "patch_tests",
    "validate": "validation",
}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"cooperbench.eval.{_WHERE[name]}"), name)
