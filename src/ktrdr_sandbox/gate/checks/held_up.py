"""What a service that is not started yet waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from ktrdr_sandbox.gate.checks.base import Surroundings
from ktrdr_sandbox.gate.health_test import health_trouble
from ktrdr_sandbox.gate.standing import Run, Standing

AGAIN = 5
"""This many times `poll_max` lie between two health tests of one container: whoever starts the
stack runs them as well, and more often."""

Trouble = tuple[Standing, str]
"""A container that runs, with what its health test complains of."""


class HoldUps:
    """Why starts are late: the complaints of the health tests that they wait for.

    The tests run beside whoever asks, for one that hangs must not hide anything.
    """

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._waited_for: frozenset[Run | None] = frozenset()
        self._ask_at = 0.0
        self._troubles: tuple[Trouble, ...] = ()
        self._asking: asyncio.Task[None] | None = None

    def troubles(self, held_up_by: Sequence[Standing]) -> tuple[Trouble, ...]:
        """What is known so far of these containers; () for the first few seconds."""
        now = asyncio.get_running_loop().time()
        wait = AGAIN * self._around.request.poll_max
        runs = frozenset(one.run for one in held_up_by)
        if runs != self._waited_for:
            self._waited_for, self._troubles, self._ask_at = runs, (), now + wait / 2
        elif runs and now >= self._ask_at and (self._asking is None or self._asking.done()):
            self._ask_at = now + wait
            self._asking = asyncio.create_task(self._ask(held_up_by))
        return self._troubles

    async def _ask(self, standings: Sequence[Standing]) -> None:
        details = [(one, one.detail) for one in standings if one.detail is not None]
        found = await asyncio.gather(
            *(health_trouble(self._around.engine, detail) for _, detail in details)
        )
        if self._waited_for == frozenset(one.run for one in standings):
            pairs = zip(details, found, strict=True)
            self._troubles = tuple((one, said) for (one, _), said in pairs if said is not None)


def failed_before(around: Surroundings, service: str) -> tuple[str, ...]:
    """Services that can no longer come to run and that this one is started after."""
    snapshot = around.monitor.latest
    names = {name for name, _ in _before(around, service)}
    return tuple(name for name in sorted(names) if snapshot and snapshot.failed([name]))


def to_be_healthy(around: Surroundings, service: str) -> tuple[Standing, ...]:
    """Containers that run, and whose health this service's start waits for.

    Docker's `healthy` is believed; the others may be healthy without being known to be.
    """
    snapshot = around.monitor.latest
    names = {name for name, what in _before(around, service) if what == "service_healthy"}
    return tuple(
        standing
        for name in sorted(names)
        for standing in (snapshot.of(name) if snapshot else ())
        if standing.condition == "running"
        and standing.detail
        and standing.detail.health != "healthy"
    )


def _before(around: Surroundings, service: str) -> Iterator[tuple[str, str]]:
    """What is to come before this service, each with the condition on it: what it waits for, and
    where that is not started either, what that waits for."""
    needs = {one.name: one.depends_on for one in around.request.stack.active}
    snapshot = around.monitor.latest
    seen: set[str] = set()
    ahead = [service]
    while ahead:
        for name, condition in needs.get(ahead.pop(), {}).items():
            if name not in needs:
                continue
            yield name, condition
            running = snapshot is not None and all(
                one.condition == "running" for one in snapshot.of(name)
            )
            if name not in seen and not running:
                seen.add(name)
                ahead.append(name)
