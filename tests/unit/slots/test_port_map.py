from __future__ import annotations

import pytest

from ktrdr_sandbox.slots.port_map import BASE_PORTS, extra_ports, get_ports, worker_ports


def test_slot_0_has_the_main_environments_ports() -> None:
    assert get_ports(0) == BASE_PORTS
    assert BASE_PORTS == {
        "backend": 8000,
        "db": 5432,
        "grafana": 3000,
        "jaeger_ui": 16686,
        "jaeger_otlp": 4317,
        "prometheus": 9090,
        "worker_base": 5000,
    }


@pytest.mark.parametrize(
    ("slot", "ports"),
    [
        (1, (8001, 5433, 3001, 16687, 4318, 9091, 5010)),
        (2, (8002, 5434, 3002, 16688, 4319, 9092, 5020)),
        (10, (8010, 5442, 3010, 16696, 4327, 9100, 5100)),
    ],
)
def test_slots_count_up_and_workers_by_tens(slot: int, ports: tuple[int, ...]) -> None:
    assert tuple(get_ports(slot).values()) == ports


@pytest.mark.parametrize("slot", [-1, 11])
def test_there_are_no_other_slots(slot: int) -> None:
    for ports in (get_ports, extra_ports, lambda bad: worker_ports(bad, 1)):
        with pytest.raises(ValueError, match=f"slot {slot}"):
            ports(slot)


def test_a_caller_cannot_change_the_map() -> None:
    get_ports(0)["backend"] = 1

    assert get_ports(0)["backend"] == 8000


def test_workers_follow_the_slots_base() -> None:
    assert worker_ports(2, 4) == (5020, 5021, 5022, 5023)
    assert worker_ports(10, 10)[-1] == 5109
    assert worker_ports(1, 0) == ()


@pytest.mark.parametrize("count", [-1, 11])
def test_workers_never_run_into_the_next_slot(count: int) -> None:
    with pytest.raises(ValueError, match="10 workers"):
        worker_ports(1, count)


def test_extra_ports_are_a_block_of_a_hundred() -> None:
    assert extra_ports(1) == range(20100, 20200)
    assert extra_ports(10) == range(21000, 21100)


def test_no_two_slots_share_a_port() -> None:
    seen: set[int] = set()
    for slot in range(11):
        named = get_ports(slot)
        del named["worker_base"]
        ports = {*named.values(), *worker_ports(slot, 10), *extra_ports(slot)}
        assert len(ports) == 6 + 10 + 100
        assert not ports & seen
        seen |= ports
