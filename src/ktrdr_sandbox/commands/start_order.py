"""Starts created services in dependency order, each as soon as what it waits for is true.

Compose waits for `service_healthy` by the engine's own probes, which begin one interval after the
start: 30 s for each level of KTRDR's stack. Here the health is known as soon as it can be asked
for without harm. The containers keep the intervals of their file.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from ktrdr_sandbox.background import in_background
from ktrdr_sandbox.docker.engine import ComposeCall, ContainerDetail, LineSink
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.gate.snapshot import Reading, monotonic
from ktrdr_sandbox.gate.watch import Backoff, StackWatch
from ktrdr_sandbox.models import Stack, StackService

FIRST_POLL: Final = 0.2
LONGEST_POLL: Final = 1.0
_KEPT_HOOK: Final = re.compile(r"hook container (\w+) retained")


class CannotStartError(Exception):
    """A service can no longer start, because what it waits for ended. The gate tells the rest."""


@dataclass
class Starter:
    """One start of one stack. Services that become ready together are started by one call."""

    watch: StackWatch
    call: ComposeCall
    stack: Stack
    progress: LineSink
    _started: set[str] = field(default_factory=set)
    _calls: dict[asyncio.Task[None], list[str]] = field(default_factory=dict)
    _finishing: bool = False

    async def run(self) -> None:
        """Start every service that has containers. Raises CannotStartError, and Compose's failures.

        Several failures at once come as the first of them.
        """
        reading, took = await self._read(), 0.0
        names = {one.name for one in self.stack.startable}
        self._started = {n for n in names if {one.state for one in reading.of(n)} == {"running"}}
        waiting = [one for one in self.stack.startable if one.name not in self._started]
        pace = Backoff(first=FIRST_POLL, longest=LONGEST_POLL)
        while waiting:
            ready = sorted(one.name for one in waiting if self._may_start(one, reading))
            if ready and not self._finishing:
                # No call waits for the one before it, which has nothing to do with it.
                call = asyncio.create_task(in_background(partial(self._start, ready)))
                self._calls[call] = ready
                call.add_done_callback(lambda _: self.watch.wake())
                waiting = [one for one in waiting if one.name not in ready]
                pace.changed()
            if waiting:
                await self.watch.woken(pace.pause(took=took))
                for call, names_of_call in self._calls.items():
                    if call.done():
                        call.result()
                        self._started.update(names_of_call)
                began = monotonic()
                reading = await self._read(max_age=FIRST_POLL / 2)
                took = monotonic() - began
        await asyncio.gather(*(asyncio.shield(call) for call in self._calls))

    async def finish(self, *, within: float) -> None:
        """Start nothing more and let the calls under way end. Raises Compose's failure of one.

        `within` so many seconds; what takes longer is left to end by itself.
        """
        self._finishing = True
        if self._calls:
            ended, _ = await asyncio.wait(self._calls, timeout=within)
            for call in ended:
                call.result()

    async def _read(self, *, max_age: float = 0.0) -> Reading:
        while True:
            reading = await self.watch.read(max_age=max_age)
            if reading is not None:
                return reading
            await asyncio.sleep(LONGEST_POLL)

    def _start(self, names: list[str]) -> None:
        """Blocking. Of a `pre_start` hook that failed Compose keeps the container and tells nothing
        of what it printed."""
        engine = self.watch.engine
        try:
            engine.compose_start(self.call, names, progress=self.progress)
        except SandboxError as error:
            kept = _KEPT_HOOK.search(error.message)
            if kept:
                error.message = "\n  ".join((error.message, *engine.logs(kept[1], tail=10)))
            raise

    def _may_start(self, service: StackService, reading: Reading) -> bool:
        """Whether all conditions of a service are met.

        Not those on services that no profile enables, that are scaled to nothing or that a provider
        stands for: Compose does not wait for those either (`shouldWaitForDependency`).
        """
        startable = {one.name for one in self.stack.startable}
        met = True
        for dependency, condition in service.depends_on.items():
            if dependency not in startable:
                continue
            if dependency not in self._started:
                met = False
                continue
            answer = self._is_met(dependency, condition, reading)
            if not isinstance(answer, str):
                met = met and answer
            elif dependency not in service.optional_dependencies:
                raise CannotStartError(f"{service.name} waits for {dependency}, which {answer}")
        return met

    def _is_met(self, dependency: str, condition: str, reading: Reading) -> bool | str:
        """Whether a condition is met; a text tells why it never will be."""
        tests = {
            "service_healthy": self._is_healthy,
            "service_completed_successfully": _has_completed,
        }
        if condition not in tests:
            return True
        answers = [tests[condition](detail) for detail in reading.of(dependency)]
        if not answers:
            return "has no container"
        return next((one for one in answers if isinstance(one, str)), all(answers))

    def _is_healthy(self, detail: ContainerDetail) -> bool | str:
        if detail.state in ("exited", "dead"):
            return f"ended with exit status {detail.exit_code}"
        if detail.state != "running":
            return False
        if not detail.health_test:
            raise SandboxError(
                "compose-file-invalid",
                f"A service waits for {detail.service} to be healthy, but it has no health check.",
                hints=("Give it a healthcheck, or wait for service_started.",),
                details={"service": detail.service},
            )
        health = self.watch.health.status(detail)
        return f"is not healthy: {health.trouble}" if health.hopeless else health.healthy


def _has_completed(detail: ContainerDetail) -> bool | str:
    failed = detail.state == "exited" and detail.exit_code
    return f"failed with exit status {detail.exit_code}" if failed else detail.state == "exited"
