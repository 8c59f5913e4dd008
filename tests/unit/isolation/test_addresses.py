from __future__ import annotations

from typing import Any

import pytest

from tests.unit.isolation.requests import isolated, port

BACKEND = {"ports": [port(8000, 8000)]}


def told(services: dict[str, Any], service: str = "web", **changes: Any) -> list[str]:
    found = isolated(services, **changes).notices
    return [notice.text for notice in found if notice.service == service]


def told_of(body: dict[str, Any], **others: Any) -> list[str]:
    """What is said of a service beside a backend that publishes 8000."""
    return told({"backend": BACKEND, "web": body, **others})


def test_a_renumbered_port_in_an_address_is_told_with_what_would_be_right() -> None:
    [text] = told_of({"environment": {"API_URL": "http://user:pw@localhost:8000/api"}})
    assert text == (
        "environment.API_URL names the host's port 8000, which leads to the main environment; "
        "here, backend is on 8002: ${KTRDR_API_PORT:-8000} is right in both"
    )


def test_all_of_a_services_addresses_are_one_notice() -> None:
    body = {
        "environment": ["A=127.0.0.1:8000", "B=http://localhost:8000,http://[::1]:7001"],
        "build": {"context": ".", "args": {"API": "HTTP://LOCALHOST:8000"}},
        "logging": {"driver": "syslog", "options": {"syslog-address": "tcp://localhost:514"}},
    }
    others = {"log": {"ports": [port(514, 514)]}, "many": {"ports": [port(80, "7000-7003")]}}
    [text] = told_of(body, **others)
    assert text == (
        "environment.A, environment.B and build.args.API name the host's port 8000, which leads to "
        "the main environment; here, backend is on 8002: ${KTRDR_API_PORT:-8000} is right in both; "
        "environment.B names the host's port 7001, which leads to the main environment; here, "
        "many is on 20201: ${KTRDR_PORT_MANY_80:-7001} is right in both; "
        "logging.options.syslog-address names the host's port 514, which leads to the main "
        "environment; here, log is on 20200: ${KTRDR_PORT_LOG_514:-514} is right in both"
    )


@pytest.mark.parametrize(
    "value",
    [
        "http://backend:8000",
        "http://localhost:80000",
        "http://localhost:8001",
        "http://localhost",
        "http://localhost:8002",
        "http://my-localhost:8000",
        "http://www.localhost:8000",
        "http://0.0.0.0:8000",
        "10.127.0.0.1:8000",
        "8000",
        None,
    ],
)
def test_other_values_are_no_matter(value: str | None) -> None:
    assert told_of({"environment": {"URL": value}}) == []


@pytest.mark.parametrize(
    "body", [{"ports": [port(8000, 9000)]}, {"expose": ["8000"]}, {"expose": ["7990-8010/tcp"]}]
)
def test_a_service_may_mean_itself(body: dict[str, Any]) -> None:
    assert told_of({**body, "environment": {"SELF": "http://localhost:8000"}}) == []


def test_what_is_in_a_services_network_means_that_service() -> None:
    services = {
        "backend": {**BACKEND, "environment": {"SELF": "http://127.0.0.1:8000"}},
        "web": {"network_mode": "service:backend", "environment": {"API": "localhost:8000"}},
    }
    assert told(services) == told(services, "backend") == []


@pytest.mark.parametrize("body", [{"expose": ["8000"]}, {}])
def test_the_hosts_own_name_never_means_the_container(body: dict[str, Any]) -> None:
    [text] = told_of({**body, "environment": {"API": "http://host.docker.internal:8000"}})
    assert "environment.API names the host's port 8000" in text


FIXED: dict[str, Any] = {
    "db": {"networks": {"net": {"ipv4_address": "172.28.0.2"}}},
    "cache": {"networks": {"net": {"ipv6_address": "2001:db8::9"}}},
}


@pytest.mark.parametrize(
    ("body", "places"),
    [
        ({"dns": ["172.28.0.2"]}, "dns names"),
        ({"dns": "172.28.0.2"}, "dns names"),
        ({"extra_hosts": ["legacydb:172.28.0.2"]}, "extra_hosts.legacydb names"),
        ({"extra_hosts": ["legacydb=172.28.0.2"]}, "extra_hosts.legacydb names"),
        ({"environment": {"DB": "postgres://me:pw@172.28.0.2:5432/x"}}, "environment.DB names"),
        (
            {"dns": ["172.28.0.2"], "environment": ["A=172.28.0.2", "B=x,172.28.0.2,y"]},
            "dns, environment.A and environment.B name",
        ),
    ],
)
def test_a_dropped_address_that_is_still_named_is_told(body: dict[str, Any], places: str) -> None:
    [text] = told({**FIXED, "web": body})
    assert text == (
        f"{places} 172.28.0.2, the fixed address of db, which has another one here and is found by "
        "its name alone"
    )


@pytest.mark.parametrize(
    "value",
    [
        "172.28.0.20",
        "172.28.0.2.1",
        "1172.28.0.2",
        "2001:db8::9:1",
        "2001:db8::90",
        "f:2001:db8::9",
    ],
)
def test_longer_addresses_are_others(value: str) -> None:
    assert told({**FIXED, "web": {"environment": {"X": value}}}) == []
