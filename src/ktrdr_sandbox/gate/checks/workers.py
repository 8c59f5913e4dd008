"""Every worker of the stack has registered with the backend."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.background import in_background
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.gate.checks.backend import BackendCheck
from ktrdr_sandbox.gate.checks.base import Surroundings, Verdict, lost, runs
from ktrdr_sandbox.gate.checks.migrations import MigrationsCheck
from ktrdr_sandbox.gate.http import Answer
from ktrdr_sandbox.gate.result import CheckName
from ktrdr_sandbox.gate.roster import Roster, parse, reconcile
from ktrdr_sandbox.gate.standing import Run, Standing
from ktrdr_sandbox.models import PublishedPort, StackService

PATH: Final = "/api/v1/workers"

KNOCK: Final = "/"
"""What a worker is asked to learn whether its program has started: any answer will do. Not
`/health`: a worker takes that for the backend's visit, and puts off registering again."""

GRACE: Final = 1
"""Seconds for a worker to stop in a restart. It ignores the polite request, so more is wasted."""

GIVEN_UP: Final = 2
"""This many times `lost_after` of silence after the restart, all five tries are over again."""

UNSEEN_START: Final = 4
"""Where a worker cannot be seen to answer, this many times `lost_after` pass for its starting."""

STEADY: Final = 2
"""This many times `poll_max` a backend has to say that it keeps no list, until it is believed."""


class WorkersCheck:
    """Registrations by type, and the one cure for workers that are up and do not register.

    A worker tries five times, 2 s apart, and then waits for a call that never comes. It counts as
    lost when the backend answers, all worker containers run, this one's program answers too, and
    nothing has registered for `lost_after` seconds. A restart brings it back; what is silent
    after that as well cannot register.

    Where no worker is of a type that KTRDR has, `worker` may be just a name, as it is of Celery's:
    when the backend keeps no list of workers either, the check proves nothing and fails nothing.
    """

    name: CheckName = "workers"
    ready_title = "Workers registered"
    failed_title = "Workers not registered"

    def __init__(
        self,
        around: Surroundings,
        *,
        services: tuple[StackService, ...],
        backend: BackendCheck,
        migrations: MigrationsCheck | None = None,
    ) -> None:
        self.healed: tuple[str, ...] = ()
        self._tried_to_heal = False
        self._around = around
        self._services = services
        self._names = tuple(service.name for service in services)
        self._backend = backend
        self._migrations = migrations
        self._found = 0
        self._rose_at: float | None = None
        self._answered_at: dict[Run, float] = {}
        self._to_restart: tuple[Standing, ...] = ()
        self._notes: tuple[str, ...] = ()
        self._said: tuple[str, frozenset[Run]] | None = None
        self._said_since = 0.0

    async def probe(self) -> Verdict:
        monitor = self._around.monitor
        snapshot = monitor.latest or await monitor.refresh()
        standings = tuple(
            one for name in self._names for one in (snapshot.of(name) if snapshot else ())
        )
        failed = snapshot.failed(self._names) if snapshot else ()
        if failed:
            return lost(failed)
        if self._backend.verdict.outcome != "passed":
            gone = snapshot is not None and snapshot.failed([self._backend.service])
            return self._without_backend(final=bool(gone))
        if self._to_restart:
            await self._restart()
        if self._backend.port is None:
            fact = f"{self._backend.service} publishes no port, so its workers were not counted"
            return self._uncounted(standings, fact)
        answer = await self._around.http.get(self._backend.port, PATH, body=True)
        return await self._judge(answer, standings)

    def _without_backend(self, *, final: bool) -> Verdict:
        """Zero workers would be the truth and no help."""
        return Verdict(
            outcome="failed" if final else "waiting",
            doing="waiting for the backend",
            facts=("Backend is not answering, so its workers cannot be counted",),
            cause="workers register with the backend: see its check",
            next_command=own_commands.logs(
                self._around.request.instance.name, self._backend.service
            ),
        )

    def _uncounted(
        self, standings: tuple[Standing, ...], fact: str, *, moot: bool = False
    ) -> Verdict:
        waiting = tuple(one for one in standings if one.condition == "waiting")
        if waiting or not standings:
            facts = tuple(one.fact for one in waiting)
            return Verdict(outcome="waiting", doing="waiting for workers to start", facts=facts)
        return Verdict(
            outcome="passed",
            facts=(fact,),
            services=(self._backend.service,),
            proof=self._proof(standings),
            moot=moot,
        )

    async def _judge(self, answer: Answer, standings: tuple[Standing, ...]) -> Verdict:
        registrations = parse(answer.body) if answer.status == 200 else None
        if registrations is None:
            return self._no_list(answer, standings)
        roster = reconcile(self._services, standings, registrations)
        if roster.complete and self._schema_pending:
            doing = f"{roster.found} of {roster.expected} registered; waiting for the schema"
            return Verdict(outcome="waiting", doing=doing)
        if roster.complete:
            facts = (*self._notes, *_ailing(roster))
            return Verdict(outcome="passed", facts=facts, proof=self._proof(standings))
        self._note_rise(roster)
        silence = await self._silence(roster, standings)
        if self.healed and silence >= GIVEN_UP:
            return replace(self._short(roster, standings, doing=""), outcome="failed")
        if not self._tried_to_heal and silence >= 1:
            self._to_restart = roster.missing
            doing = f"restarting {_labels(roster.missing)}: lost"
            return self._short(roster, standings, doing=doing)
        doing = f"waiting for workers: {roster.found} of {roster.expected} registered"
        return self._short(roster, standings, doing=doing)

    @property
    def _schema_pending(self) -> bool:
        """A worker that has registered is of no use before its tables are there."""
        return self._migrations is not None and self._migrations.verdict.outcome == "waiting"

    def _no_list(self, answer: Answer, standings: tuple[Standing, ...]) -> Verdict:
        fact = (
            answer.fact if answer.status != 200 else f"GET {answer.shown} gave no list of workers"
        )
        if self._keeps_none(answer, fact):
            names = ", ".join(self._names)
            told = f"it keeps no list of workers ({fact}), so {names} need not register"
            return self._uncounted(standings, told, moot=True)
        return Verdict(
            outcome="waiting",
            doing=f"waiting for the list of workers at {answer.shown}",
            facts=(fact, *self._notes),
            services=(self._backend.service,),
            cause=f"this backend has no {PATH}" if answer.status == 404 else None,
        )

    def _keeps_none(self, answer: Answer, fact: str) -> bool:
        """Whether a backend that is not KTRDR's has said for a while that there is no such list.

        Not only 404 says so: what an application does not know it may also send to its login, or
        to its front page.
        """
        said = (fact, self._backend.verdict.proof)
        if said != self._said:
            self._said, self._said_since = said, self._now()
        if self._around.request.stack.has_ktrdr_workers:
            return False
        known = answer.status is not None and answer.status < 500
        lasting = self._now() - self._said_since >= STEADY * self._around.request.poll_max
        return known and lasting

    def _short(self, roster: Roster, standings: tuple[Standing, ...], *, doing: str) -> Verdict:
        facts = [f"Expected {roster.expected} workers, found {roster.found}"]
        if roster.found:
            facts += [_short_type(roster, kind) for kind in roster.short_types]
        if roster.found and roster.missing:
            facts.append(f"Not registered: {_labels(roster.missing)}")
        if roster.found and roster.unsure:
            facts.append(f"Cannot tell which of them registered: {_labels(roster.unsure)}")
        running = sum(1 for one in standings if one.condition == "running")
        if running == roster.expected:
            facts.append("Worker containers are running but not registering")
        else:
            facts.append(f"Worker containers running: {running} of {roster.expected}")
        absent = (*roster.missing, *roster.unsure)
        return Verdict(
            outcome="waiting",
            doing=doing,
            facts=(*facts, *self._notes, *_ailing(roster)),
            services=tuple(dict.fromkeys(one.service for one in absent)),
            cause=self._cause(all_running=running == roster.expected),
        )

    def _cause(self, *, all_running: bool) -> str | None:
        """Not left to the logs: those of a worker begin with tries that failed and were made up."""
        if not all_running:
            return None
        if self.healed:
            return "registering fails even after a restart"
        return "a worker that finds no backend gives up after five tries"

    def _note_rise(self, roster: Roster) -> None:
        """Also a fall: a backend that started again forgets its workers, and time starts anew."""
        if roster.found != self._found or self._rose_at is None:
            self._found = roster.found
            self._rose_at = self._now()

    async def _silence(self, roster: Roster, standings: tuple[Standing, ...]) -> float:
        """For how long nothing has registered though all that is missing is up, as a multiple of
        `lost_after`. 0 where that is not known, or nothing is to follow from it."""
        if not self._around.request.heal_workers or not roster.missing or not standings:
            return 0.0
        if any(one.condition != "running" for one in standings):
            return 0.0
        await asyncio.gather(*(self._knock(one) for one in roster.missing))
        quiet_since = max(
            self._rose_at or self._now(), *(self._up_at(one) for one in roster.missing)
        )
        return max(0.0, self._now() - quiet_since) / self._around.request.lost_after

    async def _knock(self, standing: Standing) -> None:
        """Note when the worker's program is first seen to answer."""
        detail, run = standing.detail, standing.run
        if detail is None or run is None or run in self._answered_at:
            return
        port = _own_port(standing)
        if detail.health == "healthy" or (
            port is not None and (await self._around.http.get(port, KNOCK)).status is not None
        ):
            self._answered_at[run] = self._now()
        elif port is None and not detail.health_test:
            self._answered_at[run] = standing.since

    def _up_at(self, standing: Standing) -> float:
        if standing.run in self._answered_at:
            return self._answered_at[standing.run]
        return standing.since + UNSEEN_START * self._around.request.lost_after

    async def _restart(self) -> None:
        """Each by a call of its own: one call for all takes them one after the other."""
        lost_ones, self._to_restart = self._to_restart, ()
        self._tried_to_heal = True
        monitor = self._around.monitor
        monitor.excuse([one.detail.id for one in lost_ones if one.detail is not None])
        troubles = await asyncio.gather(*(self._restart_one(one) for one in lost_ones))
        outcomes = tuple(zip(lost_ones, troubles, strict=True))
        self.healed = tuple(one.label for one, trouble in outcomes if trouble is None)
        restarted = f"Restarted {', '.join(self.healed)}: running but not registering"
        self._notes = (
            *([restarted] if self.healed else []),
            *(f"Could not restart {one.label}: {why}" for one, why in outcomes if why is not None),
        )
        await monitor.refresh()
        monitor.excuse(())

    async def _restart_one(self, standing: Standing) -> str | None:
        """What the engine has against it, or None."""
        ids = [standing.detail.id] if standing.detail is not None else []
        try:
            await in_background(lambda: self._around.engine.restart(ids, grace=GRACE))
        except SandboxError as error:
            return error.message
        return None

    def _proof(self, standings: tuple[Standing, ...]) -> frozenset[Run]:
        return runs(standings) | self._backend.verdict.proof

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _labels(standings: tuple[Standing, ...]) -> str:
    return ", ".join(one.label for one in standings)


def _short_type(roster: Roster, kind: str) -> str:
    wanted = roster.expected_by_type[kind]
    return f"Expected {wanted} {kind} workers, found {roster.found_by_type.get(kind, 0)}"


def _ailing(roster: Roster) -> tuple[str, ...]:
    return tuple(f"{one.worker_id} is registered as {one.status}" for one in roster.ailing)


def _own_port(standing: Standing) -> PublishedPort | None:
    for host_ip, published, target, protocol in (
        standing.detail.published if standing.detail else ()
    ):
        if protocol == "tcp":
            return PublishedPort(
                service=standing.service,
                target=target,
                protocol="tcp",
                host_ip=host_ip,
                published=published,
                role="worker",
                variable="",
            )
    return None
