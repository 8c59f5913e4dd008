"""move: another port slot for a stopped instance. Its data stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.commands.compose_project import write_slot
from ktrdr_sandbox.commands.context import Context, locked_instance
from ktrdr_sandbox.commands.create import free_slot
from ktrdr_sandbox.docker.engine import Resources
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.slots.port_map import get_ports
from ktrdr_sandbox.state import journal
from ktrdr_sandbox.state.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class MovePlan:
    """An instance in its new slot. `networks` carry the former slot and go; volumes do not."""

    instance: Instance
    former_slot: int
    networks: tuple[str, ...] = ()

    @property
    def ports(self) -> Mapping[str, int]:
        return get_ports(self.instance.slot)


def move(context: Context, instance: Instance, *, slot: int, dry_run: bool = False) -> MovePlan:
    """Give a stopped instance that slot.

    Raises `not-stopped`, `slot-taken`, `port-conflict`, `no-such-instance`.
    """
    with locked_instance(context, instance, purpose="move") as instance:
        moved, found = replace(instance, slot=slot), Resources()
        if slot != instance.slot:
            found = context.engine(instance.engine).resources(instance.uuid)
            _check_free(context, context.registry.read(), moved)
        names = [container.name for container in found.containers]
        if names:
            raise SandboxError(
                "not-stopped",
                f"{moved.id} has containers, whose ports cannot be changed: {', '.join(names)}.",
                hints=(f"Stop it first, its data stays: {own_commands.on(moved.name, 'down')}",),
                details={"containers": names},
            )
        plan = MovePlan(instance=moved, former_slot=instance.slot, networks=found.networks)
        if not dry_run:
            _apply(context, plan)
    return plan


def _check_free(context: Context, registry: Registry, moved: Instance) -> None:
    another = own_commands.on(moved.name, "move", "--slot N")
    free_slot(context, registry, moved.path, wanted=moved.slot, another_slot=another)


def _apply(context: Context, plan: MovePlan) -> None:
    """The registry changes first, and `.env.sandbox` follows it."""
    moved = plan.instance

    def change(registry: Registry) -> tuple[Registry, None]:
        if moved.slot != plan.former_slot:
            _check_free(context, registry, moved)
        return registry.with_instance(moved), None

    if plan.networks:
        context.engine(moved.engine).remove(Resources(networks=plan.networks), grace=0)
    with journal.operation(context.home, moved.id, "move", plan) as log:
        log.begin("entry")
        context.registry.update(change)
        log.begin("marker")
        if moved.env_file.is_file():
            write_slot(moved)
