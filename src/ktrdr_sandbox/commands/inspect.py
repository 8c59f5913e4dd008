"""list and status: what is, asked of the engine each time."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from ktrdr_sandbox.background import run_in_background
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.docker.engine import Container
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import EngineAddress, Instance
from ktrdr_sandbox.slots.port_map import get_ports
from ktrdr_sandbox.state import last_up

if TYPE_CHECKING:
    from ktrdr_sandbox.models import PublishedPort
    from ktrdr_sandbox.shared.inventory import Inventory

Summary = Literal["running", "partial", "stopped", "orphaned", "unknown", "creating", "removing"]
"""running: every container runs; partial: some do; stopped: none; orphaned: the directory is gone
but something of it is left in Docker; unknown: the engine does not answer."""

_PATIENCE: Final = 1.0  # seconds for the backend to say which workers it has


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """How many workers the backend knows, of how many that run."""

    registered: int
    expected: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedInstance:
    """`workers` is None where there are none, or the backend does not tell."""

    instance: Instance
    status: Summary
    api_port: int
    workers: Workers | None = None


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
    workers: Workers | None = None


def list_instances(context: Context) -> Listing:
    """All instances, with one call to each engine. Drops entries of which nothing is left."""
    kept, dropped = [], []
    for instance, containers in _stacks(context):
        if _drop_stale(context, instance, containers):
            dropped.append(instance)
        else:
            kept.append((instance, containers))
    counts = [run_in_background(partial(_workers, context, *stack)) for stack in kept]
    rows = [
        ListedInstance(
            instance=instance,
            status=_summary(instance, containers),
            api_port=get_ports(instance.slot)["backend"],
            workers=count.result(),
        )
        for (instance, containers), count in zip(kept, counts, strict=True)
    ]
    return Listing(instances=tuple(rows), dropped=tuple(dropped))


def status(context: Context, instance: Instance) -> InstanceStatus:
    """One instance in detail. Raises `docker-not-answering`, `docker-missing`."""
    from ktrdr_sandbox.shared.inventory import take_inventory  # not for list

    found = context.engine(instance.engine).containers(uuid=instance.uuid)
    return _in_detail(context, instance, found, take_inventory(context.home.shared))


def status_of_all(context: Context) -> list[InstanceStatus]:
    """Every instance in detail, by slot, with one call to each engine.

    Of those of an engine that does not answer the status is `unknown`.
    """
    from ktrdr_sandbox.shared.inventory import take_inventory  # not for list

    shared = take_inventory(context.home.shared)
    return [_in_detail(context, *stack, shared) for stack in _stacks(context)]


def _stacks(context: Context) -> list[tuple[Instance, Sequence[Container] | None]]:
    """What the registry has, by slot and each where its directory is now, with its containers;
    None for those of an engine that does not answer, which is told once."""
    instances = sorted(context.registry.read().instances.values(), key=lambda one: one.slot)
    for number, instance in enumerate(instances):
        if instance.state == "created" and not instance.path.is_dir():
            from ktrdr_sandbox.commands.relocated import resolve_moved  # git and more, seldom

            instances[number] = resolve_moved(context, instance)

    def ask(address: EngineAddress) -> Sequence[Container] | None:
        try:
            return context.engine(address).containers()
        except SandboxError as error:
            context.tell(error.message)
            return None

    addresses = dict.fromkeys(instance.engine for instance in instances)
    answers = {address: run_in_background(partial(ask, address)) for address in addresses}
    found: list[tuple[Instance, Sequence[Container] | None]] = []
    for instance in instances:
        every = answers[instance.engine].result()
        own = None if every is None else [one for one in every if one.uuid == instance.uuid]
        found.append((instance, own))
    return found


def _drop_stale(
    context: Context, instance: Instance, containers: Sequence[Container] | None
) -> bool:
    """Forget it if its directory is gone and so is all in Docker: volumes, networks, images too."""
    if instance.path.is_dir() or containers is None or instance.state != "created":
        return False
    engine = context.engine(instance.engine)
    images = last_up.load(context.home, instance).images
    if engine.resources(instance.uuid) or (images and not engine.images().isdisjoint(images)):
        return False
    from ktrdr_sandbox.commands.stale import drop_stale  # git and more, seldom

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


def _in_detail(
    context: Context, instance: Instance, found: Sequence[Container] | None, shared: Inventory
) -> InstanceStatus:
    """`found` is None when the engine does not answer."""
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
        workers=_workers(context, instance, containers),
    )


def _workers(
    context: Context, instance: Instance, containers: Sequence[Container] | None
) -> Workers | None:
    ports = last_up.load(context.home, instance).ports
    services = {port.service for port in ports if port.role == "worker"}
    running = [c for c in containers or () if c.state == "running" and not c.oneoff]
    expected = sum(1 for container in running if container.service in services)
    backend = next((port for port in ports if port.role == "backend"), None)
    if not expected or backend is None:
        return None
    registered = _registrations(backend)
    return None if registered is None else Workers(registered=registered, expected=expected)


def _registrations(port: PublishedPort) -> int | None:
    """How many workers the backend lists, by a request so plain that no HTTP library is loaded."""
    host = port.host_ip if port.host_ip not in ("", "0.0.0.0", "::") else "127.0.0.1"  # noqa: S104
    request = f"GET /api/v1/workers HTTP/1.0\r\nHost: localhost:{port.published}\r\n\r\n"
    answer = b""
    try:
        with socket.create_connection((host, port.published), _PATIENCE) as connection:
            connection.sendall(request.encode())
            while part := connection.recv(65536):
                answer += part
        head, _, body = answer.partition(b"\r\n\r\n")
        found = json.loads(body)
    except (OSError, ValueError):
        return None
    workers = found.get("workers") if isinstance(found, dict) else found
    is_ok = b" 200 " in head.partition(b"\r\n")[0]
    return len(workers) if is_ok and isinstance(workers, list) else None
