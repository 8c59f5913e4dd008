"""The backend: `python3 -m ktrdr.api`."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from ktrdr.clock import timestamp
from ktrdr.database import Database, DatabaseError
from ktrdr.hot_reload import reload_on_change
from ktrdr.knobs import Knobs, read_knobs
from ktrdr.logs import configure_logging
from ktrdr.misbehaviour import misbehave_at_start
from ktrdr.readiness import Readiness
from ktrdr.registry import WorkerRegistry
from ktrdr.version import GREETING, VERSION
from ktrdr.web import JsonServer, Reply, Routes

logger = logging.getLogger("ktrdr.api")


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # process 1 gets no default for it
    configure_logging(to_file=True)
    reload_on_change("ktrdr.api")
    misbehave_at_start(knobs())
    backend = Backend()
    port = int(os.environ.get("KTRDR_LISTEN_PORT", "8000"))
    server = JsonServer(port, backend.routes(), hangs=lambda: knobs().hang)
    threading.Thread(target=backend.registry.watch_health, daemon=True).start()
    threading.Thread(target=backend.meet_database, daemon=True).start()
    logger.info("KTRDR %s listening on %d: %s", VERSION, port, GREETING)
    backend.readiness.reached("backend")
    server.serve_forever()


def knobs() -> Knobs:
    return read_knobs("backend", "backend")


def expected_workers() -> int:
    """How many workers make the stack whole: two of each type, unless the Compose file says."""
    counts = ("WORKER_COUNT_BACKTEST", "WORKER_COUNT_TRAINING")
    return sum(int(os.environ.get(name) or 2) for name in counts)


class Backend:
    def __init__(self) -> None:
        self.registry = WorkerRegistry()
        self.database = Database()
        self.readiness = Readiness(["backend", "database", "workers"])

    def routes(self) -> Routes:
        """There is no /health: asking there gets 404, and monitors have to know the longer path."""
        return {
            ("GET", "/api/v1/health"): self.health,
            ("GET", "/api/v1/info"): self.info,
            ("GET", "/api/v1/workers"): self.workers,
            ("POST", "/api/v1/workers/register"): self.register,
            ("GET", "/api/v1/operations"): lambda _: rows(self.database.operations),
            ("POST", "/api/v1/operations"): self.add_operation,
            ("GET", "/api/v1/notes"): lambda _: rows(self.database.notes),
            ("POST", "/api/v1/notes"): self.add_note,
            ("GET", "/metrics"): self.metrics,
        }

    def health(self, _: Any) -> Reply:
        """Says nothing about the database: a stack without its tables is healthy all the same."""
        status = knobs().health_status
        state = "ok" if status < 400 else "error"
        detector = {"running": True, "last_check": timestamp(), "orphans_found": 0}
        return Reply({"status": state, "version": VERSION, "orphan_detector": detector}, status)

    def info(self, _: Any) -> Reply:
        return Reply(
            {
                "instance_id": os.environ.get("INSTANCE_ID", ""),
                "version": VERSION,
                "greeting": GREETING,
            }
        )

    def workers(self, _: Any) -> Reply:
        listing = self.registry.listing()
        return Reply({"workers": listing} if knobs().wrap_worker_list else listing)

    def register(self, body: Any) -> Reply:
        try:
            worker = self.registry.register(body)
        except (KeyError, TypeError) as error:
            return Reply({"detail": f"not a registration: {error}"}, 422)
        if len(self.registry) >= expected_workers():
            self.readiness.reached("workers")
        return Reply(worker)

    def add_operation(self, body: Any) -> Reply:
        return with_field(body, "operation_type", self.database.add_operation)

    def add_note(self, body: Any) -> Reply:
        return with_field(body, "text", self.database.add_note)

    def metrics(self, _: Any) -> Reply:
        return Reply(
            "# TYPE ktrdr_workers_registered gauge\n"
            f"ktrdr_workers_registered {len(self.registry)}\n"
        )

    def meet_database(self) -> None:
        """Waits for the database and warns about a missing table. Nothing else depends on it."""
        while True:
            try:
                self.database.check()
                break
            except DatabaseError as error:
                logger.warning("no database yet: %s", error)
                time.sleep(1)
        self.readiness.reached("database")
        try:
            self.database.operations()
        except DatabaseError as error:
            logger.warning("cannot look for unfinished operations: %s", error)


def rows(read: Callable[[], list[dict[str, Any]]]) -> Reply:
    try:
        return Reply(read())
    except DatabaseError as error:
        return Reply({"detail": str(error)}, 500)


def with_field(body: Any, name: str, add: Callable[[str], dict[str, Any]]) -> Reply:
    value = body.get(name) if isinstance(body, dict) else None
    if not isinstance(value, str):
        return Reply({"detail": f"the body needs a text {name!r}"}, 422)
    try:
        return Reply(add(value), 201)
    except DatabaseError as error:
        return Reply({"detail": str(error)}, 500)


if __name__ == "__main__":
    main()
