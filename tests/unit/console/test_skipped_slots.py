from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from ktrdr_sandbox.commands.create import CreatePlan
from ktrdr_sandbox.console.text import skipped
from ktrdr_sandbox.slots.allocation import BusyPort
from tests.unit.state.instances import an_instance


def told(passed_over: Mapping[int, Sequence[BusyPort]]) -> list[str]:
    root = Path("/code/ktrdr")
    found = {slot: tuple(ports) for slot, ports in passed_over.items()}
    return skipped(
        CreatePlan(instance=an_instance(), main=root, common_dir=root / ".git", skipped=found)
    )


def test_no_slot() -> None:
    assert told({}) == []


def test_one_slot() -> None:
    held = [BusyPort(port=4318, holder="a container (docker-proxy)")]
    assert told({1: held}) == [
        "Slot 1 was skipped: port 4318 (a container (docker-proxy)) is in use."
    ]
    assert told({2: [BusyPort(port=8002), BusyPort(port=5434, holder="nc (pid 13)")]}) == [
        "Slot 2 was skipped: ports 8002, 5434 (nc (pid 13)) are in use."
    ]


def test_a_holder_of_several_ports_is_told_once() -> None:
    holder = "python3 (pid 12)"
    found = told(
        {
            1: [BusyPort(port=8001, holder=holder), BusyPort(port=4318)],
            2: [BusyPort(port=8002, holder=holder)],
        }
    )
    assert found == [
        f"Slots 1, 2 were skipped: ports 4318, 8001, 8002 ({holder}) are in use.",
    ]


@pytest.mark.parametrize(("count", "rest"), [(2, ""), (9, ", 8005 and 4 more")])
def test_several_slots_are_told_of_in_one_sentence(count: int, rest: str) -> None:
    """A second stack beside this program has eleven ports in each of its slots."""
    shown = "8001, 8002" if count == 2 else "8001, 8002, 8003, 8004"
    found = told({slot: [BusyPort(port=8000 + slot)] for slot in range(1, count + 1)})
    slots = ", ".join(str(slot) for slot in range(1, count + 1))
    assert found == [f"Slots {slots} were skipped: ports {shown}{rest} are in use."]
