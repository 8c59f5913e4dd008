"""down: stop a stack as Compose does, and remove what carries the instance's uuid."""

from __future__ import annotations

from dataclasses import dataclass

from ktrdr_sandbox.commands.context import Context, locked_instance
from ktrdr_sandbox.docker.engine import Engine, Resources
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.state import journal


@dataclass(frozen=True, slots=True, kw_only=True)
class DownPlan:
    """What down removes. Containers get their signal and grace period unless `now`."""

    instance: Instance
    removed: Resources
    volumes_kept: tuple[str, ...]
    now: bool


def down(
    context: Context, instance: Instance, *, volumes: bool, now: bool = False, dry_run: bool = False
) -> DownPlan:
    """Stop and remove containers and networks; the data only with `volumes`.

    Raises `teardown-incomplete`.
    """
    with locked_instance(context, instance, purpose="down") as instance:
        engine = context.engine(instance.engine)
        found = engine.resources(instance.uuid)
        plan = DownPlan(
            instance=instance,
            removed=Resources(
                containers=found.containers,
                networks=found.networks,
                volumes=found.volumes if volumes else (),
            ),
            volumes_kept=() if volumes else found.volumes,
            now=now,
        )
        if not dry_run:
            with journal.operation(context.home, instance.id, "down", plan) as log:
                log.begin("containers")
                grace = 0 if now else None
                remove_resources(engine, instance.id, instance.uuid, plan.removed, grace=grace)
    return plan


def remove_resources(
    engine: Engine, instance_id: str, uuid: str, resources: Resources, *, grace: int | None
) -> None:
    """Remove, then ask the engine again. Raises `teardown-incomplete` naming what survived."""
    if not resources:
        return
    engine.remove(resources, grace=grace)
    now = engine.resources(uuid)
    survivors = Resources(
        containers=now.containers,
        networks=tuple(name for name in now.networks if name in resources.networks),
        volumes=tuple(name for name in now.volumes if name in resources.volumes),
    )
    if survivors:
        raise SandboxError(
            "teardown-incomplete",
            f"Some of {instance_id} could not be removed: {', '.join(survivors.names())}.",
            hints=("Something else may use them: docker network inspect, docker ps --all",),
            details={"left": list(survivors.names())},
        )
