"""The `.env.sandbox` of an instance, made from its slot and identity alone."""

from __future__ import annotations

from ktrdr_sandbox.env_file import schema, writer
from ktrdr_sandbox.lifecycle.shared_folders import shared_variables
from ktrdr_sandbox.lifecycle.workplace import Workplace
from ktrdr_sandbox.models import Instance
from ktrdr_sandbox.slots.port_map import get_ports, worker_ports

DEFAULT_WORKERS = 4
"""2 backtest and 2 training workers: the document's `.env.sandbox`."""


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
