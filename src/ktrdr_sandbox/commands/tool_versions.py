"""Versions of the tools this program works with. One that is missing is told as that."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ktrdr_sandbox import process
from ktrdr_sandbox.docker.environment import child_environment, current_address, flags
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.git.git import try_git

_PATIENCE: Final = 5.0  # seconds for an engine to answer: this is a question in passing


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
    built = child_environment(environment, address=address)

    def docker(*arguments: str) -> str:
        # Its exit status says no when only the engine is missing: the client is told all the same.
        argv = ["docker", *flags(address), *arguments]
        return process.run(argv, environment=built, timeout=_PATIENCE).stdout

    def version(part: str) -> str | None:
        found: Any = (parts.get(part) or {}).get("Version")
        return found if isinstance(found, str) else None

    try:
        found = json.loads(_asked(lambda: docker("version", "--format", "{{json .}}")))
        parts: dict[str, Any] = found if isinstance(found, dict) else {}
    except ValueError:
        parts = {}
    return ToolVersions(
        python=platform.python_version(),
        docker_client=version("Client"),
        docker_engine=version("Server"),
        compose=_number(_asked(lambda: docker("compose", "version", "--short"))),
        git=_number(_asked(lambda: try_git(["--version"], cwd=Path("/")).stdout)),
        engine_address=address.label,
    )


def _asked(question: Callable[[], str]) -> str:
    try:
        return question()
    except (SandboxError, OSError):
        return ""


def _number(text: str) -> str | None:
    """`git version 2.39.5 (Apple Git-154)`: `2.39.5`; what is no version is none."""
    found = re.search(r"\d+\.\d[\w.+-]*", text)
    return found[0] if found else None
