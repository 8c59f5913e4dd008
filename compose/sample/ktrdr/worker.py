"""A worker: `python3 -m ktrdr.worker`. It does no work; it registers and says how it is."""

import json
import logging
import os
import signal
import socket
import threading
import time
import urllib.request
import uuid
from typing import Any
from urllib.parse import urlsplit

from ktrdr.clock import timestamp
from ktrdr.knobs import Knobs, read_knobs
from ktrdr.logs import configure_logging
from ktrdr.misbehaviour import misbehave_at_start
from ktrdr.web import JsonServer, Reply

logger = logging.getLogger("ktrdr.worker")

REGISTRATION_ATTEMPTS = 5
SERVICES = {"training": "training-worker", "backtesting": "backtest-worker"}


def main() -> None:
    # It would finish its work first, and does not know that it has none: only SIGKILL ends it.
    signal.signal(signal.SIGTERM, lambda *_: logger.info("SIGTERM: finishing the work in hand"))
    configure_logging(to_file=False)
    worker = Worker()
    misbehave_at_start(worker.knobs())
    server = JsonServer(
        worker.port, {("GET", "/health"): worker.health}, hangs=lambda: worker.knobs().hang
    )
    threading.Thread(target=worker.stay_registered, daemon=True).start()
    logger.info("%s listening on %d", worker.worker_id, worker.port)
    server.serve_forever()


class Worker:
    """Set up by the environment: WORKER_TYPE, WORKER_PORT, WORKER_PUBLIC_BASE_URL, KTRDR_API_URL.

    The backend reaches it at WORKER_PUBLIC_BASE_URL. Replicas share their environment, so they
    have none and give the name of their container, which the network resolves as well.
    """

    def __init__(self) -> None:
        self.worker_type = os.environ["WORKER_TYPE"]
        self.service = SERVICES[self.worker_type]
        self.port = int(os.environ["WORKER_PORT"])
        own_address = f"http://{socket.gethostname()}:{self.port}"
        self.endpoint_url = os.environ.get("WORKER_PUBLIC_BASE_URL") or own_address
        self.name = urlsplit(self.endpoint_url).hostname or ""
        self.backend_url = os.environ.get("KTRDR_API_URL", "http://backend:8000")
        self.worker_id = f"{self.service}-{uuid.uuid4().hex[:8]}"
        self.last_asked = time.monotonic()

    def knobs(self) -> Knobs:
        return read_knobs("worker", self.name)

    def health(self, _: Any) -> Reply:
        """Takes whoever asks for the backend, though Docker's own health check asks here too."""
        self.last_asked = time.monotonic()
        knobs = self.knobs()
        return Reply(
            {
                "healthy": knobs.health_status < 400,
                "service": self.service,
                "worker_status": "idle",
                "current_operation": None,
                "worker_id": self.worker_id,
                "timestamp": timestamp(),
            },
            knobs.health_status,
        )

    def stay_registered(self) -> None:
        """Registers, and again whenever nobody has asked after it for a while.

        That second half never happens as long as Docker asks every 30 s: a worker that found no
        backend in time, or whose backend started again and forgot it, is lost for good and looks
        healthy. It is how the real one behaves.
        """
        self.register()
        while True:
            time.sleep(1)
            quiet = time.monotonic() - self.last_asked
            if quiet > self.knobs().quiet_seconds:
                logger.info("nobody asked for %.0f s, registering again", quiet)
                self.register()
                self.last_asked = time.monotonic()

    def register(self) -> None:
        if self.knobs().never_register:
            logger.info("not registering, as config/sample.toml says")
            return
        for attempt in range(1, REGISTRATION_ATTEMPTS + 1):
            try:
                self.post_registration()
            except OSError as error:
                logger.warning(
                    "registration %d of %d failed: %s", attempt, REGISTRATION_ATTEMPTS, error
                )
                time.sleep(self.knobs().registration_pause_seconds)
            else:
                logger.info("registered with %s", self.backend_url)
                return
        logger.error("could not register; waiting for the backend to ask")

    def post_registration(self) -> None:
        """Raises OSError, which covers refused connections, time-outs and HTTP errors alike."""
        registration = {
            "worker_id": self.worker_id,
            "worker_type": self.worker_type,
            "endpoint_url": self.endpoint_url,
            "capabilities": {"gpu": False},
        }
        request = urllib.request.Request(  # noqa: S310 (the address comes from the Compose file)
            f"{self.backend_url}/api/v1/workers/register",
            data=json.dumps(registration).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=5):  # noqa: S310
            pass


if __name__ == "__main__":
    main()
