"""Every worker of the stack has registered with the backend."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Final

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.background import in_background
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.gate.backend import BackendCheck
from ktrdr_sandbox.gate.check import Check, Verdict, lost, runs, service_names
from ktrdr_sandbox.gate.health import published_port
from ktrdr_sandbox.gate.http import Answer
from ktrdr_sandbox.gate.migrations import MigrationsCheck
from ktrdr_sandbox.gate.registrations import RegistrationDiff, parse, reconcile
from ktrdr_sandbox.gate.snapshot import ContainerStatus, Run, Snapshot, StatusHistory, monotonic
from ktrdr_sandbox.models import StackService

PATH: Final = "/api/v1/workers"

# What a worker is asked to learn whether its program has started: any answer will do. Not
# `/health`: a worker takes that for the backend's visit, and puts off registering again.
KNOCK: Final = "/"
GRACE: Final = 1  # seconds to stop in a restart; the polite request is ignored, so more is wasted

# In multiples of `lost_after`: the silence after the restart, when all five tries are over again;
# and the time for the start of a worker that can in no way be seen to answer.
GIVEN_UP: Final = 2
UNSEEN_START: Final = 10
STEADY: Final = 2  # times `poll_max` that a backend has to say that it keeps no list

Containers = tuple[ContainerStatus, ...]


@dataclass(eq=False)
class WorkersCheck(Check):
    """Registrations by type, and the one cure for workers that are up and do not register.

    A worker tries five times, 2 s apart, and then waits for a call that never comes. It counts as
    lost when the backend answers, all worker containers run, this one's program answers too, and
    nothing has registered for `lost_after` seconds. A restart brings it back; what is silent after
    that as well cannot register. Where no worker is of a type that KTRDR has, and the backend keeps
    no list of workers, as with Celery's, the check proves nothing and fails nothing.
    """

    name = "workers"
    ready_title = "Workers registered"
    failed_title = "Workers not registered"
    services: tuple[StackService, ...]
    backend: BackendCheck
    migrations: MigrationsCheck | None
    history: StatusHistory
    healed: tuple[str, ...] = ()
    _tried_to_heal: bool = False
    _found: int = 0
    _rose_at: float | None = None
    _answered_at: dict[Run, float] = field(default_factory=dict)
    _to_restart: Containers = ()
    _notes: tuple[str, ...] = ()
    _said: tuple[str, frozenset[Run]] | None = None
    _said_since: float = 0.0

    @property
    def _names(self) -> list[str]:
        return [service.name for service in self.services]

    async def look(self, snapshot: Snapshot) -> Verdict:
        failed = snapshot.failed(*self._names)
        if failed:
            return lost(failed)
        if self.backend.verdict.outcome != "passed":  # zero workers would be true and no help
            return Verdict(
                "failed" if snapshot.failed(self.backend.service) else "waiting",
                "waiting for the backend",
                ("Backend is not answering, so its workers cannot be counted",),
                cause="workers register with the backend: see its check",
                next_command=own_commands.logs("{name}", self.backend.service),
            )
        if self._to_restart:
            await self._restart()
            return replace(self.verdict, doing="restarted lost workers")
        workers = snapshot.of(*self._names)
        if self.backend.port is None:
            fact = f"{self.backend.service} publishes no port, so its workers were not counted"
            return self._uncounted(workers, fact)
        answer = await self.watch.http.get(self.backend.port, PATH, body=True)
        return await self._judge(answer, workers)

    def _uncounted(
        self, workers: Containers, fact: str, *, not_applicable: bool = False
    ) -> Verdict:
        waiting = [one.fact for one in workers if one.condition == "waiting"]
        if waiting or not workers:
            return Verdict("waiting", "waiting for workers to start", tuple(waiting))
        return Verdict(
            "passed",
            facts=(fact,),
            services=(self.backend.service,),
            proof=self._proof(workers),
            not_applicable=not_applicable,
        )

    async def _judge(self, answer: Answer, workers: Containers) -> Verdict:
        registrations = parse(answer.body) if answer.status == 200 else None
        if registrations is None:
            return self._no_list(answer, workers)
        diff = reconcile(self.services, workers, registrations)
        progress = f"{diff.found} of {diff.expected} registered"
        if diff.complete:
            # A worker that has registered is of no use before its tables are there.
            if self.migrations is not None and self.migrations.verdict.outcome == "waiting":
                return Verdict("waiting", f"{progress}; waiting for the schema")
            facts = (*self._notes, *_unhealthy(diff))
            return Verdict("passed", facts=facts, proof=self._proof(workers))
        # Also a fall: a backend that started again forgets its workers, and time starts anew.
        if diff.found != self._found or self._rose_at is None:
            self._found, self._rose_at = diff.found, monotonic()
        silence = await self._silence(diff, workers, since=self._rose_at)
        doing = f"waiting for workers: {progress}"
        if not self._tried_to_heal and silence >= 1:
            self._to_restart = diff.missing
            doing = f"restarting {_labels(diff.missing)}: lost"
        short = self._short(diff, workers, doing=doing)
        given_up = self.healed and silence >= GIVEN_UP
        return replace(short, outcome="failed", doing="") if given_up else short

    def _no_list(self, answer: Answer, workers: Containers) -> Verdict:
        no_list = f"GET {answer.shown} gave no list of workers"
        fact = answer.fact if answer.status != 200 else no_list
        said = (fact, self.backend.verdict.proof)
        if said != self._said:
            self._said, self._said_since = said, monotonic()
        # A backend that is not KTRDR's says for a while that there is no such list. Not only 404
        # says so: what an application does not know it may also send to its login or front page.
        lasting = monotonic() - self._said_since >= STEADY * self.request.poll_max
        known = answer.status is not None and answer.status < 500
        if known and lasting and not self.request.stack.has_ktrdr_workers:
            names = ", ".join(self._names)
            told = f"it keeps no list of workers ({fact}), so {names} need not register"
            return self._uncounted(workers, told, not_applicable=True)
        return Verdict(
            "waiting",
            f"waiting for the list of workers at {answer.shown}",
            (fact, *self._notes),
            (self.backend.service,),
            f"this backend has no {PATH}" if answer.status == 404 else None,
        )

    def _short(self, diff: RegistrationDiff, workers: Containers, *, doing: str) -> Verdict:
        facts = [f"Expected {diff.expected} workers, found {diff.found}"]
        if diff.found:
            facts += [
                f"Expected {diff.expected_by_type[kind]} {kind} workers, "
                f"found {diff.found_by_type.get(kind, 0)}"
                for kind in diff.short_types
            ]
        if diff.found and diff.missing:
            facts.append(f"Not registered: {_labels(diff.missing)}")
        if diff.found and diff.unsure:
            facts.append(f"Cannot tell which of them registered: {_labels(diff.unsure)}")
        running = sum(1 for one in workers if one.condition == "running")
        starting = tuple(one for one in diff.missing if one.run not in self._answered_at)
        # Not left to the logs: those of a worker begin with tries that failed and were made up.
        cause: str | None = "a worker that finds no backend gives up after five tries"
        if self.healed:
            cause = "registering fails even after a restart"
        if running != diff.expected:
            facts.append(f"Worker containers running: {running} of {diff.expected}")
            cause = None
        elif starting and self.request.heal_workers:
            facts.append(f"Not answering yet: {_labels(starting)}")
            cause = f"{starting[0].label} runs, and its program does not answer yet"
        else:
            facts.append("Worker containers are running but not registering")
        facts += [*self._notes, *_unhealthy(diff)]
        absent = service_names((*diff.missing, *diff.unsure))
        return Verdict("waiting", doing, tuple(facts), absent, cause)

    async def _silence(self, diff: RegistrationDiff, workers: Containers, *, since: float) -> float:
        """For how long nothing has registered though all that is missing is up, as a multiple of
        `lost_after`. 0 where that is not known, or nothing is to follow from it."""
        down = not workers or any(one.condition != "running" for one in workers)
        if down or not self.request.heal_workers or not diff.missing:
            return 0.0
        await asyncio.gather(*(self._knock(one) for one in diff.missing))
        missing = runs(diff.missing)
        answered = {run: at for run, at in self._answered_at.items() if run in missing}
        if len(answered) < len(diff.missing):
            return 0.0
        return max(0.0, monotonic() - max(since, *answered.values())) / self.request.lost_after

    async def _knock(self, worker: ContainerStatus) -> None:
        """Note when the worker's program is first seen to answer."""
        detail, run = worker.detail, worker.run
        if detail is None or run is None or run in self._answered_at:
            return
        port = published_port(detail)
        unseen_start = UNSEEN_START * self.request.lost_after
        if detail.health == "healthy":
            self._answered_at[run] = monotonic()
        elif port is not None:
            if (await self.watch.http.get(port, KNOCK)).status is not None:
                self._answered_at[run] = monotonic()
        elif not detail.health_test and monotonic() - worker.since >= unseen_start:
            self._answered_at[run] = worker.since

    async def _restart(self) -> None:
        """Each by a call of its own: one call for all takes them one after the other."""
        lost_ones, self._to_restart = self._to_restart, ()
        self._tried_to_heal = True
        ids = [one.detail.id for one in lost_ones if one.detail]
        self.history.excused = frozenset(ids)
        troubles = await asyncio.gather(*(self._restart_one(one) for one in ids))
        outcomes = tuple(zip(lost_ones, troubles, strict=True))
        self.healed = tuple(one.label for one, trouble in outcomes if trouble is None)
        restarted = f"Restarted {', '.join(self.healed)}: running but not registering"
        self._notes = (
            *([restarted] if self.healed else []),
            *(f"Could not restart {one.label}: {why}" for one, why in outcomes if why is not None),
        )
        reading = await self.watch.read()
        if reading is not None:
            self.history.judge(reading)
        self.history.excused = frozenset()

    async def _restart_one(self, identity: str) -> str | None:
        """What the engine has against it, or None."""
        try:
            await in_background(lambda: self.watch.engine.restart([identity], grace=GRACE))
        except SandboxError as error:
            return error.message
        return None

    def _proof(self, workers: Containers) -> frozenset[Run]:
        return runs(workers) | self.backend.verdict.proof


def _labels(workers: Containers) -> str:
    return ", ".join(one.label for one in workers)


def _unhealthy(diff: RegistrationDiff) -> tuple[str, ...]:
    return tuple(f"{one.worker_id} is registered as {one.status}" for one in diff.unhealthy)
