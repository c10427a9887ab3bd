"""Run names made from what is run, as scripts know them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooperbench.cli.run_names import run_name
from cooperbench.runs import RunDirectory


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("coop", "mini_swe_agent_v2", "vertex_ai/gemini-3-flash-preview"), "coop-msa_v2-gemini-3-flash"),
        (("solo", "claude_code", "anthropic/claude-x-latest", "lite"), "solo-cc-claude-x-lite"),
        (("coop", "gold", None, None, "llama_index_task", 17070), "coop-gold-llama-index-17070"),
        (("coop", "gold", None, None, "openai_tiktoken_task", 0), "coop-gold-openai-tiktoken-0"),
        (("coop", "my.package:Agent"), "coop-Agent"),
    ],
)
def test_names(arguments: tuple, name: str) -> None:
    assert run_name(*arguments) == name


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_any_words_make_a_name_a_directory_can_have(model: str, subset: str, repo: str) -> None:
    name = run_name("coop", "gold", model, subset, repo, 0)
    assert RunDirectory("logs", name).name == name


def test_a_run_with_git_says_so() -> None:
    assert run_name("coop", "claude_code", "openai/gpt-5", git=True) == "coop-cc-git-gpt-5"
