"""3.8, as the command line hands it on. `DEFECTS.md` names the defects."""

from __future__ import annotations

import pytest

from cooperbench.cli import exits


@pytest.mark.parametrize(
    ("argv", "pairs"),
    [
        (["-t", "0", "-f", "1,2"], ["todosh_task/0/1,2"]),
        (["-r", "almanac_task", "-f", "2,1"], ["almanac_task/12/1,2"]),
    ],
)
def test_a_selection_means_what_it_says(cooperbench, argv: list[str], pairs: list[str]) -> None:
    outcome = cooperbench("tasks", "--demo", "--pairs", *argv)
    assert (outcome.code, outcome.out.split()) == (0, pairs)


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["run", "-t", "0", "-f", "1,99"], "features 1,99: todosh_task/0 has"),
        (["run", "-f", "1"], "needs at least 2 features"),
        (["run", "-f", "1,1"], "more than once"),
        (["validate", "-t", "0", "-f", "1,99"], "todosh_task/0 has"),
    ],
)
def test_every_verb_hands_task_0_and_odd_features_on(cooperbench, argv: list[str], told: str) -> None:
    agent = ["-a", "noop"] if argv[0] == "run" else []
    outcome = cooperbench(argv[0], "--demo", *argv[1:], *agent, "--backend", "local")
    assert outcome.code == exits.USAGE, outcome.err
    assert told in outcome.err
    assert "almanac" not in outcome.err
