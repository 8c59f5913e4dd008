"""logs: what the containers of an instance printed, asked of the engine each time."""

from __future__ import annotations

import heapq
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.docker.engine import Container
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import Instance

LOOK: Final = 1.0  # seconds between two looks at which containers there are
DEFAULT_TAIL: Final = 100  # lines a container in a JSON document when nobody says how many
_DOWN: Final = 2  # looks without a running container before it is told: a restart is shorter
_HELD: Final = 2000  # lines that may wait for a slow reader before the containers' logs wait too


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """`source` is the container's name without the instance's ("backend-1"), `stamp` its time."""

    source: str
    service: str
    stamp: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRequest:
    """`tail` None shows all lines; `since` is Docker's own notation ("10m", a timestamp)."""

    services: tuple[str, ...] = ()
    follow: bool = False
    tail: int | None = None
    since: str | None = None


def shown_logs(
    context: Context, instance: Instance, request: LogRequest
) -> Iterator[LogLine | None]:
    """Lines by time; asked from labels alone, so also when the Compose file is gone.

    With `follow` they go on over restarts, and None says that there is none just now. Nothing is
    hidden in them: it is the terminal of whoever started the stack. Raises `no-such-service`, and
    `usage` for a `since` that is no time.
    """
    found = _wanted_containers(context, instance, request)
    if request.follow:
        return _Follower(context, instance, request).lines(found)
    return _printed(context, instance, found, request)


def collected_logs(context: Context, instance: Instance, request: LogRequest) -> dict[str, Any]:
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
    engine = context.engine(instance.engine)
    containers = []
    for one in _wanted_containers(context, instance, request):
        if request.since is None:
            tail = DEFAULT_TAIL if request.tail is None else request.tail
            lines = list(engine.logs(one.id, tail=tail))
        else:
            lines = [line.text for line in _printed(context, instance, [one], request)]
        containers.append({"name": one.name, "service": one.service, "lines": lines})
    return {"instance": instance.id, "containers": containers}


class _Follower:
    """Goes on with the lines of an instance's containers, whatever becomes of those."""

    def __init__(self, context: Context, instance: Instance, request: LogRequest) -> None:
        self._context, self._instance, self._request = context, instance, request
        self._engine = context.engine(instance.engine)
        self._lines: queue.Queue[LogLine | SandboxError] = queue.Queue(_HELD)
        self._last: dict[str, str] = {}  # time of the last line of each container, by its id
        self._readers: dict[str, threading.Thread] = {}
        self._idle_looks = 0
        self._told = False

    def lines(self, containers: Sequence[Container]) -> Iterator[LogLine | None]:
        """Lines as they come, until the instance is destroyed; None whenever there is none now."""
        by_source = {_source(self._instance, one): one.id for one in containers}
        self._last = dict.fromkeys(by_source.values(), "")
        for line in _printed(self._context, self._instance, containers, self._request):
            self._last[by_source[line.source]] = line.stamp
            yield line
        try:
            while self._goes_on():
                yield from self._lines_until(time.monotonic() + LOOK)
        finally:
            self._engine.end_commands(at_once=True)

    def _lines_until(self, until: float) -> Iterator[LogLine | None]:
        while (left := until - time.monotonic()) > 0:
            try:
                found = self._lines.get_nowait()
            except queue.Empty:
                yield None
                try:
                    found = self._lines.get(timeout=left)
                except queue.Empty:
                    return
            if isinstance(found, SandboxError):
                raise found
            yield found

    def _goes_on(self) -> bool:
        """Look again, and read every container that is not being read."""
        instance, tell = self._instance, self._context.tell
        found = _of_services(self._engine.containers(uuid=instance.uuid), self._request)
        for container in found:
            is_new = container.id not in self._last and container.state != "created"
            reader = self._readers.get(container.id)
            if (container.state == "running" or is_new) and not (reader and reader.is_alive()):
                since = self._last.setdefault(container.id, "")
                reader = threading.Thread(target=self._read, args=(container, since), daemon=True)
                self._readers[container.id] = reader
                reader.start()
        runs = any(one.state == "running" for one in found)
        self._idle_looks = 0 if runs else self._idle_looks + 1
        entry = self._context.registry.read().instances.get(instance.id) if not found else instance
        if self._told and runs:
            self._told = False
            tell(f"{instance.id} is back.")
        elif entry is None or entry.uuid != instance.uuid:
            tell(f"{instance.id} was destroyed.")
            return False
        elif self._idle_looks >= _DOWN and not self._told:
            self._told = True
            tell(f"{instance.id} is not running; its logs go on here when it is back.")
        return True

    def _read(self, container: Container, since: str) -> None:
        try:
            found = self._engine.stamped_logs(
                container.id, follow=True, tail=None, since=since or None
            )
            for stamp, text in found:
                if stamp > since:  # Docker's own limit includes the line that was the last
                    self._last[container.id] = stamp
                    self._lines.put(_line(self._instance, container, stamp, text))
        except SandboxError as error:
            if error.code != "interrupted":
                self._lines.put(error)


def _printed(
    context: Context, instance: Instance, containers: Sequence[Container], request: LogRequest
) -> Iterator[LogLine]:
    """What these containers have printed, by time."""
    read = context.engine(instance.engine).stamped_logs

    def lines(container: Container) -> Iterator[LogLine]:
        found = read(container.id, follow=False, tail=request.tail, since=request.since)
        return (_line(instance, container, stamp, text) for stamp, text in found)

    return heapq.merge(*map(lines, containers), key=lambda line: line.stamp)


def _line(instance: Instance, container: Container, stamp: str, text: str) -> LogLine:
    source = _source(instance, container)
    return LogLine(source=source, service=container.service, stamp=stamp, text=text)


def _source(instance: Instance, container: Container) -> str:
    return container.name.removeprefix(f"{instance.id}-")


def _of_services(containers: Sequence[Container], request: LogRequest) -> list[Container]:
    return [c for c in containers if not request.services or c.service in request.services]


def _wanted_containers(
    context: Context, instance: Instance, request: LogRequest
) -> list[Container]:
    containers = context.engine(instance.engine).containers(uuid=instance.uuid)
    known = sorted({container.service for container in containers})
    unknown = [service for service in request.services if service not in known]
    if not known:
        raise SandboxError(
            "no-such-service",
            f"{instance.id} has no containers, so there are no logs.",
            hints=(f"Start it: {own_commands.on(instance.name, 'up')}",),
            details={"instance": instance.id},
        )
    if unknown:
        raise SandboxError(
            "no-such-service",
            f"{instance.id} has no service '{unknown[0]}'. Services: {', '.join(known)}.",
            details={"instance": instance.id, "unknown": unknown, "services": known},
        )
    return _of_services(containers, request)
