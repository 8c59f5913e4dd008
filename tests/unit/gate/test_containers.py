"""Containers: each of them runs, or has ended as it was meant to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from ktrdr_sandbox.docker.engine import ContainerDetail, ExecResult
from ktrdr_sandbox.gate.result import CheckResult
from tests.support.gate_engine import service
from tests.support.gate_stack import PATIENT, GateStack, check
from tests.support.http_server import Reply

MIGRATION = service("migrate", restart="no")
NEEDS_MIGRATION = service("api", depends_on={"migrate": "service_completed_successfully"})
CACHE = service("cache")
ENDED = "its program ended by itself: it printed nothing"
PORT_TAKEN = "Bind for 127.0.0.1:3002 failed: port is already allocated"


@pytest.mark.parametrize(
    ("state", "fact", "cause"),
    [
        ({"state": "exited", "exit_code": 1}, "grafana exited (1)", ENDED),
        ({"state": "exited", "exit_code": 0}, "grafana exited (0)", ENDED),
        (
            {"state": "dead", "exit_code": 137},
            "grafana exited (137)",
            "something killed it; the machine may be out of memory",
        ),
        ({"state": "paused"}, "grafana is paused", "somebody paused it"),
        (
            {"state": "exited", "exit_code": 127, "error": "exec: nope: not found"},
            "grafana exited (127): exec: nope: not found",
            "the image lacks the command that the service starts",
        ),
        (
            {"state": "exited", "exit_code": 137, "oom_killed": True},
            "grafana was killed: out of memory (137)",
            "it was killed for want of memory",
        ),
        (
            {"state": "restarting", "exit_code": 137, "oom_killed": True, "restart_count": 1},
            "grafana was killed: out of memory",
            "it was killed for want of memory",
        ),
        (
            {"state": "exited", "exit_code": 137, "oom_killed": True, "memory_limit": 64 * 2**20},
            "grafana was killed: out of memory (137)",
            "it needs more memory than its limit of 64 MiB",
        ),
        (
            {
                "state": "created",
                "started_at": "",
                "error": PORT_TAKEN,
            },
            f"grafana could not be started: {PORT_TAKEN}",
            "another program or container holds a host port of this stack",
        ),
    ],
)
def test_what_can_no_longer_come_true_is_final(
    state: dict[str, Any], fact: str, cause: str | None
) -> None:
    with GateStack() as world:
        world.engine.change("grafana", **state)
        result = world.gate(timeout=PATIENT)
    found = check(result, "containers")
    assert (found.final, found.facts, found.cause) == (True, (fact,), cause)
    assert found.services == ("grafana",)


def test_a_crash_loop_is_told_apart_from_one_restart() -> None:
    with GateStack() as world:
        world.backend.replies["/api/v1/health"] = Reply(status=503)
        world.engine.change("grafana", restart_count=4)

        def crash_and_restart() -> Reply:
            count = world.engine.details[world.engine.identity("grafana")].restart_count + 1
            world.engine.change("grafana", restart_count=count, exit_code=1)
            return Reply(status=503)

        world.backend.replies["/api/v1/health"] = crash_and_restart
        result = world.gate(timeout=PATIENT)
    found = check(result, "containers")
    assert found.final
    assert found.facts[0].startswith("grafana restarts again and again (")


def test_restarts_count_only_from_when_the_database_answers() -> None:
    """A stack whose services wait for the database by dying is starting, not failing."""
    with GateStack() as world:
        database_up = threading.Event()
        queries: list[int] = []

        def query(detail: ContainerDetail, argv: Sequence[str]) -> ExecResult:
            queries.append(1)
            world.engine.change("backend", restart_count=len(queries) * 3, started_at=str(queries))
            if len(queries) < 4:
                return ExecResult(exit_code=1, output="Connection refused")
            database_up.set()
            return ExecResult(exit_code=0, output="")

        world.engine.executor = query
        result = world.gate(timeout=PATIENT)
    assert database_up.is_set()
    assert result.passed


def test_each_replica_counts() -> None:
    with GateStack(also=(service("cache", replicas=3),)) as world:
        del world.engine.details[world.engine.identity("cache", replica=3)]
        found = check(world.gate(timeout=0.8), "containers")
    assert found.facts == ("cache #3 has no container",)
    assert found.next_command == "ktrdr-sandbox up feat-x"


def test_a_container_too_many_counts_as_well() -> None:
    """The old one answers, and the new one beside it never came up."""
    with GateStack() as world:
        new = world.engine.add(world.stack, "backend", state="created")
        world.engine.details[new] = replace(world.engine.details[new], name="3f2a_backend")

        async def after_start() -> CheckResult:
            started = asyncio.Event()
            started.set()
            return check(await world.run(started=started, timeout=PATIENT), "containers")

        found = asyncio.run(after_start())
    assert (found.final, found.facts) == (True, ("backend was created and never started",))


def test_a_health_test_that_fails_is_reported_with_what_it_said() -> None:
    with GateStack(also=(CACHE,)) as world:
        world.engine.change(
            "cache", health="unhealthy", health_test=("CMD-SHELL", "redis-cli ping")
        )

        def loading(detail: ContainerDetail, argv: Sequence[str]) -> ExecResult:
            if detail.service == "cache":
                assert list(argv) == ["/bin/sh", "-c", "redis-cli ping"]
                return ExecResult(exit_code=1, output="trying\nLOADING dataset\n")
            return ExecResult(exit_code=0, output="")

        world.engine.executor = loading
        found = check(world.gate(timeout=0.8), "containers")
    assert found.facts == ("cache: its health test failed: LOADING dataset",)
    assert not found.final


def test_dockers_word_on_a_service_proven_otherwise_is_mentioned_and_not_waited_for() -> None:
    with GateStack() as world:
        world.engine.change(
            "backend", health="unhealthy", health_test=("CMD", "curl"), health_log="curl: not found"
        )
        result = world.gate(timeout=PATIENT)
    assert result.passed
    assert check(result, "containers").facts == ("Docker calls backend unhealthy: curl: not found",)


def test_what_a_start_waits_for_is_blamed_and_not_what_waits() -> None:
    """As KTRDR's backend, which is started once Jaeger is healthy: its image may lack wget."""
    waits = service("api", depends_on={"cache": "service_healthy"})
    last = service("mcp", depends_on={"api": "service_healthy"})
    with GateStack(also=(CACHE, waits, last)) as world:
        world.engine.change("cache", health="starting", health_test=("CMD", "redis-cli", "ping"))
        for name in ("api", "mcp"):
            world.engine.change(name, state="created", started_at="")

        def lacks(detail: ContainerDetail, argv: Sequence[str]) -> ExecResult:
            failed = detail.service == "cache"
            return ExecResult(exit_code=int(failed), output="wget: not found" if failed else "")

        world.engine.executor = lacks
        found = check(world.gate(timeout=3.0), "containers")
    assert found.facts == (
        "api is not started yet",
        "mcp is not started yet",
        "cache, which is waited for: its health test failed: wget: not found",
    )
    assert found.services == ("cache",)
    assert found.cause == "cache does not get healthy, and api is started only then"
    assert found.next_command == "ktrdr-sandbox logs cache -i feat-x"


@pytest.mark.parametrize(("settling", "passed"), [(PATIENT, False), (0.1, True)])
def test_one_that_died_has_to_stay_up_where_nothing_else_speaks_for_it(
    settling: float, passed: bool
) -> None:
    """In a slow loop it is found running more often than not."""
    with GateStack(without=("db",), also=(CACHE,)) as world:

        def after_a_death() -> Reply:
            if world.engine.inspections < 2:  # it is to have been seen in its first life
                return Reply(status=503)
            world.engine.change("cache", restart_count=1, started_at="second")
            return Reply()

        world.backend.replies["/api/v1/health"] = after_a_death
        result = world.gate(timeout=2.0 if settling == PATIENT else PATIENT, settling=settling)
    assert result.passed is passed
    facts = () if passed else ("cache has ended and runs anew",)
    assert check(result, "containers").facts == facts


def test_a_slow_health_test_does_not_hide_a_container_that_ends() -> None:
    with GateStack(also=(CACHE,)) as world:
        world.engine.change("cache", health="starting", health_test=("CMD", "redis-cli", "ping"))
        release = threading.Event()

        def slow(detail: ContainerDetail, argv: Sequence[str]) -> ExecResult:
            if detail.service == "cache":
                world.engine.change("grafana", state="exited", exit_code=1)
                release.wait(10)
            return ExecResult(exit_code=0, output="")

        world.engine.executor = slow
        result = world.gate(timeout=PATIENT)
        assert not release.is_set()
        release.set()
    assert check(result, "containers").facts == ("grafana exited (1)",)
