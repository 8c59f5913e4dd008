"""What every check has in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from ktrdr_sandbox.docker.engine import Engine
from ktrdr_sandbox.gate.http import Http
from ktrdr_sandbox.gate.monitor import Monitor
from ktrdr_sandbox.gate.request import GateRequest
from ktrdr_sandbox.gate.result import CheckName
from ktrdr_sandbox.gate.standing import Run, Standing
from ktrdr_sandbox.models import PublishedPort


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one probe found.

    `failed` means that it can no longer come true. `doing` says what is waited for. `proof` holds
    the container runs that a pass rests on: when one of them ends, the pass is void. `cause` is
    certain; `suspicion` is for when the logs show none. `moot` marks a pass that proves nothing,
    to be left out of the report. `containers` are those whose log is worth showing, each with a
    name for people; without any it is those of `services`.
    """

    outcome: Literal["waiting", "passed", "failed"]
    doing: str = ""
    facts: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    cause: str | None = None
    suspicion: str | None = None
    next_command: str | None = None
    proof: frozenset[Run] = frozenset()
    moot: bool = False
    containers: tuple[tuple[str, str], ...] = ()


class Check(Protocol):
    """One thing that must be true of a stack. `probe` is called again until it is settled."""

    name: CheckName
    ready_title: str
    failed_title: str

    async def probe(self) -> Verdict:
        """Look once. Raises nothing that the stack can cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What checks work with."""

    engine: Engine
    request: GateRequest
    monitor: Monitor
    http: Http


FRESH = 0.2
"""Seconds: how old the engine's word may be that it is our container which just answered."""


async def owner(around: Surroundings, port: PublishedPort) -> Standing | None:
    """The container of this instance that publishes a host port right now, if one runs.

    Without it an answer on the port proves nothing: the main stack, another sandbox or any other
    program may be giving it.
    """
    snapshot = await around.monitor.no_older_than(FRESH)
    for standing in snapshot.of(port.service) if snapshot else ():
        if standing.condition == "running" and standing.detail is not None:
            for _, published, target, protocol in standing.detail.published:
                if (published, target, protocol) == (port.published, port.target, port.protocol):
                    return standing
    return None


def stranger(port: PublishedPort) -> str:
    """The fact to report when a port answers and `owner` finds nobody."""
    return (
        f"Something answers on port {port.published}, but no container of {port.service} "
        "in this instance publishes it"
    )


def lost(standings: tuple[Standing, ...], *, doing: str = "") -> Verdict:
    """The verdict when containers that a check needs can no longer come to run."""
    return Verdict(
        outcome="failed",
        doing=doing,
        facts=tuple(standing.fact for standing in standings),
        services=tuple(dict.fromkeys(standing.service for standing in standings)),
        cause=next((standing.cause for standing in standings if standing.cause), None),
        next_command=next((one.next_command for one in standings if one.next_command), None),
    )


def runs(standings: tuple[Standing, ...]) -> frozenset[Run]:
    return frozenset(standing.run for standing in standings if standing.run)
