"""The Startability Gate: all checks at once, ended by the first that cannot come true any more."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Final

from ktrdr_sandbox.docker.engine import Engine
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.gate.checks.backend import BackendCheck
from ktrdr_sandbox.gate.checks.base import Check, Surroundings
from ktrdr_sandbox.gate.checks.containers import ContainersCheck
from ktrdr_sandbox.gate.checks.database import DatabaseCheck
from ktrdr_sandbox.gate.checks.migrations import MigrationsCheck
from ktrdr_sandbox.gate.checks.observability import ObservabilityCheck, tools
from ktrdr_sandbox.gate.checks.workers import WorkersCheck
from ktrdr_sandbox.gate.diagnosis import diagnose
from ktrdr_sandbox.gate.http import Http
from ktrdr_sandbox.gate.monitor import Monitor
from ktrdr_sandbox.gate.polling import Signal
from ktrdr_sandbox.gate.request import GateRequest
from ktrdr_sandbox.gate.result import CHECK_NAMES, CheckName, CheckResult, GateResult
from ktrdr_sandbox.gate.runner import Observer, Runner

__all__ = ["GateRequest", "GateResult", "run_gate"]

LAST_LOOK: Final = 1.0
"""Seconds that the other checks get to look once more when one has failed for good."""


async def run_gate(
    engine: Engine,
    request: GateRequest,
    *,
    observe: Observer | None = None,
    started: asyncio.Event | None = None,
) -> GateResult:
    """Prove that a stack is ready, or tell why it is not.

    May begin before its containers are started; `started` is then set by the caller once every
    start was issued. Without it the containers are taken as they are found: one that has ended
    is a failure, one that was never started may still be.

    `observe` is called in the event loop, whenever a check's state changes. Cancelling returns at
    once; an engine call under way is left to end by itself.

    Raises `SandboxError`: the engine's own when it does not answer, `usage` when the request asks
    for nothing that this stack has, `compose-file-invalid` for a stack without containers.
    """
    nudge = Signal()
    monitor = Monitor(engine, request, nudge=nudge, started=started)
    async with Http(request.probe_timeout) as http:
        around = Surroundings(engine=engine, request=request, monitor=monitor, http=http)
        return await _Gate(around, nudge=nudge, observe=observe).run()


class _Gate:
    def __init__(self, around: Surroundings, *, nudge: Signal, observe: Observer | None) -> None:
        self._around = around
        self._begun = asyncio.get_running_loop().time()
        checks = derive_checks(around)
        self._reported = _asked_for(around.request, checks)
        self._runners = [
            Runner(
                check,
                around,
                nudge=nudge,
                begun=self._begun,
                observe=observe if check.name in self._reported else None,
            )
            for check in checks
            if check.name in self._reported or _supports(check, self._reported)
        ]
        self._nudge = nudge
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> GateResult:
        self._expect_the_database()
        watching = self._start(self._around.monitor.watch())
        looking = [self._start(runner.run()) for runner in self._runners]
        try:
            await self._until_settled(looking)
        finally:
            for task in self._tasks:
                task.cancel()
            # Takes their cancellations and late errors, so that none is reported as unretrieved.
            await asyncio.gather(watching, *self._tasks, return_exceptions=True)
        return await self._conclude()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._nudge.fire())
        self._tasks.append(task)
        return task

    def _expect_the_database(self) -> None:
        """Services that need the database may die until it answers, and until it has its tables
        where those are being made; from then on it counts."""
        waited_for = {one.check.name: one for one in self._runners}
        runner = waited_for.get("migrations") or waited_for.get("database")
        if runner is not None:
            services = {one.name for one in self._around.request.stack.with_role("db")}
            self._around.monitor.forgive_restarts(except_services=frozenset(services))
            runner.on_pass = self._around.monitor.count_restarts

    async def _until_settled(self, looking: Sequence[asyncio.Task[None]]) -> None:
        """Returns when all has passed and holds, something failed for good, or time is up."""
        while self._remaining > 0:
            self._raise_errors()
            outcomes = {runner.verdict.outcome for runner in self._runners}
            if "failed" in outcomes:
                await self._last_look(looking)
                return
            passed = outcomes == {"passed"}
            if passed and await self._confirmed():
                return
            pause = self._around.request.poll_first if passed else self._remaining
            await self._nudge.wait(min(pause, max(0.0, self._remaining)))
        self._disown_passes()

    @property
    def _remaining(self) -> float:
        deadline = self._begun + self._around.request.timeout
        return deadline - asyncio.get_running_loop().time()

    def _raise_errors(self) -> None:
        """Only the engine's silence, and defects, end a task with an error."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def _last_look(self, looking: Sequence[asyncio.Task[None]]) -> None:
        for runner in self._runners:
            runner.stopping = True
        self._nudge.fire()
        await asyncio.wait(looking, timeout=min(LAST_LOOK, max(0.0, self._remaining)))
        self._raise_errors()

    async def _confirmed(self) -> bool:
        """Do the containers that the passes rest on still run?

        The checks passed at different moments, so the engine is asked once more. While it gives
        no answer nothing is proven.
        """
        asked = asyncio.get_running_loop().time()
        asking = self._start(self._refresh())
        await asyncio.wait({asking}, timeout=max(LAST_LOOK, self._remaining))
        self._raise_errors()
        snapshot = self._around.monitor.latest
        if snapshot is None or snapshot.taken < asked:
            return False
        return all(
            runner.verdict.outcome == "passed" and runner.verdict.proof <= snapshot.runs
            for runner in self._runners
        )

    async def _refresh(self) -> None:
        await self._around.monitor.refresh()

    def _disown_passes(self) -> None:
        """Time is up, and all that passed was never confirmed."""
        if all(runner.verdict.outcome == "passed" for runner in self._runners):
            for runner in self._runners:
                runner.reopen("the Docker engine did not confirm that the containers still run")

    async def _conclude(self) -> GateResult:
        reported = [one for one in self._runners if one.check.name in self._reported]
        told = [self._result(one) for one in reported if not one.verdict.moot]
        results = await asyncio.gather(*told)
        healed = tuple(
            name
            for runner in self._runners
            if isinstance(runner.check, WorkersCheck)
            for name in runner.check.healed
        )
        return GateResult(
            passed=all(result.passed for result in results),
            checks=tuple(results),
            seconds=asyncio.get_running_loop().time() - self._begun,
            healed=healed,
            moot=tuple(
                (one.verdict.services[0], one.verdict.facts[0])
                for one in reported
                if one.verdict.moot
            ),
        )

    async def _result(self, runner: Runner) -> CheckResult:
        verdict, check = runner.verdict, runner.check
        if verdict.outcome == "passed":
            return CheckResult(
                name=check.name,
                title=check.ready_title,
                passed=True,
                facts=verdict.facts,
                seconds=runner.seconds,
            )
        runner.tell_failure()
        found = await diagnose(self._around, verdict)
        return CheckResult(
            name=check.name,
            title=check.failed_title,
            passed=False,
            final=verdict.outcome == "failed",
            facts=verdict.facts or (verdict.doing,),
            services=verdict.services,
            seconds=runner.seconds,
            cause=found.cause,
            next_command=found.next_command,
            logs=found.logs,
        )


def derive_checks(around: Surroundings) -> tuple[Check, ...]:
    """The checks that a stack gives rise to, in the order of the report."""
    stack = around.request.stack
    databases = tuple(service.name for service in stack.with_role("db") if service.replicas)
    backends = tuple(service for service in stack.with_role("backend") if service.replicas)
    workers = tuple(service for service in stack.with_role("worker") if service.replicas)
    found_tools = tools(stack)
    covered = {*databases, *(tool.service for tool in found_tools)}
    database = DatabaseCheck(around, services=databases) if databases else None
    checks: list[Check] = [database] if database is not None else []
    migrations = None
    if around.request.migration is not None:
        migrations = MigrationsCheck(around, migration=around.request.migration, database=database)
        checks.append(migrations)
    if backends:
        port = stack.port("backend")
        name = port.service if port else backends[0].name
        backend = BackendCheck(around, service=name, port=port)
        checks.append(backend)
        covered.add(name)
        if workers:
            checks.append(
                WorkersCheck(around, services=workers, backend=backend, migrations=migrations)
            )
            if stack.has_ktrdr_workers:  # else the check may turn out to prove nothing
                covered.update(service.name for service in workers)
    if found_tools:
        checks.append(ObservabilityCheck(around, tools=found_tools))
    if stack.startable:
        checks.insert(0, ContainersCheck(around, covered=frozenset(covered)))
    return tuple(checks)


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


def _supports(check: Check, wanted: Iterable[CheckName]) -> bool:
    """Workers are counted by the backend and migrations wait for the database, so these are looked
    at even when nobody asked for them."""
    return (check.name == "backend" and "workers" in wanted) or (
        check.name == "database" and "migrations" in wanted
    )
