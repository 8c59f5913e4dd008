"""A stand-in for Jaeger all-in-one: answers on its page, takes traces and discards them."""

import os
import signal
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

UI_PORT, OTLP_GRPC_PORT, OTLP_HTTP_PORT = 16686, 4317, 4318
PAGE = b"<!doctype html><title>Jaeger stand-in</title><h1>Jaeger stand-in</h1>\n"
SERVICES = b'{"data":[],"total":0,"limit":0,"offset":0,"errors":null}'


class Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Health checks and exporters would fill the log."""


class Page(Http):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/api/services":
            self.answer(200, "application/json", SERVICES)
        elif path in ("/", "/search"):
            self.answer(200, "text/html; charset=utf-8", PAGE)
        else:
            self.answer(404, "text/plain", b"Jaeger stand-in\n")

    def do_HEAD(self) -> None:
        self.do_GET()


class Collector(Http):
    def do_POST(self) -> None:
        self.discard_body()
        known = self.path in ("/v1/traces", "/v1/metrics", "/v1/logs")
        self.answer(200 if known else 404, "application/json", b"{}")

    def discard_body(self) -> None:
        left = int(self.headers.get("Content-Length") or 0)
        while left > 0:
            taken = self.rfile.read(min(left, 65536))
            if not taken:
                return
            left -= len(taken)


class Discard(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while self.request.recv(65536):
            pass


class Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main() -> None:
    # PID 1 ignores a signal it has no handler for
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    servers = (
        ThreadingHTTPServer(("", OTLP_HTTP_PORT), Collector),
        Tcp(("", OTLP_GRPC_PORT), Discard),
    )
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"Jaeger stand-in listening on {UI_PORT}, {OTLP_GRPC_PORT}, {OTLP_HTTP_PORT}", flush=True)
    ThreadingHTTPServer(("", UI_PORT), Page).serve_forever()


main()
