"""The Startability Gate: rounds of one look at the containers and at all that needs proof."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import Final

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.background import in_background
from ktrdr_sandbox.docker.engine import Engine
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.gate.backend import BackendCheck
from ktrdr_sandbox.gate.causes import cause_of_exit, likely_cause
from ktrdr_sandbox.gate.check import Check, Verdict
from ktrdr_sandbox.gate.containers import ContainersCheck
from ktrdr_sandbox.gate.database import DatabaseCheck
from ktrdr_sandbox.gate.migrations import MigrationsCheck
from ktrdr_sandbox.gate.observability import ObservabilityCheck, tools
from ktrdr_sandbox.gate.result import (
    CHECK_NAMES,
    CheckName,
    CheckResult,
    GateProgress,
    GateRequest,
    GateResult,
    ServiceLog,
)
from ktrdr_sandbox.gate.snapshot import Snapshot, StatusHistory, monotonic, want_of_memory
from ktrdr_sandbox.gate.watch import Backoff, StackWatch
from ktrdr_sandbox.gate.workers import WorkersCheck

__all__ = ["GateRequest", "GateResult", "run_gate"]

Observer = Callable[[GateProgress], None]

LAST_LOOK: Final = 1.0  # seconds for the other checks' last look when one has failed for good
UNCONFIRMED: Final = "the Docker engine did not confirm that the containers still run"
LOG_LINES: Final = 10
LOG_PATIENCE: Final = 5.0  # seconds of reading the logs before the report goes without them
_WORST_FIRST: Final = ("failed", "waiting", "running", "completed")


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
    start was issued. Without it the containers are taken as they are found. `watch` is shared with
    whoever starts the stack. `observe` is called in the event loop when a check's state changes.
    Cancelling returns at once; an engine call under way is left to end by itself.

    Raises `SandboxError`: the engine's own when it does not answer, `usage` when the request asks
    for nothing that this stack has, `compose-file-invalid` for a stack without containers.
    """
    if watch is not None:
        return await _Gate(watch, request, observe, started).run()
    async with StackWatch(
        engine,
        request.stack,
        request.instance.uuid,
        probe_timeout=request.probe_timeout,
        patience=3 * request.poll_max,
    ) as own:
        return await _Gate(own, request, observe, started).run()


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
        self._history = StatusHistory(request, started is not None)
        self._snapshot: Snapshot | None = None
        self._told: dict[CheckName, tuple[str, bool, bool]] = {}
        self._containers, checks = _derive_checks(watch, request, self._history)
        self._reported = _asked_for(request, checks)
        # Workers are counted by the backend and migrations wait for the database, so these are
        # looked at even when nobody asked for them.
        supports = {"workers": "backend", "migrations": "database"}
        wanted = {*self._reported, *(supports.get(name) for name in self._reported)}
        self._checks = {check.name: check for check in checks if check.name in wanted}
        workers = self._checks.get("workers")
        if isinstance(workers, WorkersCheck) and "migrations" not in self._checks:
            workers.migrations = None  # nobody asked for the schema, so nothing waits for it
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
            fresh, unsteady_for = await self._take(final=outcomes == {"passed"}), inf
            if "failed" in outcomes:
                return await self._last_look()
            if fresh is not None and all(one.holds(fresh) for one in self._checks.values()):
                unsteady_for = self._containers.unsteady_for(fresh)
                if unsteady_for <= 0:
                    return None
            elif monotonic() >= self._deadline():
                return self._disown_passes()
            if fresh is not None:
                self._begin_looks(fresh)
            pause = min(pace.pause(took=monotonic() - began), unsteady_for)
            if await self._watch.woken(min(pause, max(0.01, self._deadline() - monotonic()))):
                pace.changed()

    async def _last_look(self) -> None:
        """With what is known now: a look under way began before the failure was."""
        for check in self._checks.values():
            if check.task is not None and not check.task.done():
                check.task.cancel()
                await asyncio.wait([check.task])
                check.task = None
        looks = self._begin_looks(self._snapshot) if self._snapshot is not None else []
        if looks:
            left = max(0.0, self._deadline() - monotonic())
            await asyncio.wait(looks, timeout=min(LAST_LOOK, left))

    def _disown_passes(self) -> None:
        """Time is up, and all that passed was never confirmed."""
        if all(check.verdict.outcome == "passed" for check in self._checks.values()):
            for check in self._checks.values():
                self._reopen(check, UNCONFIRMED)

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
        before, check.verdict, check.judged = check.verdict, verdict, snapshot
        if verdict.outcome == "waiting":
            self._tell(check, verdict.doing)
        else:
            check.settled_at = monotonic()
            if verdict.outcome == "failed":
                self._tell(check, (verdict.facts or (verdict.doing,))[0], failed=True)
            elif verdict.not_applicable:
                self._tell(check, verdict.facts[0])
            else:
                self._tell(check, check.ready_title, passed=True)
        if (verdict.outcome, verdict.facts) != (before.outcome, before.facts):
            self._watch.wake()

    def _reopen(self, check: Check, why: str) -> None:
        """Take a pass back."""
        check.verdict = Verdict("waiting", why)
        check.settled_at = None
        self._tell(check, why)

    async def _conclude(self) -> GateResult:
        reported = [check for check in self._checks.values() if check.name in self._reported]
        told = [check for check in reported if not check.verdict.not_applicable]
        results = await asyncio.gather(*(self._result(check) for check in told))
        workers = self._checks.get("workers")
        left_out = [check.verdict for check in reported if check.verdict.not_applicable]
        return GateResult(
            passed=all(result.passed for result in results),
            checks=tuple(results),
            seconds=monotonic() - self._begun,
            healed=workers.healed if isinstance(workers, WorkersCheck) else (),
            not_applicable=tuple((one.services[0], one.facts[0]) for one in left_out),
        )

    async def _result(self, check: Check) -> CheckResult:
        """Of one that has not passed, with logs, cause and next command."""
        verdict, name = check.verdict, check.name
        facts, seconds = verdict.facts, self._seconds(check)
        if verdict.outcome == "passed":
            title = check.ready_title
            return CheckResult(name=name, title=title, passed=True, facts=facts, seconds=seconds)
        facts = facts or (verdict.doing,)
        self._tell(check, facts[0], failed=True)
        blamed = []
        snapshot = check.judged if verdict.outcome == "failed" else self._snapshot
        for service in verdict.services:
            present = snapshot.of(service) if snapshot else ()
            found = [(one, one.detail) for one in present if one.detail is not None]
            blamed += sorted(found, key=lambda pair: _WORST_FIRST.index(pair[0].condition))[:1]
        own = [(one.service, detail.id) for one, detail in blamed]
        logs = await asyncio.gather(*(self._log(*one) for one in verdict.containers or own))
        # What the lines show, or what the exit status of the first that ended means.
        ended = [detail for one, detail in blamed if one.condition == "failed"]
        lines = [line for log in logs for line in log.lines]
        known = likely_cause((*verdict.facts, *lines), ended=bool(ended))
        if known is None and ended and ended[0].state != "created":
            known = cause_of_exit(ended[0].exit_code, has_lines=bool(lines))
        memory = next((want_of_memory(one) for _, one in blamed if one.oom_killed), None)
        cause = verdict.cause or memory or (known.text if known else None) or verdict.suspicion
        command = verdict.next_command
        if command is None and known is not None and known.text == cause:
            command = known.next_command
        if command is None and verdict.services:
            command = own_commands.logs("{name}", verdict.services[0])
        return CheckResult(
            name=name,
            title=check.failed_title,
            passed=False,
            final=verdict.outcome == "failed",
            facts=facts,
            services=verdict.services,
            seconds=seconds,
            cause=cause,
            next_command=command and command.replace("{name}", self._request.instance.name),
            logs=tuple(logs),
        )

    async def _log(self, name: str, identity: str) -> ServiceLog:
        try:
            async with asyncio.timeout(LOG_PATIENCE):
                engine = self._watch.engine
                lines = await in_background(lambda: engine.logs(identity, tail=LOG_LINES))
        except (SandboxError, TimeoutError):
            lines = ()
        return ServiceLog(service=name, lines=lines[-LOG_LINES:])

    def _seconds(self, check: Check) -> float:
        """From the gate's start to the moment it was settled, or to now."""
        return (monotonic() if check.settled_at is None else check.settled_at) - self._begun

    def _tell(
        self, check: Check, state: str, *, passed: bool = False, failed: bool = False
    ) -> None:
        """Send the observer what is new of a check that is reported."""
        told = (state, passed, failed)
        if self._observe is None or self._told.get(check.name) == told:
            return
        if check.name in self._reported:
            self._told[check.name] = told
            seconds = self._seconds(check)
            self._observe(GateProgress(check.name, seconds, state, passed=passed, failed=failed))


def _derive_checks(
    watch: StackWatch, request: GateRequest, history: StatusHistory
) -> tuple[ContainersCheck, list[Check]]:
    """The checks that a stack gives rise to, in the order of the report."""
    stack = request.stack
    databases = tuple(service.name for service in stack.with_role("db") if service.replicas)
    backends = [service for service in stack.with_role("backend") if service.replicas]
    workers = tuple(service for service in stack.with_role("worker") if service.replicas)
    found_tools = tools(stack)
    covered = {*databases, *(tool.service for tool in found_tools)}
    database = DatabaseCheck(watch, request, databases) if databases else None
    checks: list[Check] = [database] if database is not None else []
    migrations = None
    if request.migration is not None:
        migrations = MigrationsCheck(watch, request, request.migration, database)
        checks.append(migrations)
    if backends:
        port = stack.port("backend")
        name = port.service if port else backends[0].name
        backend = BackendCheck(watch, request, name, port)
        checks.append(backend)
        covered.add(name)
        if workers:
            checks.append(WorkersCheck(watch, request, workers, backend, migrations, history))
            if stack.has_ktrdr_workers:  # else the check may turn out to prove nothing
                covered.update(service.name for service in workers)
    if found_tools:
        checks.append(ObservabilityCheck(watch, request, found_tools))
    containers = ContainersCheck(watch, request, frozenset(covered))
    return containers, [containers, *checks] if stack.startable else []


def _asked_for(request: GateRequest, checks: list[Check]) -> frozenset[CheckName]:
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
