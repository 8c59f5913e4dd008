"""What a service that is not started yet waits for."""

from __future__ import annotations

from collections.abc import Iterator

from ktrdr_sandbox.gate.snapshot import ContainerStatus, Snapshot
from ktrdr_sandbox.gate.watch import StackWatch
from ktrdr_sandbox.models import Stack


def failed_before(stack: Stack, snapshot: Snapshot, service: str) -> tuple[str, ...]:
    """Name the services that can no longer come to run and that this one is started after."""
    names = {name for name, _ in _before(stack, snapshot, service)}
    return tuple(name for name in sorted(names) if snapshot.failed(name))


def to_be_healthy(
    watch: StackWatch, snapshot: Snapshot, service: str
) -> tuple[ContainerStatus, ...]:
    """Give the containers that run, and whose health this service's start waits for."""
    before = _before(watch.stack, snapshot, service)
    names = {name for name, condition in before if condition == "service_healthy"}
    return tuple(
        status
        for name in sorted(names)
        for status in snapshot.of(name)
        if status.condition == "running"
        and status.detail is not None
        and not watch.health.status(status.detail).healthy
    )


def _before(stack: Stack, snapshot: Snapshot, service: str) -> Iterator[tuple[str, str]]:
    """What is to come before this service, each with the condition on it: what it waits for, and
    where that is not started either, what that waits for."""
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
