"""logs: what the containers of an instance printed, asked of the engine each time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.engine.interface import Container
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.lifecycle import log_stream
from ktrdr_sandbox.lifecycle.log_stream import LogLine
from ktrdr_sandbox.lifecycle.workplace import Workplace
from ktrdr_sandbox.models import Instance

DEFAULT_TAIL: Final = 100
"""Lines a container in a JSON document when nobody says how many, or since when."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRequest:
    """`tail` None shows all lines; `since` is Docker's own notation ("10m", a timestamp)."""

    services: tuple[str, ...] = ()
    follow: bool = False
    tail: int | None = None
    since: str | None = None


def shown_logs(
    place: Workplace, instance: Instance, request: LogRequest
) -> Iterator[LogLine | None]:
    """Lines by time; asked from labels alone, so also when the Compose file is gone.

    With `follow` they go on over restarts, and None says that there is none just now. Nothing is
    hidden in them: it is the terminal of whoever started the stack. Raises `no-such-service`, and
    `usage` for a `since` that is no time.
    """
    engine = place.engine(instance.engine)
    found = _wanted_containers(place, instance, request)
    if not request.follow:
        return log_stream.read(engine, instance, found, tail=request.tail, since=request.since)

    def wanted() -> list[Container]:
        every = engine.containers(uuid=instance.uuid)
        return [c for c in every if not request.services or c.service in request.services]

    def exists() -> bool:
        entry = place.registry.read().instances.get(instance.id)
        return entry is not None and entry.uuid == instance.uuid

    follower = log_stream.Follower(engine, instance, wanted, exists, place.tell)
    return follower.lines(tail=request.tail, since=request.since)


def collected_logs(place: Workplace, instance: Instance, request: LogRequest) -> dict[str, Any]:
    """The lines by container, for the JSON envelope. `since` is a limit by itself, without which a
    document has the last DEFAULT_TAIL lines of each.

    Raises `no-such-service`, and `usage` for a `since` that is no time, or for `follow`, which has
    no end to put in a document.
    """
    if request.follow:
        raise SandboxError(
            "usage",
            "--json goes with --tail and --since, not with --follow, which has no end.",
            hints=("Leave --follow out, or leave --json out and read the lines as they come.",),
        )
    found = _wanted_containers(place, instance, request)
    return {
        "instance": instance.id,
        "containers": [
            {"name": c.name, "service": c.service, "lines": _lines(place, instance, c, request)}
            for c in found
        ],
    }


def _lines(
    place: Workplace, instance: Instance, container: Container, request: LogRequest
) -> list[str]:
    engine = place.engine(instance.engine)
    if request.since is None:
        tail = DEFAULT_TAIL if request.tail is None else request.tail
        return list(engine.logs(container.id, tail=tail))
    stamped = engine.stamped_logs(
        container.id, follow=False, tail=request.tail, since=request.since
    )
    return [text for _, text in stamped]


def _wanted_containers(
    place: Workplace, instance: Instance, request: LogRequest
) -> list[Container]:
    containers = place.engine(instance.engine).containers(uuid=instance.uuid)
    known = sorted({container.service for container in containers})
    unknown = [service for service in request.services if service not in known]
    if unknown or not known:
        raise _no_such_service(instance, unknown, known)
    return [c for c in containers if not request.services or c.service in request.services]


def _no_such_service(
    instance: Instance, unknown: Sequence[str], known: Sequence[str]
) -> SandboxError:
    if not known:
        return SandboxError(
            "no-such-service",
            f"{instance.id} has no containers, so there are no logs.",
            hints=(f"Start it: {own_commands.on(instance.name, 'up')}",),
            details={"instance": instance.id},
        )
    return SandboxError(
        "no-such-service",
        f"{instance.id} has no service '{unknown[0]}'. Services: {', '.join(known)}.",
        details={"instance": instance.id, "unknown": list(unknown), "services": list(known)},
    )
