"""move: another port slot for a stopped instance. Its data stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.commands.compose_project import write_slot
from ktrdr_sandbox.commands.context import Context
from ktrdr_sandbox.commands.create import busy_in_slot
from ktrdr_sandbox.commands.recover import held
from ktrdr_sandbox.docker.engine import Resources
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.slots.allocation import allocate
from ktrdr_sandbox.slots.port_map import get_ports
from ktrdr_sandbox.state import journal
from ktrdr_sandbox.state.registry_file import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """An instance in its new slot."""

    instance: Instance
    former_slot: int
    ports: Mapping[str, int]


def move(context: Context, instance: Instance, *, slot: int) -> Move:
    """Give a stopped instance that slot.

    The registry changes first, and `.env.sandbox` follows it. Raises `not-stopped`, `slot-taken`,
    `port-conflict`, `no-such-instance`.
    """
    with held(context, instance, purpose="move") as instance:
        if slot != instance.slot:
            _remove_networks(context, instance)
        bind = context.settings(instance.path).bind_address

        def change(registry: Registry) -> tuple[Registry, Instance]:
            taken = registry.taken_slots()
            taken.pop(instance.slot, None)
            if slot != instance.slot:
                allocate(
                    taken=taken,
                    wanted=slot,
                    busy=lambda number: busy_in_slot(number, bind),
                    another_slot=own_commands.on(instance.name, "move", "--slot N"),
                )
            moved = replace(registry.instances[instance.id], slot=slot)
            return registry.with_instance(moved), moved

        with journal.operation(context.home, instance.id, "move", {"slot": slot}) as log:
            with log.step("entry"):
                moved = context.registry.update(change)
            with log.step("marker"):
                if moved.env_file.is_file():
                    write_slot(moved)
    return Move(instance=moved, former_slot=instance.slot, ports=get_ports(slot))


def _remove_networks(context: Context, instance: Instance) -> None:
    """They carry the slot. Volumes do not, and stay."""
    engine = context.engine(instance.engine)
    found = engine.resources(instance.uuid)
    if found.containers:
        names = ", ".join(container.name for container in found.containers)
        raise SandboxError(
            "not-stopped",
            f"{instance.id} has containers, whose ports cannot be changed: {names}.",
            hints=(f"Stop it first, its data stays: {own_commands.on(instance.name, 'down')}",),
            details={"containers": [container.name for container in found.containers]},
        )
    engine.remove(Resources(networks=found.networks), grace=0)
