"""Grafana, Prometheus and Jaeger answer, those of them that the stack has."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final, NamedTuple

from ktrdr_sandbox.gate.check import Check, Verdict, lost, owner, runs, stranger
from ktrdr_sandbox.gate.http import shown_url
from ktrdr_sandbox.gate.snapshot import Snapshot
from ktrdr_sandbox.models import PublishedPort, Role, Stack

_TOOLS: Final[tuple[tuple[str, Role, str], ...]] = (
    ("grafana", "grafana", "/api/health"),
    ("prometheus", "prometheus", "/-/healthy"),
    ("jaeger", "jaeger_ui", "/"),
)


class Tool(NamedTuple):
    """One tool of a stack, reachable from the host. `path` answers 200 when it is ready."""

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
                found.append(Tool(service.name, ports[0], path))
    return tuple(found)


@dataclass(eq=False)
class ObservabilityCheck(Check):
    """Each tool's health address gives 200."""

    name = "observability"
    ready_title = "Observability ready"
    failed_title = "Observability not ready"
    tools: tuple[Tool, ...]

    async def look(self, snapshot: Snapshot) -> Verdict:
        failed = snapshot.failed(*(tool.service for tool in self.tools))
        if failed:
            return lost(failed)
        get = self.watch.http.get
        answers = await asyncio.gather(*(get(tool.port, tool.path) for tool in self.tools))
        owners = [owner(snapshot, tool.port) for tool in self.tools]
        silent = {
            tool: stranger(tool.port) if answer.status == 200 else answer.fact
            for tool, answer, ours in zip(self.tools, answers, owners, strict=True)
            if answer.status != 200 or ours is None
        }
        if not silent:
            return Verdict("passed", proof=runs(one for one in owners if one))
        first = next(iter(silent))
        doing = f"waiting for HTTP 200 at {shown_url(first.port, first.path)}"
        if any(one.condition == "waiting" for one in snapshot.of(first.service)):
            doing = f"waiting for {first.service} to start"
        services = tuple(tool.service for tool in silent)
        return Verdict("waiting", doing, tuple(silent.values()), services)
