from __future__ import annotations

from typing import Any

import pytest

from ktrdr_sandbox.isolation.request import IsolatedStack
from tests.unit.isolation.requests import isolated, plain, port


def host_ports(isolation: IsolatedStack) -> dict[str, int]:
    return {found.variable: found.published for found in isolation.stack.ports}


def entries(isolation: IsolatedStack, service: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = plain(isolation.override["services"][service]["ports"])[
        "!override"
    ]
    return found


def test_the_bind_address_is_the_setting() -> None:
    isolation = isolated(
        {"web": {"ports": [port(80, 80, host_ip="192.0.2.1")]}}, bind_address="0.0.0.0"
    )
    assert entries(isolation, "web")[0]["host_ip"] == "0.0.0.0"
    assert isolation.stack.ports[0].host_ip == "0.0.0.0"
    [change] = [change for change in isolation.changes if change.key.startswith("ports")]
    assert (change.before, change.after) == ("192.0.2.1:80", "0.0.0.0:20200")


def test_extra_ports_go_by_service_then_target_then_protocol() -> None:
    isolation = isolated(
        {
            "web": {"ports": [port(443, 1), port(80, 2)]},
            "dns": {"ports": [port(53, 53, protocol="udp"), port(53, 53)]},
            "mail": {"ports": [port(25, 3)]},
        }
    )
    assert isolation.env == {
        "KTRDR_PORT_DNS_53": "20200",
        "KTRDR_PORT_DNS_53_UDP": "20201",
        "KTRDR_PORT_MAIL_25": "20202",
        "KTRDR_PORT_WEB_80": "20203",
        "KTRDR_PORT_WEB_443": "20204",
    }


def test_inactive_services_hold_their_places() -> None:
    services = {
        "admin": {"profiles": ["tools"], "ports": [port(80, 1)]},
        "web": {"ports": [port(80, 2)]},
    }
    assert isolated(services).env == isolated(services, active=frozenset(services)).env
    assert isolated(services).stack.port("backend") is None


def test_names_that_would_be_one_variable_are_told_apart() -> None:
    isolation = isolated(
        {
            "a-b": {"ports": [port(80, 1)]},
            "a.b": {"ports": [port(80, 2)]},
            "web": {"ports": [port(80, 3), port(80, 4)]},
        }
    )
    assert set(isolation.env) == {
        "KTRDR_PORT_A_B_80",
        "KTRDR_PORT_A_B_80_2",
        "KTRDR_PORT_WEB_80",
        "KTRDR_PORT_WEB_80_2",
    }


def test_scale_goes_before_deployed_replicas() -> None:
    isolation = isolated(
        {"worker": {"scale": 2, "deploy": {"replicas": 5}, "ports": [port(5003, "1-5")]}}
    )
    assert isolation.env == {"KTRDR_WORKER_PORT_1": "5020", "KTRDR_WORKER_PORT_2": "5021"}


def test_a_replicated_role_has_no_room_in_the_port_map() -> None:
    isolation = isolated({"backend": {"scale": 2, "ports": [port(8000, "8000-8001")]}})
    assert set(isolation.env) == {"KTRDR_PORT_BACKEND_8000", "KTRDR_PORT_BACKEND_8000_2"}
    assert isolation.stack.port("backend") is None
    assert [notice.service for notice in isolation.notices] == ["backend"]


def test_workers_are_numbered_by_container_port_then_name() -> None:
    isolation = isolated(
        {
            "worker-10": {"ports": [port(5003, 1)]},
            "worker-2": {"ports": [port(5003, 2)]},
            "a-worker": {"ports": [port(5006, 3)]},
        }
    )
    assert [(p.service, p.published) for p in isolation.stack.ports if p.role == "worker"] == [
        ("a-worker", 5022),
        ("worker-2", 5020),
        ("worker-10", 5021),
    ]


def test_a_worker_in_a_profile_renumbers_no_other() -> None:
    worker = {"ports": [port(5005, 5005)]}
    with_profile = {"a-worker": {"profiles": ["gpu"], "ports": [port(5003, 5003)]}}
    alone = isolated({"worker": worker})
    beside = isolated({**with_profile, "worker": worker})
    assert alone.env["KTRDR_WORKER_PORT_1"] == beside.env["KTRDR_WORKER_PORT_1"] == "5020"
    assert {p.service: p.published for p in beside.stack.ports} == {
        "a-worker": 5021,
        "worker": 5020,
    }


def test_workers_beyond_ten_get_extra_ports() -> None:
    isolation = isolated(
        {
            "a-worker": {"scale": 8, "ports": [port(5003, "1-8")]},
            "b-worker": {"scale": 3, "ports": [port(5003, "11-13")]},
        }
    )
    extra = [p.published for p in isolation.stack.ports if p.service == "b-worker"]
    assert extra == [20200, 20201, 20202]
    assert isolation.stack.service("b-worker").roles == {"worker"}
    assert [notice.service for notice in isolation.notices] == ["b-worker"]


def test_too_many_ports_are_told_range_by_range() -> None:
    ranges = [*range(40000, 40050), *range(50000, 50002), 60000]
    ports = [port(n, n, protocol="udp") for n in (*range(30000, 30100), *ranges)]
    services = {
        "rtp": {"ports": [*ports, port(40007, 40007)]},
        "web": {"ports": [port(80, 80)]},
    }
    assert [(refusal.service, refusal.reason) for refusal in isolated(services).refusals] == [
        ("rtp", "container port 40007/tcp is beyond the 100 extra ports of a slot"),
        ("rtp", "container ports 40000-40049/udp are beyond the 100 extra ports of a slot"),
        ("rtp", "container ports 50000-50001/udp are beyond the 100 extra ports of a slot"),
        ("rtp", "container port 60000/udp is beyond the 100 extra ports of a slot"),
        ("web", "container port 80/tcp is beyond the 100 extra ports of a slot"),
    ]
    allowed = isolated(services, allow=frozenset({"extra-ports"})).notices
    assert [notice.text for notice in allowed if notice.service == "web"] == [
        "container port 80/tcp is beyond the slot's extra ports; the engine picks what is free"
    ]


@pytest.mark.parametrize("mode", ["host", "service:vpn", "container:someone"])
def test_services_in_another_network_publish_nothing(mode: str) -> None:
    isolation = isolated({"app": {"network_mode": mode, "ports": [port(80, 80)]}})
    assert "ports" not in isolation.override["services"]["app"]
    assert isolation.stack.ports == ()
