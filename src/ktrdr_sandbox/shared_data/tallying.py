"""How whoever works off jobs and whoever waits for them hear of each other."""

from __future__ import annotations

from typing import Final, Protocol

BEAT: Final = 0.1
"""Seconds between two looks at the progress."""


class StoppedError(Exception):
    """Raised in a worker that is to stop."""


class Tallying(Protocol):
    """How a worker tells what it has done so far, and hears that it is to stop."""

    def tick(self, size: int, /) -> None:
        """Count bytes. Raises StoppedError."""

    def finish_file(self) -> None: ...
