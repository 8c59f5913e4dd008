"""logs: what the containers of an instance printed, asked of the engine each time."""

from __future__ import annotations

import heapq
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.docker.engine import Container, Engine
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import Instance

LOOK: Final = 1.0
"""Seconds between two looks at which containers there are."""

_DOWN: Final = 2
"""Looks without a running container before it is told: a restart is shorter and not worth it."""

_HELD: Final = 2000
"""Lines that may wait for a slow reader before the containers' logs wait too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """`source` is the container's name without the instance's ("backend-1"), `stamp` its time."""

    source: str
    service: str
    stamp: str
    text: str


def read(
    engine: Engine,
    instance: Instance,
    containers: Sequence[Container],
    *,
    tail: int | None,
    since: str | None,
) -> Iterator[LogLine]:
    """What these containers have printed, by time. `tail` is for each of them."""

    def lines(container: Container) -> Iterator[LogLine]:
        found = engine.stamped_logs(container.id, follow=False, tail=tail, since=since)
        return (_line(instance, container, stamp, text) for stamp, text in found)

    return heapq.merge(*map(lines, containers), key=lambda line: line.stamp)


def _line(instance: Instance, container: Container, stamp: str, text: str) -> LogLine:
    source = container.name.removeprefix(f"{instance.id}-")
    return LogLine(source=source, service=container.service, stamp=stamp, text=text)


@dataclass
class Follower:
    """Goes on with the lines of an instance's containers, whatever becomes of those.

    `containers` gives those that are meant, as they are now; `exists` whether the instance is still
    registered; `tell` takes a sentence for the user.
    """

    engine: Engine
    instance: Instance
    containers: Callable[[], Sequence[Container]]
    exists: Callable[[], bool]
    tell: Callable[[str], None]
    look: float = LOOK
    _lines: queue.Queue[LogLine | SandboxError] = field(default_factory=lambda: queue.Queue(_HELD))
    _seen: dict[str, str] = field(default_factory=dict)
    """Time of the last line of each container, by its id."""
    _readers: dict[str, threading.Thread] = field(default_factory=dict)
    _idle_looks: int = 0
    _told: bool = False

    def lines(self, *, tail: int | None, since: str | None) -> Iterator[LogLine | None]:
        """Lines as they come, for ever; None whenever there is none just now.

        Ends by itself only when the instance is destroyed.
        """
        containers = self.containers()
        by_source = {one.name.removeprefix(f"{self.instance.id}-"): one.id for one in containers}
        self._seen = dict.fromkeys(by_source.values(), "")
        for line in read(self.engine, self.instance, containers, tail=tail, since=since):
            self._seen[by_source[line.source]] = line.stamp
            yield line
        try:
            while self._goes_on():
                yield from self._lines_until(time.monotonic() + self.look)
        finally:
            self.engine.end_commands(at_once=True)

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
        found = self.containers()
        for container in found:
            is_new = container.id not in self._seen and container.state != "created"
            if (container.state == "running" or is_new) and not self._is_read(container):
                self._start(container)
        runs = any(one.state == "running" for one in found)
        self._idle_looks = 0 if runs else self._idle_looks + 1
        if self._told and runs:
            self._told = False
            self.tell(f"{self.instance.id} is back.")
        elif not found and not self.exists():
            self.tell(f"{self.instance.id} was destroyed.")
            return False
        elif self._idle_looks >= _DOWN and not self._told:
            self._told = True
            self.tell(f"{self.instance.id} is not running; its logs go on here when it is back.")
        return True

    def _is_read(self, container: Container) -> bool:
        reader = self._readers.get(container.id)
        return reader is not None and reader.is_alive()

    def _start(self, container: Container) -> None:
        since = self._seen.setdefault(container.id, "")
        reader = threading.Thread(
            target=self._read, args=(container, since), name="log reader", daemon=True
        )
        self._readers[container.id] = reader
        reader.start()

    def _read(self, container: Container, since: str) -> None:
        try:
            found = self.engine.stamped_logs(
                container.id, follow=True, tail=None, since=since or None
            )
            for stamp, text in found:
                if stamp > since:  # Docker's own limit includes the line that was the last
                    self._seen[container.id] = stamp
                    self._lines.put(_line(self.instance, container, stamp, text))
        except SandboxError as error:
            if error.code != "interrupted":
                self._lines.put(error)


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
    context: Context, instance: Instance, request: LogRequest
) -> Iterator[LogLine | None]:
    """Lines by time; asked from labels alone, so also when the Compose file is gone.

    With `follow` they go on over restarts, and None says that there is none just now. Nothing is
    hidden in them: it is the terminal of whoever started the stack. Raises `no-such-service`, and
    `usage` for a `since` that is no time.
    """
    engine = context.engine(instance.engine)
    found = _wanted_containers(context, instance, request)
    if not request.follow:
        return read(engine, instance, found, tail=request.tail, since=request.since)

    def wanted() -> list[Container]:
        every = engine.containers(uuid=instance.uuid)
        return [c for c in every if not request.services or c.service in request.services]

    def exists() -> bool:
        entry = context.registry.read().instances.get(instance.id)
        return entry is not None and entry.uuid == instance.uuid

    follower = Follower(engine, instance, wanted, exists, context.tell)
    return follower.lines(tail=request.tail, since=request.since)


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
    found = _wanted_containers(context, instance, request)
    return {
        "instance": instance.id,
        "containers": [
            {"name": c.name, "service": c.service, "lines": _lines(context, instance, c, request)}
            for c in found
        ],
    }


def _lines(
    context: Context, instance: Instance, container: Container, request: LogRequest
) -> list[str]:
    engine = context.engine(instance.engine)
    if request.since is None:
        tail = DEFAULT_TAIL if request.tail is None else request.tail
        return list(engine.logs(container.id, tail=tail))
    stamped = engine.stamped_logs(
        container.id, follow=False, tail=request.tail, since=request.since
    )
    return [text for _, text in stamped]


def _wanted_containers(
    context: Context, instance: Instance, request: LogRequest
) -> list[Container]:
    containers = context.engine(instance.engine).containers(uuid=instance.uuid)
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
