"""Which slot an instance gets. Pure: what is taken and what is busy comes from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import FIRST_SLOT, LAST_SLOT

A_CONTAINER: Final = "a container"  # how a holder begins that is a container, it is unknown which


@dataclass(frozen=True, slots=True, kw_only=True)
class BusyPort:
    """A host port that something outside the instance holds; `holder` is "" when unknown."""

    port: int
    protocol: str = "tcp"
    holder: str = ""

    def __str__(self) -> str:
        return f"{self.port} ({self.holder})" if self.holder else str(self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """The slot chosen, and the free ones passed over because a port of theirs was busy."""

    slot: int
    skipped: Mapping[int, tuple[BusyPort, ...]]


def allocate(
    *,
    taken: Mapping[int, str],
    wanted: int | None,
    busy: Callable[[int], Sequence[BusyPort]],
    another_slot: str = "--slot N, or leave --slot out to get a free one",
) -> Allocation:
    """Choose the lowest free slot none of whose ports is busy, or check the wanted one.

    `taken` maps slots to instance ids. `another_slot` is what the user would write to get one other
    than the wanted. Raises `slot-taken`, `port-conflict` or `slots-exhausted`.
    """
    if wanted is not None and wanted in taken:
        raise SandboxError(
            "slot-taken",
            f"Slot {wanted} is in use by {taken[wanted]}.",
            hints=(f"Use another slot: {another_slot}",),
            details={"slot": wanted, "instance": taken[wanted]},
        )
    skipped: dict[int, tuple[BusyPort, ...]] = {}
    for slot in range(FIRST_SLOT, LAST_SLOT + 1) if wanted is None else (wanted,):
        if slot in taken:
            continue
        conflicts = tuple(busy(slot))
        if not conflicts:
            return Allocation(slot=slot, skipped=skipped)
        if wanted is not None:
            raise port_conflict(conflicts, slot=wanted, another_slot=another_slot)
        skipped[slot] = conflicts
    owners = [f"  slot {slot}: {taken[slot]}" for slot in sorted(taken)]
    owners += [
        f"  slot {slot}: port {', '.join(str(port) for port in ports)} in use"
        for slot, ports in skipped.items()
    ]
    raise SandboxError(
        "slots-exhausted",
        "\n".join([f"All {LAST_SLOT} sandbox slots are in use.", *owners]),
        hints=(
            "Run 'ktrdr-sandbox list' to see instances.",
            "Destroy unused instances with 'ktrdr-sandbox destroy'.",
        ),
        details={
            "slots": {str(slot): owner for slot, owner in sorted(taken.items())},
            "busy": {str(slot): [port.port for port in ports] for slot, ports in skipped.items()},
        },
    )


def port_conflict(conflicts: Sequence[BusyPort], *, slot: int, another_slot: str) -> SandboxError:
    """The architecture document's text about the first port, then the ports by who holds them."""
    first = conflicts[0].port
    ports: dict[str, list[str]] = {}
    for conflict in conflicts:
        if conflict.holder or conflict.port != first:
            ports.setdefault(conflict.holder, []).append(str(conflict.port))
    unknown = ports.pop("", [])
    document = (
        f"Port {first} is already in use. This could be another sandbox not tracked in the "
        f"registry. Use 'lsof -i :{first}' to identify the process."
    )
    lines = [
        document,
        *(f"  {', '.join(held)}: held by {holder}" for holder, held in ports.items()),
        *([f"  {', '.join(unknown)}: in use too"] if unknown else []),
    ]
    published = [one.port for one in conflicts if one.holder.startswith(A_CONTAINER)][:1]
    hints = [f"Which container it is: docker ps --filter publish={port}" for port in published]
    return SandboxError(
        "port-conflict",
        "\n".join(lines),
        hints=(*hints, f"Stop what holds it, or use another slot: {another_slot}"),
        details={
            "slot": slot,
            "ports": [
                {"port": c.port, "protocol": c.protocol, "holder": c.holder} for c in conflicts
            ],
        },
    )
