"""How a name becomes an agent, and every way it does not."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from cooperbench.agents import get_agent, list_agents, register_agent, registry
from cooperbench.agents.base import AgentResult
from cooperbench.errors import UsageError


class Mine:
    def run(self, assignment, sandbox, mailbox) -> AgentResult:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.delenv(registry.EXTERNAL, raising=False)


@pytest.mark.parametrize("name", ["gold", "noop", "script"])
def test_built_in(name: str) -> None:
    assert callable(get_agent(name).run)
    assert name in list_agents()


def test_registered_replaces_and_is_listed() -> None:
    register_agent("mine", Mine)
    assert isinstance(get_agent("mine"), Mine)
    assert list_agents()[-1] == "mine"


def test_as_a_decorator() -> None:
    @register_agent("decorated")
    class Decorated(Mine):
        pass

    assert isinstance(get_agent("decorated"), Decorated)


def test_by_module_and_class() -> None:
    assert isinstance(get_agent(f"{__name__}:Mine"), Mine)


def test_external_modules_register_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_agents_for_test.py").write_text(
        "from cooperbench.agents import register_agent\n"
        "from cooperbench.agents.noop import NoopAgent\n"
        "register_agent('theirs', NoopAgent)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(registry.EXTERNAL, " my_agents_for_test , ")
    try:
        assert "theirs" in list_agents()
        assert get_agent("theirs")
    finally:
        sys.modules.pop("my_agents_for_test", None)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "nobody",
            "unknown; there is mini_swe_agent, claude_code, codex, gemini_cli, opencode, gold, noop, script",
        ),
        ("openhands", "has no adapter in this release .openhands-sdk wants Python 3.12.*behind a class"),
        ("openhands_sdk", "has no adapter in this release .openhands-sdk wants Python 3.12"),
        ("swe_agent", "has no adapter in this release .*sweagent 0.0.1 alone, which needs togetherunidiff"),
        ("no.such.module:Agent", "cannot be loaded"),
        (f"{__name__}:Nothing", "cannot be loaded"),
        ("a b:c", "not of the form"),
        (f"{__name__}:EMPTY", "not a class or function"),
        (f"{__name__}:Empty", "has no run"),
    ],
)
def test_what_is_not_one(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        get_agent(name)


EMPTY = 3


class Empty:
    pass


def test_a_broken_external_module_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(registry.EXTERNAL, "no_such_module_at_all")
    with pytest.raises(UsageError, match="no_such_module_at_all"):
        get_agent("gold")


@pytest.mark.parametrize("name", ["", "a b", "1x", "a:b", None])
def test_names_that_cannot_be(name) -> None:
    with pytest.raises(UsageError, match="cannot name an agent"):
        register_agent(name, Mine)


def test_not_a_factory() -> None:
    with pytest.raises(UsageError, match="give a class or function"):
        register_agent("mine", 3)


BROKEN = {
    "syntax": ("def (", "cannot be loaded: SyntaxError"),
    "leaves": ("raise SystemExit('boom')", "cannot be loaded: SystemExit: boom"),
    "keyless": (
        "class Mine:\n    def __init__(self): raise KeyError('TOKEN')",
        "could not be made: KeyError: 'TOKEN'",
    ),
    "exits": ("class Mine:\n    def __init__(self): raise SystemExit(3)", "could not be made: SystemExit: 3"),
    "needy": ("def Mine(what): ...", "could not be made: TypeError"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_code_that_breaks_is_a_wrong_request(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, told = BROKEN[kind]
    module = f"my_{kind}_agent_for_test"
    (tmp_path / f"{module}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=re.escape(told)):
        get_agent(f"{module}:Mine")
    if kind in ("syntax", "leaves"):
        monkeypatch.setenv(registry.EXTERNAL, module)
        with pytest.raises(UsageError, match=registry.EXTERNAL):
            list_agents()
    sys.modules.pop(module, None)
