"""A table of settings, read by what a dataclass says of its fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from cooperbench.errors import UsageError
from cooperbench.eval.backends.table import Size, not_negative, one_of, positive, read


@dataclass(frozen=True, slots=True)
class Settings:
    """One field of each form."""

    text: str = "plain"
    yes: bool = True
    whole: int = 1
    number: float = 1.0
    room: Size = 1 << 20
    words: tuple[str, ...] = ()
    cores: tuple[float, float] = (1.0, 2.0)
    env: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        positive(self, "some", "whole", "room")
        not_negative(self, "some", "number")
        one_of(self, "some", "text", ("plain", "", "odd"))


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({}, Settings()),
        ({"text": " odd ", "yes": False, "whole": 2}, Settings(text="odd", yes=False, whole=2)),
        ({"number": 2}, Settings(number=2)),
        ({"number": float("inf")}, Settings(number=float("inf"))),
        ({"room": "1.5k"}, Settings(room=1536)),
        ({"room": 7}, Settings(room=7)),
        ({"words": "one"}, Settings(words=("one",))),
        ({"words": ["one", "two"]}, Settings(words=("one", "two"))),
        ({"cores": 3}, Settings(cores=(3, 3))),
        ({"cores": [1.5, 2]}, Settings(cores=(1.5, 2))),
        ({"env": {"A": "b"}}, Settings(env={"A": "b"})),
    ],
)
def test_what_is_of_its_fields_form(table: dict[str, Any], expected: Settings) -> None:
    assert read(Settings, table, "some") == expected


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            {"texts": "x"},
            "unknown setting 'texts'; there are: text, yes, whole, number, room, words, cores, env",
        ),
        ({"text": 1}, "text cannot be 1"),
        ({"text": "other"}, "text 'other': one of plain, (empty), odd"),
        ({"yes": 1}, "yes cannot be 1"),
        ({"whole": True}, "whole cannot be True"),
        ({"whole": 1.0}, "whole cannot be 1.0"),
        ({"whole": 0}, "whole must be positive, not 0"),
        ({"number": "1"}, "number cannot be '1'"),
        ({"number": float("nan")}, "number cannot be nan"),
        ({"number": -0.5}, "number must not be negative: -0.5"),
        ({"room": 1.5}, "room is a size such as 512m or 4g, not 1.5"),
        ({"room": "much"}, "room is a size such as 512m or 4g, not 'much'"),
        ({"words": [""]}, "words is a list of texts, not ['']"),
        ({"cores": [1, True]}, "cores is a number or two, as in [1, 4], not [1, True]"),
        ({"cores": float("inf")}, "cores is a number or two, as in [1, 4], not inf"),
        ({"env": {"A": 1}}, "env is a table of texts"),
    ],
)
def test_what_is_not(table: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(Settings, table, "some")
    assert str(caught.value).removeprefix("some backend: ") == said
