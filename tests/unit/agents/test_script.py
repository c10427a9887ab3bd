"""Where a script is found, and what counts as a recording."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cooperbench.agents.base import Assignment
from cooperbench.agents.script import find_script, read_steps
from cooperbench.errors import AgentError


def assignment(config: Path | None, agent_id: str = "agent1") -> Assignment:
    return Assignment(agent_id, ("agent2",), "r_task", 7, (1,), (1, 3), "coop", "", Path(), config=config)


def test_the_pairs_own_script_comes_first(tmp_path: Path) -> None:
    own = tmp_path / "r_task" / "task7" / "f1_f3"
    own.mkdir(parents=True)
    (tmp_path / "agent1.sh").touch()
    assert find_script(assignment(tmp_path)) == tmp_path / "agent1.sh"
    (own / "agent1.jsonl").touch()
    assert find_script(assignment(tmp_path)) == own / "agent1.jsonl"
    (own / "agent1.sh").touch()
    assert find_script(assignment(tmp_path)) == own / "agent1.sh"


def test_one_file_for_everybody(tmp_path: Path) -> None:
    (tmp_path / "x.sh").touch()
    assert find_script(assignment(tmp_path / "x.sh", "agent2")) == tmp_path / "x.sh"


def test_none(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="no script for agent1"):
        find_script(assignment(tmp_path))
    with pytest.raises(AgentError, match="--agent-config"):
        find_script(assignment(None))


def test_recordings(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"command": "ls -l"}, {"command": "echo \\"x\\"\\n", "note": 1}]')
    (tmp_path / "a.jsonl").write_text('{"command": "ls"}\n\n{"command": "pwd"}\n')
    assert read_steps(tmp_path / "a.json") == ["ls -l", 'echo "x"\n']
    assert read_steps(tmp_path / "a.jsonl") == ["ls", "pwd"]


NO_RECORDINGS = [b"{}", b"[3]", b'[{"command": 3}]', b'[{"command": "a\\u0000"}]', b"[" * 9999]


@settings(deadline=None)
@given(
    st.binary(max_size=40).filter(lambda content: content.strip() != b"[]") | st.sampled_from(NO_RECORDINGS)
)
def test_anything_else_is_said_to_be_none(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("r") / "a.json"
    path.write_bytes(content)
    with pytest.raises(AgentError, match=r"a\.json"):
        read_steps(path)
