"""Grafana, Prometheus and Jaeger answer, those of them that the stack has."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from ktrdr_sandbox.gate.check import Check, Verdict, lost, owner, runs, stranger
from ktrdr_sandbox.gate.http import shown_url
from ktrdr_sandbox.gate.result import GateRequest
from ktrdr_sandbox.gate.snapshot import Snapshot
from ktrdr_sandbox.gate.watch import StackWatch
from ktrdr_sandbox.models import PublishedPort, Role, Stack

_TOOLS: Final[tuple[tuple[str, Role, str], ...]] = (
    ("grafana", "grafana", "/api/health"),
    ("prometheus", "prometheus", "/-/healthy"),
    ("jaeger", "jaeger_ui", "/"),
)
"""Name, role, and the address that answers 200 when the tool is ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool of a stack, reachable from the host."""

    service: str
    port: PublishedPort
    path: str


def tools(stack: Stack) -> tuple[Tool, ...]:
    """Find the services that play a tool's role and are named or built as it; a role alone is a
    port."""
    found = []
    for name, role, path in _TOOLS:
        for service in stack.with_role(role):
            ports = [one for one in stack.ports if (one.service, one.role) == (service.name, role)]
            named = name in service.name.lower() or name in (service.image or "").lower()
            if named and ports and service.replicas:
                found.append(Tool(service=service.name, port=ports[0], path=path))
    return tuple(found)


class ObservabilityCheck(Check):
    """Each tool's health address gives 200."""

    name = "observability"
    ready_title = "Observability ready"
    failed_title = "Observability not ready"

    def __init__(self, watch: StackWatch, request: GateRequest, *, tools: tuple[Tool, ...]) -> None:
        super().__init__(watch, request)
        self._tools = tools

    async def look(self, snapshot: Snapshot) -> Verdict:
        failed = snapshot.failed(*(tool.service for tool in self._tools))
        if failed:
            return lost(failed)
        facts = await asyncio.gather(*(self._trouble(snapshot, tool) for tool in self._tools))
        silent = [(tool, fact) for tool, fact in zip(self._tools, facts, strict=True) if fact]
        if not silent:
            owners = (owner(snapshot, tool.port) for tool in self._tools)
            return Verdict(outcome="passed", proof=runs(tuple(one for one in owners if one)))
        first, _ = silent[0]
        unstarted = any(one.condition == "waiting" for one in snapshot.of(first.service))
        answer = f"HTTP 200 at {shown_url(first.port, first.path)}"
        return Verdict(
            outcome="waiting",
            doing=f"waiting for {f'{first.service} to start' if unstarted else answer}",
            facts=tuple(fact for _, fact in silent),
            services=tuple(tool.service for tool, _ in silent),
        )

    async def _trouble(self, snapshot: Snapshot, tool: Tool) -> str:
        answer = await self.watch.http.get(tool.port, tool.path)
        if answer.status != 200:
            return answer.fact
        return "" if owner(snapshot, tool.port) else stranger(tool.port)
