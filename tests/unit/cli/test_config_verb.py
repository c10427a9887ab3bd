"""`config`: one key changes, every other line of the user's file stays."""

from __future__ import annotations

import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooperbench import settings
from cooperbench.cli.toml_edit import assign
from cooperbench.errors import UsageError

COMMENTED = """\
# mine
backend = "local"  # quick

[backends.local]
# careful
network = "none"

[backends.x]
a = 1
"""


def test_set_writes_a_file_that_settings_read(cooperbench) -> None:
    assert cooperbench("config", "set", "backend", "local").code == 0
    assert cooperbench("config", "set", "concurrency", "4").code == 0
    assert cooperbench("config", "set", "backends.local.network", "open").code == 0
    assert cooperbench("config", "set", "backends.local.keep", "true").code == 0
    found = settings.load({})
    assert found.values == {"backend": "local", "concurrency": 4}
    assert found.backends == {"local": {"network": "open", "keep": True}}


def test_everything_can_be_had_as_json(cooperbench) -> None:
    path = json.loads(cooperbench("config", "path", "--json").out)["path"]
    changed = cooperbench("config", "set", "concurrency", "4", "--json")
    assert json.loads(changed.out) == {"key": "concurrency", "value": 4, "path": path}
    for words in (["--json"], ["show", "--json"], ["--json", "show"]):
        assert json.loads(cooperbench("config", *words).out)["values"] == {"concurrency": 4}, words


def test_path_and_show_tell_where_a_value_comes_from(cooperbench, monkeypatch: pytest.MonkeyPatch) -> None:
    cooperbench("config", "set", "concurrency", "4")
    monkeypatch.setenv("COOPERBENCH_BACKEND", "elsewhere")
    path = cooperbench("config", "path").out.strip()
    shown = cooperbench("config").out
    assert f"concurrency = 4  ({path})" in shown
    assert "backend = elsewhere  (COOPERBENCH_BACKEND)" in shown
    assert "logs_dir = not set" in shown
    assert json.loads(cooperbench("config", "show", "--json").out)["values"] == {
        "backend": "elsewhere",
        "concurrency": 4,
    }


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("backnd", "x", "did you mean 'backend'?"),
        ("concurrency", "many", "whole number"),
        ("backends.local", "x", "backends.NAME.OPTION"),
        ("backends..network", "x", "backends.NAME.OPTION"),
        ("backends", "x", "backends.NAME.OPTION"),
    ],
)
def test_nonsense_is_refused_and_nothing_written(cooperbench, key: str, value: str, told: str) -> None:
    outcome = cooperbench("config", "set", key, value)
    assert outcome.code == 2
    assert told in outcome.err
    assert outcome.err.count("\n") == 1
    assert not settings.user_file().exists()


def test_a_damaged_file_is_reported_not_overwritten(cooperbench) -> None:
    settings.user_file().parent.mkdir(parents=True)
    settings.user_file().write_text("backend = \n")
    assert cooperbench("config", "set", "concurrency", "4").code == 2
    assert settings.user_file().read_text() == "backend = \n"


def test_an_unwritable_place_is_one_line(cooperbench) -> None:
    settings.user_file().parent.parent.mkdir(parents=True)
    settings.user_file().parent.write_text("a file where the directory should be")
    outcome = cooperbench("config", "set", "concurrency", "4")
    assert outcome.code == 2
    assert "cannot" in outcome.err


# ------------------------------------------------------------------------------------ the edit itself


def test_comments_and_order_stay() -> None:
    edited = assign(COMMENTED, ("backends", "local", "network"), "open")
    assert edited == COMMENTED.replace('"none"', '"open"')
    assert "# careful" in assign(COMMENTED, ("concurrency",), 3)


def test_a_new_key_goes_into_its_table_not_the_next() -> None:
    edited = assign(COMMENTED, ("backends", "local", "keep"), True)
    assert edited.index("keep") < edited.index("[backends.x]")


@pytest.mark.parametrize(
    "source", ['backends = { local = { network = "none" } }\n', 'backends.local.network = "x"\n']
)
def test_what_cannot_be_edited_safely_is_left_to_the_user(source: str) -> None:
    with pytest.raises(UsageError, match="by hand"):
        assign(source, ("backends", "local", "network"), "open")


KEYS = st.text(st.characters(codec="utf-8", exclude_characters=".\r\n"), min_size=1, max_size=8)
VALUES = st.one_of(st.integers(-(2**60), 2**60), st.booleans(), st.text(max_size=20))


@given(st.lists(st.tuples(KEYS, VALUES), max_size=6), KEYS, VALUES)
def test_the_result_holds_the_value_and_the_rest_or_it_refuses(pairs, key: str, value) -> None:
    source = COMMENTED
    for other, one in pairs:
        try:
            source = assign(source, ("backends", "x", other), one)
        except UsageError:
            continue
    before = tomllib.loads(source)
    try:
        after = tomllib.loads(assign(source, ("backends", "x", key), value))
    except UsageError:
        return
    before["backends"]["x"][key] = value
    assert after == before
