"""HTTP for all of the REST surfaces: an operation found, credentials checked, faults applied, an answer given."""

from __future__ import annotations

import json
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.loopback.gcp.accounts import Accounts
from tests.loopback.gcp.traffic import Call, Traffic, wait_at_gate


@dataclass(frozen=True, slots=True)
class Request:
    """One request, read whole."""

    method: str
    path: str
    """As sent: percent signs and all."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    repeated: Mapping[str, list[str]] = field(default_factory=dict)
    """Every value of a query parameter; `query` has the last."""

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; an empty one is empty."""
        try:
            value = json.loads(self.body or b"{}")
        except ValueError as error:
            raise Refused(400, f"Parse Error: {error}") from error
        if not isinstance(value, dict):
            raise Refused(400, "Parse Error: not an object")
        return value


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json; charset=UTF-8"
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, value: object, **headers: str) -> Reply:
        """A JSON answer."""
        return cls(200, json.dumps(value).encode(), headers=headers)


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason or _REASONS.get(status, "backendError")

    def reply(self) -> Reply:
        """In the form all of the vendor's JSON surfaces share."""
        told = {"message": str(self), "domain": "global", "reason": self.reason}
        error = {"code": self.status, "message": str(self), "errors": [told], "status": self.reason}
        return Reply(self.status, json.dumps({"error": error}).encode())


_REASONS = {
    400: "invalid",
    401: "required",
    403: "forbidden",
    404: "notFound",
    409: "conflict",
    412: "conditionNotMet",
    416: "requestedRangeNotSatisfiable",
    429: "rateLimitExceeded",
}


@dataclass(frozen=True, slots=True)
class Operation:
    """What a request turned out to ask for."""

    name: str
    subject: str
    act: Callable[[], Reply]
    permission: str | None = None
    """What the caller must have been granted; None: anybody may, without credentials."""
    bucket: str | None = None


Route = Callable[[Request], Operation | None]


class Server(ThreadingHTTPServer):
    """One port of loopback; every request is served in a thread of its own."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, traffic: Traffic, accounts: Accounts, bucket: str) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.routes: list[Route] = []
        self.traffic = traffic
        self.accounts = accounts
        self.bucket = bucket
        """The one a VM's account may use."""
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def close(self) -> None:
        """No more requests."""
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is nothing to talk about; what our own code raised is answered with 500."""

    def answer(self, request: Request) -> Reply | None:
        """The answer; None: it is lost on the way."""
        operation = next(filter(None, (route(request) for route in self.routes)), None)
        if operation is None:
            self.traffic.unknown.append(f"{request.method} {request.path}")
            raise Refused(404, f"no such method: {request.method} {request.path}")
        account = self.accounts.caller(request.headers.get("authorization", "")) or ""
        fault = self.traffic.record(Call(operation.name, operation.subject, account))
        if fault and fault.status:
            raise Refused(fault.status, fault.message)
        if operation.permission:
            self._check(operation, operation.permission, account)
        try:
            reply = operation.act()
        finally:
            wait_at_gate(fault)
        return None if fault and fault.lost else reply

    def _check(self, operation: Operation, permission: str, account: str) -> None:
        if not account:
            raise Refused(401, f"Anonymous caller does not have {permission} access.")
        if not self.accounts.may(account, permission, operation.bucket, self.bucket):
            raise Refused(403, f"{account} does not have {permission} access to {operation.subject}.")


class _Conversation(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one packet
    server: Server

    def log_message(self, *_: Any) -> None:
        """Nothing: calls are recorded."""

    def _serve(self) -> None:
        address = urllib.parse.urlsplit(self.path)
        repeated = urllib.parse.parse_qs(address.query, keep_blank_values=True)
        query = {name: values[-1] for name, values in repeated.items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, address.path, query, headers, self._body(), repeated)
        try:
            reply = self.server.answer(request)
        except Refused as refusal:
            reply = refusal.reply()
        except Exception as bug:  # the server's own: said, not hung
            reply = Refused(500, f"loopback server: {type(bug).__name__}: {bug}").reply()
            self.server.traffic.unknown.append(f"{type(bug).__name__}: {bug}")
        if reply is None:
            self.close_connection = True
            return
        self._send(reply)

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        if reply.status != 204:
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Content-Length", str(len(reply.body)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD" and reply.status not in (204, 304):
            self.wfile.write(reply.body)
        self.wfile.flush()

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            size = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(size)
            if len(body) < size:
                raise ConnectionError("the client went away in the middle of its request")
            return body
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _serve  # noqa: N815
