"""The `.env.sandbox` of an instance, made from its slot and identity alone."""

from __future__ import annotations

from ktrdr_sandbox import own_commands
from ktrdr_sandbox.env_file import reader, schema, writer
from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.lifecycle.workplace import Workplace
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.shared.layout import shared_variables
from ktrdr_sandbox.slots.port_map import get_ports, worker_ports

DEFAULT_WORKERS = 4
"""2 backtest and 2 training workers: the document's `.env.sandbox`."""


def current_values(place: Workplace, instance: Instance) -> dict[str, str]:
    """The file's values, with identity and slot as registered: an edit must not move a stack.

    A missing file is written anew and one of another slot brought up to date, which is told. Raises
    `env-file-damaged`, `cannot-write`, and `no-such-instance` when the directory is gone.
    """
    if not instance.path.is_dir():
        raise SandboxError(
            "no-such-instance",
            f"The directory of {instance.id} is gone: {instance.path}",
            hints=(f"End what is left of it: {own_commands.on(instance.name, 'destroy')}",),
            details={"instance": instance.id, "path": str(instance.path)},
        )
    if not instance.env_file.is_file():
        write_env_file(place, instance)
        place.tell(f"{instance.env_file} was missing and has been written anew.")
    elif reader.read(instance.env_file).get("SLOT_NUMBER") != str(instance.slot):
        write_slot(instance)
        place.tell(f"{instance.env_file} told another slot and now tells {instance.slot}.")
    fixed = {
        "INSTANCE_ID": instance.id,
        "COMPOSE_PROJECT_NAME": instance.id,
        "SLOT_NUMBER": str(instance.slot),
    }
    return {**reader.read(instance.env_file), **fixed}


def write_env_file(place: Workplace, instance: Instance) -> None:
    """Write the whole file. Raises `cannot-write`."""
    sections = schema.sections(
        instance,
        ports=get_ports(instance.slot),
        extra=_workers(instance),
        paths=shared_variables(place.home),
    )
    writer.write(instance.env_file, sections)


def write_slot(instance: Instance) -> None:
    """Bring what depends on the slot up to date, and leave all else as its owner wrote it.

    Raises `cannot-write`.
    """
    values = schema.slot_values(instance, ports=get_ports(instance.slot))
    writer.update(instance.env_file, {**values, **_workers(instance)})


def _workers(instance: Instance) -> dict[str, str]:
    ports = worker_ports(instance.slot, DEFAULT_WORKERS)
    return {f"KTRDR_WORKER_PORT_{i}": str(port) for i, port in enumerate(ports, start=1)}
