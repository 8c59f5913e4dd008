"""The tools of a stack that have a page to look at."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.gate.http import published_address, shown_url
from ktrdr_sandbox.models import Instance, PublishedPort, Role
from ktrdr_sandbox.state import last_up

TOOLS: Final[Mapping[str, Role]] = {
    "api": "backend",
    "grafana": "grafana",
    "jaeger": "jaeger_ui",
    "prometheus": "prometheus",
}
_PATIENCE: Final = 2.0
"""Seconds for a connection to this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """`tool` is its name on the command line."""

    tool: str
    service: str
    url: str


def page(context: Context, instance: Instance, tool: str) -> Page:
    """Where a tool of the last `up` is, once something answers there.

    Raises `usage`, `no-such-service`, `service-not-running`.
    """
    if tool not in TOOLS:
        raise SandboxError("usage", f"There is no tool '{tool}'. Tools: {', '.join(TOOLS)}.")
    kept = last_up.load(context.home, instance)
    start = f"Start it: {own_commands.on(instance.name, 'up')}"
    if not kept.ports:
        raise SandboxError(
            "service-not-running",
            f"{instance.id} has not been started in this slot.",
            hints=(start,),
            details={"instance": instance.id},
        )
    ports = {port.role: port for port in reversed(kept.ports) if port.service in kept.services}
    there = [name for name, role in TOOLS.items() if role in ports]
    port = ports.get(TOOLS[tool])
    if port is None:
        raise SandboxError(
            "no-such-service",
            f"The stack of {instance.id} has no {tool}. It has: {', '.join(there) or 'none'}.",
            details={"instance": instance.id, "tool": tool, "tools": there},
        )
    url = shown_url(port, "")
    if not _answers(port):
        raise SandboxError(
            "service-not-running",
            f"Nothing answers at {url}, where {port.service} of {instance.id} belongs.",
            hints=(start,),
            details={"instance": instance.id, "tool": tool, "url": url},
        )
    return Page(tool=tool, service=port.service, url=url)


def _answers(port: PublishedPort) -> bool:
    try:
        with socket.create_connection((published_address(port), port.published), _PATIENCE):
            return True
    except OSError:
        return False
