"""What the start of a stack and its gate look at together, so that one question serves both."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final, Self

from ktrdr_sandbox.background import in_background
from ktrdr_sandbox.docker.engine import ContainerDetail, Engine
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.gate.health import HealthProbes
from ktrdr_sandbox.gate.http import Http
from ktrdr_sandbox.gate.snapshot import Reading, monotonic
from ktrdr_sandbox.models import Stack

GROWTH: Final = 0.03  # a pause as a share of the time since the last change

# A pause is at least so many times what the engine took to answer, so that asking a machine that is
# busy starting a stack does not become the reason why it is busy.
BUSY: Final = 2.0


@dataclass(eq=False)
class StackWatch:
    """One stack's containers (with the instance's uuid), health commands and HTTP client.

    `one_off` is the id of a container asked about in the same request and none of the stack's.
    """

    engine: Engine
    stack: Stack
    uuid: str
    probe_timeout: float = 2.0
    patience: float = 3.0
    one_off: str | None = None
    one_off_detail: ContainerDetail | None = None
    _ids: tuple[str, ...] = ()
    _latest: Reading | None = None
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _silent_since: float | None = None
    _change: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.http = Http(self.probe_timeout)
        self.health = HealthProbes(self.engine, self.http, self.wake)

    async def read(self, *, max_age: float = 0.0) -> Reading | None:
        """Ask the engine, unless its latest answer is younger than `max_age` seconds.

        None when it did not answer. Raises its error when it has not for `patience` seconds.
        """
        asked = monotonic()
        async with self._asking:
            if self._latest is not None and self._latest.taken >= asked - max_age:
                return self._latest
            taken = monotonic()
            try:
                details = await in_background(self._read)
            except SandboxError:
                self._silent_since = taken if self._silent_since is None else self._silent_since
                if monotonic() - self._silent_since >= self.patience:
                    raise
                return None
            self._silent_since = None
            self._latest = Reading(taken, details)
            return self._latest

    def _read(self) -> tuple[ContainerDetail, ...]:
        """Blocking. Lists only when a container is missing or gone; else one `inspect`."""
        one_off = self.one_off
        found = self.engine.inspect((*self._ids, *([one_off] if one_off else [])))
        details = tuple(one for one in found if one.id != one_off)
        self.one_off_detail = next((one for one in found if one.id == one_off), None)
        wanted = sum(service.replicas for service in self.stack.active)
        if len(self._ids) < wanted or len(details) < len(self._ids):
            listed = self.engine.containers(uuid=self.uuid)
            ids = tuple(sorted(one.id for one in listed if one.service and not one.oneoff))
            if ids != self._ids or len(details) < len(ids):
                self._ids = ids
                details = self.engine.inspect(ids)
        return details

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.health.close()
        await self.http.aclose()

    def wake(self) -> None:
        """Let all who wait look again: something has changed."""
        self._change.set()
        self._change = asyncio.Event()

    async def woken(self, timeout: float) -> bool:  # noqa: ASYNC109  a pause, no deadline
        """Wait for a change; False when none came within `timeout` seconds."""
        try:
            # Not `wait_for`: in Python 3.11 it loses a cancellation that meets the event.
            async with asyncio.timeout(timeout):
                await self._change.wait()
        except TimeoutError:
            return False
        return True


class Backoff:
    """The pauses of one poller: short while things move, longer the longer nothing does."""

    def __init__(self, *, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self.changed()

    def changed(self) -> None:
        """Something moved: more may follow at once."""
        self._changed_at = monotonic()

    def pause(self, *, took: float) -> float:
        """Give the seconds until the next question, the last of which `took` so many."""
        grown = max(self._first, GROWTH * (monotonic() - self._changed_at), BUSY * took)
        return min(grown, max(self._longest, self._first))
