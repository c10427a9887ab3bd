"""Tokens and dollars, from replies as vendors write them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooperbench.errors import UsageError
from cooperbench.gateway.calls import JSON, STREAM, Dialect, Reply
from cooperbench.gateway.prices import Prices
from cooperbench.gateway.usage import Usage, read_usage
from tests.loopback.models import dialects
from tests.loopback.models.script import Answer, Turn

TURN = Turn("agent1", 1, ["bash"])
ANSWER = Answer("ls", "Step 2.", 1)


def _replies() -> list[tuple[Dialect, Reply]]:
    whole = {
        "chat": dialects.chat_body(TURN, ANSWER, "m"),
        "responses": dialects.responses_body(TURN, ANSWER, "m"),
        "messages": dialects.messages_body(TURN, ANSWER, "m"),
        "generate": dialects.generate_body(TURN, ANSWER, "m"),
    }
    streams = {
        "chat": dialects.chat_events(TURN, ANSWER, "m", True),
        "responses": dialects.responses_events(TURN, ANSWER, "m"),
        "messages": dialects.messages_events(TURN, ANSWER, "m"),
        "generate": dialects.generate_events(TURN, ANSWER, "m"),
    }
    told = [(name, Reply(200, JSON, json.dumps(body).encode())) for name, body in whole.items()]
    told += [
        (name, Reply(200, f"{STREAM}; charset=utf-8", "".join(e).encode())) for name, e in streams.items()
    ]
    return told  # type: ignore[return-value]


@pytest.mark.parametrize(("dialect", "reply"), _replies())
def test_every_protocol_streamed_or_not_tells_the_same(dialect: Dialect, reply: Reply) -> None:
    assert read_usage(dialect, reply) == Usage(1100, 11, 640, 0)


def _generated(**told: int) -> Usage | None:
    return read_usage("generate", Reply(200, JSON, json.dumps({"usageMetadata": told}).encode()))


def test_gemini_counts_thoughts_apart_or_not_and_what_its_tools_brought_besides() -> None:
    given = {"promptTokenCount": 50, "candidatesTokenCount": 7, "thoughtsTokenCount": 3}
    assert _generated(**given, totalTokenCount=60) == Usage(50, 10)
    assert _generated(**given, totalTokenCount=57) == Usage(50, 7)
    assert _generated(**given, toolUsePromptTokenCount=25, totalTokenCount=85) == Usage(75, 10)
    assert _generated(**given, toolUsePromptTokenCount=25, totalTokenCount=82) == Usage(75, 7)


def test_geminis_own_words() -> None:
    told = {"promptTokenCount": 50, "cachedContentTokenCount": 20, "candidatesTokenCount": 7}
    pieces = [
        {"usageMetadata": {"promptTokenCount": 50}},
        {"usageMetadata": {**told, "thoughtsTokenCount": 3}},
    ]
    body = "".join(f"data: {json.dumps(piece)}\r\n\r\n" for piece in pieces)
    assert read_usage("generate", Reply(200, STREAM, body.encode())) == Usage(50, 10, 20, 0)


def test_what_was_written_to_the_cache_is_input_too() -> None:
    told = {
        "input_tokens": 3,
        "cache_creation_input_tokens": 40,
        "cache_read_input_tokens": 500,
        "output_tokens": 9,
    }
    usage = read_usage("messages", Reply(200, JSON, json.dumps({"usage": told}).encode()))
    assert usage == Usage(543, 9, 500, 40)
    assert usage.fresh_tokens == 3


def test_no_usage_is_unknown_not_nothing() -> None:
    assert read_usage("chat", Reply(200, JSON, b'{"choices": []}')) is None
    assert read_usage("chat", Reply(200, JSON, b"<html>")) is None


@given(st.binary(max_size=400), st.sampled_from(["chat", "responses", "messages", "generate"]), st.booleans())
def test_any_bytes_are_read(body: bytes, dialect: Dialect, streamed: bool) -> None:
    reply = Reply(200, STREAM if streamed else JSON, body)
    assert read_usage(dialect, reply) is None or isinstance(read_usage(dialect, reply), Usage)


# ---------------------------------------------------------------------------------------------- dollars


def prices(tmp_path: Path, **models: object) -> Prices:
    path = tmp_path / "prices.json"
    path.write_text(json.dumps(models))
    return Prices(path, with_table=False)


def test_every_kind_of_token_has_its_price(tmp_path: Path) -> None:
    table = prices(
        tmp_path,
        mine={
            "input_cost_per_token": 2e-6,
            "output_cost_per_token": 1e-5,
            "cache_read_input_token_cost": 2e-7,
            "cache_creation_input_token_cost": 2.5e-6,
        },
    )
    usage = Usage(1_000_000, 100_000, 300_000, 200_000)
    assert table.cost("hosted/mine", usage) == pytest.approx(
        0.5 * 2 + 0.1 * 10 + 0.3 * 0.2 + 0.2 * 2.5, abs=1e-12
    )


def test_a_cache_without_a_price_costs_what_input_costs_and_long_prompts_cost_more(tmp_path: Path) -> None:
    entry = {
        "input_cost_per_token": 1e-6,
        "output_cost_per_token": 1e-6,
        "input_cost_per_token_above_200k_tokens": 3e-6,
    }
    table = prices(tmp_path, mine=entry)
    assert table.cost("mine", Usage(1000, 0, 400, 0)) == pytest.approx(0.001)
    assert table.cost("mine", Usage(300_000, 1000)) == pytest.approx(0.9 + 0.001)


def test_a_provider_that_says_what_it_costs_is_believed_and_an_unknown_price_is_none(tmp_path: Path) -> None:
    body = {"usage": {"prompt_tokens": 5, "completion_tokens": 5, "cost": 0.25}}
    usage = read_usage("chat", Reply(200, JSON, json.dumps(body).encode()))
    assert usage is not None
    table = prices(tmp_path)
    assert table.cost("nobody/knows", usage) == 0.25
    assert table.cost("nobody/knows", Usage(5, 5)) is None
    assert not table.known("nobody/knows")


def test_the_installed_table_knows_models_by_either_name() -> None:
    table = Prices()
    assert table.known("anthropic/claude-sonnet-4-5")
    assert table.cost("openai/gpt-5", Usage(1_000_000, 0)) == pytest.approx(1.25)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "no table"),
        ("{", "not JSON"),
        ('{"m": {"input_cost_per_token": 1}}', "m needs"),
        ('{"m": {"input_cost_per_token": -1, "output_cost_per_token": 1}}', "m needs"),
        ('{"m": {"input_cost_per_token": NaN, "output_cost_per_token": 1}}', "m needs"),
    ],
)
def test_a_price_file_that_is_none(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "prices.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=told):
        Prices(path)
    with pytest.raises(UsageError, match="cannot be read"):
        Prices(tmp_path / "nowhere.json")
