"""A small HTTP server for JSON, on the standard library."""

import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reply:
    """What to send back: JSON of the body, or the body itself when it is text."""

    body: object
    status: int = 200


Route = Callable[[Any], Reply]
"""Gets the decoded JSON of the request, None when it has none."""

Routes = Mapping[tuple[str, str], Route]
"""(method, path) -> what answers it."""


class JsonServer(ThreadingHTTPServer):
    """Listens on every address of the container; each request runs in its own thread."""

    daemon_threads = True

    def __init__(self, port: int, routes: Routes, *, hangs: Callable[[], bool]) -> None:
        self.routes = routes
        self.hangs = hangs
        super().__init__(("", port), JsonHandler)


class JsonHandler(BaseHTTPRequestHandler):
    server: JsonServer

    def do_GET(self) -> None:
        self.answer(None)

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            self.answer(json.loads(text))
        except json.JSONDecodeError:
            self.send(Reply({"detail": "the body is not JSON"}, 422))

    def answer(self, body: Any) -> None:
        if self.server.hangs():
            threading.Event().wait()  # for ever
        route = self.server.routes.get((self.command, self.path.partition("?")[0]))
        if route is None:
            self.send(Reply({"detail": "Not Found"}, 404))
            return
        try:
            reply = route(body)
        except Exception:  # whatever went wrong in one request, the server goes on
            logger.exception("%s %s", self.command, self.path)
            reply = Reply({"detail": "Internal Server Error"}, 500)
        self.send(reply)

    def send(self, reply: Reply) -> None:
        if isinstance(reply.body, str):
            kind, content = "text/plain", reply.body.encode()
        else:
            kind, content = "application/json", json.dumps(reply.body).encode()
        self.send_response(reply.status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:  # noqa: ARG002
        """Health checks go unlogged: they would bury every other line."""
        if not self.path.endswith("/health"):
            logger.info("%s %s -> %s", self.command, self.path, code)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        logger.info(format, *args)
