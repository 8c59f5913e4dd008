"""Why a check failed and what to do: the last lines of those to blame, read for known causes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.background import in_background
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.gate.causes import Cause, cause_of_exit, likely_cause
from ktrdr_sandbox.gate.checks.base import Surroundings, Verdict
from ktrdr_sandbox.gate.result import ServiceLog
from ktrdr_sandbox.gate.standing import Standing, want_of_memory

LOG_LINES: Final = 10
PATIENCE: Final = 5.0
"""Seconds that reading the logs may take before the report goes without them."""

_WORST_FIRST: Final = ("failed", "waiting", "running", "completed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What a failing check's report gets beside its facts."""

    cause: str | None = None
    next_command: str | None = None
    logs: tuple[ServiceLog, ...] = ()


async def diagnose(around: Surroundings, verdict: Verdict) -> Diagnosis:
    """Logs, cause and next command of a verdict that is no pass."""
    blamed = _blamed(around, verdict.services)
    own = [(one.service, one.detail.id) for one in blamed if one.detail is not None]
    logs = await asyncio.gather(*(_log(around, *one) for one in verdict.containers or own))
    known = _known(verdict, blamed, logs)
    memory = next((want_of_memory(d) for one in blamed if (d := one.detail) and d.oom_killed), None)
    cause = verdict.cause or memory or (known.text if known else None) or verdict.suspicion
    name = around.request.instance.name
    command = verdict.next_command
    if command is None and known is not None and known.text == cause:
        command = known.command_for(name)
    if command is None and verdict.services:
        command = own_commands.logs(name, verdict.services[0])
    return Diagnosis(cause=cause, next_command=command, logs=tuple(logs))


def _known(
    verdict: Verdict, blamed: Sequence[Standing], logs: Sequence[ServiceLog]
) -> Cause | None:
    """What the lines show, or what the exit status of the first that ended means."""
    ended = [one.detail for one in blamed if one.condition == "failed" and one.detail]
    lines = [line for log in logs for line in log.lines]
    known = likely_cause((*verdict.facts, *lines), ended=bool(ended))
    if known is None and ended and ended[0].state != "created":
        return cause_of_exit(ended[0].exit_code, has_lines=bool(lines))
    return known


def _blamed(around: Surroundings, services: Iterable[str]) -> list[Standing]:
    """One container of each service that has one, the worst off."""
    snapshot = around.monitor.latest
    found = []
    for service in services:
        standings = [one for one in (snapshot.of(service) if snapshot else ()) if one.detail]
        standings.sort(key=lambda one: _WORST_FIRST.index(one.condition))
        found += standings[:1]
    return found


async def _log(around: Surroundings, name: str, identity: str) -> ServiceLog:
    try:
        async with asyncio.timeout(PATIENCE):
            lines = await in_background(lambda: around.engine.logs(identity, tail=LOG_LINES))
    except (SandboxError, TimeoutError):
        lines = ()
    return ServiceLog(service=name, lines=lines[-LOG_LINES:])
