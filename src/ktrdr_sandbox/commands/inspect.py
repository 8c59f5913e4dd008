"""list and status: what is, asked of the engine each time."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ktrdr_sandbox.background import run_in_background
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.commands.relocated import resolve_moved
from ktrdr_sandbox.docker.engine import Container
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import EngineAddress, Instance
from ktrdr_sandbox.slots.port_map import get_ports

if TYPE_CHECKING:
    from ktrdr_sandbox.models import PublishedPort
    from ktrdr_sandbox.shared.inventory import Inventory


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


def list_instances(context: Context) -> Listing:
    """All instances, with one call to each engine. Drops entries of which nothing is left."""
    registered = _registered(context)
    by_engine = _containers_of_all(context, registered)
    rows, dropped = [], []
    for instance in registered:
        by_uuid = by_engine.get(instance.engine)
        containers = None if by_uuid is None else by_uuid.get(instance.uuid, [])
        if _is_stale(context, instance, containers) and _forget(context, instance):
            dropped.append(instance)
            continue
        rows.append(
            ListedInstance(
                instance=instance,
                status=_summary(instance, containers),
                api_port=get_ports(instance.slot)["backend"],
            )
        )
    rows.sort(key=lambda row: row.instance.slot)
    return Listing(instances=tuple(rows), dropped=tuple(dropped))


def _registered(context: Context) -> list[Instance]:
    """What the registry has, each where its directory is now."""
    return [
        one if one.path.is_dir() or one.state != "created" else resolve_moved(context, one)
        for one in context.registry.read().instances.values()
    ]


def _containers_of_all(
    context: Context, instances: Iterable[Instance]
) -> dict[EngineAddress, dict[str, list[Container]] | None]:
    """Containers by engine and uuid; None for one that does not answer, which is told once."""
    addresses = list(dict.fromkeys(instance.engine for instance in instances))
    if not addresses:
        return {}

    def ask(address: EngineAddress) -> dict[str, list[Container]] | None:
        try:
            return _by_uuid(context.engine(address).containers())
        except SandboxError as error:
            context.tell(error.message)
            return None

    answers = [run_in_background(functools.partial(ask, address)) for address in addresses]
    return {address: answer.result() for address, answer in zip(addresses, answers, strict=True)}


def _by_uuid(containers: Iterable[Container]) -> dict[str, list[Container]]:
    found: dict[str, list[Container]] = {}
    for container in containers:
        found.setdefault(container.uuid, []).append(container)
    return found


def _is_stale(context: Context, instance: Instance, containers: Sequence[Container] | None) -> bool:
    """The directory is gone and so is everything in Docker: volumes, networks and images too."""
    if instance.path.is_dir() or containers is None or instance.state != "created":
        return False
    from ktrdr_sandbox.state import last_up  # directories are seldom gone

    engine = context.engine(instance.engine)
    if engine.resources(instance.uuid):
        return False
    images = last_up.load(context.home, instance).images
    return not images or engine.images().isdisjoint(images)


def _forget(context: Context, instance: Instance) -> bool:
    from ktrdr_sandbox.commands.stale import drop_stale  # git and more, seldom needed

    return drop_stale(context, instance)


def _summary(instance: Instance, containers: Sequence[Container] | None) -> Summary:
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


def status(context: Context, instance: Instance) -> InstanceStatus:
    """One instance in detail. Raises `docker-not-answering`, `docker-missing`."""
    from ktrdr_sandbox.shared.inventory import take_inventory

    found = context.engine(instance.engine).containers(uuid=instance.uuid)
    return _in_detail(context, instance, found, take_inventory(context.home.shared))


def status_of_all(context: Context) -> list[InstanceStatus]:
    """Every instance in detail, by slot, with one call to each engine.

    Of those of an engine that does not answer the status is `unknown`.
    """
    from ktrdr_sandbox.shared.inventory import take_inventory

    registered = sorted(_registered(context), key=lambda one: one.slot)
    by_engine = _containers_of_all(context, registered)
    shared = take_inventory(context.home.shared)
    return [
        _in_detail(
            context,
            instance,
            None if (known := by_engine[instance.engine]) is None else known.get(instance.uuid, []),
            shared,
        )
        for instance in registered
    ]


def _in_detail(
    context: Context, instance: Instance, found: Sequence[Container] | None, shared: Inventory
) -> InstanceStatus:
    """`found` is None when the engine does not answer."""
    from ktrdr_sandbox.state import last_up

    containers = tuple(container for container in found or () if not container.oneoff)
    kept = last_up.load(context.home, instance)
    present = {container.service for container in containers}
    running = any(container.state == "running" for container in containers)
    missing = tuple(s for s in kept.services if s not in present) if running else ()
    summary = _summary(instance, None if found is None else containers)
    return InstanceStatus(
        instance=instance,
        status="partial" if missing and summary == "running" else summary,
        containers=tuple(sorted(containers, key=lambda c: c.name)),
        missing=missing,
        ports=kept.ports,
        named_ports=get_ports(instance.slot),
        shared=shared,
    )
