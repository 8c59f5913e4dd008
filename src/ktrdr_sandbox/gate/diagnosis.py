"""Why a check failed and what to do: the last lines of those to blame, read for known causes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.background import in_background
from ktrdr_sandbox.docker.engine import Engine
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.gate.causes import Cause, cause_of_exit, likely_cause
from ktrdr_sandbox.gate.check import Check
from ktrdr_sandbox.gate.result import CheckResult, ServiceLog
from ktrdr_sandbox.gate.snapshot import ContainerStatus, Snapshot, want_of_memory

LOG_LINES: Final = 10
PATIENCE: Final = 5.0
"""Seconds that reading the logs may take before the report goes without them."""

_WORST_FIRST: Final = ("failed", "waiting", "running", "completed")


async def failure(check: Check, snapshot: Snapshot | None, *, seconds: float) -> CheckResult:
    """Give the result of a check that has not passed, with logs, cause and next command."""
    verdict, name = check.verdict, check.instance_name
    blamed = [_worst(snapshot, service) for service in verdict.services] if snapshot else []
    present = [one for one in blamed if one is not None and one.detail is not None]
    own = [(one.service, one.detail.id) for one in present if one.detail is not None]
    logs = await asyncio.gather(
        *(_log(check.watch.engine, *one) for one in verdict.containers or own)
    )
    known = _known_cause(verdict.facts, present, logs)
    memory = next(
        (want_of_memory(d) for one in present if (d := one.detail) and d.oom_killed), None
    )
    cause = verdict.cause or memory or (known.text if known else None) or verdict.suspicion
    command = verdict.next_command
    if command is None and known is not None and known.text == cause:
        command = known.command_for(name)
    if command is None and verdict.services:
        command = own_commands.logs(name, verdict.services[0])
    return CheckResult(
        name=check.name,
        title=check.failed_title,
        passed=False,
        final=verdict.outcome == "failed",
        facts=verdict.facts or (verdict.doing,),
        services=verdict.services,
        seconds=seconds,
        cause=cause,
        next_command=command,
        logs=tuple(logs),
    )


def _worst(snapshot: Snapshot, service: str) -> ContainerStatus | None:
    """One container of a service that has one, the worst off."""
    statuses = [one for one in snapshot.of(service) if one.detail is not None]
    return min(statuses, key=lambda one: _WORST_FIRST.index(one.condition), default=None)


def _known_cause(
    facts: Sequence[str], blamed: Sequence[ContainerStatus], logs: Sequence[ServiceLog]
) -> Cause | None:
    """What the lines show, or what the exit status of the first that ended means."""
    ended = [one.detail for one in blamed if one.condition == "failed" and one.detail]
    lines = [line for log in logs for line in log.lines]
    known = likely_cause((*facts, *lines), ended=bool(ended))
    if known is None and ended and ended[0].state != "created":
        return cause_of_exit(ended[0].exit_code, has_lines=bool(lines))
    return known


async def _log(engine: Engine, name: str, identity: str) -> ServiceLog:
    try:
        async with asyncio.timeout(PATIENCE):
            lines = await in_background(lambda: engine.logs(identity, tail=LOG_LINES))
    except (SandboxError, TimeoutError):
        lines = ()
    return ServiceLog(service=name, lines=lines[-LOG_LINES:])
