"""Which slot an instance gets. Pure: what is taken and what is busy comes from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.models import FIRST_SLOT, LAST_SLOT

A_CONTAINER: Final = "a container"
"""How a holder begins that is known to be a container, and not which."""

_CREATING: Final = "--slot N, or leave --slot out to get a free one"
"""How create and init get another slot."""


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
    skipped: Mapping[int, Sequence[BusyPort]]


def allocate(
    *,
    taken: Mapping[int, str],
    wanted: int | None,
    busy: Callable[[int], Sequence[BusyPort]],
    another_slot: str = _CREATING,
) -> Allocation:
    """Choose the lowest free slot none of whose ports is busy, or check the wanted one.

    `taken` maps slots to instance ids. A busy slot is skipped anew each time it is busy; nothing
    of that is stored. `another_slot` is what the user would write to get one other than the wanted.
    Raises `slot-taken`, `port-conflict` or `slots-exhausted`.
    """
    if wanted is not None:
        return _wanted(wanted, taken, busy, another_slot)
    skipped: dict[int, Sequence[BusyPort]] = {}
    for slot in range(FIRST_SLOT, LAST_SLOT + 1):
        if slot in taken:
            continue
        conflicts = busy(slot)
        if not conflicts:
            return Allocation(slot=slot, skipped=skipped)
        skipped[slot] = conflicts
    raise exhausted(taken, skipped)


def _wanted(
    wanted: int,
    taken: Mapping[int, str],
    busy: Callable[[int], Sequence[BusyPort]],
    another_slot: str,
) -> Allocation:
    if wanted in taken:
        raise SandboxError(
            "slot-taken",
            f"Slot {wanted} is in use by {taken[wanted]}.",
            hints=(f"Use another slot: {another_slot}",),
            details={"slot": wanted, "instance": taken[wanted]},
        )
    conflicts = busy(wanted)
    if conflicts:
        raise port_conflict(conflicts, slot=wanted, another_slot=another_slot)
    return Allocation(slot=wanted, skipped={})


def port_conflict(conflicts: Sequence[BusyPort], *, slot: int, another_slot: str) -> SandboxError:
    """The document's port conflict error, told once, with the busy ports by who holds them.

    `another_slot` is what the user would write to get one.
    """
    first = conflicts[0].port
    document = (
        f"Port {first} is already in use. This could be another sandbox not tracked in the "
        f"registry. Use 'lsof -i :{first}' to identify the process."
    )
    return SandboxError(
        "port-conflict",
        "\n".join([document, *(f"  {line}" for line in _held(conflicts))]),
        hints=(
            *_which_container(conflicts),
            f"Stop what holds it, or use another slot: {another_slot}",
        ),
        details={
            "slot": slot,
            "ports": [
                {"port": c.port, "protocol": c.protocol, "holder": c.holder} for c in conflicts
            ],
        },
    )


def _held(conflicts: Sequence[BusyPort]) -> list[str]:
    """What the document's text, which is about the first port, does not tell."""
    by_holder: dict[str, list[int]] = {}
    for conflict in conflicts:
        by_holder.setdefault(conflict.holder, []).append(conflict.port)
    unknown = [port for port in by_holder.pop("", []) if port != conflicts[0].port]
    told = [f"{_listed(ports)}: held by {holder}" for holder, ports in by_holder.items()]
    return told + ([f"{_listed(unknown)}: in use too"] if unknown else [])


def _listed(ports: Sequence[int]) -> str:
    return ", ".join(str(port) for port in ports)


def _which_container(conflicts: Sequence[BusyPort]) -> list[str]:
    ports = [one.port for one in conflicts if one.holder.startswith(A_CONTAINER)]
    return [f"Which container it is: docker ps --filter publish={ports[0]}"] if ports else []


def exhausted(taken: Mapping[int, str], skipped: Mapping[int, Sequence[BusyPort]]) -> SandboxError:
    """The document's slot exhaustion error, with each slot and what is in its way."""
    owners = [f"slot {slot}: {taken[slot]}" for slot in sorted(taken)]
    busy = [
        f"slot {slot}: port {', '.join(str(port) for port in ports)} in use"
        for slot, ports in sorted(skipped.items())
    ]
    everything = f"All {LAST_SLOT} sandbox slots are in use."
    return SandboxError(
        "slots-exhausted",
        "\n".join([everything, *("  " + line for line in [*owners, *busy])]),
        hints=(
            "Run 'ktrdr-sandbox list' to see instances.",
            "Destroy unused instances with 'ktrdr-sandbox destroy'.",
        ),
        details={
            "slots": {str(slot): owner for slot, owner in sorted(taken.items())},
            "busy": {str(slot): [port.port for port in ports] for slot, ports in skipped.items()},
        },
    )
