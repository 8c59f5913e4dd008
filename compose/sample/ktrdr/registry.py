"""The workers the backend knows of: in memory only, so a backend that starts again knows none."""

import json
import logging
import random
import threading
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ktrdr.clock import timestamp

logger = logging.getLogger(__name__)

HEALTH_PERIOD_SECONDS = 10
FAILURES_UNTIL_UNAVAILABLE = 3
FAILURES_UNTIL_FORGOTTEN = 30


@dataclass
class Worker:
    """One registration; the fields and their order are what the API shows."""

    worker_id: str
    worker_type: str
    endpoint_url: str
    status: str = "available"
    current_operation_id: str | None = None
    capabilities: dict[str, Any] = field(default_factory=dict)
    last_health_check: str = field(default_factory=timestamp)
    health_check_failures: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)


class WorkerRegistry:
    def __init__(self) -> None:
        self.by_endpoint: dict[str, Worker] = {}
        self.lock = threading.Lock()

    def register(self, registration: Mapping[str, Any]) -> dict[str, Any]:
        """A worker that started again has a new id at its old address and replaces what was there.

        Raises KeyError for a field that is missing.
        """
        worker = Worker(
            worker_id=registration["worker_id"],
            worker_type=registration["worker_type"],
            endpoint_url=registration["endpoint_url"],
            capabilities=registration.get("capabilities") or {},
        )
        with self.lock:
            self.by_endpoint[worker.endpoint_url] = worker
        logger.info("registered %s at %s", worker.worker_id, worker.endpoint_url)
        return asdict(worker)

    def listing(self) -> list[dict[str, Any]]:
        """In no order on purpose, lest a reader comes to rely on one."""
        with self.lock:
            workers = [asdict(worker) for worker in self.by_endpoint.values()]
        random.shuffle(workers)
        return workers

    def __len__(self) -> int:
        return len(self.by_endpoint)

    def watch_health(self) -> None:
        """For ever asks each worker how it is."""
        while True:
            time.sleep(HEALTH_PERIOD_SECONDS)
            with self.lock:
                workers = list(self.by_endpoint.values())
            for worker in workers:
                self.note_health(worker, answers=is_healthy(worker.endpoint_url))

    def note_health(self, worker: Worker, *, answers: bool) -> None:
        with self.lock:
            worker.last_health_check = timestamp()
            worker.health_check_failures = 0 if answers else worker.health_check_failures + 1
            unavailable = worker.health_check_failures >= FAILURES_UNTIL_UNAVAILABLE
            worker.status = "temporarily_unavailable" if unavailable else "available"
            forgotten = worker.health_check_failures >= FAILURES_UNTIL_FORGOTTEN
            if forgotten and self.by_endpoint.get(worker.endpoint_url) is worker:
                del self.by_endpoint[worker.endpoint_url]


def is_healthy(endpoint_url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{endpoint_url}/health", timeout=5) as answer:  # noqa: S310
            return json.load(answer).get("healthy") is True
    except (OSError, ValueError):
        return False
