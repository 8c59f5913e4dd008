"""The database's schema is at the head of the checkout's revisions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.background import in_background
from ktrdr_sandbox.docker.engine import ContainerDetail
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.gate.causes import MIGRATING, likely_cause
from ktrdr_sandbox.gate.check import Check, Verdict
from ktrdr_sandbox.gate.database import DatabaseCheck
from ktrdr_sandbox.gate.result import Migration
from ktrdr_sandbox.gate.snapshot import Snapshot, monotonic

COMMAND: Final = "alembic upgrade head"
NO_ALEMBIC: Final = 97  # exit status of a one-off container whose image has no alembic to run
_READ_FOR_CAUSE: Final = 200
_COMPLAINT: Final = re.compile(r"FAILED: |ERROR |[A-Za-z_][\w.]*(?:Error|Exception)\b[^:]*: ")
_NO_SHELL: Final = re.compile(r'exec: "/bin/sh": .*(?:no such file|not found)')
_UP: Final = own_commands.on("{name}", "up")
_ALONE: Final = 'To start without it: the setting migrate = "never" leaves the schema as it is'


@dataclass(eq=False)
class MigrationsCheck(Check):
    """Migrates once the database answers, and passes when that has ended well.

    `database` is None for one that is not in the stack.
    """

    name = "migrations"
    ready_title = "Schema migrated"
    failed_title = "Schema migration failed"
    migration: Migration
    database: DatabaseCheck | None
    _container: str | None = None
    _began: float = 0.0
    _behind_since: float | None = None

    async def look(self, snapshot: Snapshot) -> Verdict:  # noqa: ARG002  it reads the database
        try:
            return await self._look()
        except SandboxError as error:
            if _NO_SHELL.search(error.message) and not self.migration.required:
                return self._without_alembic("shell to look for alembic with")
            return self._failed(f"{COMMAND} could not be run: {error.message}")

    async def _look(self) -> Verdict:
        if self._container is not None:
            return await self._watch(self._container)
        if self.database is not None and self.database.verdict.outcome != "passed":
            return Verdict(
                "waiting",
                "waiting for the database",
                ("The database is not answering, so its schema cannot be migrated",),
                cause="migrations need the database: see its check",
                next_command=_UP,
            )
        if await in_background(self.migration.is_applied):
            return self._passed()
        if self.migration.only_checked:
            if not await in_background(self.migration.has_alembic):
                return self._without_alembic("alembic")
            # Somebody else may be migrating; when nobody is, nothing will come of waiting.
            self._behind_since = self._behind_since or monotonic()
            final = monotonic() - self._behind_since >= self.request.settling
            return Verdict(
                "failed" if final else "waiting",
                "waiting for the schema to be migrated",
                ("The schema is not at the head of the checkout's revisions",),
                (self.migration.service,),
                "nothing has migrated it since the checkout changed",
                next_command=_UP,
            )
        self._began = monotonic()
        self._container = await in_background(self.migration.start)
        self.watch.one_off = self._container
        return self._running()

    async def _watch(self, container: str) -> Verdict:
        detail = self.watch.one_off_detail
        if detail is None:  # the latest reading may be older than the container
            found = await in_background(lambda: self.watch.engine.inspect([container]))
            if not found:
                return self._failed(f"The container of {COMMAND} was removed while it ran")
            detail = found[0]
        return await self._judge(detail) if detail.state in ("exited", "dead") else self._running()

    async def _judge(self, ended: ContainerDetail) -> Verdict:
        if ended.exit_code == 0:
            return self._passed(f"{COMMAND} took {monotonic() - self._began:.1f} s")
        if ended.exit_code == NO_ALEMBIC and not self.migration.required:
            return self._without_alembic("alembic")
        if await in_background(self.migration.is_applied):
            return self._passed("Something else migrated the database at the same time")
        lines = await in_background(lambda: self.watch.engine.logs(ended.id, tail=_READ_FOR_CAUSE))
        cause = likely_cause(lines, among=MIGRATING)
        # What went wrong: alembic's own line, or the exception below a traceback.
        complaints = [line for line in lines if _COMPLAINT.match(line)]
        return self._failed(
            f"{COMMAND} ended with exit status {ended.exit_code} in a one-off container of "
            f"{self.migration.service}",
            *complaints[-1:],
            cause=cause.text if cause else None,
            next_command=cause.next_command if cause else None,
        )

    def _running(self) -> Verdict:
        return Verdict(
            "waiting",
            f"running {COMMAND}",
            (f"{COMMAND} did not end in time, and was stopped",),
            next_command=f"{_UP} --timeout {self.request.timeout * 5:.0f}",
            containers=self._logs(),
        )

    def _without_alembic(self, lacks: str) -> Verdict:
        fact = f"its image has no {lacks}, so {COMMAND} was not run"
        return self._passed(fact, not_applicable=True)

    def _passed(self, *facts: str, not_applicable: bool = False) -> Verdict:
        # Should the database start anew, this pass is void and the next look begins at the start.
        self._container = self.watch.one_off = None
        return Verdict(
            "passed",
            facts=facts,
            services=(self.migration.service,),
            proof=self.database.verdict.proof if self.database is not None else frozenset(),
            not_applicable=not_applicable,
        )

    def _failed(
        self, *facts: str, cause: str | None = None, next_command: str | None = None
    ) -> Verdict:
        return Verdict(
            "failed",
            facts=(*facts, _ALONE),
            # Without a container of its own there is no log that tells more.
            services=(self.migration.service,) if self._container is not None else (),
            cause=cause,
            next_command=next_command or _UP,
            containers=self._logs(),
        )

    def _logs(self) -> tuple[tuple[str, str], ...]:
        return (("migration", self._container),) if self._container is not None else ()
