"""Files as they are written: whole, and readable by people and programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cooperbench import atomic

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VALUES)
def test_what_is_written_is_what_json_makes_of_it(tmp_path: Path, value: object) -> None:
    atomic.write_json(tmp_path / "file", value)
    content = (tmp_path / "file").read_bytes()
    assert json.loads(content) == json.loads(json.dumps(value).encode("utf-8", "replace")) or b"?" in content
    assert content.endswith(b"\n")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "{}\n"),
        ([], "[]\n"),
        ({"a": 1, "é": {"b": [1, 2]}}, '{\n  "a": 1,\n  "é": {"b": [1, 2]}\n}\n'),
        ([{"a": None}, "x\ny"], '[\n  {"a": null},\n  "x\\ny"\n]\n'),
    ],
)
def test_each_member_has_a_line(tmp_path: Path, value: object, text: str) -> None:
    atomic.write_json(tmp_path / "new" / "file", value)
    assert (tmp_path / "new" / "file").read_text("utf-8") == text
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]


def test_a_file_is_read_whole_whatever_its_size_is_said_to_be(tmp_path: Path) -> None:
    for content in (b"", b"x", b"y" * 3_000_000):
        (tmp_path / "file").write_bytes(content)
        assert atomic.read_bytes(tmp_path / "file") == content
    assert (
        atomic.read_bytes("/proc/self/mountinfo") == Path("/proc/self/mountinfo").read_bytes()
    )  # said to be empty
    with pytest.raises(IsADirectoryError):
        atomic.read_bytes(tmp_path)


def test_json_of_other_encodings_is_read_too(tmp_path: Path) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "file").write_bytes('{"é": 1}'.encode(encoding))
        assert atomic.read_json(tmp_path / "file") == {"é": 1}
    for broken in (b'{"a": NaN}', b'{"a": 1', b"\xff", b""):
        (tmp_path / "file").write_bytes(broken)
        assert atomic.read_json(tmp_path / "file") is None
