"""move: another port slot for a stopped instance. Its data stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.engine.records import Resources
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.lifecycle import journal
from ktrdr_sandbox.lifecycle.creation import busy_in_slot
from ktrdr_sandbox.lifecycle.env_files import write_slot
from ktrdr_sandbox.lifecycle.recovery import held
from ktrdr_sandbox.lifecycle.workplace import Workplace
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.registry.schema import Registry
from ktrdr_sandbox.slots.allocation import allocate
from ktrdr_sandbox.slots.port_map import get_ports


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """An instance in its new slot."""

    instance: Instance
    former_slot: int
    ports: Mapping[str, int]


def move(place: Workplace, instance: Instance, *, slot: int) -> Move:
    """Give a stopped instance that slot.

    The registry changes first, and `.env.sandbox` follows it. Raises `not-stopped`, `slot-taken`,
    `port-conflict`, `no-such-instance`.
    """
    with held(place, instance, purpose="move") as instance:
        if slot != instance.slot:
            _remove_networks(place, instance)
        bind = place.settings(instance.path).bind_address

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

        with journal.operation(place.home, instance.id, "move", {"slot": slot}) as log:
            with log.step("entry"):
                moved = place.registry.update(change)
            with log.step("marker"):
                if moved.env_file.is_file():
                    write_slot(moved)
    return Move(instance=moved, former_slot=instance.slot, ports=get_ports(slot))


def _remove_networks(place: Workplace, instance: Instance) -> None:
    """They carry the slot. Volumes do not, and stay."""
    engine = place.engine(instance.engine)
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
