"""How one container that a stack should have is doing, judged from what `inspect` tells. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from ktrdr_sandbox.engine.interface import ContainerDetail
from ktrdr_sandbox.gate.causes import likely_cause
from ktrdr_sandbox.models import Stack, StackService

Run = tuple[str, str]
"""One life of one container: its id and when the engine started it."""

LOOP_RESTARTS: Final = 3
"""A service may die while another one starts and come back; after so many restarts it is a loop.

The engine waits 0.1 s, 0.2 s, 0.4 s, ... between restarts, so three take under a second of waiting.
"""

OUT_OF_MEMORY: Final = "it was killed for want of memory"

Condition = Literal["waiting", "running", "completed", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One expected container. `reason` says what is the matter unless it is as it should be."""

    service: str
    label: str
    condition: Condition
    reason: str = ""
    cause: str | None = None
    detail: ContainerDetail | None = None
    since: float = 0.0
    """Monotonic seconds when its present run was first seen."""

    @property
    def run(self) -> Run | None:
        return (self.detail.id, self.detail.started_at) if self.detail else None

    @property
    def fact(self) -> str:
        return f"{self.label} {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a single `inspect` does not tell of a container.

    `restarts` were made since the gate began. `left_over`: unchanged since before the start-up
    that is now in progress. `starts_over`: all starts were issued, and long enough ago.
    `excused`: the gate itself is restarting it. `one_shot`: it is meant to end. `may_end`: it may
    be a job that nobody waits for.
    """

    restarts: int = 0
    left_over: bool = False
    starts_over: bool = False
    excused: bool = False
    one_shot: bool = False
    may_end: bool = False


Judgement = tuple[Condition, str, str | None]
"""Condition, reason and cause."""


def judge(detail: ContainerDetail, known: Circumstances) -> Judgement:
    """What a container's state means for a stack that is being started or is meant to run."""
    if detail.state == "running":
        return _judge_running(detail, known)
    if known.excused:
        return "waiting", "is being restarted", None
    if known.left_over and not known.starts_over:
        return "waiting", "is not started yet", None
    if detail.state == "created":
        return _judge_created(detail, known)
    if detail.state == "restarting":
        return _judge_restarting(detail, known)
    if detail.state in ("exited", "dead"):
        return _judge_ended(detail, known)
    return "waiting", f"is {detail.state}", None


def _judge_running(detail: ContainerDetail, known: Circumstances) -> Judgement:
    if known.restarts >= LOOP_RESTARTS:
        return "failed", _loop(detail, known), _memory(detail)
    if detail.oom_killed and known.restarts:
        return "failed", "was killed: out of memory", OUT_OF_MEMORY
    if known.one_shot:
        return "waiting", "has not completed yet", None
    return "running", "", None


def _judge_created(detail: ContainerDetail, known: Circumstances) -> Judgement:
    if detail.error:
        cause = likely_cause([detail.error])
        return "failed", f"could not be started: {detail.error}", cause.text if cause else None
    if known.starts_over:
        return "failed", "was created and never started", None
    return "waiting", "is not started yet", None


def _judge_restarting(detail: ContainerDetail, known: Circumstances) -> Judgement:
    if detail.oom_killed:
        return "failed", "was killed: out of memory", OUT_OF_MEMORY
    # Between two runs the count is already that of the run to come: two exits were seen.
    if known.restarts >= LOOP_RESTARTS - 1:
        return "failed", _loop(detail, known), None
    return "waiting", f"exited ({detail.exit_code}) and is being restarted", None


def _judge_ended(detail: ContainerDetail, known: Circumstances) -> Judgement:
    if detail.oom_killed:
        return "failed", f"was killed: out of memory ({detail.exit_code})", OUT_OF_MEMORY
    may_end = known.one_shot or known.may_end
    if may_end and detail.exit_code == 0 and detail.state == "exited":
        return "completed", "", None
    reason = f"exited ({detail.exit_code})"
    return "failed", f"{reason}: {detail.error}" if detail.error else reason, None


def _loop(detail: ContainerDetail, known: Circumstances) -> str:
    ended = f", last exit status {detail.exit_code}" if detail.exit_code else ""
    return f"restarts again and again ({known.restarts} times{ended})"


def _memory(detail: ContainerDetail) -> str | None:
    return OUT_OF_MEMORY if detail.oom_killed else None


def one_shots(stack: Stack) -> frozenset[str]:
    """Services that are meant to end: never restarted, and waited for until they have."""
    awaited = {
        name
        for service in stack.active
        for name, condition in service.depends_on.items()
        if condition == "service_completed_successfully"
    }
    return frozenset(
        service.name
        for service in stack.active
        if service.name in awaited and service.restart in ("no", "", "on-failure")
    )


def is_job(service: StackService) -> bool:
    """Whether ending well is no failure: nothing restarts it, it plays no part, has no health."""
    return not service.roles and not service.has_healthcheck and service.restart in ("no", "")


def expected(stack: Stack) -> Iterator[tuple[StackService, int]]:
    """Every container the stack should have: its service and its place among the replicas."""
    for service in stack.active:
        for place in range(service.replicas):
            yield service, place


def label(service: StackService, replica: int) -> str:
    """A name for people: the service's, with the number where it has several containers."""
    return service.name if service.replicas == 1 else f"{service.name} #{replica}"
