"""Servers that do not behave, and requests that want more than a model."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cooperbench.budget import Budget
from cooperbench.errors import UsageError
from cooperbench.gateway import Gateway, Line, ModelAccess
from cooperbench.runner.models import ModelSpec, open_models
from tests.loopback.models import KEY, ModelServer, Script

CHAT = "/v1/chat/completions"
BODY: dict[str, Any] = {"model": "any", "messages": [{"role": "user", "content": "You are agent1."}]}
ANSWER = json.dumps({"usage": {"prompt_tokens": 3, "completion_tokens": 1}, "choices": "def test_x"}).encode()

TRANSLATE = """
import json, sys
from cooperbench.gateway import Call, ModelAccess
from cooperbench.gateway.translated import Translated
source = Translated(ModelAccess("openai/scripted", None, "LOOPBACK_KEY"))
print(source.answer(Call("chat", json.loads(sys.argv[1]), False)).status)
"""

Answer = tuple[int, dict[str, str], bytes]


class _Door(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server.seen.append(dict(self.headers))
        status, headers, body = server.answers.pop(0)
        if server.gate is not None:
            server.gate.wait(60)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def server(answers: Sequence[Answer], gate: threading.Event | None = None) -> Iterator[Any]:
    """One that gives these answers, one after another, once the gate is open."""
    door: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Door)
    door.answers, door.seen, door.gate = list(answers), [], gate
    door.url = f"http://127.0.0.1:{door.server_port}"
    thread = threading.Thread(target=door.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield door
    finally:
        door.shutdown()
        thread.join()
        door.server_close()


def line_to(url: str, most_calls: int | None = None) -> Line:
    return Gateway(ModelAccess("hosted", url, "ODD_KEY"), most_calls=most_calls).line("a1", Budget().purse())


def ask(line: Line) -> tuple[int, bytes]:
    reply = line.answer(CHAT, json.dumps(BODY).encode())
    return reply.status, reply.body


def test_a_key_that_could_be_any_word_is_not_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with server([(200, {}, ANSWER), (200, {}, b"the key is secret-of-mine")]) as odd:
        monkeypatch.setenv("ODD_KEY", "test")
        assert ask(line_to(odd.url)) == (200, ANSWER)
        monkeypatch.setenv("ODD_KEY", "secret-of-mine")
        assert ask(line_to(odd.url)) == (200, b"the key is [redacted]")


def test_half_an_answer_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODD_KEY", KEY)
    with server([(200, {"Content-Length": str(len(ANSWER) + 50), "Connection": "close"}, ANSWER)]) as odd:
        status, said = ask(line_to(odd.url))
    assert status == 502
    assert b"does not answer" in said


def test_the_key_does_not_follow_a_redirect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODD_KEY", KEY)
    with server([(200, {}, ANSWER)]) as elsewhere:
        with server([(302, {"Location": f"{elsewhere.url}/v1"}, b"")]) as odd:
            ask(line_to(odd.url))
            assert odd.seen[0]["Authorization"] == f"Bearer {KEY}"
        assert [headers.get("Authorization") for headers in elsewhere.seen] == [None]


def test_calls_that_come_to_nothing_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODD_KEY", KEY)
    with server([(503, {}, b"{}"), (429, {}, b"{}"), (200, {}, ANSWER)]) as odd:
        line = line_to(odd.url, most_calls=1)
        assert [ask(line)[0] for _ in range(4)] == [503, 429, 200, 402]
    assert line.over_limit is not None


def test_what_a_call_under_way_costs_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODD_KEY", KEY)
    gate = threading.Event()
    with server([(200, {}, ANSWER)], gate) as odd:
        line = line_to(odd.url)
        asking = threading.Thread(target=ask, args=(line,))
        asking.start()
        while not odd.seen:
            asking.join(0.01)
        assert (line.figures().cost, line.figures().input_tokens) == (None, None)
        gate.set()
        asking.join(60)
        assert line.figures().input_tokens == 3


def test_a_request_cannot_say_where_the_key_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    with ModelServer(Script({"agent1": ["ls"]})) as sound, server([(200, {}, ANSWER)]) as elsewhere:
        monkeypatch.setenv("LOOPBACK_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", f"{sound.url}/v1")
        monkeypatch.setenv("OPENAI_API_BASE", f"{sound.url}/v1")
        tool = {"type": "function", "function": {"name": "bash", "parameters": {"type": "object"}}}
        wishes = {"api_base": f"{elsewhere.url}/v1", "base_url": f"{elsewhere.url}/v1", "tools": [tool]}
        # In a process of its own: litellm leaves an event loop open.
        command = [sys.executable, "-W", "ignore", "-c", TRANSLATE, json.dumps({**BODY, **wishes})]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert (done.stdout, elsewhere.seen) == ("200\n", []), done.stderr


@pytest.mark.parametrize("url", ["http://[::1:8000/v1", "http://host:abc", "ftp://host", "http://"])
def test_a_base_url_that_is_none(url: str) -> None:
    with pytest.raises(UsageError, match="--base-url"):
        ModelAccess("hosted", url)


def test_a_limit_on_what_nobody_knows_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    class Talker:
        uses_gateway = True

    monkeypatch.setenv("ODD_KEY", KEY)
    spec = ModelSpec(base_url="http://127.0.0.1:9", api_key_env="ODD_KEY")
    with open_models(spec, "hosted/llama", Talker(), "talker", tmp_path) as models:
        models.refuse_unpriced(None, None)
        with pytest.raises(UsageError, match="--prices"):
            models.refuse_unpriced(1.0, None)
