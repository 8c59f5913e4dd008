"""The database's schema is at the head of the checkout's revisions."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Final

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.background import in_background
from ktrdr_sandbox.docker.engine import ContainerDetail
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.gate.causes import MIGRATING, likely_cause
from ktrdr_sandbox.gate.checks.base import Surroundings, Verdict
from ktrdr_sandbox.gate.checks.database import DatabaseCheck
from ktrdr_sandbox.gate.migration import COMMAND, NO_ALEMBIC, Migration
from ktrdr_sandbox.gate.result import CheckName

TITLE: Final = "migration"
"""What the one-off container is called in the report."""

READ_FOR_CAUSE: Final = 200
_COMPLAINT: Final = re.compile(r"FAILED: |ERROR |[A-Za-z_][\w.]*(?:Error|Exception)\b[^:]*: ")
_NO_SHELL: Final = re.compile(r'exec: "/bin/sh": .*(?:no such file|not found)')
ALONE: Final = 'the setting migrate = "never" leaves the schema as it is'


class MigrationsCheck:
    """Migrates once the database answers, and passes when that has ended well.

    `database` is None for one that is not in the stack. `verdict` is the latest, for the checks
    that need the schema.
    """

    name: CheckName = "migrations"
    ready_title = "Schema migrated"
    failed_title = "Schema migration failed"

    def __init__(
        self, around: Surroundings, *, migration: Migration, database: DatabaseCheck | None
    ) -> None:
        self.verdict = Verdict(outcome="waiting", doing="waiting for the database")
        self._around = around
        self._migration = migration
        self._database = database
        self._container: str | None = None
        self._began = 0.0

    async def probe(self) -> Verdict:
        try:
            self.verdict = await self._look()
        except SandboxError as error:
            self.verdict = self._not_run(error.message)
        return self.verdict

    def _not_run(self, why: str) -> Verdict:
        if _NO_SHELL.search(why) and not self._migration.required:
            return self._without_alembic("shell to look for alembic with")
        return self._failed(f"{COMMAND} could not be run: {why}")

    def _without_alembic(self, lacks: str) -> Verdict:
        fact = f"its image has no {lacks}, so {COMMAND} was not run"
        return self._passed(fact, moot=True)

    async def _look(self) -> Verdict:
        if self._container is not None:
            return await self._watch(self._container)
        if self._database is not None and self._database.verdict.outcome != "passed":
            return Verdict(
                outcome="waiting",
                doing="waiting for the database",
                facts=("The database is not answering, so its schema cannot be migrated",),
                cause="migrations need the database: see its check",
                next_command=self._up(),
            )
        if await in_background(self._migration.is_applied):
            return self._passed()
        self._began = self._now()
        self._container = await in_background(self._migration.start)
        return self._running()

    async def _watch(self, container: str) -> Verdict:
        details = await in_background(lambda: self._around.engine.inspect([container]))
        if not details:
            return self._failed(f"The container of {COMMAND} was removed while it ran")
        if details[0].state not in ("exited", "dead"):
            return self._running()
        return await self._judge(details[0])

    async def _judge(self, ended: ContainerDetail) -> Verdict:
        took = f"{COMMAND} took {self._now() - self._began:.1f} s"
        if ended.exit_code == 0:
            return self._passed(took)
        if ended.exit_code == NO_ALEMBIC and not self._migration.required:
            return self._without_alembic("alembic")
        if await in_background(self._migration.is_applied):
            return self._passed("Something else migrated the database at the same time")
        lines = await in_background(lambda: self._around.engine.logs(ended.id, tail=READ_FOR_CAUSE))
        cause = likely_cause(lines, among=MIGRATING)
        return self._failed(
            f"{COMMAND} ended with exit status {ended.exit_code} in a one-off container of "
            f"{self._migration.service}",
            *_complaint(lines),
            cause=cause.text if cause else None,
            next_command=cause.command_for(self._name) if cause else None,
        )

    def _running(self) -> Verdict:
        seconds = self._around.request.timeout * 5
        return Verdict(
            outcome="waiting",
            doing=f"running {COMMAND}",
            facts=(f"{COMMAND} did not end in time, and was stopped",),
            next_command=self._up("--timeout", f"{seconds:.0f}"),
            containers=self._logs,
        )

    def _passed(self, *facts: str, moot: bool = False) -> Verdict:
        # Should the database start anew, this pass is void and the next look begins at the start.
        self._container = None
        proof = self._database.verdict.proof if self._database is not None else frozenset()
        services = (self._migration.service,)
        return Verdict(outcome="passed", facts=facts, services=services, proof=proof, moot=moot)

    def _failed(
        self, *facts: str, cause: str | None = None, next_command: str | None = None
    ) -> Verdict:
        return Verdict(
            outcome="failed",
            facts=(*facts, f"To start without it: {ALONE}"),
            # Without a container of its own there is no log that tells more.
            services=(self._migration.service,) if self._container is not None else (),
            cause=cause,
            next_command=next_command or self._up(),
            containers=self._logs,
        )

    def _up(self, *options: str) -> str:
        return own_commands.on(self._name, "up", *options)

    @property
    def _name(self) -> str:
        return self._around.request.instance.name

    @property
    def _logs(self) -> tuple[tuple[str, str], ...]:
        return ((TITLE, self._container),) if self._container is not None else ()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _complaint(lines: Sequence[str]) -> list[str]:
    """The line that says what went wrong: alembic's own, or the exception below a traceback."""
    return next(([line] for line in reversed(lines) if _COMPLAINT.match(line)), [])
