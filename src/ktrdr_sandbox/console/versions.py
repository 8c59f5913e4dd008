"""Versions of the tools, as text and as data."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the record only
    from ktrdr_sandbox.commands.tool_versions import ToolVersions


def text(tools: ToolVersions) -> str:
    """One line a tool."""
    silent = f"not answering at {tools.engine_address}" if tools.docker_client else "missing"
    return "\n".join(
        [
            f"Python {tools.python}",
            f"git {tools.git or 'missing'}",
            f"Docker client {tools.docker_client or 'missing'}",
            f"Docker Engine {tools.docker_engine or silent}",
            f"Docker Compose {tools.compose or 'missing'}",
        ]
    )


def data(tools: ToolVersions) -> dict[str, str | None]:
    return {
        "python": tools.python,
        "git": tools.git,
        "docker_client": tools.docker_client,
        "docker_engine": tools.docker_engine,
        "compose": tools.compose,
    }
