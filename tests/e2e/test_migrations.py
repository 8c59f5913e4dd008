"""The schema: migrated in a container of its own by the real alembic, in a real PostgreSQL."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.http import eventually
from tests.support.stacks import Outcome, Sandbox, Stack, docker, git, sandbox, try_docker

pytestmark = [
    pytest.mark.engine,
    pytest.mark.xdist_group(__name__),
    pytest.mark.timeout(300),
]

SECOND = """
from alembic import op

revision: str = "0002"
down_revision: str = "0001"


def upgrade() -> None:
    op.execute("{statement}")
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    # A name that shells and Compose files take for more than a name.
    with sandbox(tmp_path_factory.mktemp("migrations") / "a $place") as made:
        made.make_repository(light=True)
        yield made


@pytest.fixture(scope="module")
def created(place: Sandbox, mark: str) -> Stack:
    return place.create(f"{mark}-schema")


@pytest.fixture
def stack(place: Sandbox, created: Stack) -> Stack:
    """An instance that is down, keeps no data and has the code of its branch."""
    place.run("down", created.name, "--volumes", "--now").expect(0)
    git("checkout", "--quiet", "--", ".", cwd=created.path)
    git("clean", "--quiet", "-d", "--force", "alembic", cwd=created.path)
    return created


def checks(outcome: Outcome) -> dict[str, Any]:
    return {check["name"]: check for check in outcome.data["gate"]["checks"]}


def second_revision(stack: Stack, statement: str) -> None:
    path = stack.path / "alembic" / "versions" / "0002_second.py"
    path.write_text(SECOND.format(statement=statement), encoding="utf-8")


def revision(stack: Stack) -> str:
    """What the database itself says it is at."""
    ask = ("psql", "-XAtq", "-U", "ktrdr", "-c", "SELECT version_num FROM alembic_version")
    return docker("exec", stack.container("db")["Id"], *ask)


def asleep(stack: Stack) -> bool:
    """Whether a migration has come to the statement that takes for ever."""
    ask = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    containers = [one["Id"] for name, one in stack.services().items() if name == "db"]
    said = [
        try_docker("exec", one, "psql", "-XAtq", "-U", "ktrdr", "-c", ask) for one in containers
    ]
    return [one.stdout for one in said] == ["1\n"]


def one_offs(stack: Stack) -> list[str]:
    label = "label=com.docker.compose.oneoff=True"
    query = ("ps", "--all", "--filter", stack.filter, "--filter", label)
    return docker(*query, "--format", "{{.Names}} {{.State}}").splitlines()


def test_a_fresh_stack_gets_its_schema_and_a_second_up_finds_it(
    place: Sandbox, stack: Stack
) -> None:
    first = place.up(stack).expect(0)
    found = checks(first)["migrations"]
    assert (found["title"], found["passed"]) == ("Schema migrated", True)
    assert found["facts"][0].startswith("alembic upgrade head took ")
    assert found["seconds"] > checks(first)["database"]["seconds"] > 0
    assert revision(stack) == "0001"
    stack.post("/api/v1/operations", {"operation_type": "backtest"})
    assert [one["status"] for one in stack.get("/api/v1/operations")] == ["pending"]
    assert one_offs(stack) == []
    assert git("status", "--porcelain", "--ignored", "alembic", cwd=stack.path) == ""

    before = {one["Id"]: one["State"]["StartedAt"] for one in stack.containers()}
    second = place.up(stack).expect(0)
    assert checks(second)["migrations"]["facts"] == [], "nothing was run"
    assert {one["Id"]: one["State"]["StartedAt"] for one in stack.containers()} == before
    assert len(stack.get("/api/v1/operations")) == 1

    second_revision(stack, "CREATE TABLE later (at int)")
    third = place.up(stack).expect(0)
    assert checks(third)["migrations"]["facts"] != []
    assert revision(stack) == "0002"


def test_a_broken_migration_fails_the_gate_and_changes_nothing(
    place: Sandbox, stack: Stack
) -> None:
    second_revision(stack, "INSERT INTO nowhere VALUES (1)")
    failed = place.up(stack, "--timeout", "200").expect(2)
    assert failed.error["code"] == "gate-failed"
    assert failed.data["gate"]["seconds"] < 100
    found = checks(failed)["migrations"]
    assert (found["title"], found["final"]) == ("Schema migration failed", True)
    assert found["facts"][0] == (
        "alembic upgrade head ended with exit status 1 in a one-off container of backend"
    )
    assert 'relation "nowhere" does not exist' in found["facts"][1]
    assert found["cause"] == "a migration of this branch needs what no earlier one makes"
    assert found["next_command"] == f"ktrdr-sandbox up {stack.name}"
    (log,) = found["logs"]
    assert (log["service"], len(log["lines"])) == ("migration", 10)
    assert "[SQL: INSERT INTO nowhere VALUES (1)]" in log["lines"]
    assert one_offs(stack) == []

    shown = place.run("up", stack.name).expect(2).stdout.splitlines()
    start = shown.index("✗ Schema migration failed")
    assert shown[start + 4] == "  → Last 10 log lines:"
    assert f"  → Next: ktrdr-sandbox up {stack.name}" in shown

    (stack.path / "alembic" / "versions" / "0002_second.py").unlink()
    place.up(stack).expect(0)
    assert revision(stack) == "0001"


def test_a_database_of_another_branch_is_told_apart(place: Sandbox, stack: Stack) -> None:
    second_revision(stack, "CREATE TABLE later (at int)")
    place.up(stack).expect(0)
    (stack.path / "alembic" / "versions" / "0002_second.py").unlink()
    found = checks(place.up(stack).expect(2))["migrations"]
    assert found["cause"] == "the database is at a revision that this branch does not have"
    assert found["next_command"] == f"ktrdr-sandbox down {stack.name} --volumes"


def test_never_leaves_the_database_as_it_is(place: Sandbox, stack: Stack) -> None:
    never = {"KTRDR_SANDBOX_MIGRATE": "never"}
    passed = place.run("up", stack.name, "--json", environment=never).expect(0)
    assert "migrations" not in checks(passed)
    tables = docker(
        "exec", stack.container("db")["Id"], "psql", "-XAtq", "-U", "ktrdr", "-c", r"\dt"
    )
    assert "alembic_version" not in tables


def test_without_waiting_the_schema_is_made_all_the_same(place: Sandbox, stack: Stack) -> None:
    assert place.up(stack, "--no-wait").expect(0).data["gate"] is None
    assert revision(stack) == "0001"
    assert {one["State"]["Status"] for one in stack.containers()} == {"running"}
    second_revision(stack, "INSERT INTO nowhere VALUES (1)")
    failed = place.up(stack, "--no-wait").expect(2)
    assert {name: one["passed"] for name, one in checks(failed).items()} == {
        "database": True,
        "migrations": False,
    }


def test_a_service_that_migrates_by_itself_is_left_alone(place: Sandbox, stack: Stack) -> None:
    command = 'command: ["sh", "-c", "alembic upgrade head && exec python3 -m ktrdr.api"]'
    mounts = "- ./alembic.ini:/app/alembic.ini\n      - ./alembic:/app/alembic\n      "
    file = "deploy/environments/local/docker-compose.yml"
    stack.edit(file, "    container_name: ktrdr-backend\n", f"    {command}\n")
    stack.edit(
        file,
        "- ./ktrdr:/app/ktrdr\n      - ./config:/app/config:ro",
        f"{mounts}- ./ktrdr:/app/ktrdr\n      - ./config:/app/config:ro",
    )
    passed = place.up(stack).expect(0)
    assert "migrations" not in checks(passed)
    assert revision(stack) == "0001"


def test_an_image_without_alembic_is_one_note_and_with_always_a_failure(
    place: Sandbox, mark: str
) -> None:
    bare = place.create(f"{mark}-bare")
    without = "RUN rm -rf /usr/bin/alembic /usr/lib/python3/dist-packages/alembic"
    bare.edit("docker/backend/Dockerfile.dev", "USER 1000", f"{without}\nUSER 1000")
    shown = place.run("up", bare.name, "--build").expect(0)
    notes = [line for line in shown.stderr.splitlines() if line.startswith("note: ")]
    assert notes == ["note: backend: its image has no alembic, so alembic upgrade head was not run"]
    assert "Schema" not in shown.stdout
    always = {"KTRDR_SANDBOX_MIGRATE": "always"}
    failed = place.run("up", bare.name, "--json", environment=always).expect(2)
    assert checks(failed)["migrations"]["cause"] == "the image was built without alembic"
    assert one_offs(bare) == []
    place.run("down", bare.name, "--volumes", "--now").expect(0)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_however_up_ends_its_container_does_not_outlive_the_next_command(
    place: Sandbox, stack: Stack, tmp_path: Path, ending: signal.Signals
) -> None:
    second_revision(stack, "SELECT pg_sleep(600)")
    with place.started("up", stack.name, log=tmp_path / "messages") as process:
        eventually(lambda: asleep(stack))
        os.kill(process.pid, ending)
        process.wait(timeout=60)
    left = [f"{stack.id}-migration running"] if ending == signal.SIGKILL else []
    assert one_offs(stack) == left
    shown = place.run("status", stack.name, "--json").expect(0).data
    services = ["backend", "db", "training-worker-1"]
    assert sorted(one["service"] for one in shown["containers"]) == services
    # Also no session that PostgreSQL keeps for it, with locks that this would wait for.
    second_revision(stack, "CREATE TABLE later (at int)")
    place.up(stack).expect(0)
    assert revision(stack) == "0002"
    assert one_offs(stack) == []


def test_a_container_left_over_goes_with_down(place: Sandbox, stack: Stack, tmp_path: Path) -> None:
    second_revision(stack, "SELECT pg_sleep(600)")
    with place.started("up", stack.name, log=tmp_path / "messages") as process:
        eventually(lambda: asleep(stack))
        process.kill()
    assert one_offs(stack) == [f"{stack.id}-migration running"]
    place.run("down", stack.name, "--volumes", "--now").expect(0)
    assert stack.leftovers() == []
