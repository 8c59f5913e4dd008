"""What the gate is asked to prove, what it tells while it runs, and what it hands back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

if TYPE_CHECKING:
    from ktrdr_sandbox.models import Instance, Stack

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


class Migration(Protocol):
    """One schema migration, in a one-off container. Methods block and raise SandboxError.

    `service` is the one whose image, environment and networks it uses. `required`: that the image
    has no alembic is then a failure. `only_checked`: the schema is looked at and never changed.
    """

    service: str
    required: bool
    only_checked: bool

    def is_applied(self) -> bool:
        """Whether the database is certain to be at the head of the checkout's revisions."""

    def has_alembic(self) -> bool:
        """Whether the running container of the service could have migrated it."""

    def start(self) -> str:
        """Begin, and return the container's id. Its exit status is the migration's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRequest:
    """All times are in seconds.

    `only` None runs every check that the stack gives rise to. `follow_file`: the time limit grows
    to the start periods of the file's health checks. A round takes `poll_first` while things move,
    up to `poll_max` while nothing does; no verdict is a pass before the containers have run for
    `poll_max`, and those that nothing else speaks for for `steady`, or `settling` where they have
    died meanwhile. `probe_timeout` bounds one HTTP request. `lost_after` is how long the
    registrations must stand still before missing workers count as lost: a worker that has not
    given up knocks every 2 s (five tries), so 6 s of silence are three knocks that did not come.
    `start_grace` is how long after all starts were issued a container may still be unstarted, and
    how long one may be paused. `migration` brings the schema up to date, None leaves it as it is.
    """

    instance: Instance
    stack: Stack
    timeout: float
    follow_file: bool = False
    health_paths: tuple[str, ...] = ("/health", "/api/v1/health")
    heal_workers: bool = True
    only: frozenset[CheckName] | None = None
    migration: Migration | None = None
    poll_first: float = 0.2
    poll_max: float = 1.0
    probe_timeout: float = 2.0
    lost_after: float = 6.0
    start_grace: float = 2.0
    steady: float = 2.0
    settling: float = 5.0


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

    `not_applicable` says of checks that proved nothing, and are not among `checks`, why not: each
    a service and a sentence about it.
    """

    passed: bool
    checks: tuple[CheckResult, ...]
    seconds: float
    healed: tuple[str, ...] = ()
    not_applicable: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GateProgress:
    """One check's state, sent when it changes. `elapsed` is seconds since the gate's start."""

    name: CheckName
    elapsed: float
    state: str
    passed: bool = False
    failed: bool = False
