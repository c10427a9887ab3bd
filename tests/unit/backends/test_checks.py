"""How the contract is reported; that it catches what it should is shown in tests/contract."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from cooperbench.errors import SandboxLost, UsageError
from cooperbench.eval.backends.base import Completed
from cooperbench.eval.backends.checks import CHECKS, Check, Subject, examine, run_checks


class Sandbox:
    """Answers `sh -c "exit N"` and nothing else; can be told to be wrong."""

    def __init__(self, wrong: bool) -> None:
        self.wrong, self.ended = wrong, False

    def exec(self, *args: str) -> Completed:
        if self.ended:
            raise SandboxLost("terminated")
        return Completed(0 if self.wrong else int(args[2].split()[1]))

    def terminate(self) -> None:
        self.ended = True


class Backend:
    """Makes them."""

    def __init__(self, wrong: bool = False) -> None:
        self.wrong = wrong
        self.made: list[Sandbox] = []

    def create_sandbox(self, image: str, timeout: int = 600, workdir: str = "/workspace") -> Any:
        assert (image, timeout, workdir) == ("image", 600, "/workspace")
        self.made.append(Sandbox(self.wrong))
        return self.made[-1]


def outcome(backend: Backend, name: str, **options: Any) -> tuple[str, bool, str]:
    (result,) = run_checks(backend, "image", only=[name], **options)
    assert result.name == name
    assert result.meaning
    return result.outcome, result.fine, result.message


def test_every_clause_has_a_name_and_one_line() -> None:
    assert len({each.name for each in CHECKS}) == len(CHECKS)
    for each in CHECKS:
        assert each.meaning.endswith("."), each.name
        assert "\n" not in each.meaning


def test_kept() -> None:
    backend = Backend()
    assert outcome(backend, "exit-code") == ("kept", True, "")
    assert all(sandbox.ended for sandbox in backend.made)


def test_broken_says_expected_and_seen() -> None:
    backend = Backend(wrong=True)
    wrong, fine, message = outcome(backend, "exit-code")
    assert (wrong, fine) == ("broken", False)
    assert message == "exit code of `exit 1`: expected 1, saw 0"
    assert all(sandbox.ended for sandbox in backend.made)


def test_exceptions_are_broken_clauses() -> None:
    wrong, _, message = outcome(Backend(), "files-persist")  # the sandbox cannot read that command
    assert wrong == "broken"
    assert "saw ValueError" in message


def test_known_gap_keeps_its_reason() -> None:
    gaps = {"exit-code": "the engine loses it, ticket 7"}
    assert outcome(Backend(wrong=True), "exit-code", known_failures=gaps) == (
        "known gap",
        True,
        "the engine loses it, ticket 7",
    )


def test_closed_gap_is_reported() -> None:
    closed, fine, message = outcome(Backend(), "exit-code", known_failures={"exit-code": "ticket 7"})
    assert (closed, fine) == ("gap closed", False)
    assert "ticket 7" in message


def test_skipped_says_why() -> None:
    assert outcome(Backend(), "image-config") == (
        "skipped",
        True,
        "needs an image with an ENV and an ENTRYPOINT",
    )


@pytest.mark.parametrize("options", [{"only": ["exit-kode"]}, {"known_failures": {"exit-kode": "why"}}])
def test_unknown_names_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="no check 'exit-kode': there are exit-code"):
        run_checks(Backend(), "image", **options)


def test_a_clause_that_blocks_is_broken_and_cleaned_up() -> None:
    backend, released = Backend(), threading.Event()

    def block(subject: Subject) -> None:
        subject.sandbox()
        released.wait()

    result = examine(Check("blocks", "Blocks.", block), Subject(backend, "image"), deadline=0.2)
    released.set()
    assert result.outcome == "broken"
    assert result.message == "expected an end within 0.2 s, saw none"
    assert backend.made[0].ended


def test_all_clauses_are_reported_in_order() -> None:
    results = run_checks(Backend(), "image", only=["signal", "exit-code"])
    assert [result.name for result in results] == ["exit-code", "signal"]
