"""Every container of the stack runs, or has done what it was there for."""

from __future__ import annotations

from dataclasses import replace

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.gate.blockers import to_be_healthy
from ktrdr_sandbox.gate.check import Check, Verdict, lost, runs
from ktrdr_sandbox.gate.health import Health, last_line
from ktrdr_sandbox.gate.result import GateRequest
from ktrdr_sandbox.gate.snapshot import ContainerStatus, Snapshot, monotonic
from ktrdr_sandbox.gate.watch import StackWatch


class ContainersCheck(Check):
    """Container states, and the health tests of services that no other check speaks for.

    `covered` names the services that other checks prove. Docker's own word on those is reported
    and not waited for: with an interval of 30 s it comes half a minute late.
    """

    name = "containers"
    ready_title = "Containers running"
    failed_title = "Containers not running"

    def __init__(self, watch: StackWatch, request: GateRequest, *, covered: frozenset[str]) -> None:
        super().__init__(watch, request)
        self._covered = covered

    async def look(self, snapshot: Snapshot) -> Verdict:
        failed = tuple(one for one in snapshot.statuses if one.condition == "failed")
        if failed:
            return lost(failed)
        statuses = tuple(self._settled(one) for one in snapshot.statuses)
        waiting = tuple(one for one in statuses if one.condition == "waiting")
        if waiting:
            return self._unstarted(snapshot, waiting)
        troubled = [
            (one, health)
            for one in statuses
            if one.condition == "running"
            and one.service not in self._covered
            and one.detail is not None
            and not (health := self.watch.health.status(one.detail)).healthy
        ]
        if troubled:
            names = ", ".join(status.label for status, _ in troubled)
            return _unhealthy(
                troubled,
                doing=f"waiting for {names} to be healthy",
                facts=[f"{one.label}: {health.trouble}" for one, health in troubled],
            )
        complaints = tuple(
            f"Docker calls {one.label} unhealthy: {last_line(one.detail.health_log) or 'no output'}"
            for one in statuses
            if one.detail is not None
            and one.detail.health == "unhealthy"
            and one.service in self._covered
        )
        return Verdict(outcome="passed", facts=complaints, proof=runs(statuses))

    def unsteady(self, snapshot: Snapshot) -> bool:
        """Tell whether a container runs for too short a time to be sure of it."""
        request = self.request
        return any(
            monotonic() - one.since < (request.steady if self._unproven(one) else request.poll_max)
            for one in snapshot.statuses
            if one.condition == "running"
        )

    def _settled(self, status: ContainerStatus) -> ContainerStatus:
        """What has died meanwhile must have stayed up for a while where that is all it shows."""
        young = monotonic() - status.since < self.request.settling
        if status.condition == "running" and status.restarted and young and self._unproven(status):
            return replace(status, condition="waiting", reason="has ended and runs anew")
        return status

    def _unproven(self, status: ContainerStatus) -> bool:
        """Whether nothing speaks for a container but that it runs."""
        has_test = status.detail is not None and bool(status.detail.health_test)
        return status.service not in self._covered and not has_test

    def _unstarted(self, snapshot: Snapshot, waiting: tuple[ContainerStatus, ...]) -> Verdict:
        """Blames what the starts wait for, when that runs and does not get healthy."""
        names = tuple(dict.fromkeys(one.service for one in waiting))
        blockers = {
            one.run: one for name in names for one in to_be_healthy(self.watch, snapshot, name)
        }
        troubled = [
            (one, health)
            for one in blockers.values()
            if one.detail is not None and (health := self.watch.health.status(one.detail)).trouble
        ]
        awaited = next(
            (f"{one.label} to be healthy" for one in blockers.values()), waiting[0].label
        )
        running = len(snapshot.statuses) - len(waiting)
        facts = [one.fact for one in waiting]
        facts += [f"{one.label}, which is waited for: {it.trouble}" for one, it in troubled]
        doing = f"{running} of {len(snapshot.statuses)} run, waiting for {awaited}"
        if troubled:
            late = f"{troubled[0][0].label} does not get healthy, and {waiting[0].label} is started"
            return _unhealthy(troubled, doing=doing, facts=facts, cause=f"{late} only then")
        nothing = all(one.detail is None for one in waiting)
        up = own_commands.on(self.instance_name, "up")
        return Verdict(
            outcome="waiting",
            doing=doing,
            facts=tuple(facts),
            services=names,
            next_command=up if nothing else None,
        )


def _unhealthy(
    troubled: list[tuple[ContainerStatus, Health]],
    *,
    doing: str,
    facts: list[str],
    cause: str | None = None,
) -> Verdict:
    hopeless = [health for _, health in troubled if health.hopeless]
    return Verdict(
        outcome="failed" if hopeless else "waiting",
        doing=doing,
        facts=tuple(facts),
        services=tuple(dict.fromkeys(one.service for one, _ in troubled)),
        cause=next((health.cause for health in hopeless if health.cause), cause),
    )
