"""How one container that a stack should have is doing, judged from what `inspect` tells. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from ktrdr_sandbox.docker.engine import ContainerDetail
from ktrdr_sandbox.gate.causes import FREE_MEMORY, likely_cause
from ktrdr_sandbox.models import Stack, StackService

Run = tuple[str, str]
"""One life of one container: its id and when the engine started it."""

LOOP_RESTARTS: Final = 3
"""A service may die while another one starts and come back; after so many restarts it is a loop.

The engine waits 0.1 s, 0.2 s, 0.4 s, ... between restarts, so three take under a second of waiting.
"""

JOB_RESTARTS: Final = 6
"""The same for a job that is tried again until it succeeds, as one that sets up another service:
its restarts take six seconds of waiting."""

OUT_OF_MEMORY: Final = "it was killed for want of memory"

Condition = Literal["waiting", "running", "completed", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One expected container. `reason` says what is the matter unless it is as it should be.

    `cause` and `next_command` are given where its state alone tells them.
    """

    service: str
    label: str
    condition: Condition
    reason: str = ""
    cause: str | None = None
    next_command: str | None = None
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

    `lasting`: it has been in this state for a while. `restarts` were made since the gate began.
    `left_over`: unchanged since before the start-up that is now in progress. `starts_over`: all
    starts were issued, and long enough ago. `excused`: the gate itself is restarting it.
    `one_shot`: it is meant to end. `may_end`: it may be a job that nobody waits for. `loop_after`
    so many restarts it is in a loop. `unsettled`: its present run is young, and that it runs is
    all that speaks for it.
    """

    lasting: bool = False
    restarts: int = 0
    left_over: bool = False
    starts_over: bool = False
    excused: bool = False
    one_shot: bool = False
    may_end: bool = False
    loop_after: int = LOOP_RESTARTS
    unsettled: bool = False


class Judgement(NamedTuple):
    """As in `Standing`."""

    condition: Condition
    reason: str = ""
    cause: str | None = None
    next_command: str | None = None


def judge(detail: ContainerDetail, known: Circumstances) -> Judgement:
    """What a container's state means for a stack that is being started or is meant to run."""
    if detail.state == "running":
        return _judge_running(detail, known)
    if known.excused:
        return Judgement("waiting", "is being restarted")
    if detail.state == "paused":
        return _judge_paused(detail, known)
    if known.left_over and not known.starts_over:
        return Judgement("waiting", "is not started yet")
    if detail.state == "created":
        return _judge_created(detail, known)
    if detail.state == "restarting":
        return _judge_restarting(detail, known)
    if detail.state in ("exited", "dead"):
        return _judge_ended(detail, known)
    return Judgement("waiting", f"is {detail.state}")


def _judge_running(detail: ContainerDetail, known: Circumstances) -> Judgement:
    if known.restarts >= known.loop_after:
        reason = _loop(detail, known)
        return _killed(detail, reason) if detail.oom_killed else Judgement("failed", reason)
    if detail.oom_killed and known.restarts:
        return _killed(detail, "was killed: out of memory")
    if known.one_shot:
        return Judgement("waiting", "has not completed yet")
    if known.restarts and known.unsettled:
        return Judgement("waiting", "has ended and runs anew")
    return Judgement("running")


def _judge_paused(detail: ContainerDetail, known: Circumstances) -> Judgement:
    """Some tools pause a container for a moment, to copy it; nothing else ends a pause."""
    if not known.lasting:
        return Judgement("waiting", "is paused")
    return Judgement("failed", "is paused", "somebody paused it", f"docker unpause {detail.name}")


def _judge_created(detail: ContainerDetail, known: Circumstances) -> Judgement:
    if detail.error:
        cause = likely_cause([detail.error])
        reason = f"could not be started: {detail.error}"
        return Judgement("failed", reason, cause.text if cause else None)
    if known.starts_over:
        return Judgement("failed", "was created and never started")
    return Judgement("waiting", "is not started yet")


def _judge_restarting(detail: ContainerDetail, known: Circumstances) -> Judgement:
    if detail.oom_killed:
        return _killed(detail, "was killed: out of memory")
    # Between two runs the count is already that of the run to come: two exits were seen.
    if known.restarts >= known.loop_after - 1:
        return Judgement("failed", _loop(detail, known))
    return Judgement("waiting", f"exited ({detail.exit_code}) and is being restarted")


def _judge_ended(detail: ContainerDetail, known: Circumstances) -> Judgement:
    if detail.oom_killed:
        return _killed(detail, f"was killed: out of memory ({detail.exit_code})")
    may_end = known.one_shot or known.may_end
    if may_end and detail.exit_code == 0 and detail.state == "exited":
        return Judgement("completed")
    reason = f"exited ({detail.exit_code})"
    return Judgement("failed", f"{reason}: {detail.error}" if detail.error else reason)


def _killed(detail: ContainerDetail, reason: str) -> Judgement:
    return Judgement("failed", reason, want_of_memory(detail), FREE_MEMORY)


def want_of_memory(detail: ContainerDetail) -> str:
    """The cause of an end by the kernel, with the limit where the container has one."""
    if not detail.memory_limit:
        return OUT_OF_MEMORY
    return f"it needs more memory than its limit of {detail.memory_limit // 2**20} MiB"


def _loop(detail: ContainerDetail, known: Circumstances) -> str:
    ended = f", last exit status {detail.exit_code}" if detail.exit_code else ""
    return f"restarts again and again ({known.restarts} times{ended})"


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
        if service.name in awaited and _may_stay_down(service)
    )


def is_job(service: StackService) -> bool:
    """Whether ending well is no failure: nothing undoes it, it plays no part, has no health."""
    return not service.roles and not service.has_healthcheck and _may_stay_down(service)


def spoken_for(service: StackService, stack: Stack) -> bool:
    """Whether a check of its own asks more of a service than that it runs. Of workers none may,
    where they have nowhere to register."""
    return any(role != "worker" or stack.has_ktrdr_workers for role in service.roles)


def loop_after(service: StackService) -> int:
    """After how many restarts a service of this kind is in a loop."""
    tried_again = service.restart.startswith("on-failure") and not service.roles
    return JOB_RESTARTS if tried_again else LOOP_RESTARTS


def _may_stay_down(service: StackService) -> bool:
    """Once it has ended well. The policy may say how often: `on-failure:3`."""
    return service.restart.partition(":")[0] in ("no", "", "on-failure")


def label(service: StackService, replica: int) -> str:
    """A name for people: the service's, with the number where it has several containers."""
    return service.name if service.replicas == 1 else f"{service.name} #{replica}"
