"""The sandbox's half of the bridge: runs one program and carries its calls to the model into files.

    python3 inside.py SPOOL PROGRAM [ARGUMENT …]

Standard library only, any Python 3. Every ``@GATEWAY@`` in the arguments and in the environment becomes the address
of a small HTTP server on the sandbox's loopback. A request becomes a file ``SPOOL/asked/ID``; the harness fetches it
(``carry.sh``) and leaves ``SPOOL/answered/ID``. What the program prints comes out with the time before each line.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socketserver
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

PLACE = "@GATEWAY@"
PAUSE = 0.02
PATIENCE = 1000  # seconds an answer may take; the harness gives up before that


class Server(socketserver.ThreadingMixIn, HTTPServer):
    daemon_threads = True
    spool: Spool

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # without asking name servers what the loopback is called
        self.server_name, self.server_port = "127.0.0.1", self.socket.getsockname()[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is its own affair."""


class Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length")
        if length is None or not length.isdigit():
            self.close_connection = True
            self.say(411, "application/json", b'{"error": {"message": "no length"}}')
            return
        content = self.rfile.read(int(length))
        head = {"path": self.path, "headers": dict(self.headers.items())}
        server: Any = self.server
        answer = server.spool.carried(json.dumps(head).encode() + b"\n" + content)
        if answer is None:
            self.say(504, "application/json", b'{"error": {"message": "no answer from the harness"}}')
            return
        first, _, body = answer.partition(b"\n")
        status, _, kind = first.decode("utf-8", "replace").partition(" ")
        self.say(int(status), kind, body)

    def do_GET(self) -> None:
        self.say(404, "application/json", b'{"error": {"message": "nothing here"}}')

    def do_HEAD(self) -> None:
        self.do_GET()

    def say(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *said: Any) -> None:
        """Nothing of it is printed."""


class Spool:
    """Where requests are left and answers found."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._numbers = itertools.count(1)
        for folder in ("asked", "answered"):
            os.makedirs(os.path.join(path, folder), exist_ok=True)
        bell = os.path.join(path, "bell")
        with contextlib.suppress(FileExistsError):
            os.mkfifo(bell)
        self._bell = os.open(bell, os.O_RDWR | os.O_NONBLOCK)

    def carried(self, content: bytes) -> bytes | None:
        """Leave a request, ring, wait for the answer; None when there is none."""
        name = str(next(self._numbers))
        asked, answered = (os.path.join(self._path, folder, name) for folder in ("asked", "answered"))
        with open(asked + ".part", "wb") as file:
            file.write(content)
        os.rename(asked + ".part", asked)
        with contextlib.suppress(BlockingIOError):  # so many have rung that nobody can miss it
            os.write(self._bell, b"\n")
        until = time.time() + PATIENCE
        while time.time() < until:
            if os.path.exists(answered):
                with open(answered, "rb") as file:
                    answer = file.read()
                os.unlink(answered)
                return answer
            time.sleep(PAUSE)
        return None


def main(spool: str, program: list[str]) -> int:
    """Run the program to its end; its exit code."""
    server = Server(("127.0.0.1", 0), Request)
    server.spool = Spool(spool)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    env = {name: value.replace(PLACE, url) for name, value in os.environ.items()}
    command = [word.replace(PLACE, url) for word in program]
    child = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert child.stdout is not None
    for line in child.stdout:
        sys.stdout.buffer.write(b"%.3f %b" % (time.time(), line))
        sys.stdout.buffer.flush()
    code = child.wait()
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    ended = main(sys.argv[1], sys.argv[2:])
    # At once: threads that still serve somebody would be ended one by one, which aborts where libgcc is missing.
    os._exit(ended)
