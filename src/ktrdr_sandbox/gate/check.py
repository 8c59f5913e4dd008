"""What every check of the gate has in common."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ktrdr_sandbox.gate.result import CheckName, GateRequest
from ktrdr_sandbox.gate.snapshot import ContainerStatus, Run, Snapshot
from ktrdr_sandbox.gate.watch import StackWatch
from ktrdr_sandbox.models import PublishedPort, Stack


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one look found. `failed` means that it can no longer come true.

    `cause` is certain; `suspicion` is for when the logs show none. `containers` are those whose log
    is worth showing, each with a name; without any it is those of `services`.
    """

    outcome: Literal["waiting", "passed", "failed"]
    doing: str = ""  # what is waited for
    facts: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    cause: str | None = None
    suspicion: str | None = None
    next_command: str | None = None  # `{name}` in it stands for the instance's
    proof: frozenset[Run] = frozenset()  # what a pass rests on: it is void when one of them ends
    not_applicable: bool = False  # a pass that proves nothing, to be left out of the report
    containers: tuple[tuple[str, str], ...] = ()


@dataclass(eq=False)
class Check(ABC):
    """One thing that must be true of a stack. `verdict` is the latest.

    The gate keeps the look that is under way in `task`, and when it was settled (monotonic).
    """

    name: ClassVar[CheckName]
    ready_title: ClassVar[str]
    failed_title: ClassVar[str]
    watch: StackWatch
    request: GateRequest
    verdict: Verdict = field(default=Verdict("waiting", "has not answered yet"), init=False)
    task: asyncio.Task[None] | None = field(default=None, init=False)
    settled_at: float | None = field(default=None, init=False)
    judged: Snapshot | None = field(default=None, init=False)
    """What the latest verdict goes by: a container in a loop runs again a moment later."""

    @abstractmethod
    async def look(self, snapshot: Snapshot) -> Verdict:
        """Look once. Raises nothing that the stack can cause."""

    def holds(self, snapshot: Snapshot) -> bool:
        """Tell whether it has passed, and the containers that the pass rests on still run."""
        return self.verdict.outcome == "passed" and self.verdict.proof <= snapshot.runs


def owner(snapshot: Snapshot, port: PublishedPort) -> ContainerStatus | None:
    """Find the container of this instance that publishes a host port, if one runs.

    Without it an answer on the port proves nothing: the main stack, another sandbox or any other
    program may be giving it. That it still runs is seen when the pass is confirmed.
    """
    binding = (port.published, port.target, port.protocol)
    for status in snapshot.of(port.service):
        published = status.detail.published if status.detail else ()
        if status.condition == "running" and any(one[1:] == binding for one in published):
            return status
    return None


def stranger(port: PublishedPort) -> str:
    """Give the fact to report when a port answers and `owner` finds nobody."""
    return (
        f"Something answers on port {port.published}, but no container of {port.service} "
        "in this instance publishes it"
    )


def lost(statuses: tuple[ContainerStatus, ...]) -> Verdict:
    """Give the verdict when containers that a check needs can no longer come to run."""
    return Verdict(
        "failed",
        facts=tuple(status.fact for status in statuses),
        services=service_names(statuses),
        cause=next((status.cause for status in statuses if status.cause), None),
        next_command=next((one.next_command for one in statuses if one.next_command), None),
    )


def service_names(statuses: Iterable[ContainerStatus]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(status.service for status in statuses))


def runs(statuses: Iterable[ContainerStatus]) -> frozenset[Run]:
    return frozenset(status.run for status in statuses if status.run)


def failed_before(stack: Stack, snapshot: Snapshot, service: str) -> tuple[str, ...]:
    """Name the services that can no longer come to run and that this one is started after."""
    names = {name for name, _ in _before(stack, snapshot, service)}
    return tuple(name for name in sorted(names) if snapshot.failed(name))


def to_be_healthy(
    watch: StackWatch, snapshot: Snapshot, service: str
) -> tuple[ContainerStatus, ...]:
    """Give the containers that run, and whose health this service's start waits for."""
    before = _before(watch.stack, snapshot, service)
    names = sorted({name for name, condition in before if condition == "service_healthy"})
    return tuple(
        status
        for name in names
        for status in snapshot.of(name)
        if status.condition == "running"
        and status.detail is not None
        and not watch.health.status(status.detail).healthy
    )


def _before(stack: Stack, snapshot: Snapshot, service: str) -> Iterator[tuple[str, str]]:
    """What this service's start waits for, with the condition, and what those wait for in turn."""
    needs = {one.name: one.depends_on for one in stack.active}
    seen: set[str] = set()
    ahead = [service]
    while ahead:
        for name, condition in needs.get(ahead.pop(), {}).items():
            if name not in needs:
                continue
            yield name, condition
            if name not in seen and any(s.condition != "running" for s in snapshot.of(name)):
                seen.add(name)
                ahead.append(name)
