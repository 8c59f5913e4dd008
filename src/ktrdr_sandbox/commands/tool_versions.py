"""Versions of the tools this program works with. One that is missing is told as that."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ktrdr_sandbox import process
from ktrdr_sandbox.docker.environment import child_environment, current_address, flags
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.git.git import try_git

_PATIENCE: Final = 5.0
"""Seconds for an engine to answer: this is a question in passing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolVersions:
    """None for what is missing, or does not answer."""

    python: str
    docker_client: str | None
    docker_engine: str | None
    compose: str | None
    git: str | None
    engine_address: str


def tool_versions(environment: Mapping[str, str] = os.environ) -> ToolVersions:
    """Ask each tool. Never raises for one."""
    address = current_address(environment)
    docker = ["docker", *flags(address)]
    built = child_environment(environment, address=address)
    found = _json(_ask([*docker, "version", "--format", "{{json .}}"], built))
    compose = _ask([*docker, "compose", "version", "--short"], built)
    return ToolVersions(
        python=platform.python_version(),
        docker_client=_version_in(found.get("Client")),
        docker_engine=_version_in(found.get("Server")),
        compose=_number(compose),
        git=_number(_git()),
        engine_address=address.label,
    )


def _ask(argv: list[str], environment: Mapping[str, str]) -> str:
    try:
        # Its exit status says no when only the engine is missing: the client is told all the same.
        return process.run(argv, environment=environment, timeout=_PATIENCE).stdout
    except (SandboxError, OSError):
        return ""


def _git() -> str:
    try:
        return try_git(["--version"], cwd=Path("/")).stdout
    except (SandboxError, OSError):
        return ""


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _version_in(part: Any) -> str | None:
    version = part.get("Version") if isinstance(part, dict) else None
    return version if isinstance(version, str) else None


def _number(text: str) -> str | None:
    """`git version 2.39.5 (Apple Git-154)`: `2.39.5`; what is no version is none."""
    found = re.search(r"\d+\.\d[\w.+-]*", text)
    return found[0] if found else None
