"""How the containers of a stack are doing: one engine request a round, judged against what was
seen before."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.docker.engine import ContainerDetail
from ktrdr_sandbox.gate.causes import FREE_MEMORY, likely_cause
from ktrdr_sandbox.gate.result import GateRequest
from ktrdr_sandbox.models import Stack, StackService

Run = tuple[str, str]  # one life of one container: its id and when the engine started it
Condition = Literal["waiting", "running", "completed", "failed"]

# The engine waits 0.1 s, 0.2 s, 0.4 s, ... between restarts. A service may die while another one
# starts and come back; a job is tried again until it succeeds. After so many it is a loop.
LOOP_RESTARTS: Final = 3
JOB_RESTARTS: Final = 6


class Reading(NamedTuple):
    """What one engine request gave. `taken`: monotonic seconds when it was asked."""

    taken: float
    details: tuple[ContainerDetail, ...]

    def of(self, service: str) -> tuple[ContainerDetail, ...]:
        return tuple(one for one in self.details if one.service == service)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStatus:
    """One expected container. `reason` says what is the matter unless it is as it should be.

    `cause` and `next_command` are given where its state alone tells them. `since`: monotonic
    seconds of the start of its present run. `restarted`: so it was since the gate began.
    """

    service: str
    label: str
    condition: Condition
    reason: str = ""
    cause: str | None = None
    next_command: str | None = None
    detail: ContainerDetail | None = None
    since: float = 0.0
    restarted: bool = False

    @property
    def run(self) -> Run | None:
        return (self.detail.id, self.detail.started_at) if self.detail else None

    @property
    def fact(self) -> str:
        return f"{self.label} {self.reason}"


@dataclass(frozen=True)
class Snapshot:
    """The status of every expected container at one moment."""

    statuses: tuple[ContainerStatus, ...]

    def of(self, *services: str) -> tuple[ContainerStatus, ...]:
        return tuple(status for status in self.statuses if status.service in services)

    def failed(self, *services: str) -> tuple[ContainerStatus, ...]:
        """Containers of these services that can no longer come to run."""
        return tuple(one for one in self.of(*services) if one.condition == "failed")

    @property
    def runs(self) -> frozenset[Run]:
        up = (one for one in self.statuses if one.condition in ("running", "completed"))
        return frozenset(one.run for one in up if one.run)


@dataclass(slots=True)
class _Seen:
    """What was seen of one container so far. `first`: how it looked when the gate began."""

    first: tuple[str, str, str]
    restarts: int
    run: Run
    since: float
    state: str
    state_since: float


@dataclass(eq=False)
class StatusHistory:
    """Judges each reading by what the earlier ones told.

    `starting`: a start-up is in progress, so what looks as it did before is not started yet.
    `excused`: ids of containers that the gate itself is restarting.
    """

    request: GateRequest
    starting: bool
    started_at: float | None = None
    excused: frozenset[str] = frozenset()
    _seen: dict[str, _Seen] = field(default_factory=dict)
    _forgiving_except: frozenset[str] | None = None

    def forgive_restarts(self, *, except_services: frozenset[str]) -> None:
        """Until `count_restarts`: a service that dies while the database initialises may do so
        again and again, for that is how such stacks wait for it."""
        self._forgiving_except = except_services

    def count_restarts(self) -> bool:
        """From now on restarts count, starting from none; tell whether they did not before."""
        if self._forgiving_except is None:
            return False
        self._forgiving_except = None
        for seen in self._seen.values():
            seen.restarts = -1
        return True

    def judge(self, reading: Reading) -> Snapshot:
        """Give the status of every container that there is, and of every one that should be."""
        statuses: list[ContainerStatus] = []
        now, grace = reading.taken, self.request.start_grace
        starts_over = self.started_at is not None and now - self.started_at >= grace
        for service in self.request.stack.active:
            # All that are there, not only as many as there should be: an interrupted change can
            # leave the old container, which still answers, beside the new one, which is broken.
            present = reading.of(service.name) if service.replicas else ()
            statuses += [
                self._status(service, detail, now, starts_over=starts_over)
                for detail in sorted(present, key=lambda one: (one.replica, one.name))
            ]
            statuses += [
                ContainerStatus(
                    service=service.name,
                    label=label(service, place + 1),
                    condition="failed" if starts_over else "waiting",
                    reason="has no container",
                    cause="nothing has started it",
                    next_command=own_commands.on("{name}", "up"),
                )
                for place in range(len(present), service.replicas)
            ]
        return Snapshot(tuple(statuses))

    def _status(
        self, service: StackService, detail: ContainerDetail, now: float, *, starts_over: bool
    ) -> ContainerStatus:
        seen = self._remember(detail, now)
        forgiving = self._forgiving_except
        forgiven = forgiving is not None and service.name not in forgiving
        restarts = 0 if forgiven else detail.restart_count - seen.restarts
        judged = judge(
            detail,
            lasting=now - seen.state_since >= self.request.start_grace,
            restarts=restarts,
            left_over=self.starting and _appearance(detail) == seen.first,
            starts_over=starts_over,
            excused=detail.id in self.excused,
            one_shot=service.name in one_shots(self.request.stack),
            may_end=is_job(service),
            loop_after=loop_after(service),
        )
        return ContainerStatus(
            service=service.name,
            label=label(service, detail.replica),
            **judged._asdict(),
            detail=detail,
            since=seen.since,
            restarted=restarts > 0,
        )

    def _remember(self, detail: ContainerDetail, now: float) -> _Seen:
        run = (detail.id, detail.started_at)
        seen = self._seen.get(detail.id)
        if seen is None:
            # One found down between two runs may be in a loop.
            in_loop = detail.state == "restarting" and not self.starting
            restarts = 0 if in_loop else detail.restart_count
            first, since = _appearance(detail), now - _age(detail)
            seen = self._seen[detail.id] = _Seen(first, restarts, run, since, detail.state, now)
        if seen.run != run:
            seen.run, seen.since = run, now
        if seen.state != detail.state:
            seen.state, seen.state_since = detail.state, now
        # An explicit start sets the engine's own count back to zero.
        if seen.restarts < 0 or detail.restart_count < seen.restarts:
            seen.restarts = detail.restart_count
        return seen


def _appearance(detail: ContainerDetail) -> tuple[str, str, str]:
    return (detail.state, detail.started_at, detail.error)


def _age(detail: ContainerDetail) -> float:
    """Seconds since the present run began, by the engine's clock; 0 when it does not say."""
    try:
        started = datetime.fromisoformat(detail.started_at[:19]).replace(tzinfo=UTC)
    except ValueError:
        return 0.0
    return max(0.0, (datetime.now(UTC) - started).total_seconds() - 1.0)


def monotonic() -> float:
    """Give the event loop's time in seconds."""
    return asyncio.get_running_loop().time()


class Judgement(NamedTuple):
    """As in `ContainerStatus`."""

    condition: Condition
    reason: str = ""
    cause: str | None = None
    next_command: str | None = None


def judge(  # noqa: C901  a table of states
    detail: ContainerDetail,
    *,
    restarts: int = 0,
    loop_after: int = LOOP_RESTARTS,
    one_shot: bool = False,
    may_end: bool = False,
    lasting: bool = False,
    left_over: bool = False,
    excused: bool = False,
    starts_over: bool = False,
) -> Judgement:
    """Tell what a container's state means for a stack that is started or is meant to run.

    `restarts` were made since the gate began; after `loop_after` it is in a loop. `one_shot`: it is
    meant to end; `may_end`: it may be a job that nobody waits for. `lasting`: it has been in this
    state for a while. `left_over`: unchanged since before the start-up that is in progress.
    `excused`: the gate itself is restarting it. `starts_over`: all starts were issued.
    """
    state, ended = detail.state, f"exited ({detail.exit_code})"
    if state == "running":
        if restarts < loop_after and not (restarts and detail.oom_killed):
            if one_shot:
                return Judgement("waiting", "has not completed yet")
            return Judgement("running")
        reason = _loop(detail, restarts)
        if not detail.oom_killed:
            return Judgement("failed", reason)
        return _killed(detail, reason if restarts >= loop_after else "was killed: out of memory")
    if excused:
        return Judgement("waiting", "is being restarted")
    if state == "paused":
        # Some tools pause a container for a moment, to copy it; nothing else ends a pause.
        told = ("somebody paused it", f"docker unpause {detail.name}") if lasting else ()
        return Judgement("failed" if lasting else "waiting", "is paused", *told)
    if left_over and not starts_over:
        return Judgement("waiting", "is not started yet")
    if state == "created" and detail.error:
        cause = likely_cause([detail.error])
        reason = f"could not be started: {detail.error}"
        return Judgement("failed", reason, cause.text if cause else None)
    if state == "created":
        never = Judgement("failed", "was created and never started")
        return never if starts_over else Judgement("waiting", "is not started yet")
    if state not in ("exited", "dead", "restarting"):
        return Judgement("waiting", f"is {state}")
    if detail.oom_killed:
        code = "" if state == "restarting" else f" ({detail.exit_code})"
        return _killed(detail, f"was killed: out of memory{code}")
    if state == "restarting":
        # Between two runs the count is already that of the run to come: two exits were seen.
        if restarts >= loop_after - 1:
            return Judgement("failed", _loop(detail, restarts))
        return Judgement("waiting", f"{ended} and is being restarted")
    if (one_shot or may_end) and detail.exit_code == 0 and state == "exited":
        return Judgement("completed")
    return Judgement("failed", f"{ended}: {detail.error}" if detail.error else ended)


def _killed(detail: ContainerDetail, reason: str) -> Judgement:
    return Judgement("failed", reason, want_of_memory(detail), FREE_MEMORY)


def want_of_memory(detail: ContainerDetail) -> str:
    """Give the cause of an end by the kernel, with the limit where the container has one."""
    if not detail.memory_limit:
        return "it was killed for want of memory"
    return f"it needs more memory than its limit of {detail.memory_limit // 2**20} MiB"


def _loop(detail: ContainerDetail, restarts: int) -> str:
    ended = f", last exit status {detail.exit_code}" if detail.exit_code else ""
    return f"restarts again and again ({restarts} times{ended})"


def one_shots(stack: Stack) -> frozenset[str]:
    """Name the services that are meant to end: never restarted, and waited for until they have."""
    conditions = [pair for one in stack.active for pair in one.depends_on.items()]
    awaited = {name for name, what in conditions if what == "service_completed_successfully"}
    return frozenset(one.name for one in stack.active if one.name in awaited and _may_end(one))


def is_job(service: StackService) -> bool:
    """Tell whether ending well is no failure: nothing undoes it, no part, no health."""
    return not service.roles and not service.has_healthcheck and _may_end(service)


def loop_after(service: StackService) -> int:
    """Give the number of restarts after which a service of this kind is in a loop."""
    tried_again = service.restart.startswith("on-failure") and not service.roles
    return JOB_RESTARTS if tried_again else LOOP_RESTARTS


def _may_end(service: StackService) -> bool:
    """Once it has ended well. The policy may say how often: `on-failure:3`."""
    return service.restart.partition(":")[0] in ("no", "", "on-failure")


def label(service: StackService, replica: int) -> str:
    """Name a container for people: by its service, with a number where that has several."""
    return service.name if service.replicas == 1 else f"{service.name} #{replica}"
