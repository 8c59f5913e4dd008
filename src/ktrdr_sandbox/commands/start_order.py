"""Starts created services in dependency order, each as soon as what it waits for is true.

Compose waits for `service_healthy` by the engine's own probes, which begin one interval after the
start: 30 s for each level of KTRDR's stack. Here the same health command is run at once and often,
by `exec`, until it passes. The containers keep the intervals of their file, so that nothing probes
faster once the stack is up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from ktrdr_sandbox.background import in_background
from ktrdr_sandbox.docker.engine import ComposeCall, ContainerDetail, Engine, LineSink
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.gate.health_test import LIMIT, command
from ktrdr_sandbox.gate.polling import Pace
from ktrdr_sandbox.models import Stack, StackService

FIRST_POLL = 0.1
LONGEST_POLL = 1.0


class CannotStartError(Exception):
    """A service can no longer start, because what it waits for ended. The gate tells the rest."""

    def __init__(self, service: str, dependency: str, reason: str) -> None:
        super().__init__(f"{service} waits for {dependency}, which {reason}")
        self.service = service
        self.dependency = dependency
        self.reason = reason


_Key = tuple[str, str]
"""A dependency and the Compose condition on it."""


@dataclass
class Starter:
    """One start of one stack. `engine` calls block, so they run in threads."""

    engine: Engine
    call: ComposeCall
    stack: Stack
    uuid: str
    progress: LineSink
    _started: dict[str, asyncio.Event] = field(default_factory=dict)
    _conditions: dict[_Key, asyncio.Task[None]] = field(default_factory=dict)
    _ids: dict[str, list[str]] = field(default_factory=dict)
    _batch: set[str] = field(default_factory=set)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _calls: list[asyncio.Future[None]] = field(default_factory=list)
    _finishing: bool = False

    async def run(self) -> None:
        """Start every service that has containers. Raises CannotStartError, and Compose's failures.

        Several failures at once come as the first of them.
        """
        self._started = {service.name: asyncio.Event() for service in self.stack.startable}
        running = await self._find_containers()
        waiting = [service for service in self.stack.startable if service.name not in running]
        for name in running:
            self._started[name].set()
        try:
            async with asyncio.TaskGroup() as group:
                for service in waiting:
                    group.create_task(self._when_ready(service))
                group.create_task(self._start_batches(group, len(waiting)))
        except BaseExceptionGroup as failures:
            raise _first(failures) from None
        finally:
            for polling in self._conditions.values():
                polling.cancel()

    async def _find_containers(self) -> set[str]:
        """Note the ids; gives the services to start of which every container runs already."""
        containers = await in_background(lambda: self.engine.containers(uuid=self.uuid))
        states: dict[str, set[str]] = {}
        for container in containers:
            if not container.oneoff:
                self._ids.setdefault(container.service, []).append(container.id)
                states.setdefault(container.service, set()).add(container.state)
        return {name for name in self._started if states.get(name) == {"running"}}

    async def _when_ready(self, service: StackService) -> None:
        """Wait for all conditions of one service, then hand it to the next batch.

        Not for services that no profile enables, that are scaled to nothing or that a provider
        stands for: Compose does not wait for those either (`shouldWaitForDependency`).
        """
        needed = [item for item in service.depends_on.items() if item[0] in self._started]
        async with asyncio.TaskGroup() as group:
            for dependency, condition in needed:
                group.create_task(self._needed(service, dependency, condition))
        self._batch.add(service.name)
        self._wake.set()

    async def _needed(self, service: StackService, dependency: str, condition: str) -> None:
        try:
            await self._condition(dependency, condition)
        except CannotStartError as failure:
            if dependency not in service.optional_dependencies:
                raise CannotStartError(service.name, dependency, failure.reason) from None

    async def _start_batches(self, group: asyncio.TaskGroup, count: int) -> None:
        """Start what is ready together: one Compose call for as many services as there are.

        No call waits for the one before it: what is in that has nothing to do with this.
        """
        while count:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(0)  # let all that became ready in this moment come along
            names, self._batch = sorted(self._batch), set()
            if names and not self._finishing:
                group.create_task(self._start(names))
                count -= len(names)

    async def _start(self, names: list[str]) -> None:
        call = asyncio.ensure_future(
            in_background(
                lambda: self.engine.compose_start(self.call, names, progress=self.progress)
            )
        )
        self._calls.append(call)
        await asyncio.shield(call)
        for name in names:
            self._started[name].set()

    @property
    def under_way(self) -> bool:
        """Whether any call of Compose goes on."""
        return any(not call.done() for call in self._calls)

    async def finish(self, *, within: float) -> None:
        """Start nothing more and let the calls under way end. Raises Compose's failure of one.

        `within` so many seconds; what takes longer is left to end by itself.
        """
        self._finishing = True
        if self._calls:
            ended, _ = await asyncio.wait(self._calls, timeout=within)
            for call in ended:
                call.result()

    async def _condition(self, dependency: str, condition: str) -> None:
        """Wait for a condition; all services that wait for the same one share its polling."""
        await self._started[dependency].wait()
        test = _CONDITIONS.get(condition)
        if test is None:
            return
        key = (dependency, condition)
        if key not in self._conditions:
            self._conditions[key] = asyncio.ensure_future(self._until(dependency, test))
        await self._conditions[key]

    async def _until(self, dependency: str, test: _Test) -> None:
        ids = self._ids.get(dependency, [])
        now = asyncio.get_running_loop().time
        pace = Pace(first=FIRST_POLL, longest=LONGEST_POLL, now=now())
        while True:
            began = now()
            details = await in_background(lambda: self.engine.inspect(ids))
            if not details:
                raise CannotStartError("", dependency, "has no container")
            verdicts = [await test(self.engine, detail) for detail in details]
            ended = [verdict for verdict in verdicts if isinstance(verdict, str)]
            if ended:
                raise CannotStartError("", dependency, ended[0])
            if all(verdicts):
                return
            await asyncio.sleep(pace.pause(now(), probe_seconds=now() - began))


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


_Verdict = bool | str
"""True or False for now; a text when it can no longer come true."""

_Test = Callable[[Engine, ContainerDetail], Awaitable[_Verdict]]


async def _is_healthy(engine: Engine, detail: ContainerDetail) -> _Verdict:
    if detail.state in ("exited", "dead"):
        return f"ended with exit status {detail.exit_code}"
    if detail.health == "healthy":
        return True
    if detail.state != "running":
        return False
    test = command(detail.health_test)
    if not test:
        raise SandboxError(
            "compose-file-invalid",
            f"A service waits for {detail.service} to be healthy, but it has no health check.",
            hints=("Give it a healthcheck, or wait for service_started.",),
            details={"service": detail.service},
        )
    result = await in_background(lambda: engine.execute(detail.id, test, timeout=LIMIT))
    return result.exit_code == 0


async def _has_completed(_engine: Engine, detail: ContainerDetail) -> _Verdict:
    if detail.state != "exited":
        return False
    return detail.exit_code == 0 or f"failed with exit status {detail.exit_code}"


_CONDITIONS: Mapping[str, _Test] = {
    "service_healthy": _is_healthy,
    "service_completed_successfully": _has_completed,
}
