"""One watcher of the stack's containers, shared by all checks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.background import in_background
from ktrdr_sandbox.docker.engine import ContainerDetail, Engine
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.gate.polling import Signal
from ktrdr_sandbox.gate.request import GateRequest
from ktrdr_sandbox.gate.standing import (
    Circumstances,
    Run,
    Standing,
    is_job,
    judge,
    label,
    loop_after,
    one_shots,
    spoken_for,
)
from ktrdr_sandbox.models import StackService

ENGINE_PATIENCE: Final = 3
"""Periods for which the engine may fail every question before the gate gives up on it."""

WATCHFUL: Final = 0.3
"""Seconds between two looks while a container is still to start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The standing of every expected container. `taken`: monotonic seconds when it was asked."""

    taken: float
    standings: tuple[Standing, ...]

    def of(self, service: str) -> tuple[Standing, ...]:
        return tuple(standing for standing in self.standings if standing.service == service)

    @property
    def runs(self) -> frozenset[Run]:
        return frozenset(
            standing.run
            for standing in self.standings
            if standing.run and standing.condition in ("running", "completed")
        )

    def failed(self, services: Sequence[str]) -> tuple[Standing, ...]:
        """Containers of these services that can no longer come to run."""
        return tuple(
            standing
            for standing in self.standings
            if standing.service in services and standing.condition == "failed"
        )

    @property
    def conditions(self) -> tuple[tuple[object, ...], ...]:
        """What makes two snapshots differ for those who wait."""
        return tuple((one.label, one.condition, one.reason, one.run) for one in self.standings)


@dataclass(slots=True, kw_only=True)
class _Memory:
    """What was seen of one container so far."""

    first: tuple[str, str, str]
    restarts: int
    run: Run
    since: float
    state: str
    state_since: float


class Monitor:
    """Asks the engine about all containers in one call, each second or when a check needs to know.

    Only containers with the instance's uuid count. `nudge` is raised whenever a standing changes.
    """

    def __init__(
        self,
        engine: Engine,
        request: GateRequest,
        *,
        nudge: Signal,
        started: asyncio.Event | None = None,
    ) -> None:
        self.latest: Snapshot | None = None
        self._engine = engine
        self._request = request
        self._nudge = nudge
        self._started = started
        self._started_at: float | None = None
        self._one_shots = one_shots(request.stack)
        self._ids: tuple[str, ...] = ()
        self._memory: dict[str, _Memory] = {}
        self._excused: frozenset[str] = frozenset()
        self._forgiving_except: frozenset[str] | None = None
        self._asking = asyncio.Lock()
        self._silent_since: float | None = None

    async def watch(self) -> None:
        """Runs until cancelled. Raises SandboxError when the engine stays silent."""
        while True:
            began = self._now()
            await self.refresh()
            await self._rest(self._pause(took=self._now() - began))

    async def _rest(self, pause: float) -> None:
        if self._started is None or self._started.is_set():
            await asyncio.sleep(pause)
            return
        # The last start is news that is worth looking at once.
        try:
            async with asyncio.timeout(pause):
                await self._started.wait()
        except TimeoutError:
            return

    def _pause(self, *, took: float) -> float:
        """Shorter while a container is still to come, whose start may be the last thing missing.

        An engine that is busy starting answers late, and is then asked less.
        """
        longest = self._request.poll_max
        snapshot = self.latest
        if snapshot is None or all(one.condition != "waiting" for one in snapshot.standings):
            return longest
        return min(longest, max(WATCHFUL, 3 * took))

    async def refresh(self) -> Snapshot | None:
        """A snapshot asked for after this call; None while the engine has not answered once."""
        asked = self._now()
        async with self._asking:
            if self.latest is None or self.latest.taken < asked:
                await self._take()
        return self.latest

    async def no_older_than(self, seconds: float) -> Snapshot | None:
        """The latest snapshot, or a new one when it is older."""
        if self.latest is not None and self._now() - self.latest.taken <= seconds:
            return self.latest
        return await self.refresh()

    def excuse(self, ids: Sequence[str]) -> None:
        """These are being restarted by the gate: that they are down is no failure."""
        self._excused = frozenset(ids)

    def forgive_restarts(self, *, except_services: frozenset[str]) -> None:
        """Until `count_restarts`: a service that dies while the database initialises may do so
        again and again, for that is how such stacks wait for it."""
        self._forgiving_except = except_services

    def count_restarts(self) -> None:
        """From now on restarts count, starting from none."""
        if self._forgiving_except is None:
            return
        self._forgiving_except = None
        for memory in self._memory.values():
            memory.restarts = -1

    async def _take(self) -> None:
        taken = self._now()
        self._note_start(taken)
        try:
            details = await in_background(self._read)
        except SandboxError:
            if self._silent_since is None:
                self._silent_since = taken
            if self._now() - self._silent_since >= ENGINE_PATIENCE * self._request.poll_max:
                raise
            return
        self._silent_since = None
        before = self.latest.conditions if self.latest else None
        self.latest = Snapshot(taken=taken, standings=self._standings(details, taken))
        if self.latest.conditions != before:
            self._nudge.fire()

    def _note_start(self, now: float) -> None:
        if self._started_at is None and self._started is not None and self._started.is_set():
            self._started_at = now

    def _read(self) -> tuple[ContainerDetail, ...]:
        """Blocking. Lists only when a container is missing or gone; else one `inspect`."""
        wanted = sum(service.replicas for service in self._request.stack.active)
        details = self._engine.inspect(self._ids)
        if len(self._ids) < wanted or len(details) < len(self._ids):
            found = self._engine.containers(uuid=self._request.instance.uuid)
            ids = tuple(sorted(one.id for one in found if one.service and not one.oneoff))
            if ids != self._ids or len(details) < len(ids):
                self._ids = ids
                details = self._engine.inspect(ids)
        return details

    def _standings(self, details: Sequence[ContainerDetail], now: float) -> tuple[Standing, ...]:
        by_service: dict[str, list[ContainerDetail]] = {}
        for detail in sorted(details, key=lambda one: (one.replica, one.name)):
            by_service.setdefault(detail.service, []).append(detail)
        standings = []
        for service in self._request.stack.active:
            # All that are there, not only as many as there should be: an interrupted change can
            # leave the old container, which still answers, beside the new one, which is broken.
            present = by_service.get(service.name, []) if service.replicas else []
            standings += [self._standing(service, detail, now) for detail in present]
            missing = range(len(present), service.replicas)
            standings += [self._missing(service, place) for place in missing]
        return tuple(standings)

    def _missing(self, service: StackService, place: int) -> Standing:
        return Standing(
            service=service.name,
            label=label(service, place + 1),
            condition="failed" if self._starts_over() else "waiting",
            reason="has no container",
            cause="nothing has started it",
            next_command=own_commands.on(self._request.instance.name, "up"),
        )

    def _standing(self, service: StackService, detail: ContainerDetail, now: float) -> Standing:
        memory = self._remember(detail, now)
        judged = judge(detail, self._circumstances(service, detail, memory, now))
        return Standing(
            service=service.name,
            label=label(service, detail.replica),
            condition=judged.condition,
            reason=judged.reason,
            cause=judged.cause,
            next_command=judged.next_command,
            detail=detail,
            since=memory.since,
        )

    def _remember(self, detail: ContainerDetail, now: float) -> _Memory:
        run = (detail.id, detail.started_at)
        memory = self._memory.get(detail.id)
        if memory is None:
            memory = _Memory(
                first=_appearance(detail),
                restarts=self._counted(detail),
                run=run,
                since=now,
                state=detail.state,
                state_since=now,
            )
            self._memory[detail.id] = memory
        if memory.run != run:
            memory.run, memory.since = run, now
        if memory.state != detail.state:
            memory.state, memory.state_since = detail.state, now
        # An explicit start sets the engine's own count back to zero.
        if memory.restarts < 0 or detail.restart_count < memory.restarts:
            memory.restarts = detail.restart_count
        return memory

    def _counted(self, detail: ContainerDetail) -> int:
        """Restarts not to hold against it. One found down between two runs may be in a loop."""
        in_loop = detail.state == "restarting" and self._started is None
        return 0 if in_loop else detail.restart_count

    def _circumstances(
        self, service: StackService, detail: ContainerDetail, memory: _Memory, now: float
    ) -> Circumstances:
        forgiving = self._forgiving_except
        forgiven = forgiving is not None and service.name not in forgiving
        return Circumstances(
            lasting=now - memory.state_since >= self._request.start_grace,
            restarts=0 if forgiven else detail.restart_count - memory.restarts,
            left_over=self._started is not None and _appearance(detail) == memory.first,
            starts_over=self._starts_over(),
            excused=detail.id in self._excused,
            one_shot=service.name in self._one_shots,
            may_end=is_job(service),
            loop_after=loop_after(service),
            unsettled=not spoken_for(service, self._request.stack)
            and not detail.health_test
            and now - memory.since < self._request.settling,
        )

    def _starts_over(self) -> bool:
        if self._started_at is None:
            return False
        return self._now() - self._started_at >= self._request.start_grace

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _appearance(detail: ContainerDetail) -> tuple[str, str, str]:
    return (detail.state, detail.started_at, detail.error)
