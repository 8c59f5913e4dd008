"""Backend: HTTP 200 from a container of this instance, and from nobody else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ktrdr_sandbox.docker.engine import ExecResult
from ktrdr_sandbox.gate.result import CheckResult
from tests.support.gate_engine import GateEngine
from tests.support.gate_stack import PATIENT, GateStack, check
from tests.support.http_server import DROP, HANG, Reply

ONLY = frozenset({"backend"})
HEALTH = "/api/v1/health"


def backend(world: GateStack, *, timeout: float = 0.8, **changes: Any) -> CheckResult:
    return check(world.gate(timeout=timeout, only=ONLY, **changes), "backend")


def test_the_path_that_the_backend_knows_is_remembered() -> None:
    with GateStack() as world:
        world.backend.replies[HEALTH] = lambda: Reply(
            status=200 if len(world.backend.asked) > 5 else 503
        )
        assert backend(world, timeout=PATIENT).passed
    assert world.backend.asked == ["/health", *[HEALTH] * 5]


def test_the_health_paths_are_a_setting() -> None:
    with GateStack() as world:
        world.backend.replies = {"/ready": Reply()}
        assert backend(world, timeout=PATIENT, health_paths=("/ready",)).passed


@pytest.mark.parametrize(
    ("reply", "trouble", "cause"),
    [
        (
            HANG,
            "accepted the connection and did not answer within 0.3 s",
            "backend accepts connections and does not get to answering: it hangs",
        ),
        (
            DROP,
            "closed the connection without an answer",
            "backend runs, and its program does not listen on 8000 yet",
        ),
        (Reply(status=503), "returned 503", "backend runs and reports an error of its own: "),
        (Reply(status=401), "returned 401", "backend gives no 200 there; the setting health_paths"),
    ],
)
def test_a_backend_that_does_not_answer_as_it_should(
    reply: Reply, trouble: str, cause: str
) -> None:
    """What services print that are well is no cause, and there is one all the same."""
    with GateStack() as world:
        world.backend.everywhere = reply
        world.engine.log_lines["backend"] = ('relation "operations" does not exist',)
        found = backend(world, timeout=0.8)
    assert found.facts == (f"GET {world.url('/health')} {trouble}",)
    assert (found.cause or "").startswith(cause)


def test_a_backend_that_waits_for_what_does_not_get_healthy_names_it() -> None:
    with GateStack() as world:
        needs = {"jaeger": "service_healthy"}
        behind = tuple(
            replace(one, depends_on=needs) if one.name == "backend" else one
            for one in world.stack.services
        )
        world.stack = replace(world.stack, services=behind)
        world.engine = GateEngine(world.stack)
        world.backend.everywhere = DROP
        world.engine.change("backend", state="created", started_at="")
        world.engine.change("jaeger", health="starting", health_test=("CMD", "wget"))
        found = backend(world, timeout=0.8)
    assert found.cause == "it is started once jaeger is healthy"
    assert found.next_command == "ktrdr-sandbox logs jaeger -i feat-x"


def test_no_known_health_address_hints_at_the_setting() -> None:
    with GateStack() as world:
        world.backend.replies = {}
        found = backend(world)
    assert found.facts == (
        f"GET {world.url('/health')} returned 404",
        f"GET {world.url(HEALTH)} returned 404",
    )
    assert "health_path" in (found.cause or "")
    assert found.next_command == "ktrdr-sandbox config show feat-x"


def test_an_answer_while_the_backend_is_not_started_is_a_strangers() -> None:
    """The main stack on default ports, say, or any program that took the port."""
    with GateStack() as world:
        world.engine.change("backend", state="created", started_at="")
        found = backend(world)
    assert found.facts == (
        (
            f"Something answers on port {world.backend.port}, but no container of backend "
            "in this instance publishes it"
        ),
    )
    assert found.cause == f"another program holds port {world.backend.port}"
    assert found.next_command == f"lsof -i :{world.backend.port}"


def test_a_backend_whose_container_ended_is_final_with_the_reason() -> None:
    with GateStack() as world:
        world.engine.change("backend", state="exited", exit_code=137, oom_killed=True)
        found = backend(world, timeout=PATIENT)
    assert (found.final, found.facts) == (True, ("backend was killed: out of memory (137)",))
    assert found.cause == "it was killed for want of memory"


def without_port(world: GateStack) -> None:
    ports = tuple(one for one in world.stack.ports if one.role != "backend")
    world.stack = replace(world.stack, ports=ports)
    world.engine.change("backend", published=())


def test_a_backend_without_a_port_is_judged_by_its_own_health_test() -> None:
    with GateStack() as world:
        without_port(world)
        world.engine.change("backend", health="starting", health_test=("CMD", "redis-cli", "ping"))
        world.engine.executor = lambda detail, argv: ExecResult(exit_code=22, output="503\n")
        assert backend(world).facts[0] == "backend: its health test failed: 503"
        world.engine.executor = lambda detail, argv: ExecResult(exit_code=0, output="")
        found = backend(world, timeout=PATIENT)
    assert found.passed
    assert found.facts == ("backend publishes no port, so it was not asked from outside",)


def test_a_backend_without_a_health_address_is_known_by_its_own_test() -> None:
    with GateStack() as world:
        world.backend.replies = {}
        world.engine.change("backend", health="healthy", health_test=("CMD", "own-test"))
        found = backend(world, timeout=PATIENT)
        assert found.passed
        assert "The setting health_paths names its address" in found.facts[0]
        world.engine.change("backend", started_at="second", health="none", health_test=())
        found = backend(world, timeout=PATIENT, settling=0.3)
    assert (found.final, found.next_command) == (True, "ktrdr-sandbox config show feat-x")
