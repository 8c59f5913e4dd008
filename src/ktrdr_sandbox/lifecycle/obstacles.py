"""What stands in the way of a start: refused before it, or told of when Compose met it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.engine.interface import Container, Engine
from ktrdr_sandbox.engine.records import Belonging
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.lifecycle.composition import Composition
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.slots.allocation import BusyPort, port_conflict
from ktrdr_sandbox.slots.probe import busy_ports


def refuse_foreign(composition: Composition, belongings: Sequence[Belonging]) -> None:
    """What has our project name, or the name of a volume or network of ours, and is not ours.

    Compose would take it over: containers would be replaced, and data in a volume used.
    """
    instance, override = composition.instance, composition.isolation.override
    names = {
        f"{instance.id}_{key}"
        for section in ("networks", "volumes")
        for key in override.get(section, {})
    }
    foreign = [
        one
        for one in belongings
        if one.uuid != instance.uuid and (one.project == instance.id or one.name in names)
    ]
    if foreign:
        raise _foreign(instance, foreign)


def _foreign(instance: Instance, foreign: Sequence[Belonging]) -> SandboxError:
    listed = ", ".join(f"{one.kind} {one.name}" for one in foreign)
    places = ", ".join(sorted({one.directory for one in foreign if one.directory}))
    origin = "They were made by plain Compose, another user or another KTRDR_HOME"
    return SandboxError(
        "compose-failed",
        f"On this engine are things of another stack called {instance.id}: {listed}.",
        hints=(
            f"{origin}, from {places}." if places else f"{origin}.",
            "Remove them where they came from, or use another name.",
        ),
        details={
            "foreign": [
                {"kind": one.kind, "name": one.name, "directory": one.directory, "uuid": one.uuid}
                for one in foreign
            ]
        },
    )


def refuse_paused(instance: Instance, containers: tuple[Container, ...]) -> None:
    """Compose cannot start a container that is paused. Whoever paused it had a reason."""
    paused = [c.name for c in containers if c.uuid == instance.uuid and c.state == "paused"]
    if paused:
        raise SandboxError(
            "compose-failed",
            f"Paused, so it cannot be started: {', '.join(paused)}.",
            hints=(f"Resume it: docker unpause {' '.join(paused)}",),
            details={"containers": paused},
        )


def refuse_busy_ports(composition: Composition, containers: tuple[Container, ...]) -> None:
    """Raises `port-conflict`, naming who holds each port that the stack needs and has not got."""
    instance, stack = composition.instance, composition.isolation.stack
    own = {
        (port, protocol)
        for container in containers
        if container.uuid == instance.uuid
        for _, port, _, protocol in container.published
    }
    starting = {service.name for service in stack.startable}
    wanted = [
        (port.published, port.protocol)
        for port in stack.ports
        if port.service in starting and (port.published, port.protocol) not in own
    ]
    conflicts = busy_ports(wanted, address=composition.settings.bind_address)
    if conflicts:
        raise port_conflict(
            [_by_container(conflict, containers) for conflict in conflicts],
            slot=instance.slot,
            another_slot=own_commands.on(instance.name, "move", "--slot N"),
        )


def _by_container(conflict: BusyPort, containers: tuple[Container, ...]) -> BusyPort:
    """Name the container behind the engine's port proxy, which says nothing to a user."""
    for container in containers:
        published = {(port, protocol) for _, port, _, protocol in container.published}
        if (conflict.port, conflict.protocol) in published:
            return BusyPort(
                port=conflict.port,
                protocol=conflict.protocol,
                holder=f"container {container.name}",
            )
    return conflict


@contextmanager
def explained(engine: Engine, composition: Composition) -> Iterator[None]:
    """Add to a failure of Compose what this program knows and Compose does not."""
    try:
        yield
    except SandboxError as error:
        if error.code == "port-conflict":
            # Taken since it was looked at. Raises the better told conflict, if it still stands.
            refuse_busy_ports(composition, engine.containers())
            move = own_commands.on(composition.instance.name, "move", "--slot N")
            error.hints = (*error.hints, f"Or use another slot: {move}")
        elif error.code == "image-missing":
            _explain_missing_image(error, composition)
        elif error.code == "network-pool-exhausted":
            _name_unused_networks(error, engine)
        raise


def _explain_missing_image(error: SandboxError, composition: Composition) -> None:
    """Name the services that want it; building is no way out where they have nothing to build."""
    output = str(error.details.get("output", ""))
    services = [
        service
        for service in composition.isolation.stack.active
        if service.image and service.image in output
    ]
    if services:
        error.details["services"] = [service.name for service in services]
        wanted = f"It is the image of {', '.join(service.name for service in services)}."
        error.hints = (wanted, *error.hints)
    if not services or any(service.builds for service in services):
        build = own_commands.on(composition.instance.name, "up", "--build")
        error.hints = (*error.hints, f"Or build it: {build}")


def _name_unused_networks(error: SandboxError, engine: Engine) -> None:
    unused = engine.unused_networks()
    error.details["unused_networks"] = list(unused)
    if unused:
        error.hints = (f"These are used by no container: {' '.join(unused)}", *error.hints)
