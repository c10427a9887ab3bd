"""A run as CSV and JSON: complete, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json

from hypothesis import given
from hypothesis import strategies as st

from cooperbench.report.export import COLUMNS, as_json, counts_as_json, write_csv
from cooperbench.report.rows import TrialRow, count
from tests.unit.report.rows import rows


@given(st.lists(rows, max_size=6))
def test_every_trial_has_its_line_and_no_cell_is_a_formula(many: list[TrialRow]) -> None:
    stream = io.StringIO(newline="")
    write_csv(many, stream)
    read = list(csv.reader(io.StringIO(stream.getvalue(), newline="")))
    assert read[0] == list(COLUMNS)
    assert len(read) == len(many) + 1
    assert not [cell for line in read for cell in line if cell.startswith(("=", "+", "-", "@"))]


@given(st.lists(rows, max_size=6))
def test_json_holds_the_same(many: list[TrialRow]) -> None:
    assert [value["outcome"] for value in json.loads(json.dumps(as_json(many)))] == [
        row.outcome for row in many
    ]
    sums = counts_as_json(count(many))
    assert sums["passed"] + sums["failed"] + sums["errors"] + sums["pending"] == sums["total"]
