"""Every container of the stack runs, or has done what it was there for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.gate.checks.base import Surroundings, Verdict, lost, runs
from ktrdr_sandbox.gate.checks.held_up import HoldUps, to_be_healthy
from ktrdr_sandbox.gate.health_test import health_trouble, last_line
from ktrdr_sandbox.gate.monitor import Snapshot
from ktrdr_sandbox.gate.result import CheckName
from ktrdr_sandbox.gate.standing import Run, Standing


class ContainersCheck:
    """Container states, and the health tests of services that no other check speaks for.

    `covered` names the services that other checks prove. Docker's own word on those is reported
    and not waited for: with an interval of 30 s it comes half a minute late.
    """

    name: CheckName = "containers"
    ready_title = "Containers running"
    failed_title = "Containers not running"

    def __init__(self, around: Surroundings, *, covered: frozenset[str]) -> None:
        self._around = around
        self._covered = covered
        self._healthy: set[Run] = set()
        self._hold_ups = HoldUps(around)

    async def probe(self) -> Verdict:
        snapshot = self._around.monitor.latest or await self._around.monitor.refresh()
        if snapshot is None:
            return Verdict(outcome="waiting", doing="waiting for the Docker engine's answer")
        failed = tuple(one for one in snapshot.standings if one.condition == "failed")
        if failed:
            return lost(failed)
        waiting = tuple(one for one in snapshot.standings if one.condition == "waiting")
        if waiting:
            return self._unstarted(waiting, of=len(snapshot.standings))
        return await self._healthy_or_waiting(snapshot)

    async def _healthy_or_waiting(self, snapshot: Snapshot) -> Verdict:
        troubled = await self._test_unless_failing(snapshot)
        if troubled is None:
            return await self.probe()
        if troubled:
            names = ", ".join(standing.label for standing, _ in troubled)
            return Verdict(
                outcome="waiting",
                doing=f"waiting for {names} to be healthy",
                facts=tuple(f"{one.label}: {trouble}" for one, trouble in troubled),
                services=tuple(dict.fromkeys(one.service for one, _ in troubled)),
            )
        return Verdict(
            outcome="passed", facts=self._complaints(snapshot), proof=runs(snapshot.standings)
        )

    async def _test_unless_failing(self, snapshot: Snapshot) -> list[tuple[Standing, str]] | None:
        """None when containers changed meanwhile: a slow health test must not hide that."""
        testing = asyncio.create_task(self._test(snapshot))
        try:
            while True:
                done, _ = await asyncio.wait({testing}, timeout=self._around.request.poll_max)
                if done:
                    return testing.result()
                latest = self._around.monitor.latest
                if latest is not None and latest.conditions != snapshot.conditions:
                    return None
        finally:
            testing.cancel()

    async def _test(self, snapshot: Snapshot) -> list[tuple[Standing, str]]:
        """The containers whose own health test does not succeed, each with its complaint."""
        unproven = [
            (standing, standing.detail)
            for standing in snapshot.standings
            if standing.detail is not None
            and standing.condition == "running"
            and standing.service not in self._covered
            and standing.run not in self._healthy
        ]
        troubles = await asyncio.gather(
            *(health_trouble(self._around.engine, detail) for _, detail in unproven)
        )
        found = []
        for (standing, detail), trouble in zip(unproven, troubles, strict=True):
            if trouble is None:
                self._healthy.add((detail.id, detail.started_at))
            else:
                found.append((standing, trouble))
        return found

    def _complaints(self, snapshot: Snapshot) -> tuple[str, ...]:
        """Docker calls a container unhealthy whose service is proven otherwise: worth a line."""
        return tuple(
            f"Docker calls {one.label} unhealthy: {last_line(one.detail.health_log) or 'no output'}"
            for one in snapshot.standings
            if one.detail is not None
            and one.detail.health == "unhealthy"
            and one.service in self._covered
        )

    def _unstarted(self, waiting: Sequence[Standing], *, of: int) -> Verdict:
        """Blames what the starts wait for, when that runs and does not get healthy."""
        names = dict.fromkeys(one.service for one in waiting)
        found = {hold.run: hold for name in names for hold in to_be_healthy(self._around, name)}
        held_up_by = tuple(found.values())
        troubles = self._hold_ups.troubles(held_up_by)
        awaited = f"{held_up_by[0].label} to be healthy" if held_up_by else waiting[0].label
        nothing = all(standing.detail is None for standing in waiting)
        return Verdict(
            outcome="waiting",
            doing=f"{of - len(waiting)} of {of} run, waiting for {awaited}",
            facts=(
                *(standing.fact for standing in waiting),
                *(f"{one.label}, which is waited for: {trouble}" for one, trouble in troubles),
            ),
            services=tuple(dict.fromkeys(one.service for one, _ in troubles)) or tuple(names),
            cause=(
                f"{troubles[0][0].label} does not get healthy, and {waiting[0].label} is started "
                "only then"
                if troubles
                else None
            ),
            next_command=(
                own_commands.on(self._around.request.instance.name, "up") if nothing else None
            ),
        )
