"""The port map: which host ports belong to which slot. Formulas of the architecture document.

All raise ValueError for a slot that is not one of 0, the main environment, to 10.
"""

from __future__ import annotations

from typing import Final

from ktrdr_sandbox.models import LAST_SLOT

# Host ports of slot 0.
BASE_PORTS: Final[dict[str, int]] = {
    "backend": 8000,
    "db": 5432,
    "grafana": 3000,
    "jaeger_ui": 16686,
    "jaeger_otlp": 4317,
    "prometheus": 9090,
    "worker_base": 5000,
}
_WORKERS_PER_SLOT: Final = 10
_EXTRA_PORTS_FROM: Final = 20000
_EXTRA_PORTS_PER_SLOT: Final = 100


def get_ports(slot: int) -> dict[str, int]:
    """The seven named host ports of a slot."""
    _check(slot)
    step = {"worker_base": _WORKERS_PER_SLOT}
    return {name: base + slot * step.get(name, 1) for name, base in BASE_PORTS.items()}


def worker_ports(slot: int, count: int) -> tuple[int, ...]:
    """Host ports of the first `count` workers, `worker_base` + i from i = 0.

    Raises ValueError when they would run into the next slot's (more than ten).
    """
    if not 0 <= count <= _WORKERS_PER_SLOT:
        raise ValueError(f"a slot has ports for {_WORKERS_PER_SLOT} workers, not for {count}")
    first = get_ports(slot)["worker_base"]
    return tuple(range(first, first + count))


def extra_ports(slot: int) -> range:
    """The slot's block of a hundred host ports for published ports without a name in the map."""
    _check(slot)
    first = _EXTRA_PORTS_FROM + slot * _EXTRA_PORTS_PER_SLOT
    return range(first, first + _EXTRA_PORTS_PER_SLOT)


def _check(slot: int) -> None:
    if not 0 <= slot <= LAST_SLOT:
        raise ValueError(f"slot {slot} is not one of 0 to {LAST_SLOT}")
