"""down: stop a stack as Compose does, and remove what carries the instance's uuid."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ktrdr_sandbox.commands.compose_project import OVERRIDE, base_call
from ktrdr_sandbox.commands.context import Context, locked_instance
from ktrdr_sandbox.docker.engine import STOPPED, ComposeCall, Container, Engine, LineSink, Resources
from ktrdr_sandbox.docker.environment import child_environment
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.state import journal


@dataclass(frozen=True, slots=True, kw_only=True)
class DownPlan:
    """What down removes. Containers get their hooks, signal and grace period unless `now`."""

    instance: Instance
    removed: Resources
    volumes_kept: tuple[str, ...]
    now: bool


def down(
    context: Context,
    instance: Instance,
    *,
    volumes: bool,
    now: bool = False,
    dry_run: bool = False,
    progress: LineSink = lambda _: None,
) -> DownPlan:
    """Stop and remove containers and networks; the data only with `volumes`.

    Dependents stop first, as with `docker compose down`. Raises `teardown-incomplete`.
    """
    with locked_instance(context, instance, purpose="down") as instance:
        engine = context.engine(instance.engine)
        found = engine.resources(instance.uuid)
        plan = DownPlan(
            instance=instance,
            removed=found if volumes else replace(found, volumes=()),
            volumes_kept=() if volumes else found.volumes,
            now=now,
        )
        if not dry_run:
            with journal.operation(context.home, instance.id, "down", plan) as log:
                log.begin("containers")
                if not now and any(one.state not in STOPPED for one in found.containers):
                    progress("Stopping, each container in its own time; --now kills them at once.")
                    stop_as_compose(context, instance, found.containers, progress=progress)
                grace = 0 if now else None
                remove_resources(engine, instance.id, instance.uuid, plan.removed, grace=grace)
    return plan


def stop_as_compose(
    context: Context,
    instance: Instance,
    containers: Sequence[Container],
    *,
    progress: LineSink,
    grace: int | None = None,
) -> None:
    """Stop the services of these containers: dependents first, with hooks, signals and grace.

    What is left running, one-off containers among it, is for the caller to remove.
    """
    services = sorted({one.service for one in containers if one.state not in STOPPED})
    engine = context.engine(instance.engine)
    # Compose goes by the project's name, which proves nothing.
    shared = any(c.project == instance.id and c.uuid != instance.uuid for c in engine.containers())
    for call in _calls(context, instance) if services and not shared else ():
        try:
            engine.compose_stop(call, grace=grace, progress=progress, services=services)
        except SandboxError as error:
            if error.code not in ("compose-failed", "compose-file-invalid"):
                raise
        else:
            break


def _calls(context: Context, instance: Instance) -> list[ComposeCall]:
    """The call with the stack's files, where they can be read, and one by the name alone.

    By that, Compose goes by the containers' labels, which know no hooks.
    """
    by_name = ComposeCall(
        project=instance.id,
        directory=instance.path if instance.path.is_dir() else context.home.sandbox,
        files=(),
        environment=child_environment(
            context.environment, address=instance.engine, file_values={}, paths={}
        ),
    )
    override = context.home.state_of(instance.id) / OVERRIDE
    if override.is_file() and instance.env_file.is_file():
        with contextlib.suppress(SandboxError):
            call = base_call(context, instance, context.settings(instance.path))
            return [replace(call, files=(*call.files, override)), by_name]
    return [by_name]


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
