"""list, status and logs: what is, asked of the engine each time."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from ktrdr_sandbox.engine.interface import Container
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.lifecycle import log_stream, record
from ktrdr_sandbox.lifecycle.log_stream import LogLine
from ktrdr_sandbox.lifecycle.recognition import recognise
from ktrdr_sandbox.lifecycle.workplace import Workplace
from ktrdr_sandbox.models import EngineAddress, Instance, PublishedPort
from ktrdr_sandbox.questions import asked
from ktrdr_sandbox.shared_data import inventory
from ktrdr_sandbox.shared_data.results import Inventory
from ktrdr_sandbox.slots.port_map import get_ports

DEFAULT_TAIL: Final = 100
"""Lines a container in a JSON document when nobody says how many."""

Summary = Literal["running", "partial", "stopped", "orphaned", "unknown", "creating", "removing"]
"""running: every container runs; partial: some do; stopped: none; orphaned: the directory is gone
but something of it is left in Docker; unknown: the engine does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedInstance:
    instance: Instance
    status: Summary
    api_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """`dropped` are entries whose directory was gone and of which Docker had nothing left."""

    instances: tuple[ListedInstance, ...]
    dropped: tuple[Instance, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceStatus:
    """`missing` are services of the last `up` that have no container now."""

    instance: Instance
    status: Summary
    containers: tuple[Container, ...]
    missing: tuple[str, ...]
    ports: tuple[PublishedPort, ...]
    named_ports: dict[str, int]
    shared: Inventory


def list_instances(place: Workplace) -> Listing:
    """All instances, with one call to each engine. Drops entries of which nothing is left."""
    registered = [
        one if one.path.is_dir() or one.state != "created" else recognise(place, one)
        for one in place.registry.read().instances.values()
    ]
    by_engine = _containers_of_all(place, registered)
    rows, dropped = [], []
    for instance in registered:
        containers = by_engine.get(instance.engine)
        if _is_stale(place, instance, containers):
            place.registry.drop(instance)
            shutil.rmtree(place.home.state_of(instance.id), ignore_errors=True)
            dropped.append(instance)
            continue
        rows.append(
            ListedInstance(
                instance=instance,
                status=_summary(instance, _own(instance, containers)),
                api_port=get_ports(instance.slot)["backend"],
            )
        )
    rows.sort(key=lambda row: row.instance.slot)
    return Listing(instances=tuple(rows), dropped=tuple(dropped))


def _containers_of_all(
    place: Workplace, instances: Iterable[Instance]
) -> dict[EngineAddress, tuple[Container, ...] | None]:
    """Containers by engine; None for one that does not answer, which is told once."""
    addresses = list(dict.fromkeys(instance.engine for instance in instances))
    if not addresses:
        return {}

    def ask(address: EngineAddress) -> tuple[Container, ...] | None:
        try:
            return place.engine(address).containers()
        except SandboxError as error:
            place.tell(error.message)
            return None

    answers = [asked(functools.partial(ask, address)) for address in addresses]
    return {address: answer.result() for address, answer in zip(addresses, answers, strict=True)}


def _own(
    instance: Instance, containers: tuple[Container, ...] | None
) -> tuple[Container, ...] | None:
    if containers is None:
        return None
    return tuple(c for c in containers if c.uuid == instance.uuid)


def _is_stale(
    place: Workplace, instance: Instance, containers: tuple[Container, ...] | None
) -> bool:
    """The directory is gone and so is everything in Docker: volumes, networks and images too."""
    if instance.path.is_dir() or containers is None or instance.state != "created":
        return False
    engine = place.engine(instance.engine)
    if engine.resources(instance.uuid):
        return False
    images = record.load(place.home, instance).images
    return not images or engine.images().isdisjoint(images)


def _summary(instance: Instance, containers: tuple[Container, ...] | None) -> Summary:
    if instance.state != "created":
        return instance.state
    if not instance.path.is_dir():
        return "orphaned"
    if containers is None:
        return "unknown"
    services = [c for c in containers if not c.oneoff]
    running = [c for c in services if c.state == "running"]
    if not running:
        return "stopped"
    finished = [c for c in services if c.state == "exited" and "(0)" in c.status]
    return "running" if len(running) + len(finished) == len(services) else "partial"


def status(place: Workplace, instance: Instance) -> InstanceStatus:
    """One instance in detail. Raises `docker-not-answering`, `docker-missing`."""
    found = place.engine(instance.engine).containers(uuid=instance.uuid)
    containers = tuple(container for container in found if not container.oneoff)
    kept = record.load(place.home, instance)
    present = {container.service for container in containers}
    running = any(container.state == "running" for container in containers)
    missing = tuple(s for s in kept.services if s not in present) if running else ()
    summary = _summary(instance, containers)
    return InstanceStatus(
        instance=instance,
        status="partial" if missing and summary == "running" else summary,
        containers=tuple(sorted(containers, key=lambda c: c.name)),
        missing=missing,
        ports=kept.ports,
        named_ports=get_ports(instance.slot),
        shared=inventory.take(place.home.shared),
    )


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
    """The lines by container, for the JSON envelope; `follow` and `since` do not apply.

    Raises `no-such-service`, and `usage` for `follow`, which has no end to put in a document.
    """
    if request.follow or request.since:
        raise SandboxError("usage", "--json goes with --tail only, not with --follow or --since.")
    engine = place.engine(instance.engine)
    found = _wanted_containers(place, instance, request)
    tail = DEFAULT_TAIL if request.tail is None else request.tail
    return {
        "instance": instance.id,
        "containers": [
            {
                "name": c.name,
                "service": c.service,
                "lines": list(engine.logs(c.id, tail=tail)),
            }
            for c in found
        ],
    }


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
            hints=(f"Start it: ktrdr-sandbox up {instance.name}",),
            details={"instance": instance.id},
        )
    return SandboxError(
        "no-such-service",
        f"{instance.id} has no service '{unknown[0]}'. Services: {', '.join(known)}.",
        details={"instance": instance.id, "unknown": list(unknown), "services": list(known)},
    )
