"""The server: a real HTTP server on the loopback that checks its key and keeps what it was sent."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.loopback.models import dialects
from tests.loopback.models.script import Script

KEY = "sk-loopback-4f1d7a0c93e2"
GENERATE = re.compile(r"/v1(?:beta)?/models/([^/:]+):(generateContent|streamGenerateContent)$")


class ModelServer:
    """Answers by the script while the `with` lasts."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.bodies: list[dict[str, Any]] = []
        self.failures: list[int] = []
        """Statuses to answer with before anything else, each once."""
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Request)
        self._server.daemon_threads = True
        self._server.model = self  # type: ignore[attr-defined]

    @property
    def url(self) -> str:
        """What goes into ``--base-url``."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self, path: str, body: dict[str, Any]) -> tuple[str, list[str]]:
        """Content type and pieces of the answer."""
        with self._lock:
            self.bodies.append(body)
        if (generate := GENERATE.search(path)) is not None:
            turn = dialects.generate_turn(body)
            answer = self.script.answer(turn)
            if generate[2] == "generateContent":
                return "application/json", [json.dumps(dialects.generate_body(turn, answer, generate[1]))]
            return "text/event-stream", list(dialects.generate_events(turn, answer, generate[1]))
        model = str(body.get("model"))
        streamed = bool(body.get("stream"))
        if path.endswith("/chat/completions"):
            turn = dialects.chat_turn(body)
            answer = self.script.answer(turn)
            if not streamed:
                return "application/json", [json.dumps(dialects.chat_body(turn, answer, model))]
            with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
            return "text/event-stream", list(dialects.chat_events(turn, answer, model, with_usage))
        responses = path.endswith("/responses")
        turn = dialects.responses_turn(body) if responses else dialects.messages_turn(body)
        answer = self.script.answer(turn)
        if streamed:
            events = dialects.responses_events if responses else dialects.messages_events
            return "text/event-stream", list(events(turn, answer, model))
        whole = dialects.responses_body if responses else dialects.messages_body
        return "application/json", [json.dumps(whole(turn, answer, model))]


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        model: ModelServer = self.server.model  # type: ignore[attr-defined]
        content = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        path = self.path.partition("?")[0]
        given = [self.headers.get(name) for name in ("x-api-key", "x-goog-api-key", "Authorization")]
        key = next(filter(None, given), "").removeprefix("Bearer ")
        if key != KEY:
            self._say(
                401,
                "application/json",
                [json.dumps({"error": {"message": f"wrong key {key}", "type": "auth"}})],
            )
        elif model.failures:
            status = model.failures.pop(0)
            kind = "invalid_request_error" if status < 429 else "overloaded_error"
            said = {"type": "error", "error": {"message": "not now", "type": kind}}
            self._say(status, "application/json", [json.dumps(said)])
        elif GENERATE.search(path) is None and not path.endswith(
            ("/v1/chat/completions", "/v1/responses", "/v1/messages")
        ):
            self._say(404, "application/json", [json.dumps({"error": {"message": f"no {path}"}})])
        else:
            self._say(200, *model.take(path, json.loads(content)))

    def _say(self, status: int, kind: str, pieces: list[str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if len(pieces) == 1:
            self.send_header("Content-Length", str(len(pieces[0].encode())))
        else:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in pieces:
            content = piece.encode()
            if len(pieces) > 1:
                content = b"%x\r\n%b\r\n" % (len(content), content)
            self.wfile.write(content)
            self.wfile.flush()
        if len(pieces) > 1:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *said: Any) -> None:
        del said
