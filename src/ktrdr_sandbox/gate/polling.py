"""When to look again: fast while things move, slower the longer nothing does."""

from __future__ import annotations

import asyncio
from typing import Final

GROWTH: Final = 0.02
"""Pause as a share of the time since the last change: the lag stays within 2 % of the wait."""


class Signal:
    """Wakes all who wait for it, each time it is raised."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def fire(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, timeout: float | None) -> bool:  # noqa: ASYNC109  a pause, no deadline
        """True when raised within `timeout` seconds; None waits as long as it takes."""
        waiting = self._event
        try:
            # Not `wait_for`: in Python 3.11 it loses a cancellation that meets the signal.
            async with asyncio.timeout(timeout):
                await waiting.wait()
        except TimeoutError:
            return False
        return True


class Pace:
    """The pauses of one poller. `now` is always the loop's monotonic time, in seconds."""

    def __init__(self, *, first: float, longest: float, now: float) -> None:
        self._first = first
        self._longest = longest
        self._changed_at = now

    def changed(self, now: float) -> None:
        """Something moved: more may follow at once, so poll fast again."""
        self._changed_at = now

    def pause(self, now: float, *, probe_seconds: float) -> float:
        """Seconds until the next probe.

        Never shorter than the probe itself took, so that probing a machine that is busy starting
        a stack does not become the reason why it is busy.
        """
        grown = max(self._first, GROWTH * (now - self._changed_at), probe_seconds)
        return min(grown, max(self._longest, self._first))
