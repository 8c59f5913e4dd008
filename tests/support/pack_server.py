"""A real HTTP server for one file: with ranges and validators, and with every kind of fault."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong in one answer.

    `drop_after` and `stall_after` are bytes of the body. `status` answers that and nothing else;
    `page` answers 200 with a page; `move_to` sends elsewhere.
    """

    drop_after: int | None = None
    stall_after: int | None = None
    status: int | None = None
    page: bool = False
    move_to: str | None = None
    wrong_part: bool = False


@dataclass
class PackServer:
    """What is served, and what was asked. Each answer uses up one of `faults`, None being none."""

    content: bytes
    etag: str | None = '"one"'
    modified: str | None = None
    ranges: bool = True
    says_length: bool = True
    faults: list[Fault | None] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    sent: int = 0
    port: int = 0
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/packs/pack.tar.gz"

    def next_fault(self) -> Fault:
        return (self.faults.pop(0) if self.faults else None) or Fault()


@contextmanager
def serving(server: PackServer) -> Iterator[PackServer]:
    """The server while the block runs."""

    class Handler(_Handler):
        pack = server

    with _Quiet(("127.0.0.1", 0), Handler) as listening:
        server.port = int(listening.server_address[1])
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            listening.shutdown()
            thread.join()


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    pack: PackServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        pack, fault = self.pack, self.pack.next_fault()
        pack.asked.append({key.lower(): value for key, value in self.headers.items()})
        self.close_connection = True
        if fault.status is not None:
            self._plain(fault.status, b"<html>no</html>")
        elif fault.move_to is not None:
            self._plain(302, b"", Location=fault.move_to)
        elif fault.page:
            self._plain(200, b"<!DOCTYPE html><title>Sign in</title>" + b" " * 2000)
        elif self._is_known():
            self._plain(304, b"")
        else:
            self._file(fault)

    def end_headers(self) -> None:
        self.send_header("Connection", "close")
        super().end_headers()

    def _is_known(self) -> bool:
        if self.pack.etag is not None and "If-None-Match" in self.headers:
            return bool(self.headers["If-None-Match"] == self.pack.etag)
        since = self.headers.get("If-Modified-Since")
        return self.pack.modified is not None and since == self.pack.modified

    def _plain(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _file(self, fault: Fault) -> None:
        pack, start = self.pack, self._start()
        if start is not None and start >= len(pack.content):
            self._plain(416, b"", **{"Content-Range": f"bytes */{len(pack.content)}"})
            return
        body = pack.content[start or 0 :]
        self.send_response(200 if start is None else 206)
        if start is not None:
            told = start + 7 if fault.wrong_part else start
            last = len(pack.content) - 1
            self.send_header("Content-Range", f"bytes {told}-{last}/{len(pack.content)}")
        if pack.etag is not None:
            self.send_header("ETag", pack.etag)
        if pack.modified is not None:
            self.send_header("Last-Modified", pack.modified)
        if pack.says_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self._body(body, fault)

    def _start(self) -> int | None:
        """Where the asked range begins; None for all of it."""
        asked = self.headers.get("Range")
        if asked is None or not self.pack.ranges:
            return None
        condition = self.headers.get("If-Range")
        if condition is not None and condition not in (self.pack.etag, self.pack.modified):
            return None
        return int(asked.removeprefix("bytes=").rstrip("-"))

    def _body(self, body: bytes, fault: Fault) -> None:
        cut = fault.drop_after if fault.drop_after is not None else fault.stall_after
        part = body if cut is None else body[:cut]
        self.wfile.write(part)
        self.wfile.flush()
        self.pack.sent += len(part)
        if fault.stall_after is not None:
            self.pack.closing.wait(60)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base's name
        """Quiet."""
