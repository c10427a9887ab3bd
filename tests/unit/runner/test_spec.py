"""What was asked for, checked once and written down."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cooperbench.agents.base import Means
from cooperbench.dataset.model import Pair
from cooperbench.errors import RunConflict, UsageError
from cooperbench.eval.judging import Judging
from cooperbench.runner.means import SWITCHES
from cooperbench.runner.spec import RunSpec, configuration, joined, refuse_another_experiment
from cooperbench.runs import RunDirectory

PAIRS = [Pair("a_task", 0, (1, 2)), Pair("a_task", 0, (1, 3)), Pair("b_task", 7, (2, 10))]


def spec(**options: Any) -> RunSpec:
    return RunSpec(
        **{
            "run_name": "r",
            "setting": "coop",
            "agent": "gold",
            "model": None,
            "judging": Judging(),
            **options,
        }
    )


def config(pairs: list[Pair] = PAIRS, **options: Any) -> dict[str, Any]:
    return configuration(spec(**options), "local", Path("/data"), pairs)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"setting": "tram"}, "unknown setting"),
        ({"setting": "team", "team_without": ("lead",)}, "team_without='lead': there are task-list"),
        ({"team_without": ("mcp",)}, "mcp is a part of setting 'team', this run's is 'coop'"),
        ({"setting": ""}, "unknown setting"),
        ({"concurrency": 0}, "concurrency"),
        ({"concurrency": True}, "concurrency"),
        ({"concurrency": 2.5}, "concurrency"),
        ({"eval_concurrency": -1}, "eval_concurrency"),
        ({"agent_timeout": 0}, "agent_timeout"),
        ({"agent_timeout": float("nan")}, "agent_timeout"),
        ({"agent_config": Path("/no/such")}, "does not exist"),
    ],
)
def test_nonsense_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        spec(**options)


def test_pairs_are_written_compactly() -> None:
    assert config()["pairs"] == {"a_task/0": ["1,2", "1,3"], "b_task/7": ["2,10"]}
    assert config()["total_tasks"] == 3


def test_a_run_that_goes_on_keeps_its_start_and_gathers_the_rest() -> None:
    first = {**config(PAIRS[:2], subset="lite"), "started_at": "long ago", "images": {"i": "sha256:1"}}
    again = {**config(PAIRS[1:], repo="b_task"), "images": {"j": "sha256:2"}}
    both = joined(first, again)
    assert both["started_at"] == "long ago"
    assert both["pairs"] == config()["pairs"]
    assert both["total_tasks"] == 3
    assert [selection["subset"] for selection in both["selections"]] == ["lite", None]
    assert len(both["versions"]) == 1
    assert both["images"] == {"i": "sha256:1", "j": "sha256:2"}
    assert joined(both, again) == both


DAMAGES = [{"pairs": 3}, {"pairs": {"a": 1}}, {"selections": "x", "versions": None, "images": 0}, {}]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_is_no_reason_to_stop(damage: dict[str, Any]) -> None:
    assert joined(damage, config())["pairs"] == config()["pairs"]


def test_a_configuration_is_its_contents_not_its_place(tmp_path: Path) -> None:
    for name, text in (("a", "x"), ("b", "x"), ("c", "y")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "agent1.sh").write_text(text)
    digests = [config(agent_config=tmp_path / name)["agent_config"]["sha256"] for name in "abc"]
    assert digests[0] == digests[1] != digests[2]
    (tmp_path / "b" / "agent1.sh").rename(tmp_path / "b" / "agent2.sh")
    assert config(agent_config=tmp_path / "b")["agent_config"]["sha256"] != digests[0]


def test_the_difference_is_shown(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path, "r")
    refuse_another_experiment(run, config())
    run.write_config(config())
    refuse_another_experiment(run, config(concurrency=1, subset="lite"))
    with pytest.raises(RunConflict, match=r"model was None, is now 'm'; choose another run name"):
        refuse_another_experiment(run, config(model="m"))


def test_what_agents_have_to_work_together_with() -> None:
    assert spec(setting="solo").means == Means()
    assert spec().means == Means(messages=True, ask=True, mcp=True, refresh=True)
    assert spec(messaging=False).means == Means()
    assert spec(messaging=False, git=True).means == Means(git=True, mcp=True)
    assert spec(setting="team", git=True).means == Means(True, True, True, True, True, True, True)
    for part, field in SWITCHES.items():
        means = spec(setting="team", team_without=(part,)).means
        assert means == replace(spec(setting="team").means, **{field: False})
