"""A stand-in for Grafana: its health address and one page that says what this is."""

import json
import os
import signal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = b"<!doctype html><title>Grafana stand-in</title><h1>Grafana stand-in</h1>\n"
HEALTH = {"commit": "stand-in", "database": "ok", "version": "stand-in"}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer(with_body=True)

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        if path == "/api/health":
            status, kind, body = 200, "application/json", json.dumps(HEALTH).encode()
        elif path in ("/", "/login"):
            status, kind, body = 200, "text/html; charset=utf-8", PAGE
        else:
            status, kind, body = 404, "application/json", b'{"message":"Grafana stand-in"}'
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Health checks would fill the log."""


def main() -> None:
    # PID 1 ignores a signal it has no handler for
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    port = int(os.environ.get("GF_SERVER_HTTP_PORT", "3000"))
    print(f"Grafana stand-in listening on {port}", flush=True)
    ThreadingHTTPServer(("", port), Handler).serve_forever()


main()
