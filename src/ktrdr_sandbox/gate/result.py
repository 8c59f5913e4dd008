"""What the gate is asked to prove, what it tells while it runs, and its report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, get_args

if TYPE_CHECKING:
    from ktrdr_sandbox.models import Instance, Stack

CheckName = Literal["containers", "database", "migrations", "backend", "workers", "observability"]
CHECK_NAMES: Final[tuple[CheckName, ...]] = get_args(CheckName)  # in the order of the report


class Migration(Protocol):
    """One schema migration, in a one-off container. Methods block and raise SandboxError.

    `required`: that the image has no alembic is a failure. `only_checked`: nothing is changed.
    """

    service: str
    required: bool
    only_checked: bool

    def is_applied(self) -> bool:
        """Tell whether the database is certain to be at the head of the checkout's revisions."""

    def has_alembic(self) -> bool:
        """Tell whether the running container of the service could have migrated it."""

    def start(self) -> str:
        """Begin, and return the container's id. Its exit status is the migration's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRequest:
    """All times are in seconds. `only` None runs every check that the stack gives rise to."""

    instance: Instance
    stack: Stack
    timeout: float
    follow_file: bool = False  # the time limit grows to the start periods of health checks
    health_paths: tuple[str, ...] = ("/health", "/api/v1/health")
    heal_workers: bool = True
    only: frozenset[CheckName] | None = None
    migration: Migration | None = None
    poll_first: float = 0.2  # the pause of a round while things move
    poll_max: float = 1.0  # while nothing does; and how long each container must have run
    probe_timeout: float = 2.0  # of one HTTP request
    # A worker that has not given up knocks every 2 s: this silence is three knocks that did not
    # come.
    lost_after: float = 6.0
    start_grace: float = 2.0  # how long a container may be unstarted after all starts, or paused
    steady: float = 2.0  # how long what nothing else speaks for must have run
    settling: float = 5.0  # the same where it has died meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLog:
    """The last lines that a service's container printed."""

    service: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """Outcome of one check. `title` is the report's line, `facts` the lines under it.

    `final`: it could no longer come true, so nobody waited for the time limit. `services` are the
    ones to blame. `seconds` run from the gate's start to the moment it was settled.
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

    `not_applicable` says why checks proved nothing: a service and a sentence about it, each.
    """

    passed: bool
    seconds: float
    healed: tuple[str, ...] = ()
    checks: tuple[CheckResult, ...]
    not_applicable: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class GateProgress:
    """One check's state, sent when it changes. `elapsed` is seconds since the gate's start."""

    name: CheckName
    elapsed: float
    state: str
    passed: bool = False
    failed: bool = False


def report_lines(result: GateResult) -> list[str]:
    """Give the text form. A log that several checks share is printed once."""
    lines = [f"Startability Gate: {'PASSED' if result.passed else 'FAILED'}", ""]
    printed: set[ServiceLog] = set()
    for check in result.checks:
        lines.append(f"{'✓' if check.passed else '✗'} {check.title}")
        lines += [f"  → {fact}" for fact in check.facts]
        if check.passed:
            continue
        for log in check.logs:
            if log not in printed:
                printed.add(log)
                of, count = f" of {log.service}" if len(check.logs) > 1 else "", len(log.lines)
                heading = f"Last {count} log lines{of}:" if count > 1 else f"Last log line{of}:"
                lines.append(f"  → {heading if count else f'No log lines{of}'}")
                lines += [f"    {line}" for line in log.lines]
        if check.cause:
            lines.append(f"  → Likely cause: {check.cause}")
        if check.next_command:
            lines.append(f"  → Next: {check.next_command}")
    return lines


def as_json(result: GateResult) -> dict[str, Any]:
    """Give every fact of the result, in plain dictionaries, lists and numbers (seconds)."""
    document = asdict(result, dict_factory=_plain)
    del document["not_applicable"]
    return document


def _plain(fields: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    plain = {tuple: list, float: lambda seconds: round(seconds, 3)}
    return {name: plain.get(type(value), lambda same: same)(value) for name, value in fields}
