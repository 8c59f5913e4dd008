"""Stacks that are not ready: told at once where it is certain, in time where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.http import eventually
from tests.support.stacks import Outcome, Sandbox, Stack, docker_logs, git, sandbox

pytestmark = [
    pytest.mark.engine,
    pytest.mark.xdist_group("engine, gate"),
    pytest.mark.timeout(300),
]

LOG_LINES = 10
"""Log lines that the report gives for a service that failed."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("gate") / "place") as made:
        made.make_repository(light=True)
        yield made


@pytest.fixture(scope="module")
def created(place: Sandbox, mark: str) -> Stack:
    return place.create(f"{mark}-gate")


@pytest.fixture
def stack(place: Sandbox, created: Stack) -> Stack:
    """An instance that is down, keeps no data and has the code of its branch."""
    place.run("down", created.name, "--volumes", "--now").expect(0)
    git("checkout", "--quiet", "--", ".", cwd=created.path)
    return created


def checks(outcome: Outcome) -> dict[str, Any]:
    """The gate's checks by name."""
    return {check["name"]: check for check in outcome.data["gate"]["checks"]}


def test_a_backend_that_answers_500(place: Sandbox, stack: Stack) -> None:
    stack.misbehave("backend", "health_status = 500")
    # Started first, so that the short time limit is the backend's alone.
    place.up(stack, "--no-wait").expect(0)
    eventually(lambda: stack.get("/api/v1/notes") == [])
    for _ in range(LOG_LINES + 2):
        stack.get("/api/v1/notes")  # leaves a line in the log
    shown = place.run("up", stack.name, "--timeout", "8").expect(2)
    report = shown.stdout.splitlines()
    start = report.index("✗ Backend health check failed")
    assert report[0] == "Startability Gate: FAILED"
    assert "✓ Database ready" in report
    address = stack.url("/api/v1/health").replace("127.0.0.1", "localhost")
    assert report[start + 1] == f"  → GET {address} returned 500"
    following = report.index(f"  → Next: ktrdr-sandbox logs backend -i {stack.name}")
    lines = report[start + 3 : following]
    quoted = [line.removeprefix("    ") for line in lines if line.startswith("    ")]
    assert report[start + 2] == f"  → Last {LOG_LINES} log lines:"
    assert len(quoted) == LOG_LINES
    assert set(quoted) <= set(docker_logs(stack.container("backend")["Id"]))
    assert len(stack.containers()) == 3, "left for whoever wants to look"


def test_a_backend_that_exits_is_told_without_waiting(place: Sandbox, stack: Stack) -> None:
    stack.misbehave("backend", "exit_code_at_start = 3")
    failed = place.up(stack, "--timeout", "200").expect(2)
    assert failed.error["code"] == "gate-failed"
    assert failed.data["gate"]["seconds"] < 100
    backend = checks(failed)["backend"]
    assert (backend["passed"], backend["final"]) == (False, True)
    assert backend["facts"] == ["backend exited (3)"]
    (log,) = backend["logs"]
    assert log["lines"][-1].endswith("exiting with code 3, as config/sample.toml says")


def test_a_backend_that_never_answers_is_given_the_time_and_no_more(
    place: Sandbox, stack: Stack
) -> None:
    stack.misbehave("backend", "hang = true")
    place.up(stack, "--no-wait").expect(0)
    failed = place.up(stack, "--timeout", "8").expect(2)
    assert 8 <= failed.data["gate"]["seconds"] < 60
    found = checks(failed)
    assert (found["backend"]["passed"], found["backend"]["final"]) == (False, False)
    assert found["backend"]["services"] == ["backend"]
    assert (found["database"]["passed"], found["containers"]["passed"]) == (True, True)


def test_a_database_that_was_made_with_another_password_is_told_at_once(
    place: Sandbox, stack: Stack
) -> None:
    place.up(stack, "--no-wait").expect(0)
    place.run("down", stack.name, "--now").expect(0)
    made_with = f"DB_PASSWORD=sandbox-{stack.id}"
    stack.edit(".env.sandbox", made_with, "DB_PASSWORD=another-one")
    try:
        failed = place.up(stack, "--timeout", "200").expect(2)
    finally:
        stack.edit(".env.sandbox", "DB_PASSWORD=another-one", made_with)
    assert failed.data["gate"]["seconds"] < 100
    database = checks(failed)["database"]
    assert (database["passed"], database["final"]) == (False, True)
    volume = f"{stack.id}_postgres_data"
    assert database["cause"] == f"the volume {volume} was made with another password"
    assert database["next_command"] == f"ktrdr-sandbox down {stack.name} --volumes"
    assert "another-one" not in failed.stdout
