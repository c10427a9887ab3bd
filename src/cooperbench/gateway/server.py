"""The door for frameworks that run in the harness's process: a small HTTP server on the loopback."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from cooperbench.gateway.calls import Reply, refusal
from cooperbench.gateway.line import Line

log = logging.getLogger(__name__)


class Door:
    """Serves the lines it knows of until it is closed; whoever asks must have a line's token."""

    def __init__(self) -> None:
        self._lines: dict[str, Line] = {}
        self._server = _Server(("127.0.0.1", 0), _Request)
        self._server.door = self
        # Named, so that a thread left behind would tell where it is from.
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.2,), name="gateway", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def admit(self, line: Line) -> None:
        """Serve this line."""
        self._lines[line.token] = line

    def dismiss(self, line: Line) -> None:
        """Serve it no more."""
        self._lines.pop(line.token, None)

    def line_of(self, headers: Mapping[str, str]) -> Line | None:
        """Whose request this is, by the token in any of the places where vendors' clients put a key.

        Args:
            headers: by lower-case name.
        """
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        for token in (headers.get("x-api-key", ""), headers.get("x-goog-api-key", ""), bearer):
            if (line := self._lines.get(token.strip())) is not None:
                return line
        return None

    def close(self) -> None:
        """Serve nothing any more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a client that keeps its connection open must not hold anybody up
    door: Door

    def server_bind(self) -> None:
        """Without asking name servers what the loopback is called."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.socket.getsockname()[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is its own affair."""
        del request, client_address
        log.debug("a request to the gateway ended early", exc_info=True)


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 900

    def do_POST(self) -> None:
        """Answer one call."""
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or len(length) > 9:
            self.close_connection = True
            return self._say(refusal(411, "the request does not say how long it is"))
        content = self.rfile.read(int(length))
        server: Any = self.server
        headers = {name.lower(): value for name, value in self.headers.items()}
        line = server.door.line_of(headers)
        if line is None:
            return self._say(refusal(401, "this token is of no trial under way"))
        return self._say(line.answer(self.path, content, headers))

    def _say(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.kind)
        self.send_header("Content-Length", str(len(reply.body)))
        # Clients keep connections for longer than their agents live: one each time costs nothing on the loopback.
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, *said: Any) -> None:
        """Nothing of it is printed."""
        del said
