"""The one log line that says when the stack had become whole."""

import logging
import threading
import time
from collections.abc import Iterable

from ktrdr.clock import timestamp

logger = logging.getLogger(__name__)


class Readiness:
    """Waits for each of some conditions to come true once.

    The line carries the time of day in both usual forms, so that whoever measures how late a
    watcher noticed can compare it with a clock outside the container.
    """

    def __init__(self, conditions: Iterable[str]) -> None:
        self.missing = set(conditions)
        self.lock = threading.Lock()

    def reached(self, condition: str) -> None:
        with self.lock:
            if condition not in self.missing:
                return
            self.missing.remove(condition)
            if not self.missing:
                logger.info("ready: %s last, at %sZ (%.3f)", condition, timestamp(), time.time())
