"""What the gate hands back, and what it tells while it runs. Plain records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

CheckName = Literal["containers", "database", "migrations", "backend", "workers", "observability"]

CHECK_NAMES: Final[tuple[CheckName, ...]] = (
    "containers",
    "database",
    "migrations",
    "backend",
    "workers",
    "observability",
)
"""All checks, in the order of the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLog:
    """The last lines that a service's container printed."""

    service: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """Outcome of one check.

    `title` is the report's line, `facts` the lines under it. `final`: it could no longer come
    true, so nobody waited for the time limit. `services` are the ones to blame. `seconds` run
    from the gate's start to the moment it was settled.
    """

    name: CheckName
    title: str
    passed: bool
    final: bool = False
    facts: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    seconds: float
    cause: str | None = None
    next_command: str | None = None
    logs: tuple[ServiceLog, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """Outcome of the gate. `healed` names the worker containers that it restarted.

    `moot` says of checks that proved nothing, and are not among `checks`, why not: each a service
    and a sentence about it.
    """

    passed: bool
    checks: tuple[CheckResult, ...]
    seconds: float
    healed: tuple[str, ...] = ()
    moot: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GateProgress:
    """One check's state, sent when it changes. `elapsed` is seconds since the gate's start."""

    name: CheckName
    elapsed: float
    state: str
    passed: bool = False
    failed: bool = False
