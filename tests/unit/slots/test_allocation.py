from __future__ import annotations

from collections.abc import Mapping

import pytest

from ktrdr_sandbox.errors import SandboxError
from ktrdr_sandbox.slots.allocation import Allocation, BusyPort, allocate, port_conflict


def allocated(
    *,
    taken: Mapping[int, str] | None = None,
    wanted: int | None = None,
    busy: Mapping[int, list[BusyPort]] | None = None,
) -> Allocation:
    return allocate(taken=taken or {}, wanted=wanted, busy=lambda slot: (busy or {}).get(slot, []))


def all_but(*free: int) -> dict[int, str]:
    return {slot: f"ktrdr--s{slot}" for slot in range(1, 11) if slot not in free}


def test_the_lowest_free_slot() -> None:
    assert allocated() == Allocation(slot=1, skipped={})
    assert allocated(taken={1: "a", 3: "c"}) == Allocation(slot=2, skipped={})
    assert allocated(taken=all_but(10)) == Allocation(slot=10, skipped={})


def test_a_slot_with_a_busy_port_is_passed_over_and_told() -> None:
    conflict = [BusyPort(port=4318, holder="container jaeger")]
    made = allocated(taken={2: "b"}, busy={1: conflict})
    assert made == Allocation(slot=3, skipped={1: conflict})


def test_ports_of_taken_slots_are_not_asked_about() -> None:
    def busy(slot: int) -> list[BusyPort]:
        assert slot == 3
        return []

    assert allocate(taken={1: "a", 2: "b"}, wanted=None, busy=busy).slot == 3


def test_a_wanted_slot() -> None:
    assert allocated(taken={1: "a"}, wanted=7) == Allocation(slot=7, skipped={})


def test_a_wanted_slot_that_is_taken() -> None:
    with pytest.raises(SandboxError) as caught:
        allocated(taken={7: "ktrdr--feat-x"}, wanted=7)
    assert caught.value.code == "slot-taken"
    assert caught.value.message == "Slot 7 is in use by ktrdr--feat-x."
    assert caught.value.details == {"slot": 7, "instance": "ktrdr--feat-x"}


def test_a_wanted_slot_with_a_busy_port() -> None:
    with pytest.raises(SandboxError) as caught:
        allocated(wanted=2, busy={2: [BusyPort(port=8002)]})
    error = caught.value
    assert error.code == "port-conflict"
    assert error.message == (
        "Port 8002 is already in use. This could be another sandbox not tracked in the registry."
    )
    assert error.hints == ("Use 'lsof -i :8002' to identify the process.",)


def test_known_holders_are_named() -> None:
    conflicts = [
        BusyPort(port=8002, holder="python3 (pid 12)"),
        BusyPort(port=5434),
        BusyPort(port=4319, protocol="udp", holder="nc (pid 13)"),
    ]
    error = port_conflict(conflicts, slot=2)
    assert error.message.splitlines() == [
        "Port 8002 is already in use by python3 (pid 12).",
        "Port 5434 is already in use. This could be another sandbox not tracked in the registry.",
        "Port 4319 is already in use by nc (pid 13).",
    ]
    assert error.hints == ("Stop what holds it, or use another slot.",)
    assert error.details["slot"] == 2
    assert error.details["ports"][2] == {"port": 4319, "protocol": "udp", "holder": "nc (pid 13)"}


def test_when_all_slots_are_gone_each_is_accounted_for() -> None:
    with pytest.raises(SandboxError) as caught:
        allocated(taken=all_but(3, 9), busy={3: [BusyPort(port=8003)], 9: [BusyPort(port=3009)]})
    error = caught.value
    assert error.code == "slots-exhausted"
    first, *rest = error.message.splitlines()
    assert first == "All 10 sandbox slots are in use."
    assert "  slot 1: ktrdr--s1" in rest
    assert "  slot 3: port 8003 in use" in rest
    assert len(rest) == 10
    assert error.hints == (
        "Run 'ktrdr-sandbox list' to see instances.",
        "Destroy unused instances with 'ktrdr-sandbox destroy'.",
    )
    assert error.details["busy"] == {"3": [8003], "9": [3009]}
    assert len(error.details["slots"]) == 8
