"""The Startability Gate: rounds of one look at the containers and at all that needs proof."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Final

from ktrdr_sandbox.docker.engine import Engine
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.gate.backend import BackendCheck
from ktrdr_sandbox.gate.check import Check, Verdict
from ktrdr_sandbox.gate.containers import ContainersCheck
from ktrdr_sandbox.gate.database import DatabaseCheck
from ktrdr_sandbox.gate.diagnosis import failure
from ktrdr_sandbox.gate.migrations import MigrationsCheck
from ktrdr_sandbox.gate.observability import ObservabilityCheck, tools
from ktrdr_sandbox.gate.result import (
    CHECK_NAMES,
    CheckName,
    CheckResult,
    GateProgress,
    GateRequest,
    GateResult,
)
from ktrdr_sandbox.gate.snapshot import Snapshot, StatusHistory, monotonic
from ktrdr_sandbox.gate.watch import Backoff, StackWatch
from ktrdr_sandbox.gate.workers import WorkersCheck

__all__ = ["GateRequest", "GateResult", "run_gate"]

Observer = Callable[[GateProgress], None]

LAST_LOOK: Final = 1.0
"""Seconds that the other checks get to look once more when one has failed for good."""

UNCONFIRMED: Final = "the Docker engine did not confirm that the containers still run"


async def run_gate(
    engine: Engine,
    request: GateRequest,
    *,
    observe: Observer | None = None,
    started: asyncio.Event | None = None,
    watch: StackWatch | None = None,
) -> GateResult:
    """Prove that a stack is ready, or tell why it is not.

    May begin before its containers are started; `started` is then set by the caller once every
    start was issued. Without it the containers are taken as they are found: one that has ended
    is a failure, one that was never started may still be. `watch` is shared with whoever starts
    the stack.

    `observe` is called in the event loop, whenever a check's state changes. Cancelling returns at
    once; an engine call under way is left to end by itself.

    Raises `SandboxError`: the engine's own when it does not answer, `usage` when the request asks
    for nothing that this stack has, `compose-file-invalid` for a stack without containers.
    """
    async with AsyncExitStack() as stack:
        if watch is None:
            patience = 3 * request.poll_max
            own = StackWatch(
                engine,
                request.stack,
                request.instance.uuid,
                probe_timeout=request.probe_timeout,
                patience=patience,
            )
            watch = await stack.enter_async_context(own)
        return await _Gate(watch, request, observe, started).run()


class _Gate:
    def __init__(
        self,
        watch: StackWatch,
        request: GateRequest,
        observe: Observer | None,
        started: asyncio.Event | None,
    ) -> None:
        self._watch = watch
        self._request = request
        self._observe = observe
        self._started = started
        self._begun = monotonic()
        self._history = StatusHistory(request, starting=started is not None)
        self._snapshot: Snapshot | None = None
        self._told: dict[CheckName, tuple[str, bool, bool]] = {}
        checks = derive_checks(watch, request, self._history)
        self._reported = _asked_for(request, checks)
        self._checks = {
            check.name: check
            for check in checks
            if check.name in self._reported or _supports(check, self._reported)
        }
        self._containers = next(c for c in checks if isinstance(c, ContainersCheck))
        # Services that need the database may die until it answers, and until it has its tables
        # where those are being made; from then on it counts.
        database = self._checks.get("database")
        self._awaited = self._checks.get("migrations", database)
        databases = frozenset(one.name for one in request.stack.with_role("db") if one.replicas)
        if self._awaited is not None:
            self._history.forgive_restarts(except_services=databases)
        watch.health.left_to_others = databases if database is not None else frozenset()

    async def run(self) -> GateResult:
        try:
            await self._until_settled()
            return await self._conclude()
        finally:
            tasks = [check.task for check in self._checks.values() if check.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._watch.health.left_to_others = frozenset()

    async def _until_settled(self) -> None:
        """Rounds, until all has passed in one, something failed for good, or time is up."""
        pace = Backoff(first=self._request.poll_first, longest=self._request.poll_max)
        while True:
            began = monotonic()
            outcomes = {check.verdict.outcome for check in self._checks.values()}
            fresh = await self._take(final=outcomes == {"passed"})
            if "failed" in outcomes:
                return await self._last_look()
            if fresh is not None and self._is_proven(fresh):
                if not self._containers.unsteady(fresh):
                    return None
            elif monotonic() >= self._deadline:
                return self._disown_passes()
            if fresh is not None:
                self._begin_looks(fresh)
            pause = pace.pause(took=monotonic() - began)
            if await self._watch.woken(min(pause, max(0.01, self._deadline - monotonic()))):
                pace.changed()

    async def _take(self, *, final: bool) -> Snapshot | None:
        """The round's snapshot; None while the engine does not answer."""
        if self._history.started_at is None and self._started is not None:
            self._history.started_at = monotonic() if self._started.is_set() else None
        max_age = 0.0 if final else self._request.poll_first / 2
        if self._awaited is not None and self._awaited.verdict.outcome == "passed":
            max_age = 0.0 if self._history.count_restarts() else max_age
        reading = await self._watch.read(max_age=max_age)
        if reading is None:
            return None
        self._snapshot = self._history.judge(reading)
        return self._snapshot

    def _is_proven(self, snapshot: Snapshot) -> bool:
        return all(check.holds(snapshot) for check in self._checks.values())

    @property
    def _deadline(self) -> float:
        """The time limit; where it follows the file, no container's start period is cut off."""
        limit = self._begun + self._request.timeout
        if not self._request.follow_file or self._snapshot is None:
            return limit
        periods = [
            one.since + one.detail.start_period + self._request.timeout / 4
            for one in self._snapshot.statuses
            if one.condition == "running" and one.detail and one.detail.start_period
        ]
        return max([limit, *periods])

    def _begin_looks(self, snapshot: Snapshot) -> list[asyncio.Task[None]]:
        """Look at all that has not passed, or whose pass does not hold; gives what is under way."""
        under_way = []
        for check in self._checks.values():
            if check.task is not None and check.task.done():
                check.task.result()  # only defects are raised there
            if check.verdict.outcome == "passed" and not check.holds(snapshot):
                self._reopen(check, "looking again: a container has restarted or ended")
            if check.verdict.outcome == "waiting" and (check.task is None or check.task.done()):
                check.task = asyncio.create_task(self._look(check, snapshot))
            if check.task is not None and not check.task.done():
                under_way.append(check.task)
        return under_way

    async def _look(self, check: Check, snapshot: Snapshot) -> None:
        verdict = await check.look(snapshot)
        before, check.verdict = check.verdict, verdict
        if verdict.outcome == "waiting":
            self._tell(check, verdict.doing)
        else:
            check.settled_at = monotonic()
            if verdict.outcome == "failed":
                self._tell_failure(check)
            elif verdict.not_applicable:
                self._tell(check, verdict.facts[0])
            else:
                self._tell(check, check.ready_title, passed=True)
        if (verdict.outcome, verdict.facts) != (before.outcome, before.facts):
            self._watch.wake()

    def _reopen(self, check: Check, why: str) -> None:
        """Take a pass back."""
        check.verdict = Verdict(outcome="waiting", doing=why)
        check.settled_at = None
        self._tell(check, why)

    async def _last_look(self) -> None:
        looks = self._begin_looks(self._snapshot) if self._snapshot is not None else []
        if looks:
            left = max(0.0, self._deadline - monotonic())
            await asyncio.wait(looks, timeout=min(LAST_LOOK, left))

    def _disown_passes(self) -> None:
        """Time is up, and all that passed was never confirmed."""
        if all(check.verdict.outcome == "passed" for check in self._checks.values()):
            for check in self._checks.values():
                self._reopen(check, UNCONFIRMED)

    async def _conclude(self) -> GateResult:
        reported = [check for check in self._checks.values() if check.name in self._reported]
        told = [check for check in reported if not check.verdict.not_applicable]
        results = await asyncio.gather(*(self._result(check) for check in told))
        workers = self._checks.get("workers")
        return GateResult(
            passed=all(result.passed for result in results),
            checks=tuple(results),
            seconds=monotonic() - self._begun,
            healed=workers.healed if isinstance(workers, WorkersCheck) else (),
            not_applicable=tuple(
                (check.verdict.services[0], check.verdict.facts[0])
                for check in reported
                if check.verdict.not_applicable
            ),
        )

    async def _result(self, check: Check) -> CheckResult:
        seconds = self._seconds(check)
        if check.verdict.outcome != "passed":
            self._tell_failure(check)
            return await failure(check, self._snapshot, seconds=seconds)
        facts, title = check.verdict.facts, check.ready_title
        return CheckResult(name=check.name, title=title, passed=True, facts=facts, seconds=seconds)

    def _seconds(self, check: Check) -> float:
        """From the gate's start to the moment it was settled, or to now."""
        return (monotonic() if check.settled_at is None else check.settled_at) - self._begun

    def _tell_failure(self, check: Check) -> None:
        self._tell(check, (check.verdict.facts or (check.verdict.doing,))[0], failed=True)

    def _tell(
        self, check: Check, state: str, *, passed: bool = False, failed: bool = False
    ) -> None:
        """Send the observer what is new of a check that is reported."""
        told = (state, passed, failed)
        if self._observe is None or self._told.get(check.name) == told:
            return
        if check.name in self._reported:
            self._told[check.name] = told
            elapsed = self._seconds(check)
            progress = GateProgress(
                name=check.name, elapsed=elapsed, state=state, passed=passed, failed=failed
            )
            self._observe(progress)


def derive_checks(
    watch: StackWatch, request: GateRequest, history: StatusHistory
) -> tuple[Check, ...]:
    """Make the checks that a stack gives rise to, in the order of the report."""
    stack = request.stack
    if not stack.startable:
        return ()
    databases = tuple(service.name for service in stack.with_role("db") if service.replicas)
    backends = tuple(service for service in stack.with_role("backend") if service.replicas)
    workers = tuple(service for service in stack.with_role("worker") if service.replicas)
    found_tools = tools(stack)
    covered = {*databases, *(tool.service for tool in found_tools)}
    checks: list[Check] = []
    database = DatabaseCheck(watch, request, services=databases) if databases else None
    if database is not None:
        checks.append(database)
    migrations = None
    if request.migration is not None:
        plan = request.migration
        migrations = MigrationsCheck(watch, request, migration=plan, database=database)
        checks.append(migrations)
    if backends:
        port = stack.port("backend")
        name = port.service if port else backends[0].name
        backend = BackendCheck(watch, request, service=name, port=port)
        checks.append(backend)
        covered.add(name)
        if workers:
            checks.append(
                WorkersCheck(
                    watch,
                    request,
                    services=workers,
                    backend=backend,
                    history=history,
                    migrations=migrations,
                )
            )
            if stack.has_ktrdr_workers:  # else the check may turn out to prove nothing
                covered.update(service.name for service in workers)
    if found_tools:
        checks.append(ObservabilityCheck(watch, request, tools=found_tools))
    return (ContainersCheck(watch, request, covered=frozenset(covered)), *checks)


def _asked_for(request: GateRequest, checks: Sequence[Check]) -> frozenset[CheckName]:
    """Names to report. Raises SandboxError when that is none: nothing would pass for proof."""
    derived = frozenset(check.name for check in checks)
    if not derived:
        raise SandboxError(
            "compose-file-invalid", "No active service of this stack has a container."
        )
    wanted = derived if request.only is None else derived & request.only
    if not wanted:
        missing = ", ".join(name for name in CHECK_NAMES if name in (request.only or ()))
        raise SandboxError(
            "usage",
            f"This stack has nothing to check for: {missing or 'no check was named'}.",
            hints=(f"It has: {', '.join(check.name for check in checks)}.",),
        )
    return wanted


def _supports(check: Check, wanted: frozenset[CheckName]) -> bool:
    """Workers are counted by the backend and migrations wait for the database, so these are looked
    at even when nobody asked for them."""
    return (check.name == "backend" and "workers" in wanted) or (
        check.name == "database" and "migrations" in wanted
    )
