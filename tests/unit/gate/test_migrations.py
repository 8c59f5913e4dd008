"""Schema: migrated once the database answers, and before workers count as ready."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from ktrdr_sandbox.docker.engine import ContainerDetail, ExecResult
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.gate.migrations import NO_ALEMBIC
from ktrdr_sandbox.gate.result import CheckName, GateResult
from tests.support.gate_stack import PATIENT, GateStack, check, until

ONLY: frozenset[CheckName] = frozenset({"migrations"})
TASK = "ktrdr--feat-x-migration"
ALONE = 'To start without it: the setting migrate = "never" leaves the schema as it is'


@dataclass
class ScriptedMigration:
    """A one-off container among those of the stack, which ends when and how the test wants."""

    world: GateStack
    exit_code: int | None = 0
    required: bool = False
    only_checked: bool = False
    applied: list[bool] = field(default_factory=list)
    refusal: SandboxError | None = None
    service: str = "backend"
    started: int = 0

    def is_applied(self) -> bool:
        return self.applied.pop(0) if self.applied else False

    def has_alembic(self) -> bool:
        return True

    def start(self) -> str:
        if self.refusal is not None:
            raise self.refusal
        self.started += 1
        if self.exit_code is None:
            return self.world.engine.one_off("backend", TASK, state="running")
        ended = {"state": "exited", "exit_code": self.exit_code}
        return self.world.engine.one_off("backend", TASK, **ended)


def run(world: GateStack, migration: ScriptedMigration, **changes: Any) -> GateResult:
    return world.gate(**{"timeout": PATIENT, "only": ONLY, "migration": migration, **changes})


def test_it_runs_once_and_is_reported_between_database_and_backend() -> None:
    with GateStack() as world:
        migration = ScriptedMigration(world)
        result = run(world, migration, only=None)
    assert [one.name for one in result.checks][1:4] == ["database", "migrations", "backend"]
    found = check(result, "migrations")
    assert (found.title, found.passed, migration.started) == ("Schema migrated", True, 1)
    assert found.facts[0].startswith("alembic upgrade head took ")
    assert found.seconds >= check(result, "database").seconds


def test_a_database_that_is_at_the_head_is_left_alone() -> None:
    with GateStack() as world:
        migration = ScriptedMigration(world, applied=[True])
        found = check(run(world, migration), "migrations")
    assert (found.passed, found.facts, migration.started) == (True, (), 0)


def test_it_waits_for_the_database() -> None:
    with GateStack() as world:
        migration = ScriptedMigration(world)

        def refusing(detail: ContainerDetail, argv: Sequence[str]) -> ExecResult:
            assert not migration.started
            late = len(world.engine.executed) > 5
            return ExecResult(exit_code=0 if late else 1, output="refused")

        world.engine.executor = refusing
        assert run(world, migration).passed
    assert migration.started == 1


@pytest.mark.parametrize(
    ("lines", "complaint", "cause", "command"),
    [
        (
            ("Traceback", "sqlalchemy.exc.ProgrammingError: (x) no", "(Background: y)"),
            ("sqlalchemy.exc.ProgrammingError: (x) no",),
            None,
            "ktrdr-sandbox up feat-x",
        ),
        (
            ("FAILED: Can't locate revision identified by '9f'",),
            ("FAILED: Can't locate revision identified by '9f'",),
            "the database is at a revision that this branch does not have",
            "ktrdr-sandbox down feat-x --volumes",
        ),
        (
            ('psycopg.errors.UndefinedTable: relation "x" does not exist',),
            (),
            "a migration of this branch needs what no earlier one makes",
            "ktrdr-sandbox up feat-x",
        ),
        ((), (), None, "ktrdr-sandbox up feat-x"),
    ],
)
def test_a_failure_is_told_at_once_with_its_output(
    lines: tuple[str, ...], complaint: tuple[str, ...], cause: str | None, command: str
) -> None:
    with GateStack() as world:
        world.engine.log_lines[TASK] = lines
        result = run(world, ScriptedMigration(world, exit_code=1))
    found = check(result, "migrations")
    assert (found.title, found.passed, found.final) == ("Schema migration failed", False, True)
    assert found.facts == (
        "alembic upgrade head ended with exit status 1 in a one-off container of backend",
        *complaint,
        ALONE,
    )
    assert (found.cause, found.next_command) == (cause, command)
    assert [(log.service, log.lines) for log in found.logs] == [("migration", lines)]


def test_a_failure_that_something_else_made_up_for_is_none() -> None:
    with GateStack() as world:
        found = check(
            run(world, ScriptedMigration(world, exit_code=1, applied=[False, True])), "migrations"
        )
    assert found.facts == ("Something else migrated the database at the same time",)


def test_an_image_without_alembic_proves_nothing_and_fails_nothing() -> None:
    with GateStack() as world:
        result = run(world, ScriptedMigration(world, exit_code=NO_ALEMBIC), only=None)
    assert result.passed
    assert "migrations" not in {one.name for one in result.checks}
    assert result.not_applicable == (
        ("backend", "its image has no alembic, so alembic upgrade head was not run"),
    )


def test_an_image_without_alembic_fails_where_migrating_is_a_must() -> None:
    with GateStack() as world:
        world.engine.log_lines[TASK] = ("this image has no alembic",)
        migration = ScriptedMigration(world, exit_code=NO_ALEMBIC, required=True)
        found = check(run(world, migration), "migrations")
    assert found.cause == "the image was built without alembic"
    assert found.next_command == "ktrdr-sandbox up feat-x --build"


def no_shell() -> SandboxError:
    said = 'unable to start: exec: "/bin/sh": stat /bin/sh: no such file or directory: unknown'
    return SandboxError("compose-failed", f"docker compose run failed (exit status 1): {said}")


def test_one_that_takes_too_long_is_told_with_what_it_printed() -> None:
    with GateStack() as world:
        world.engine.log_lines[TASK] = ("Running upgrade -> 0001",)
        found = check(
            run(world, ScriptedMigration(world, exit_code=None), timeout=0.6), "migrations"
        )
    assert (found.passed, found.final) == (False, False)
    assert found.facts == ("alembic upgrade head did not end in time, and was stopped",)
    assert found.logs[0].lines == ("Running upgrade -> 0001",)
    assert found.next_command == "ktrdr-sandbox up feat-x --timeout 3"


def test_workers_are_not_ready_before_the_schema() -> None:
    with GateStack() as world:
        only: frozenset[CheckName] = frozenset({"migrations", "workers"})
        migration = ScriptedMigration(world, exit_code=None)
        result = run(world, migration, only=only, timeout=0.8)
    found = check(result, "workers")
    assert not found.passed
    assert found.facts == ("4 of 4 registered; waiting for the schema",)


def test_a_service_may_die_while_its_tables_are_being_made() -> None:
    with GateStack() as world:
        migration = ScriptedMigration(world, exit_code=None)

        async def dying() -> GateResult:
            gate = asyncio.create_task(world.run(timeout=PATIENT, migration=migration))
            await until(lambda: bool(migration.started))
            world.engine.change("backend", restart_count=9)
            seen = world.engine.inspections
            await until(lambda: world.engine.inspections > seen + 5)
            world.engine.one_off("backend", TASK, state="exited")
            return await gate

        result = asyncio.run(dying())
    assert result.passed


@pytest.mark.parametrize("applied", [True, False])
def test_a_schema_that_is_only_looked_at_is_never_migrated(*, applied: bool) -> None:
    with GateStack() as world:
        migration = ScriptedMigration(world, only_checked=True, applied=[applied] * 1000)
        result = run(world, migration, settling=0.2)
        found = check(result, "migrations")
    assert (found.passed, migration.started) == (applied, 0)
    if not applied:
        assert found.final
        assert found.facts == ("The schema is not at the head of the checkout's revisions",)
        assert found.next_command == "ktrdr-sandbox up feat-x"
