"""Observability: each tool that the stack has, and only those."""

from __future__ import annotations

from dataclasses import replace

from ktrdr_sandbox.gate.observability import tools
from ktrdr_sandbox.models import Stack
from tests.support.gate_engine import published, service
from tests.support.gate_stack import PATIENT, GateStack, check
from tests.support.http_server import Reply

ONLY = frozenset({"observability"})


def test_each_tool_is_asked_at_its_own_address() -> None:
    with GateStack() as world:
        result = world.gate(timeout=PATIENT, only=ONLY)
    assert result.passed
    assert set(world.tools.asked) == {"/api/health", "/-/healthy", "/"}


def test_only_the_tools_that_do_not_answer_are_reported() -> None:
    with GateStack() as world:
        world.tools.replies["/api/health"] = Reply(status=503)
        found = check(world.gate(timeout=0.8, only=ONLY), "observability")
    assert found.title == "Observability not ready"
    assert found.facts == (f"GET http://localhost:{world.tools.port}/api/health returned 503",)
    assert found.services == ("grafana",)


def test_an_answer_of_another_program_is_no_tool() -> None:
    with GateStack() as world:
        world.engine.change("prometheus", published=())
        found = check(world.gate(timeout=0.8, only=ONLY), "observability")
    assert found.facts == (
        (
            f"Something answers on port {world.tools.port}, but no container of prometheus "
            "in this instance publishes it"
        ),
    )


def test_a_tool_is_known_by_role_and_by_name_or_image() -> None:
    stack = Stack(
        services=(
            service("web", "grafana", image="example/shop:1"),
            service("metrics", "prometheus", image="registry.example/prom/prometheus:v3"),
            service("jaeger", "jaeger_otlp"),
        ),
        ports=(
            published("web", 3000, 3002, "grafana"),
            published("metrics", 9090, 9092, "prometheus"),
            published("jaeger", 4317, 4319, "jaeger_otlp"),
        ),
    )
    assert [tool.service for tool in tools(stack)] == ["metrics"]
    off = tuple(replace(one, active=False) for one in stack.services)
    assert tools(replace(stack, services=off)) == ()
