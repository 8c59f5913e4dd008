"""What the start of a stack and its gate look at together, so that one question serves both."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

from ktrdr_sandbox.docker.engine import Engine
from ktrdr_sandbox.gate.health import HealthProbes
from ktrdr_sandbox.gate.http import Http
from ktrdr_sandbox.gate.snapshot import ContainerReader, monotonic
from ktrdr_sandbox.models import Stack

GROWTH: Final = 0.03
"""Pause as a share of the time since the last change: the lag stays within 3 % of the wait."""

BUSY: Final = 2.0
"""A pause is at least so many times what the engine took to answer, so that asking a machine that
is busy starting a stack does not become the reason why it is busy."""


class StackWatch:
    """One stack's containers, their health commands and a client for its ports."""

    def __init__(
        self,
        engine: Engine,
        stack: Stack,
        uuid: str,
        *,
        probe_timeout: float = 2.0,
        patience: float = 3.0,
    ) -> None:
        self.engine = engine
        self.http = Http(probe_timeout)
        self.reader = ContainerReader(engine, stack, uuid, patience=patience)
        self.health = HealthProbes(engine, self.http, changed=self.wake)
        self._change = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.health.close()
        await self.http.aclose()

    def wake(self) -> None:
        """Let all who wait look again: something has changed."""
        self._change.set()
        self._change = asyncio.Event()

    async def woken(self, timeout: float) -> bool:  # noqa: ASYNC109  a pause, no deadline
        """Wait for a change; False when none came within `timeout` seconds."""
        change = self._change
        try:
            # Not `wait_for`: in Python 3.11 it loses a cancellation that meets the event.
            async with asyncio.timeout(timeout):
                await change.wait()
        except TimeoutError:
            return False
        return True


class Backoff:
    """The pauses of one poller: short while things move, longer the longer nothing does."""

    def __init__(self, *, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._changed_at = monotonic()

    def changed(self) -> None:
        """Something moved: more may follow at once."""
        self._changed_at = monotonic()

    def pause(self, *, took: float) -> float:
        """Give the seconds until the next question, the last of which `took` so many."""
        grown = max(self._first, GROWTH * (monotonic() - self._changed_at), BUSY * took)
        return min(grown, max(self._longest, self._first))
