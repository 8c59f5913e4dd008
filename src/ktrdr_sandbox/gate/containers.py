"""Every container of the stack runs, or has done what it was there for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.gate.check import Check, Verdict, lost, runs, service_names, to_be_healthy
from ktrdr_sandbox.gate.health import Health, last_line
from ktrdr_sandbox.gate.snapshot import ContainerStatus, Snapshot, monotonic

Troubled = list[tuple[ContainerStatus, Health]]


@dataclass(eq=False)
class ContainersCheck(Check):
    """Container states, and the health tests of services that no other check speaks for.

    `covered` names the services that other checks prove. Docker's own word on those is reported
    and not waited for: with an interval of 30 s it comes half a minute late.
    """

    name = "containers"
    ready_title = "Containers running"
    failed_title = "Containers not running"
    covered: frozenset[str]

    async def look(self, snapshot: Snapshot) -> Verdict:
        failed = tuple(one for one in snapshot.statuses if one.condition == "failed")
        if failed:
            return lost(failed)
        statuses = tuple(self._settled(one) for one in snapshot.statuses)
        waiting = tuple(one for one in statuses if one.condition == "waiting")
        if waiting:
            return self._unstarted(snapshot, waiting)
        uncovered = [one for one in statuses if one.service not in self.covered]
        troubled = self._troubled(one for one in uncovered if one.condition == "running")
        if troubled:
            names = ", ".join(status.label for status, _ in troubled)
            facts = [f"{one.label}: {health.trouble}" for one, health in troubled]
            return _unhealthy(troubled, f"waiting for {names} to be healthy", facts)
        complaints = tuple(
            f"Docker calls {one.label} unhealthy: {last_line(one.detail.health_log) or 'no output'}"
            for one in statuses
            if one.service in self.covered and one.detail and one.detail.health == "unhealthy"
        )
        return Verdict("passed", facts=complaints, proof=runs(statuses))

    def unsteady_for(self, snapshot: Snapshot) -> float:
        """Give the seconds until all containers have run for long enough to be sure of them."""
        request = self.request
        steady_at = [
            one.since + (request.steady if self._unproven(one) else request.poll_max)
            for one in snapshot.statuses
            if one.condition == "running"
        ]
        return max(steady_at, default=0.0) - monotonic()

    def _settled(self, status: ContainerStatus) -> ContainerStatus:
        """What has died meanwhile must have stayed up for a while where that is all it shows."""
        young = monotonic() - status.since < self.request.settling
        if status.condition == "running" and status.restarted and young and self._unproven(status):
            return replace(status, condition="waiting", reason="has ended and runs anew")
        return status

    def _unproven(self, status: ContainerStatus) -> bool:
        """Whether nothing speaks for a container but that it runs."""
        has_test = status.detail is not None and bool(status.detail.health_test)
        return status.service not in self.covered and not has_test

    def _troubled(self, statuses: Iterable[ContainerStatus]) -> Troubled:
        known = [(one, self.watch.health.status(one.detail)) for one in statuses if one.detail]
        return [(one, health) for one, health in known if not health.healthy]

    def _unstarted(self, snapshot: Snapshot, waiting: tuple[ContainerStatus, ...]) -> Verdict:
        """Blames what the starts wait for, when that runs and does not get healthy."""
        names = service_names(waiting)
        found = [one for name in names for one in to_be_healthy(self.watch, snapshot, name)]
        blockers = list({one.run: one for one in found}.values())
        troubled = [(one, health) for one, health in self._troubled(blockers) if health.trouble]
        awaited = f"{blockers[0].label} to be healthy" if blockers else waiting[0].label
        running, every = len(snapshot.statuses) - len(waiting), len(snapshot.statuses)
        doing = f"{running} of {every} run, waiting for {awaited}"
        facts = [one.fact for one in waiting]
        if troubled:
            facts += [f"{one.label}, which is waited for: {it.trouble}" for one, it in troubled]
            late = f"{troubled[0][0].label} does not get healthy, and {waiting[0].label} is started"
            return _unhealthy(troubled, doing, facts, cause=f"{late} only then")
        nothing = all(one.detail is None for one in waiting)
        up = own_commands.on("{name}", "up") if nothing else None
        return Verdict("waiting", doing, tuple(facts), names, next_command=up)


def _unhealthy(
    troubled: Troubled,
    doing: str,
    facts: list[str],
    *,
    cause: str | None = None,
) -> Verdict:
    hopeless = [health for _, health in troubled if health.hopeless]
    cause = next((health.cause for health in hopeless if health.cause), cause)
    services = service_names(one for one, _ in troubled)
    return Verdict("failed" if hopeless else "waiting", doing, tuple(facts), services, cause)
