"""wait: the gate alone, at any moment of a stack's life."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.http import eventually
from tests.support.stacks import Sandbox, Stack, docker

pytestmark = [
    pytest.mark.engine,
    pytest.mark.xdist_group("shared stack"),
    pytest.mark.timeout(300),
]


def test_a_stack_that_nobody_has_started(place: Sandbox, stack: Stack) -> None:
    failed = place.run("wait", stack.name, "--json").expect(2)
    assert failed.error["code"] == "gate-failed"
    assert failed.data["gate"]["seconds"] < 60, "it is not waited for"
    containers = failed.data["gate"]["checks"][0]
    assert "db has no container" in containers["facts"]
    told = (containers["cause"], containers["next_command"])
    assert told == ("nothing has started it", f"ktrdr-sandbox up {stack.name}")


def test_begun_before_there_is_anything(place: Sandbox, stack: Stack) -> None:
    """As in a script that starts both: up holds the instance's lock, so wait has patience."""
    lock = place.state / "locks" / f"{stack.id}.holder"
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(place.up, stack, "--build")
        eventually(lambda: lock.exists() and '"up ' in lock.read_text(encoding="utf-8"))
        assert stack.containers() == []
        waited = place.run("wait", stack.name, "--json").expect(0)
        starting.result().expect(0)
    assert waited.data["gate"]["passed"] is True


def test_only_some_checks(place: Sandbox, stack: Stack) -> None:
    place.up(stack, "--no-wait").expect(0)
    docker("kill", stack.container("training-worker-1")["Id"])
    passed = place.run("wait", stack.name, "--for", "backend,database", "--json").expect(0)
    names = [check["name"] for check in passed.data["gate"]["checks"]]
    assert names == ["database", "backend"]
    failed = place.run("wait", stack.name, "--for", "workers", "--json").expect(2)
    assert failed.data["gate"]["checks"][0]["facts"] == ["training-worker-1 exited (137)"]
    unknown = place.run("wait", stack.name, "--for", "beauty", "--json").expect(64)
    assert unknown.error["code"] == "usage"
    nothing = place.run("wait", stack.name, "--for", "observability", "--json").expect(64)
    assert nothing.error["code"] == "usage"


def test_time_that_is_too_short_is_no_pass(place: Sandbox, stack: Stack) -> None:
    place.up(stack).expect(0)
    short = {"KTRDR_SANDBOX_GATE_TIMEOUT": "0.001"}
    failed = place.run("wait", stack.name, environment=short).expect(2)
    assert failed.stdout.startswith("Startability Gate: FAILED")
    place.run("wait", stack.name).expect(0)
