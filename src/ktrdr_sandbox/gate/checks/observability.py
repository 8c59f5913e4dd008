"""Grafana, Prometheus and Jaeger answer, those of them that the stack has."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from ktrdr_sandbox.gate.checks.base import Surroundings, Verdict, lost, owner, runs, stranger
from ktrdr_sandbox.gate.http import shown_url
from ktrdr_sandbox.gate.result import CheckName
from ktrdr_sandbox.gate.standing import Standing
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
    """Services that play a tool's role and are named or built as it; a role alone is a port."""
    found = []
    for name, role, path in _TOOLS:
        for service in stack.with_role(role):
            port = next(
                (one for one in stack.ports if (one.service, one.role) == (service.name, role)),
                None,
            )
            named = name in service.name.lower() or name in (service.image or "").lower()
            if named and port is not None and service.replicas:
                found.append(Tool(service=service.name, port=port, path=path))
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    tool: Tool
    standing: Standing | None = None
    fact: str = ""


class ObservabilityCheck:
    """Each tool's health address gives 200."""

    name: CheckName = "observability"
    ready_title = "Observability ready"
    failed_title = "Observability not ready"

    def __init__(self, around: Surroundings, *, tools: tuple[Tool, ...]) -> None:
        self._around = around
        self._tools = tools

    async def probe(self) -> Verdict:
        snapshot = self._around.monitor.latest
        failed = snapshot.failed([tool.service for tool in self._tools]) if snapshot else ()
        if failed:
            return lost(failed)
        findings = await asyncio.gather(*(self._ask(tool) for tool in self._tools))
        standings = tuple(one.standing for one in findings if one.standing is not None)
        silent = [one for one in findings if one.standing is None]
        if not silent:
            return Verdict(outcome="passed", proof=runs(standings))
        return Verdict(
            outcome="waiting",
            doing=self._doing(silent[0].tool),
            facts=tuple(one.fact for one in silent),
            services=tuple(one.tool.service for one in silent),
        )

    def _doing(self, tool: Tool) -> str:
        snapshot = self._around.monitor.latest
        standings = snapshot.of(tool.service) if snapshot else ()
        if any(one.condition == "waiting" for one in standings):
            return f"waiting for {tool.service} to start"
        return f"waiting for HTTP 200 at {shown_url(tool.port, tool.path)}"

    async def _ask(self, tool: Tool) -> _Finding:
        answer = await self._around.http.get(tool.port, tool.path)
        if answer.status != 200:
            return _Finding(tool=tool, fact=answer.fact)
        standing = await owner(self._around, tool.port)
        return _Finding(tool=tool, standing=standing, fact="" if standing else stranger(tool.port))
