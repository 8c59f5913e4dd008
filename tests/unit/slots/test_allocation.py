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
    assert made == Allocation(slot=3, skipped={1: tuple(conflict)})


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


DOCUMENT = (
    "Port 8002 is already in use. This could be another sandbox not tracked in the registry. "
    "Use 'lsof -i :8002' to identify the process."
)


def test_a_wanted_slot_with_a_busy_port() -> None:
    with pytest.raises(SandboxError) as caught:
        allocated(wanted=2, busy={2: [BusyPort(port=8002)]})
    error = caught.value
    assert error.code == "port-conflict"
    assert error.message == DOCUMENT
    assert error.hints == (
        "Stop what holds it, or use another slot: --slot N, or leave --slot out to get a free one",
    )


def test_a_wanted_slot_of_what_is_there_already() -> None:
    """Of an instance that is moved, --slot cannot be left out."""
    with pytest.raises(SandboxError) as taken:
        allocate(taken={2: "ktrdr--b"}, wanted=2, busy=lambda _: [], another_slot="move")
    assert taken.value.hints == ("Use another slot: move",)
    port = BusyPort(port=8002)
    with pytest.raises(SandboxError) as busy:
        allocate(taken={}, wanted=2, busy=lambda _: [port], another_slot="move")
    assert busy.value.hints == ("Stop what holds it, or use another slot: move",)


def test_holders_are_named_and_the_documents_text_is_told_once() -> None:
    conflicts = [
        BusyPort(port=8002, holder="python3 (pid 12)"),
        BusyPort(port=5434),
        BusyPort(port=3002, holder="python3 (pid 12)"),
        BusyPort(port=4319, protocol="udp", holder="nc (pid 13)"),
        BusyPort(port=9092),
    ]
    error = port_conflict(conflicts, slot=2, another_slot="--slot N")
    assert error.message.splitlines() == [
        DOCUMENT,
        "  8002, 3002: held by python3 (pid 12)",
        "  4319: held by nc (pid 13)",
        "  5434, 9092: in use too",
    ]
    assert error.hints == ("Stop what holds it, or use another slot: --slot N",)
    assert error.details["slot"] == 2
    assert error.details["ports"][3] == {"port": 4319, "protocol": "udp", "holder": "nc (pid 13)"}


def test_a_container_that_is_not_known_can_be_asked_for() -> None:
    conflicts = [BusyPort(port=8002), BusyPort(port=5434, holder="a container (docker-proxy)")]
    error = port_conflict(conflicts, slot=2, another_slot="--slot N")
    assert error.message.splitlines() == [
        DOCUMENT,
        "  5434: held by a container (docker-proxy)",
    ]
    assert error.hints[0] == "Which container it is: docker ps --filter publish=5434"


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
