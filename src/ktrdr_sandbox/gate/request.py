"""What the gate is asked to prove."""

from __future__ import annotations

from dataclasses import dataclass

from ktrdr_sandbox.gate.migration import Migration
from ktrdr_sandbox.gate.result import CheckName
from ktrdr_sandbox.models import Instance, Stack


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRequest:
    """All times are in seconds.

    `only` None runs every check that the stack gives rise to. Pauses between two probes grow from
    `poll_first` to `poll_max`. `probe_timeout` bounds one HTTP request. `lost_after` is how long
    the registrations must stand still before missing workers count as lost: a worker that has not
    given up knocks every 2 s (five tries), so 6 s of silence are three knocks that did not come.
    `start_grace` is how long after all starts were issued a container may still be unstarted, and
    how long one may be paused. `settling` is how long a container that has died meanwhile must have
    stayed up where nothing else speaks for it. `migration` is what brings the schema up to date,
    None to leave it as it is.
    """

    instance: Instance
    stack: Stack
    timeout: float
    health_paths: tuple[str, ...] = ("/health", "/api/v1/health")
    heal_workers: bool = True
    only: frozenset[CheckName] | None = None
    migration: Migration | None = None
    poll_first: float = 0.1
    poll_max: float = 1.0
    probe_timeout: float = 2.0
    lost_after: float = 6.0
    start_grace: float = 2.0
    settling: float = 5.0
