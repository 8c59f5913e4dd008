"""A real HTTP server on a local port, a free one by default, told by the test what to answer."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a path gives. `hang` never answers; `drop` closes the connection without a word."""

    status: int = 200
    body: bytes = b"{}"
    hang: bool = False
    drop: bool = False


HANG = Reply(hang=True)
DROP = Reply(drop=True)


def reply_json(value: Any, *, status: int = 200) -> Reply:
    return Reply(status=status, body=json.dumps(value).encode())


Answerer = Callable[[], Reply]


class HttpServer:
    """Answers GET by path; 404 for what it was not told. `replies` may be changed at any time.

    A reply may be a function, called for each request. `asked` lists the paths in order.
    """

    def __init__(
        self, replies: dict[str, Reply | Answerer] | None = None, *, port: int = 0
    ) -> None:
        self.replies: dict[str, Reply | Answerer] = dict(replies or {})
        self.everywhere: Reply | None = None
        self.asked: list[str] = []
        self._closing = threading.Event()
        self._server = _Server(self, port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def reply_to(self, path: str) -> Reply:
        self.asked.append(path)
        if self.everywhere is not None:
            return self.everywhere
        found = self.replies.get(path, Reply(status=404))
        return found if isinstance(found, Reply) else found()

    def wait_until_closed(self) -> None:
        self._closing.wait(30)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = True

    def __init__(self, owner: HttpServer, port: int) -> None:
        self.owner = owner
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what these tests are about, and no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        reply = self.server.owner.reply_to(self.path)
        if reply.hang:
            self.server.owner.wait_until_closed()
        if reply.hang or reply.drop:
            self.close_connection = True
            return
        self.send_response(reply.status)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base's name
        """Quiet."""


def closed_port() -> int:
    """A port that nobody listens on, as good as certain: it was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
