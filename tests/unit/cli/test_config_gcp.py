"""The questions of `config gcp`: what a flag has answered is not asked, and no answer changes nothing."""

from __future__ import annotations

from collections.abc import Callable

from cooperbench.cli.configuring_gcp import _answers
from cooperbench.eval.backends.gcp.config import Settings, settings

CURRENT: Settings = settings({"project_id": "a-project", "region": "us-east1"}, {})


def person(*answers: str) -> tuple[Callable[[str], str], list[str]]:
    """Somebody who gives these answers and then closes the terminal, and what they were asked."""
    left, asked = list(answers), []

    def ask(question: str) -> str:
        asked.append(question)
        if not left:
            raise EOFError
        return left.pop(0)

    return ask, asked


def test_everything_is_asked_with_what_is_settled() -> None:
    ask, asked = person("", "europe-west4 ", "", "my-bucket")
    assert _answers(CURRENT, {}, ask) == {"region": "europe-west4", "bucket_name": "my-bucket"}
    assert asked == [
        "project [a-project]: ",
        "region [us-east1]: ",
        "machine type [n1-standard-4]: ",
        "bucket [cooperbench-PROJECT]: ",
    ]


def test_what_a_flag_says_is_not_asked() -> None:
    ask, asked = person("", "")
    assert _answers(CURRENT, {"project_id": "x", "region": "y"}, ask) == {}
    assert [question.partition(" [")[0] for question in asked] == ["machine type", "bucket"]


def test_a_closed_terminal_ends_the_questions() -> None:
    ask, asked = person("another-project")
    assert _answers(CURRENT, {}, ask) == {"project_id": "another-project"}
    assert len(asked) == 2
