"""Imports point down only, and importing the package loads next to nothing."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cooperbench

ROOT = Path(cooperbench.__file__).parent

# From the ground up. In one row, groups are blind to each other; a module belongs to its longest prefix here.
LAYERS: list[dict[str, list[str]]] = [
    {"errors": ["errors"]},
    {
        "ground": [
            "atomic",
            "budget",
            "pool",
            "crew",
            "quiet_import",
            "redaction",
            "conventions",
            "diffnames",
            "interrupts",
            "settings",
        ],
        "base": ["eval.backends.base"],
    },
    {"dataset": ["dataset"], "patches": ["patches"], "job": ["eval.job"], "gateway": ["gateway"]},
    {
        "judge": [
            "eval.plan",
            "eval.facts",
            "eval.verdict",
            "eval.testlog",
            "eval.health",
            "eval.integrity",
            "eval.manifests",
            "eval.sourcelines",
            "eval.steering",
            "eval.suspicions",
        ],
        "shell": ["eval.backends.shell", "eval.backends.archive", "eval.backends.doubt"],
        "agent": ["agents.base"],
        "events": ["events"],
    },
    {
        "agents": ["agents"],
        "backends": ["eval.backends"],
        "runs": ["runs"],
        "report": ["report"],
        "collaboration": ["collaboration"],
    },
    {
        "evaluator": [
            "eval.sources",
            "eval.expense",
            "eval.endable",
            "eval.onebyone",
            "eval.fetching",
            "eval.supply",
            "eval.judging",
            "eval.batching",
            "eval.evaluator",
            "eval.patch_tests",
            "eval.validation",
        ]
    },
    {"runner": ["runner"]},
    {"package": ["", "eval"]},
    {"cli": ["cli"]},
]
EXCEPTIONS: dict[tuple[str, str], str] = {}
"""Arrows that point up, each with its reason."""
WHERE = {
    prefix: (height, group)
    for height, row in enumerate(LAYERS)
    for group, prefixes in row.items()
    for prefix in prefixes
}


def place(module: str) -> tuple[int, str]:
    """Layer and group of a module; the two modules that are doors stand for themselves only."""
    prefix = module
    while prefix not in WHERE or (prefix in ("", "eval") and prefix != module):
        assert prefix, f"{module} has no place among the layers"
        prefix = prefix.rpartition(".")[0]
    return WHERE[prefix]


def modules() -> dict[str, Path]:
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if "demo" not in parts:
            found[".".join(parts).removesuffix("__init__").removesuffix(".")] = path
    return found


MODULES = modules()


def imported(path: Path) -> Iterator[str]:
    """Modules of ours that a file imports anywhere in it: the names in `from m import a` may be modules too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            # The bare package is there for its version: it loads nothing.
            yield from (alias.name for alias in node.names if alias.name != "cooperbench")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 or path.parent.name == "inside", f"{path}: a relative import"
            for alias in node.names:
                if alias.name != "__version__":
                    yield f"{node.module}.{alias.name}"


def ours(name: str) -> str | None:
    """The module that `name`, a module or something in one, is in; None when it is not of this package."""
    if name.partition(".")[0] != "cooperbench":
        return None
    inside = name.partition(".")[2]
    return inside if inside in MODULES else inside.rpartition(".")[0]


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_down(module: str) -> None:
    height, group = place(module)
    for name in imported(MODULES[module]):
        target = ours(name)
        if target is None or (module, target) in EXCEPTIONS:
            continue
        below, other = place(target)
        assert below < height or other == group, f"{module} ({group}) imports {target} ({other})"


def loaded_by(statement: str) -> set[str]:
    """Modules that a statement brings into a fresh interpreter."""
    code = f"import sys, json; before = set(sys.modules); {statement}; "
    code += "print(json.dumps(sorted(set(sys.modules) - before)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    return set(json.loads(done.stdout))


def test_importing_the_package_loads_next_to_nothing() -> None:
    loaded = loaded_by("import cooperbench")
    assert {name for name in loaded if name.startswith("cooperbench")} == {"cooperbench"}
    assert len(loaded) <= 12, sorted(loaded)


@pytest.mark.parametrize(
    "statement",
    [
        "from cooperbench import run, evaluate, run_patch_test, discover_tasks, discover_runs, validate",
        "from cooperbench.eval.backends import get_backend, list_backends; list_backends()",
        "from cooperbench.eval.backends import checks, shell",
        "import cooperbench.cli",
    ],
)
def test_no_sdk_is_loaded(statement: str) -> None:
    foreign = {
        name.partition(".")[0]
        for name in loaded_by(statement)
        if name.partition(".")[0] not in sys.stdlib_module_names
    }
    assert foreign <= {"cooperbench", "platformdirs"}, sorted(foreign)


def test_a_backends_author_loads_the_protocols_only() -> None:
    loaded = {n for n in loaded_by("import cooperbench.eval.backends.base") if n.startswith("cooperbench")}
    assert loaded <= {f"cooperbench{name}" for name in ("", ".errors", ".eval", ".eval.backends")} | {
        "cooperbench.eval.backends.base"
    }
