"""The port map: which host ports belong to which slot. Formulas of the architecture document."""

from __future__ import annotations

from typing import Final

from ktrdr_sandbox.models import LAST_SLOT

BASE_PORTS: Final[dict[str, int]] = {
    "backend": 8000,
    "db": 5432,
    "grafana": 3000,
    "jaeger_ui": 16686,
    "jaeger_otlp": 4317,
    "prometheus": 9090,
    "worker_base": 5000,
}
"""Host ports of slot 0, the main environment."""

WORKERS_PER_SLOT: Final = 10
"""`worker_base` of one slot is this far from that of the next."""

EXTRA_PORTS_FROM: Final = 20000
EXTRA_PORTS_PER_SLOT: Final = 100


def get_ports(slot: int) -> dict[str, int]:
    """The seven named host ports of a slot: 0 is the main environment, 1 to 10 are sandboxes.

    Raises ValueError for any other slot.
    """
    _check(slot)
    step = {"worker_base": WORKERS_PER_SLOT}
    return {name: base + slot * step.get(name, 1) for name, base in BASE_PORTS.items()}


def worker_ports(slot: int, count: int) -> tuple[int, ...]:
    """Host ports of the first `count` workers of a slot, `worker_base` + i from i = 0.

    Raises ValueError when they would run into the next slot's (more than ten), or for a bad slot.
    """
    if not 0 <= count <= WORKERS_PER_SLOT:
        raise ValueError(f"a slot has ports for {WORKERS_PER_SLOT} workers, not for {count}")
    first = get_ports(slot)["worker_base"]
    return tuple(range(first, first + count))


def extra_ports(slot: int) -> range:
    """The slot's block of a hundred host ports for published ports without a name in the map.

    Raises ValueError for a bad slot.
    """
    _check(slot)
    first = EXTRA_PORTS_FROM + slot * EXTRA_PORTS_PER_SLOT
    return range(first, first + EXTRA_PORTS_PER_SLOT)


def _check(slot: int) -> None:
    if not 0 <= slot <= LAST_SLOT:
        raise ValueError(f"slot {slot} is not one of 0 to {LAST_SLOT}")
